"""The table of detection, a cell of it at a time, on digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedguard_simulations import detection
from fedguard_simulations.detection import ATTACKS, LONE, NONE, ORACLE, Plan, cell_of, measure
from fedguard_simulations.detection_page import page


@pytest.mark.parametrize("lone", LONE)
def test_who_alone_holds_a_class_is_not_put_away(lone: int) -> None:
    cell = measure(Plan("digits", 10, 0.1, NONE, 0, 25, lone))
    assert cell.lone in {"trusted", "watch", "probation"}
    assert cell.lone_extent > 1.0, "it stands out, or this tests nothing"
    assert cell.false_quarantines == 0


def test_loud_attackers_are_found_at_once() -> None:
    cell = measure(Plan("digits", 10, 0.3, ATTACKS[0], 0, 12))
    assert (cell.keys, cell.found) == (2, (3, 3))
    assert cell.share < 0.01
    assert cell.false_quarantines == sum(cell.false_at[:3]) == 0


def test_it_goes_on_and_ends_with_the_same_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (["digits"], [10], 1, 3)
    kinds = (ORACLE, NONE, ATTACKS[0], "sign_flip()")
    few = [plan for plan in detection.plans(*asked) if plan.attack in kinds]
    monkeypatch.setattr(detection, "plans", lambda *_: few)

    def written() -> tuple[str, str]:
        detection.write_detection(tmp_path, *asked, workers=1)
        return (tmp_path / "detection.md").read_text(), (tmp_path / "detection.json").read_text()

    first = written()
    (kept,) = tmp_path.glob("build/detection-*.jsonl")
    lines = kept.read_text().splitlines(keepends=True)
    assert len(lines) == len(few)
    kept.write_text("".join(lines[:5]) + lines[5][:40])  # killed in its sixth cell
    assert written() == first
    data = json.loads(first[1])
    assert page(list(map(cell_of, data["cells"])), data["command"], data["defence"]) == first[0]
