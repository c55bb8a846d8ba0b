"""The adversary on the wire, when replies are missing or cannot be read; and the roll call."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from flower_parts import Answer, FakeGrid, answer, model, shifted
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict

import fedguard_strategies as rules
from fedguard import Policy, RoundReport
from fedguard.defence import Defence
from fedguard.errors import FedguardError
from fedguard.flower import GuardedStrategy
from fedguard_simulations.adversary import AdversarialGrid
from fedguard_simulations.attacks import (
    decorrelated,
    inner_product_manipulation,
    relocated_orthogonal_perturbation,
)
from fedguard_simulations.runners import flower
from fedguard_simulations.runners.flower import call_the_roll

CLIENTS = {101 + i: i for i in range(6)}
LIAR = 5


IPM = inner_product_manipulation(1, epsilon=4.0)


def rounds(
    grid: FakeGrid, count: int, attack: Defence = IPM
) -> tuple[list[RoundReport], list[float]]:
    """Reports, and where the bias stood after each round; the honest move it by 1 a round."""
    reports: list[RoundReport] = []
    places: list[float] = []
    strategy = GuardedStrategy(Policy(rules.mean()), min_nodes=6, on_round=reports.append)
    strategy.start(
        AdversarialGrid(grid, attack, CLIENTS, {LIAR}, str, strategy),
        model(),
        num_rounds=count,
        timeout=0.1,
        evaluate_fn=lambda _, arrays: places.append(float(arrays["bias"].numpy()[0])),
    )
    return reports, places


def moving(message: Message) -> Message:
    return answer(shifted(1.0, message.content.array_records["arrays"]))(message)


def test_the_liar_sends_what_the_attack_makes_every_round() -> None:
    reports, places = rounds(FakeGrid([moving] * 6), 2)
    assert all(len(report.admitted) == 6 for report in reports)
    assert places == pytest.approx([0, (5 - 4) / 6, 2 * (5 - 4) / 6])


def test_an_attack_may_be_a_chain() -> None:
    _, places = rounds(FakeGrid([moving] * 6), 2, decorrelated(1, pull=3.0))
    assert places == pytest.approx([0, (5 - 3) / 6, 2 * (5 - 3) / 6])  # the honest have no spread


def test_an_attack_sees_where_the_global_model_went() -> None:
    _, places = rounds(FakeGrid([moving] * 6), 3, relocated_orthogonal_perturbation(1))
    # the liar sends the last aggregate: none at first, then what the round before moved
    first = 5 / 6
    second = (5 + first) / 6
    third = (5 + second) / 6
    assert places == pytest.approx(np.cumsum([0, first, second, third]))


def test_a_silent_honest_node_costs_only_itself() -> None:
    class OnceSilent(FakeGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            (each,) = message_ids
            return [] if each == "m0" else super().pull_messages([each])

    reports, places = rounds(OnceSilent([moving] * 6), 2)
    # with an honest reply missing the liar holds its own back; the next round is whole again
    assert reports[0].admitted == ("102", "103", "104", "105")
    assert len(reports[1].admitted) == 6
    assert places == pytest.approx([0, 1, 1 + (5 - 4) / 6])


def test_an_unreadable_reply_is_blamed_on_its_sender() -> None:
    def crash(message: Message) -> Message:
        raise IndexError("hostile")

    reports, places = rounds(FakeGrid([moving, crash, *[moving] * 4]), 2)
    for report in reports:
        assert [(each.client, each.reason) for each in report.refused] == [("102", "unreadable")]
    assert places == pytest.approx([0, 0, 0])  # 4 x 1 and one -4


def partition(number: int) -> Answer:
    record = RecordDict({"node": MetricRecord({"partition-id": number})})
    return lambda message: Message(record, reply_to=message)


def test_the_roll_is_called() -> None:
    grid = FakeGrid([partition(2), partition(0), partition(1)], appear_one_by_one=True)
    assert call_the_roll(grid, 3) == {101: 2, 102: 0, 103: 1}


@pytest.mark.parametrize(
    "odd",
    [
        partition(0),
        partition(9),
        lambda message: Message(RecordDict(), reply_to=message),
        lambda message: Message(Error(1, "no"), reply_to=message),
    ],
)
def test_a_wrong_roll_is_told(odd: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower, "PATIENCE", 0.3)
    with pytest.raises(FedguardError, match="needs 3 nodes with partition-id 0 to 2"):
        call_the_roll(FakeGrid([partition(0), partition(1), odd]), 3)


def test_waiting_for_nodes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower, "PATIENCE", 0.3)
    with pytest.raises(FedguardError, match=r"those that answered have \[0\]"):
        call_the_roll(FakeGrid([partition(0)]), 3)


def test_crafted_rows_are_shared_out_in_client_order() -> None:
    grid = FakeGrid([moving] * 6)
    attack = inner_product_manipulation(2, epsilon=1.0)
    order = {node: 5 - i for node, i in CLIENTS.items()}
    strategy = GuardedStrategy(Policy(rules.mean()))
    wire = AdversarialGrid(grid, attack, order, {0, 5}, str, strategy)
    content = RecordDict({"arrays": model(), "config": ConfigRecord({"server-round": 1})})
    ids = list(wire.push_messages([Message(content, node, "train") for node in CLIENTS]))
    replies = [next(iter(wire.pull_messages([each]))) for each in ids]
    biases = [float(r.content.array_records["arrays"]["bias"].numpy()[0]) for r in replies]
    assert biases == pytest.approx([-1, 1, 1, 1, 1, -1])
    assert np.isfinite(biases).all()
