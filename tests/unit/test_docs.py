"""What the documentation shows runs."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedguard.cli import app
from fedguard_simulations.detection import cell_of
from fedguard_simulations.detection_page import page as detection_page
from fedguard_simulations.scenario import load_scenario, scenarios
from fedguard_simulations.sweeps.page import in_markdown
from fedguard_simulations.sweeps.plain import read_json
from fedguard_simulations.sweeps.summary import summary_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0])
def test_python_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDGUARD_SEED", "7")
    exec(compile(code, "README.md", "exec"), {})


def test_the_scenario_shown_is_one(tmp_path: Path) -> None:
    (shown,) = blocks("toml")
    path = tmp_path / "mine.toml"
    path.write_text(shown, encoding="utf8")
    assert load_scenario(str(path)).clients == 10


PAGES = "\n".join(
    path.read_text(encoding="utf8")
    for folder in (ROOT / "docs", ROOT / "docs" / "runbooks")
    for path in sorted(folder.glob("*.md"))
)


@pytest.mark.parametrize(
    "line", re.findall(r"^fedguard .*$", "\n".join(blocks("bash")) + PAGES, re.M)
)
def test_commands_shown_exist(line: str) -> None:
    alone = re.split(r"&&|>|\|", line)[0]
    words = shlex.split(alone, comments=True)[1:]
    below = words[:2] if words[0] in ("audit", "db", "grafana", "prometheus") else words[:1]
    done = CliRunner().invoke(app, [*below, "--help"])
    assert done.exit_code == 0, done.output
    for option in (word for word in words if word.startswith("--")):
        assert option in done.output
    if words[0] == "simulate" and not words[1].endswith(".toml"):
        assert any(words[1] == name.rpartition("-v")[0] for name in scenarios())


@pytest.mark.parametrize(
    ("words", "told"),
    [("sweep", "default: auto against every attack"), ("ban", "its key's .pub file")],
)
def test_arguments_have_their_help(words: str, told: str) -> None:
    shown = CliRunner().invoke(app, [words, "--help"]).output
    assert told in re.sub(r"[\s│]+", " ", shown)


def test_the_table_of_detection_is_what_its_data_say() -> None:
    data = json.loads((ROOT / "docs" / "detection.json").read_text(encoding="utf8"))
    found = detection_page(list(map(cell_of, data["cells"])), data["command"], data["defence"])
    assert (ROOT / "docs" / "detection.md").read_text(encoding="utf8") == found


@pytest.mark.parametrize("name", ["default", "fractions", "sampled", "standard"])
def test_the_pages_of_sweeps_are_what_their_data_say(name: str) -> None:
    sweep, found, command = read_json((ROOT / "docs" / f"{name}.json").read_text(encoding="utf8"))
    page = in_markdown(summary_of(sweep, found), command, linked=False)
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf8") == page


def test_the_benchmarks_are_what_their_data_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("page")
    data = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf8"))
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf8") == module.page(data)


def test_links_lead_somewhere() -> None:
    for page_path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page_path.read_text(encoding="utf8")):
            if "://" not in target:
                assert (page_path.parent / target).exists(), f"{page_path}: {target}"
