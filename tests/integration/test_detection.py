"""The table of detection, a cell of it at a time, on digits."""

from __future__ import annotations

import pytest

from fedguard_simulations.detection import ATTACKS, LONE, NONE, Plan, measure


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
