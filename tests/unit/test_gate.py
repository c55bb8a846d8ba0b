"""What the gate refuses beyond malformed arrays, when a round closes, and where its updates lie."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from flower_parts import Answer, FakeGrid, answer, model, shifted
from flwr.app import ArrayRecord, Message, RecordDict

import fedguard_strategies as rules
from fedguard import MemoryStore, Policy, RoundReport
from fedguard.errors import InvalidParameter, StoreUnavailable
from fedguard.flower import GuardedGrid, GuardedStrategy
from fedguard.flower.spool import Spool

MEAN = Policy(rules.mean())


def rounds(
    answers: list[Answer], count: int = 1, policy: Policy = MEAN, **options: Any
) -> tuple[ArrayRecord, list[RoundReport]]:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(
        policy, min_nodes=len(answers), on_round=reports.append, store=MemoryStore(), **options
    )
    result = strategy.start(FakeGrid(answers), model(), num_rounds=count, timeout=0.3)
    return result.arrays or model(), reports


def moving(message: Message) -> Message:
    return answer(shifted(1.0, message.content.array_records["arrays"]))(message)


def refused(report: RoundReport) -> dict[str, str]:
    return {verdict.client: verdict.reason for verdict in report.refused}


def test_an_update_sent_before_is_refused() -> None:
    _, reports = rounds([moving, moving, answer(shifted(0.5))], count=3)
    assert [refused(report) for report in reports] == [{}, {"103": "replayed"}, {"103": "replayed"}]
    assert "round 1" in reports[1].refused[0].detail


def test_a_round_that_was_held_may_be_answered_again() -> None:
    """The model stayed, so an honest client that trains without chance sends the same."""
    strict = Policy(rules.krum(2))  # needs more than there are
    _, reports = rounds([answer(shifted(1.0)), answer(shifted(2.0))], count=2, policy=strict)
    assert all(report.held for report in reports)
    assert [refused(report) for report in reports] == [{}, {}]


def test_a_reply_is_gone_before_the_next_is_pulled() -> None:
    """However large replies are, one is in memory at a time: none waits for the cycle finder."""
    alive: list[weakref.ref[ArrayRecord]] = []

    def one_at_a_time(message: Message) -> Message:
        assert [each for each in alive if each() is not None] == []
        arrays = shifted(float(len(alive)))
        alive.append(weakref.ref(arrays))
        return answer(arrays)(message)

    gc.disable()
    try:
        _, reports = rounds([one_at_a_time] * 4)
    finally:
        gc.enable()
    assert len(reports[0].admitted) == len(alive) == 4


def test_an_update_of_another_round_is_stale() -> None:
    frank = answer(shifted(1.0), **{"server-round": 1})
    late = answer(shifted(2.0), **{"server-round": 7})
    _, reports = rounds([frank, frank, late])
    assert refused(reports[0]) == {"103": "stale"}


def test_a_norm_ceiling_is_the_operators() -> None:
    _, reports = rounds([moving, moving, answer(shifted(100.0))], longest=50.0)
    assert refused(reports[0]) == {"103": "too-long"}
    _, reports = rounds([moving, moving, answer(shifted(100.0))])
    assert refused(reports[0]) == {}


def test_fewer_than_the_quorum_hold_the_round() -> None:
    silent = answer(None)
    moved, reports = rounds([moving, silent, silent])
    assert reports[0].held == (
        "1 of the 3 clients asked are admitted, fewer than the quorum of 50%"
    )
    assert moved["bias"].numpy() == pytest.approx([0, 0])
    _, reports = rounds([moving, silent, silent], policy=Policy(rules.mean(), quorum=0.3))
    assert reports[0].held is None
    with pytest.raises(InvalidParameter, match="quorum"):
        Policy(rules.mean(), quorum=1.5)


def test_a_failing_store_is_no_clients_fault() -> None:
    class Gone(MemoryStore):
        def sent_before(self, digests: Any, version: int) -> Any:
            raise StoreUnavailable("here", "the database is gone")

    store = Gone()
    with pytest.raises(StoreUnavailable, match="gone"):
        GuardedStrategy(MEAN, min_nodes=2, store=store, store_patience=0).start(
            FakeGrid([moving] * 2), model(), num_rounds=1, timeout=0.3
        )
    assert store.done == 0


def test_a_full_disk_is_no_clients_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "keep", full)
    with pytest.raises(OSError, match="No space"):
        rounds([moving] * 2, memory=0, spool=tmp_path)
    assert list(tmp_path.iterdir()) == []


class Mute(FakeGrid):
    """The last node never answers; or not before `after` looks."""

    after = 10**9
    looks = 0

    def pull_messages(self, message_ids: Any) -> list[Message]:
        (each,) = message_ids
        if self.sent[each].metadata.dst_node_id == 100 + len(self.answers):
            self.looks += 1
            if self.looks < self.after:
                return []
        return list(super().pull_messages([each]))


def test_stragglers_get_the_patience_and_no_more() -> None:
    strategy = GuardedStrategy(MEAN, min_nodes=4, patience=0.2)
    began = time.monotonic()
    strategy.start(Mute([moving] * 4), model(), num_rounds=1, timeout=60.0)
    assert 0.2 <= time.monotonic() - began < 20
    (report,) = strategy.store.reports  # type: ignore[attr-defined]
    assert refused(report) == {"104": "no-reply"}
    assert report.held is None


def test_what_comes_too_late_is_dropped_in_the_next_round() -> None:
    grid = Mute([moving] * 3)
    guarded = GuardedGrid(grid, model())
    asked = [
        Message(RecordDict({"arrays": model()}), node, "train") for node in grid.get_node_ids()
    ]
    assert len(list(guarded.send_and_receive(asked, timeout=0.05))) == 2
    grid.after = 0
    pulled = len(grid.pulled)
    assert list(guarded.send_and_receive([], timeout=0.05)) == []
    assert grid.pulled[pulled:] == ["m2"]


@pytest.mark.parametrize("rule", [rules.trimmed_mean(1), rules.krum(1), rules.caf(1)])
def test_updates_on_disk_give_the_same_bits(tmp_path: Path, rule: Any) -> None:
    answers = [answer(shifted(each)) for each in (1.0, 1.1, 0.9, 1.2, -7.0)]
    here, one = rounds(answers, policy=Policy(rule))
    there, other = rounds(answers, policy=Policy(rule), memory=0, spool=tmp_path)
    assert one == other
    assert all(here[name].data == there[name].data for name in here)
    assert list(tmp_path.iterdir()) == []
