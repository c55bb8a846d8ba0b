"""A sweep as one HTML page, as Markdown and as JSON, with a page for every run's figures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tomli_w
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fedguard.config import is_reference
from fedguard.files import write_whole
from fedguard_simulations.measuring import markdown
from fedguard_simulations.sweeps.cache import Cache
from fedguard_simulations.sweeps.entries import Entry, name_of, percent
from fedguard_simulations.sweeps.grid import Cell
from fedguard_simulations.sweeps.plain import in_json
from fedguard_simulations.sweeps.running import Found
from fedguard_simulations.sweeps.summary import CONFIDENCE, Summary
from fedguard_simulations.sweeps.tables import tables

__all__ = ["in_html", "in_markdown", "write_pages"]

RED = "🔴"
"""Markdown has no colours of its own."""


def write_pages(
    summary: Summary, found: Sequence[Found], command: str, out: Path, cache: Cache | None
) -> list[Path]:
    """Write NAME.html, NAME.md and NAME.json; returns their paths.

    The single runs, from the `cache`, go into the folder `runs`; without one there are no links.
    """
    sweep, linked = summary.sweep, cache is not None
    written = {
        out / f"{sweep.name}.html": in_html(summary, command, linked),
        out / f"{sweep.name}.md": in_markdown(summary, command, linked),
        out / f"{sweep.name}.json": in_json(sweep, found, command),
    }
    if cache:
        _write_runs(summary, found, cache, out / "runs")
    for path, text in written.items():
        write_whole(path, text.encode())
    return list(written)


def _write_runs(summary: Summary, found: Sequence[Found], cache: Cache, out: Path) -> None:
    """A page for each group; each run's figures, and its scenario to run it again by hand."""
    page = _environment().get_template("runs.html.j2")
    told = {"percent": percent, "line": _line, "command_of": _command, "own": _own}
    for group in (*summary.references.values(), *summary.groups.values()):
        text = page.render(group=group, sweep=summary.sweep, **told)
        write_whole(out / f"{name_of(group)}.html", text.encode())
    for each in {each.key: each for each in found}.values():
        write_whole(out / f"{each.key}.json", cache.path(each.key).read_bytes())
        write_whole(out / f"{each.key}.toml", tomli_w.dumps(_plain(each.cell)).encode())


def in_html(summary: Summary, command: str, linked: bool = True) -> str:
    """One self-contained page that needs no script."""
    return (
        _environment()
        .get_template("sweep.html.j2")
        .render(
            sweep=summary.sweep,
            command=command,
            tables=list(tables(summary)),
            missed=list(summary.missed()),
            name_of=name_of,
            linked=linked,
            facts=_facts(summary),
        )
    )


def in_markdown(summary: Summary, command: str, linked: bool = True) -> str:
    """The same in Markdown; what misses a target has a red mark."""
    sweep = summary.sweep
    lines = [f"# {_plainly(sweep.summary)}", "", f"Rebuilt by {_code(command)}; every run is in "]
    lines[-1] += f"[{_plainly(sweep.name)}.json]({quote(sweep.name)}.json)."
    lines += ["", _plainly(_facts(summary))]
    if sweep.targets:
        missed = [
            f"- {RED} {what}: {100 * came:.4g} %, asked for {100 * asked:.3g} % "
            f"({_code(group.attack)}, {_code(str(group.setting))})"
            for what, group, came, asked in summary.missed()
        ]
        lines += ["", f"Targets of {_code(sweep.targets.defence)}:", ""]
        lines += missed or ["- all reached"]
    for table in tables(summary):
        heads = [table.corner, *map(_head, table.heads)]
        rows = [
            [_head(name), *(_entry(each, linked) for each in entries)]
            for name, entries in table.rows
        ]
        lines += ["", f"## {_plainly(table.title)}", "", _plainly(table.note), ""]
        lines += markdown(heads, rows)
    return "\n".join(lines) + "\n"


def _environment() -> Environment:
    loader = PackageLoader("fedguard_simulations")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    made.filters |= {"breakable": _breakable, "unbroken": _unbroken}
    return made


def _breakable(text: str) -> Markup:
    """An expression that may go on in the next line after each of its names."""
    told = escape(text)
    for sign in "_(":
        told = told.replace(sign, Markup(f"{sign}<wbr>"))
    return told


def _unbroken(text: str) -> str:
    """A mean that stays in one line with its interval."""
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def _facts(summary: Summary) -> str:
    sweep = summary.sweep
    first = next(iter(summary.groups.values())).runs[0].cell.scenario
    seeds = len(sweep.seeds)
    interval = (
        f"± is half of a {100 * CONFIDENCE:.0f} % confidence interval over them (Student's t)"
    )
    return (
        f"{first.dataset}, {first.clients} clients, {first.model}, {first.rounds} rounds of "
        f"{first.steps} local steps, {seeds} seed{'s' if seeds > 1 else ''}"
        f"{'; ' + interval if seeds > 1 else ''}. "
        "{f} stands for the number of malicious clients, f."
    )


def _plain(cell: Cell) -> Mapping[str, Any]:
    """A cell's scenario as a file for `fedguard simulate`."""
    plain = cell.scenario.to_dict()
    return {name: value for name, value in plain.items() if name not in ("id", "expect")}


def _command(cell: Cell, key: str) -> str:
    """What makes a run again, with its full report."""
    return shlex.join(["fedguard", "simulate", f"{key}.toml", "--runs", cell.run])


def _own(cell: Cell) -> bool:
    """Whether a run needs a user's own code."""
    return is_reference(cell.scenario.defence) or is_reference(cell.scenario.model)


def _line(values: Sequence[float], width: int = 640, height: int = 160) -> str:
    """The points of a polyline over rounds."""
    most = max(len(values) - 1, 1)
    return " ".join(
        f"{width * place / most:.1f},{height * (1 - value):.1f}"
        for place, value in enumerate(values)
    )


def _entry(entry: Entry, linked: bool) -> str:
    text = _plainly(entry.text)
    text = f"[{text}](runs/{entry.link}.html)" if linked and entry.link else text
    return f"{RED} **{text}**" if entry.missed else text


def _head(text: str) -> str:
    """Words as they are, what stands in a sweep's file as code."""
    return text if re.fullmatch(r"[\w, ]+", text) and "_" not in text else _code(text)


def _plainly(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;").replace("\n", " ")


def _code(text: str) -> str:
    """Text as code, in a table, too."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
