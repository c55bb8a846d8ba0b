"""Sweeps as data: grids, keys, figures over seeds, pages."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sweeps

from fedguard.cli.gate import usual_baseline
from fedguard.errors import ConfigError, UnknownName
from fedguard_clients import ATTACKS
from fedguard_simulations import measuring
from fedguard_simulations.attacks import DISGUISES, OMNISCIENT, WHITE_BOXES
from fedguard_simulations.sweeps import cache as cache_module
from fedguard_simulations.sweeps.baseline import baseline_of, read_baseline
from fedguard_simulations.sweeps.cache import Cache, content_of, key_of
from fedguard_simulations.sweeps.gate import Comparison, compare
from fedguard_simulations.sweeps.grid import (
    CLEAN,
    NONE,
    ORACLE,
    Cell,
    Sweep,
    load_sweep,
    suites,
    sweep_path,
)
from fedguard_simulations.sweeps.page import in_html, in_markdown, write_pages
from fedguard_simulations.sweeps.plain import in_json, read_json
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.sources import code_digest, own_digest, own_modules
from fedguard_simulations.sweeps.summary import estimate, summary_of
from fedguard_simulations.sweeps.targets import Setting

CARELESS, CAREFUL = "mean()", "<b>careful|</b>"


def test_a_grid_has_every_cell_once_and_what_to_compare_with() -> None:
    cells = list(sweeps.sweep().cells())
    assert len(set(cells)) == len(cells) == 3 * (2 + 1 + 3 * 2)
    runs = Counter(cell.run for cell in cells)
    assert runs == {"oracle": 6, "clean": 6, "peace": 3, "defended": 12}
    aims = {cell.attack for cell in cells if cell.run == "oracle"}
    assert aims == {NONE, "backdoor(boost=5)"}
    careful = [cell for cell in cells if cell.defence == CAREFUL]
    assert {cell.scenario.defence for cell in careful} == {"trimmed_mean(f=1)"}
    assert all(cell.scenario.reputation for cell in careful)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


def test_a_sweep_round_trips() -> None:
    planned = sweeps.sweep()
    assert Sweep.from_dict("tried", planned.to_dict()) == planned
    changed = planned.evolve({"rounds": "7", "seeds": "4,5"})
    assert changed.seeds == (4, 5)
    assert {cell.scenario.rounds for cell in changed.cells()} == {7}


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"seeds": [1.7]}, "seeds must be whole numbers, got 1.7"),
        ({"seeds": [True]}, "seeds must be whole numbers"),
        ({"seeds": [float("inf")]}, "seeds must be whole numbers"),
        ({"malicious": ["1"]}, "malicious must be whole numbers"),
        ({"malicious": [True]}, "malicious must be whole numbers"),
        ({"partitions": [3]}, "an expression in quotes"),
    ],
)
def test_a_grid_of_wrong_kinds_is_told(grid: dict[str, Any], words: str) -> None:
    plain = sweeps.sweep().to_dict()
    settings = plain["grid"].pop("settings")
    plain["grid"]["partitions"] = [each["partition"] for each in settings]
    plain["grid"]["malicious"] = [1]
    plain.pop("targets", None)
    plain["grid"] |= grid
    with pytest.raises(ConfigError, match=words):
        Sweep.from_dict("tried", plain)


def test_other_wrong_kinds_are_told_with_their_place() -> None:
    plain = sweeps.sweep().to_dict()
    with pytest.raises(ConfigError, match="dataset must be a name"):
        Sweep.from_dict("tried", plain | {"base": {"dataset": 3}})
    with pytest.raises(ConfigError, match="worst must be a list"):
        Sweep.from_dict("tried", plain | {"targets": {"defence": CAREFUL, "worst": 3}})
    twice = sweeps.sweep().to_dict()
    twice["grid"]["settings"] *= 2
    assert Sweep.from_dict("tried", twice).settings == sweeps.sweep().settings
    none = plain | {"grid": plain["grid"] | {"attacks": ["mimic(f=0)"]}}
    with pytest.raises(ConfigError, match=r"against .*f must be at least 1"):
        list(Sweep.from_dict("tried", none).cells())


@pytest.mark.parametrize("name", suites())
def test_suites_are_sound(name: str) -> None:
    planned = load_sweep(name)
    assert Sweep.from_dict(name, planned.to_dict()) == planned
    assert NONE in planned.attacks
    assert len(planned.seeds) >= 2
    first = dataclasses.replace(planned, seeds=planned.seeds[:1])
    cells = [content_of(cell) for cell in first.cells() if cell.run == "defended"]
    defences = {each["scenario"]["defence"] for each in cells}
    assert len(defences) >= len(planned.defences)
    if name in ("default", "full"):
        tried = set(re.findall(r"(\w+)\(", " ".join(planned.attacks))) - {"chain"}
        every = (*ATTACKS, *OMNISCIENT, *DISGUISES, *WHITE_BOXES)
        assert tried == {each.__name__ for each in every}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bass": {}}, "did you mean 'base'"),
        ({"base": {"round": 3}}, "did you mean 'rounds'"),
        ({"base": {"attack": "mean()"}}, "unknown key of"),
        ({"grid": {"attack": []}}, "did you mean 'attacks'"),
        ({"grid": {"attacks": []}}, "needs attacks"),
        ({"grid": {"attacks": ["sing_flip()"]}}, "did you mean 'sign_flip'"),
        ({"grid": {"defences": ["mean()", "mean()"]}}, "two defences of one name"),
        ({"grid": {"defences": [{"name": "x"}]}}, "needs the key 'defence'"),
        ({"grid": {"seeds": ["x"]}}, "whole numbers"),
        ({"grid": {"settings": [{"partition": "iid()"}]}}, "settings, or partitions"),
        ({"targets": {"defence": "krum()"}}, "unknown defence in"),
        ({"targets": {"defence": CARELESS, "worst": [{"partition": "iid()"}]}}, "'malicious'"),
    ],
)
def test_mistakes_are_told(change: dict[str, Any], words: str) -> None:
    plain = {
        name: {**sweeps.PLAIN.get(name, {}), **value} if name == "grid" else value
        for name, value in change.items()
    }
    with pytest.raises(ConfigError, match=words):
        list(Sweep.from_dict("tried", sweeps.PLAIN | plain).cells())


def test_an_unknown_suite_or_key_is_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'smoke'"):
        load_sweep("smoek")
    with pytest.raises(UnknownName, match="did you mean 'rounds'"):
        sweeps.sweep().evolve({"round": "3"})


def a_cell(**scenario: Any) -> Cell:
    cell = next(each for each in sweeps.sweep().cells() if each.run == "defended")
    return dataclasses.replace(cell, scenario=cell.scenario.evolve(**scenario))


def test_a_key_depends_on_what_decides_the_result_alone() -> None:
    key = key_of(a_cell())
    assert key_of(a_cell()) == key == key_of(a_cell(id="other", summary="told otherwise"))
    for change in ({"rounds": 4}, {"seed": 9}, {"attack": "label_flip()"}, {"reputation": True}):
        assert key_of(a_cell(**change)) != key
    oracle = dataclasses.replace(a_cell(), run="oracle", attack=NONE)
    same = a_cell(defence="krum(f=1)", attack="label_flip()")
    assert key_of(dataclasses.replace(same, run="oracle", attack=NONE)) == key_of(oracle) != key
    assert key_of(dataclasses.replace(same, run="oracle")) != key_of(oracle)


def test_a_key_depends_on_code_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(a_cell())
    for name in ("code_digest", "environment"):
        with monkeypatch.context() as other:
            other.setattr(cache_module, name, lambda: "another")
            assert key_of(a_cell()) != key
    assert len(code_digest()) == 64


def test_a_users_code_is_digested_with_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    mine, near, far = (tmp_path / name for name in ("mine.py", "near.py", "far.py"))
    mine.write_text("import near\n")
    near.write_text("x = 1\n")
    far.write_text("x = 1\n")
    before = own_digest("mine:f")
    far.write_text("x = 2\n")
    assert own_digest("mine:f") == before
    near.write_text("x = 2\n")
    assert own_digest("mine:f") != before
    assert own_digest("krum(f=1)") is None


def test_the_cache_gives_back_what_it_was_given(tmp_path: Path) -> None:
    kept, cell = Cache(tmp_path), a_cell()
    key, result = key_of(cell), sweeps.result(0.7, 0.2, found=(3, 4))
    assert kept.get(key) is None
    kept.put(cell, key, result, 1.5)
    assert kept.get(key) == (result, 1.5)
    written = kept.path(key).read_bytes()
    assert b"1.5" not in written
    kept.put(cell, key, result, 9.0)
    assert kept.path(key).read_bytes() == written
    kept.path(key).write_bytes(written[:-9])  # torn, as no write of ours leaves it
    assert kept.get(key) is None
    assert [each.suffix for each in tmp_path.rglob("*.*")].count(".tmp") == 0


def test_an_interval_is_students() -> None:
    assert estimate([]) is None
    assert estimate([0.5]) == (0.5, None)
    found = estimate([1.0, 2.0, 3.0, 4.0])  # t(0.975, 3) = 3.182, s = 1.291
    assert found
    assert found.mean == 2.5
    assert found.half == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)


def made_up(cell: Cell) -> Result:
    """The oracle at 0.80, 0.81, 0.82; the careful defence 10 % under it when attacked."""
    oracle = 0.8 + cell.seed / 100
    if cell.run == "defended":
        kept = 0.88 if cell.defence == CAREFUL else 0.5
        success = 0.3 if "backdoor" in cell.attack else None
        return sweeps.result(kept * oracle, success, found=(2,) if cell.defence == CAREFUL else ())
    taken = 0.04 if cell.run == "oracle" and cell.attack != NONE else None
    return sweeps.result(oracle - (0.05 if cell.run == "peace" else 0.0), taken, hostile=0)


def test_figures_are_paired_by_seed_and_targets_missed_are_told() -> None:
    planned = sweeps.sweep()
    summary = summary_of(planned, sweeps.found(planned, made_up))
    (setting,) = planned.settings
    worst = summary.worst(setting, CAREFUL)
    assert worst
    assert worst.kept.mean == pytest.approx(0.88)
    assert worst.kept.half == pytest.approx(0.0, abs=1e-9)
    assert worst.accuracy.half
    assert worst.accuracy.half > 0.01
    assert summary.groups[setting, NONE, CAREFUL].gap.mean == pytest.approx(0.05)
    missed = [(what, group.attack) for what, group, _, _ in summary.missed()]
    assert missed == [
        ("accuracy lost with nobody attacking", NONE),
        ("accuracy kept of the oracle's", "sign_flip()"),
        ("accuracy kept of the oracle's", "backdoor(boost=5)"),
        ("attack success", "backdoor(boost=5)"),
    ]


class Page(HTMLParser):
    """Fails on a tag that is not closed, gathers links and what is marked as missed."""

    VOID = ("meta", "path", "polyline", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.missed = self.scripts = 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.open += [] if tag in self.VOID else [tag]
        self.links += [given["href"] or ""] if tag == "a" else []
        self.missed += tag == "td" and given.get("class") == "missed"
        self.scripts += tag == "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_sound_escapes_names_and_shows_what_is_missed() -> None:
    planned = sweeps.sweep()
    summary = summary_of(planned, sweeps.found(planned, made_up))
    text = in_html(summary, "fedguard sweep '<i>'")
    page = Page(text)
    assert "<b>careful" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;careful|&lt;/b&gt;" in text
    assert page.missed == 4 + 2 + 1  # the heatmap with its worst case, the worst cases, backdoors
    assert page.scripts == 0
    assert any(link.startswith("runs/") for link in page.links)


def test_a_page_to_commit_has_no_links_to_runs(tmp_path: Path) -> None:
    planned = sweeps.sweep()
    runs = sweeps.found(planned, made_up)
    summary = summary_of(planned, runs)
    written = write_pages(summary, runs, "fedguard sweep tried", tmp_path, None)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path in written:
        text = path.read_text(encoding="utf8")
        assert "runs/" not in text
        assert path.suffix == ".json" or "Accuracy kept" in text
    assert "](runs/" in in_markdown(summary, "fedguard sweep tried")


def test_markdown_and_json_say_the_same() -> None:
    planned = sweeps.sweep()
    runs = sweeps.found(planned, made_up)
    command = "fedguard sweep tried"
    text = in_markdown(summary_of(planned, runs), command)
    rows = [line for line in text.splitlines() if line.startswith("| `<b>careful\\|</b>`")]
    assert len(rows) == 3  # worst case, detection, cost
    heads = [line for line in text.splitlines() if "| `<b>careful\\|</b>` |" in line]
    assert len(heads) == len(rows) + 3  # accuracy kept, attack success, rounds to quarantine
    assert text.count("🔴") == 4 + 7
    assert "30.0 ± 0.0 (4.0)" in text  # of the trigger's examples, 4 % in a model nobody attacked
    again = read_json(in_json(planned, runs, command))
    assert again[0] == planned
    assert again[2] == command
    assert in_markdown(summary_of(*again[:2]), command) == text


def test_a_single_defence_has_its_settings_side_by_side() -> None:
    careful = sweeps.PLAIN["grid"]["defences"][-1:]
    partitions = ["dirichlet(alpha=1.0)", "dirichlet(alpha=0.1)"]
    planned = sweeps.sweep(defences=careful, partitions=partitions)
    text = in_markdown(summary_of(planned, sweeps.found(planned, made_up)), "c")
    assert text.count("## Accuracy kept") == text.count("## Detection") == 1
    first, second = map(str, planned.settings)
    assert f"| attack | `{first}` | `{second}` |" in text


def test_the_same_results_give_the_same_bytes_but_for_what_they_cost() -> None:
    planned = sweeps.sweep()
    one = sweeps.found(planned, made_up)
    other = [each._replace(seconds=7.0) for each in one]
    first, second = (
        in_json(planned, each, "c").rpartition('"seconds"')[0] for each in (one, other)
    )
    assert first == second
    pages = [in_markdown(summary_of(planned, each), "c").split("## Cost") for each in (one, other)]
    assert pages[0][0] == pages[1][0]
    assert pages[0][1] != pages[1][1]


def compared(
    before: Callable[[Cell], Result], after: Callable[[Cell], Result], points: float = 2.0
) -> Comparison:
    planned = sweeps.sweep()
    one, other = (summary_of(planned, sweeps.found(planned, each)) for each in (before, after))
    return compare(baseline_of(one), other, points)


def worse(by: float, spread: float = 0.0, where: str = "") -> Callable[[Cell], Result]:
    """As `made_up`, the careful defence less accurate by a bit more or less for each seed."""

    def result_of(cell: Cell) -> Result:
        result = made_up(cell)
        if cell.defence != CAREFUL or where not in cell.attack:
            return result
        accuracy = result.accuracy[-1] - by - spread * (cell.seed - 1)
        return dataclasses.replace(result, accuracy=(0.1, accuracy))

    return result_of


def test_progress_is_told_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "TELL_EVERY", 0.0)
    assert list(measuring.shown(iter("abc"), total=5, done=2)) == ["a", "b", "c"]
    assert capsys.readouterr().out.splitlines()[0].startswith("3 of 5 cells, some ")
    monkeypatch.setattr(measuring, "TELL_EVERY", 1e9)
    assert list(measuring.shown(iter("abc"), total=5, done=2)) == ["a", "b", "c"]
    assert capsys.readouterr().out == "5 of 5 cells, some 0 min left\n"


def test_the_gate_is_quiet_about_what_did_not_change() -> None:
    found = compared(made_up, made_up)
    assert (found.regressions, found.improvements, found.gone, found.new) == ((), (), (), ())
    assert found.compared == 6


def test_the_gate_fails_beyond_noise_and_points_alone() -> None:
    found = compared(made_up, worse(0.05, spread=0.01, where="sign_flip"))
    assert [(each.place.attack, each.measure) for each in found.regressions] == [
        ("sign_flip()", "accuracy"),
        ("all attacks together", "accuracy"),
    ]
    change = found.regressions[0]
    # differences 0.04, 0.05, 0.06: t = 0.05 / (0.01 / sqrt(3)) = 8.66 with two degrees of freedom
    assert change.chance == pytest.approx(0.0065, abs=1e-4)
    assert change.worse == pytest.approx(0.05)
    assert not compared(made_up, worse(0.05, spread=0.2)).regressions  # noise
    assert not compared(made_up, worse(0.015)).regressions  # less than two points
    assert compared(made_up, worse(0.015), points=1.0).regressions
    better = compared(worse(0.05), made_up)
    assert not better.regressions
    assert better.improvements


def test_a_defence_that_breaks_at_times_fails_the_gate() -> None:
    """Three seeds, of which two are far worse: no test of means tells that."""

    def breaks(seeds: tuple[int, ...]) -> Callable[[Cell], Result]:
        def after(cell: Cell) -> Result:
            broken = cell.defence == CAREFUL and "sign_flip" in cell.attack and cell.seed in seeds
            own = made_up(cell)
            lost = 0.5 * (1 + cell.seed) / 3 if broken else 0.0
            return dataclasses.replace(own, accuracy=(*own.accuracy[:-1], own.accuracy[-1] - lost))

        return after

    found = compared(made_up, breaks((0, 2)))
    assert {each.place.attack for each in found.regressions} >= {"sign_flip()"}
    assert all(each.chance > 0.05 for each in found.regressions)
    assert not compared(made_up, breaks((2,))).regressions


def test_a_defence_that_breaks_at_times_fails_though_its_mean_is_better() -> None:
    def after(cell: Cell) -> Result:
        own = made_up(cell)
        gained = (-0.3, 0.2, 0.2, 0.2, -0.2)[cell.seed] if cell.defence == CAREFUL else 0.0
        return dataclasses.replace(own, accuracy=(*own.accuracy[:-1], own.accuracy[-1] + gained))

    planned = sweeps.sweep(seeds=[0, 1, 2, 3, 4])
    one, other = (summary_of(planned, sweeps.found(planned, each)) for each in (made_up, after))
    found = compare(baseline_of(one), other, 2.0)
    assert {each.measure for each in found.regressions} == {"accuracy"}
    assert all(each.broken and each.worse < 0.03 for each in found.regressions)
    assert found.improvements == ()


def test_what_got_better_makes_no_noise_a_regression() -> None:
    """Differences of 2, 5 and 5 points have a chance of 0.03: too much where two figures moved up.

    The figure itself and all attacks together are told so, of four that moved.
    """
    noise = (0.02, 0.05, 0.05)

    def after(cell: Cell) -> Result:
        own = made_up(cell)
        if cell.defence != CAREFUL:
            return own
        noisy = "sign_flip" in cell.attack
        gained = -noise[cell.seed] if noisy else 0.3
        return dataclasses.replace(own, accuracy=(*own.accuracy[:-1], own.accuracy[-1] + gained))

    found = compared(made_up, after)
    assert found.regressions == ()
    assert {each.place.attack for each in found.improvements} >= {"none", "backdoor(boost=5)"}
    assert all(each.worse < 0 and each.after > each.before for each in found.improvements)


def test_one_seed_alone_fails_the_gate_by_much_alone() -> None:
    alone = sweeps.sweep(seeds=[0])
    before = baseline_of(summary_of(alone, sweeps.found(alone, made_up)))
    for lost, fails in ((0.05, False), (0.2, True)):
        after = summary_of(alone, sweeps.found(alone, worse(lost)))
        assert bool(compare(before, after, 2.0).regressions) == fails


def test_the_gate_sees_backdoors_and_quarantines() -> None:
    def after(cell: Cell) -> Result:
        result = made_up(cell)
        if cell.defence != CAREFUL or cell.attack == NONE:
            return result
        success = (0.0, 0.9) if result.attack_success else ()
        return dataclasses.replace(result, attack_success=success, found=(), honest_away=2)

    found = compared(made_up, after)
    assert {each.measure for each in found.regressions} == {
        "attack success",
        "attackers put away",
        "honest put away",
    }


def test_a_baseline_round_trips_and_has_to_fit(tmp_path: Path) -> None:
    planned = sweeps.sweep()
    summary = summary_of(planned, sweeps.found(planned, made_up))
    path = tmp_path / "baseline.json"
    thirds = summary_of(
        planned,
        sweeps.found(planned, lambda _: sweeps.result(1 / 3, 2 / 3)),
    )
    baseline_of(thirds).write(path)
    assert read_baseline(path) == baseline_of(thirds)  # what did not change has not moved
    baseline_of(summary).write(path)
    first = path.read_bytes()
    read_baseline(path).write(path)
    assert path.read_bytes() == first
    assert compare(read_baseline(path), summary, 0.0).regressions == ()
    fewer = sweeps.sweep(attacks=["none", "label_flip()"])
    other = summary_of(fewer, sweeps.found(fewer, made_up))
    found = compare(read_baseline(path), other, 2.0)
    assert (found.compared, len(found.gone), len(found.new)) == (2, 4, 2)
    longer = planned.evolve({"rounds": "9"})
    with pytest.raises(ConfigError, match="rounds = 3, this sweep has 9"):
        compare(read_baseline(path), summary_of(longer, sweeps.found(longer, made_up)), 2.0)
    alone = planned.only("krum(f=1)")
    with pytest.raises(ConfigError, match="no cell of this sweep"):
        compare(read_baseline(path), summary_of(alone, sweeps.found(alone, made_up)), 2.0)
    others = planned.evolve({"seeds": "5,6"})
    with pytest.raises(ConfigError, match=r"has the seeds \[0, 1, 2\], this sweep has \[5, 6\]"):
        compare(read_baseline(path), summary_of(others, sweeps.found(others, made_up)), 2.0)
    path.write_text("{}", encoding="utf8")
    with pytest.raises(ConfigError, match="is no baseline"):
        read_baseline(path)
    with pytest.raises(ConfigError, match="there is no baseline"):
        read_baseline(tmp_path / "none.json")


def test_the_committed_baseline_is_of_the_suite_as_it_is() -> None:
    planned = load_sweep("smoke")
    known = read_baseline(sweep_path("smoke").with_suffix(".baseline.json"))
    assert known.base == planned.base
    wanted = {
        (str(cell.setting), cell.attack, cell.defence)
        for cell in planned.cells()
        if cell.defence not in (ORACLE, CLEAN)
    }
    assert set(map(tuple, known.figures)) == wanted


def test_the_sweep_and_the_defence_that_the_docs_show_are_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf8")
    (shown,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "defences.py").write_text(code, encoding="utf8")
    (tmp_path / "models.py").write_text("def small(shape, classes): ...\n", encoding="utf8")
    (tmp_path / "mine.toml").write_text(shown, encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    planned = load_sweep(str(tmp_path / "mine.toml"))
    cells = list(planned.cells())
    assert {cell.defence for cell in cells if cell.scenario.reputation} == {"ours"}
    assert planned.targets
    assert planned.targets.worst[Setting("dirichlet(alpha=0.3)", 2)] == 0.9
    assert len({key_of(cell) for cell in cells}) == len(cells) - 10  # plain means in peace


def test_your_own_baseline_lies_here_and_not_beside_fedguards_own() -> None:
    shipped = sweep_path("smoke").with_suffix(".baseline.json")
    assert usual_baseline("smoke", own=False) == shipped
    assert usual_baseline("smoke", own=True) == Path("smoke.baseline.json")
    assert usual_baseline("deep/mine.toml", own=True) == Path("deep/mine.baseline.json")


@pytest.mark.parametrize(
    ("folder", "found"), [("code", ["a.py", "b.py"]), ("site-packages", ["a.py"])]
)
def test_an_installed_module_is_taken_alone(
    folder: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "own_a.py").write_text("import own_b\n")
    (tmp_path / folder / "own_b.py").write_text("import own_a\n")
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert [each.name for each in own_modules("own_a:made")] == [f"own_{each}" for each in found]


def test_a_folder_of_modules_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without an __init__.py, too: a change in it is a change of the defence."""
    (tmp_path / "own_lib").mkdir()
    rule = tmp_path / "own_lib" / "rules.py"
    rule.write_text("careful = 1\n")
    (tmp_path / "own_user.py").write_text("from own_lib.rules import careful\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own_modules("own_user:careful") == [tmp_path / "own_user.py", tmp_path / "own_lib"]
    assert own_modules("own_lib.rules:careful") == [tmp_path / "own_lib"]
    before = own_digest("own_user:careful"), own_digest("own_lib.rules:careful")
    rule.write_text("careful = 2\n")
    after = own_digest("own_user:careful"), own_digest("own_lib.rules:careful")
    assert all(one != other for one, other in zip(before, after, strict=True))
    (tmp_path / "own_user.py").write_text("import own_lib.rules; import (\n")
    with pytest.raises(ConfigError, match=r"own_user.py is not Python"):
        own_modules("own_user:careful")
