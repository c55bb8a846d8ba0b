"""GuardedStrategy and GuardedGrid against replies of every kind, without Ray."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import numpy as np
import pytest
from flower_parts import Answer, FakeGrid, answer, content, model, npy, shifted
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

import fedguard_strategies as rules
from fedguard import Action, MemoryStore, Override, Policy, RoundReport, State, chain
from fedguard.errors import (
    ConfigError,
    InvalidParameter,
    MissingVector,
    RunHeld,
    StoreUnavailable,
)
from fedguard.flower import GuardedStrategy, Layout
from fedguard.flower import grid as grid_module
from fedguard.flower import strategy as strategy_module
from fedguard.flower.participants import name_of_node
from fedguard.sampling import f_of_sample
from fedguard_strategies.recipes import standard_scorers

TRIMMED = Policy(rules.trimmed_mean(1), standard_scorers(1))


def run(
    answers: list[Answer],
    policy: Policy = TRIMMED,
    arrays: ArrayRecord | None = None,
    **options: Any,
) -> tuple[ArrayRecord, list[RoundReport], FakeGrid]:
    grid, reports = FakeGrid(answers), list[RoundReport]()
    options = {"min_nodes": len(answers), "on_round": reports.append, **options}
    start = model() if arrays is None else arrays
    result = GuardedStrategy(policy, **options).start(grid, start, num_rounds=1, timeout=0.2)
    return result.arrays or start, reports, grid


def changed(**entries: Any) -> ArrayRecord:
    """The honest reply with some entries replaced (None removes one)."""
    arrays = {**shifted(1.0), **entries}
    record = ArrayRecord()
    record.update({name: array for name, array in arrays.items() if array is not None})
    return record


def raw(dtype: str, shape: tuple[int, ...], data: bytes, stype: str = "numpy.ndarray") -> Array:
    return Array(dtype=dtype, shape=shape, stype=stype, data=data)


def forged(**fields: Any) -> Array:
    """An array whose fields have types they should not have, as inflating JSON can give."""
    array = Array(GOOD)
    array.__dict__.update(fields)
    return array


GOOD = np.zeros(2, np.float32)
HONEST = [answer(shifted(1.0)) for _ in range(5)]
LYING_HEADER = b"\x93NUMPY\x01\x00v\x00" + (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 1000), }".ljust(117) + b"\n"
)
QUIET = [answer(None, loss=0.3) for _ in range(4)]
HOSTILE: dict[str, tuple[ArrayRecord | None, str]] = {
    "nan": (changed(bias=Array(np.array([np.nan, 0], np.float32))), "non-finite"),
    "inf": (changed(bias=Array(np.array([np.inf, 0], np.float32))), "non-finite"),
    "no arrays": (None, "keys"),
    "empty record": (ArrayRecord(), "keys"),
    "missing key": (changed(bias=None), "keys"),
    "extra key": (changed(more=Array(GOOD)), "keys"),
    "longer": (changed(bias=Array(np.zeros(3, np.float32))), "shape"),
    "empty array": (changed(bias=Array(np.zeros(0, np.float32))), "shape"),
    "scalar": (changed(bias=Array(np.array(1.0, np.float32))), "shape"),
    "one more axis": (changed(bias=Array(np.zeros((2, 2), np.float32))), "shape"),
    "transposed": (changed(weight=Array(np.zeros((3, 2), np.float32))), "shape"),
    "float16": (changed(bias=Array(GOOD.astype(np.float16))), "dtype"),
    "float64": (changed(bias=Array(GOOD.astype(np.float64))), "dtype"),
    "complex": (changed(bias=Array(GOOD.astype(np.complex64))), "dtype"),
    "big-endian": (changed(bias=raw(">f4", (2,), npy(GOOD.astype(">f4")))), "dtype"),
    "strings": (changed(bias=raw("float32", (2,), npy(np.array(["a", "b"])))), "dtype"),
    "objects": (changed(bias=raw("object", (2,), npy(np.array([{}, []], object)))), "dtype"),
    "counter as float": (changed(num_batches_tracked=Array(np.array(1.0))), "dtype"),
    "counter as vector": (changed(num_batches_tracked=Array(np.zeros(9, np.int64))), "shape"),
    "lying dtype": (changed(bias=raw("float32", (2,), npy(GOOD.astype(np.float64)))), "dtype"),
    "lying shape": (changed(bias=raw("float32", (2,), npy(np.zeros(5, np.float32)))), "shape"),
    "truncated": (changed(bias=raw("float32", (2,), npy(GOOD)[:-3])), "encoding"),
    "padded": (changed(bias=raw("float32", (2,), npy(GOOD) + b"x" * 99)), "encoding"),
    "garbage": (changed(bias=raw("float32", (2,), b"garbage")), "encoding"),
    "nothing": (changed(bias=raw("float32", (2,), b"")), "encoding"),
    "huge header": (changed(bias=raw("float32", (2,), LYING_HEADER)), "shape"),
    "header of evil": (
        changed(bias=raw("float32", (2,), b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535)),
        "encoding",
    ),
    "version 9": (changed(bias=raw("float32", (2,), b"\x93NUMPY\x09\x00")), "encoding"),
    "stype of no type": (changed(bias=forged(stype=7)), "encoding"),
    "shape of no type": (changed(bias=forged(shape=3)), "unreadable"),
    "data of no type": (changed(bias=forged(data=None)), "unreadable"),
    "other stype": (changed(bias=raw("float32", (2,), npy(GOOD), "pickle")), "encoding"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_reply_is_a_fault_of_its_sender_alone(case: str) -> None:
    arrays, reason = HOSTILE[case]
    moved, reports, _ = run([*HONEST, answer(arrays)])
    (report,) = reports
    assert [(each.client, each.reason) for each in report.refused] == [("106", reason)]
    assert report.held is None
    alone, _, _ = run(HONEST)
    for name in alone:
        assert moved[name].data == alone[name].data  # to the bit what the honest alone give


@pytest.mark.parametrize("claim", [0, -5, 10**15, float("nan"), float("inf"), 2.5, [1, 2]])
def test_claimed_examples_move_nothing(claim: Any) -> None:
    liar: Answer = lambda message: Message(  # noqa: E731
        RecordDict({"arrays": shifted(9.0), "metrics": MetricRecord({"num-examples": claim})}),
        reply_to=message,
    )
    mean = Policy(rules.mean())
    moved, reports, _ = run([*HONEST, liar], mean)
    fair, _, _ = run([*HONEST, answer(shifted(9.0))], mean)
    assert moved["weight"].data == fair["weight"].data
    claimed = reports[0].verdicts[-1].num_examples
    assert claimed is None or 0 <= claimed <= 2**53


def test_integer_buffers_stay_the_servers() -> None:
    liar = changed(num_batches_tracked=Array(np.array(10**18)))
    moved, reports, _ = run([answer(liar) for _ in range(5)])
    assert reports[0].refused == ()
    assert moved["num_batches_tracked"].numpy() == 7
    assert moved["num_batches_tracked"].dtype == "int64"
    assert moved["bias"].numpy() == pytest.approx([1, 1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_models_dtype_and_shapes_stay(dtype: str) -> None:
    start = model(dtype)
    moved, reports, _ = run([answer(shifted(0.5, start)) for _ in range(4)], arrays=start)
    assert reports[0].held is None
    assert {name: (a.dtype, a.shape) for name, a in moved.items()} == {
        name: (a.dtype, a.shape) for name, a in start.items()
    }
    assert list(moved) == list(start)
    assert moved["weight"].numpy() == pytest.approx(start["weight"].numpy() + 0.5)


def test_column_major_arrays_are_read_as_what_they_are() -> None:
    start = ArrayRecord({"w": Array(np.asfortranarray(np.arange(6.0).reshape(2, 3)))})
    reply = ArrayRecord({"w": Array(np.arange(6.0).reshape(2, 3) + 1)})
    other = ArrayRecord({"w": Array(np.asfortranarray(np.arange(6.0).reshape(2, 3) + 1))})
    moved, _, _ = run([answer(reply), answer(other), answer(other)], arrays=start)
    assert moved["w"].numpy().tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_float16_model_saturates_instead_of_overflowing() -> None:
    start = ArrayRecord({"w": Array(np.full(3, 60000, np.float16))})
    push = Layout.of(start).moved(start, np.full(3, 60000.0, np.float32))
    assert push["w"].numpy().tolist() == [65504.0] * 3


def test_a_model_without_floats_is_refused_before_anyone_trains() -> None:
    grid = FakeGrid(HONEST)
    with pytest.raises(ConfigError, match="no float parameter"):
        GuardedStrategy(TRIMMED).start(grid, ArrayRecord({"n": Array(np.arange(3))}))
    assert grid.sent == {}


def test_nothing_is_told_when_the_commit_fails() -> None:
    class Full(MemoryStore):
        def commit(self, *args: object, **kwargs: object) -> None:
            raise OSError("disk full")

    told: list[RoundReport] = []
    with pytest.raises(OSError, match="disk full"):
        run(HONEST, store=Full(), on_round=told.append)
    assert told == []


def test_a_client_cannot_speak_in_the_servers_name() -> None:
    for code in (0, 1, 3, 9001, 9002, 9003):
        liar: Answer = lambda message, code=code: Message(  # noqa: E731
            Error(code, "not-sent\x1b[2J" + "x" * 9999), reply_to=message
        )
        _, reports, _ = run([*HONEST, liar])
        (refused,) = reports[0].refused
        assert (refused.client, refused.reason) == ("106", "client-error")
        assert len(refused.detail) <= 500
        assert "\x1b" not in refused.detail


def test_one_client_has_one_vote_on_a_metric() -> None:
    def stuff(message: Message) -> Message:
        many = {f"m{i}": MetricRecord({"loss": 1e9, "planted": 1.0}) for i in range(20)}
        return Message(RecordDict(many), reply_to=message)

    huge = [answer(None, loss=1.7e308)] * 2
    told = measured([*QUIET, *huge, stuff])
    assert told is not None
    assert told["loss"] == 0.3
    assert set(told) == {"loss", "loss-lowest", "loss-highest"}


def test_what_few_of_those_asked_report_is_no_metric() -> None:
    liar = answer(None, **{"loss": 9.0, "pad\x00": 1.0, "\x1b[2J": 1.0})
    assert measured([*QUIET, liar], silent=4) is None
    assert set(measured([*QUIET[:1], *[liar] * 4]) or ()) == {"loss", "loss-lowest", "loss-highest"}


def measured(answers: list[Answer], silent: int = 0) -> MetricRecord | None:
    """What a strategy makes of the measurements of nodes, the first few of which are silent."""
    strategy = GuardedStrategy(TRIMMED, fraction_evaluate=1.0, min_nodes=1)
    asked = strategy.configure_evaluate(1, model(), ConfigRecord(), FakeGrid(answers))
    replies = [each(message) for each, message in zip(answers, asked, strict=True)]
    return strategy.aggregate_evaluate(1, replies[silent:])


def spoof(message: Message) -> Message:
    reply = Message(content(shifted(99.0)), reply_to=message)
    reply.metadata.__dict__["_src_node_id"] = 101
    return reply


def crash(message: Message) -> Message:
    raise IndexError("list index out of range")


def fail(message: Message) -> Message:
    return Message(Error(2, "the client app raised"), reply_to=message)


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [(spoof, "spoofed-source"), (crash, "unreadable"), (fail, "client-error")],
)
def test_faults_below_the_strategy_hit_who_caused_them(hostile: Answer, reason: str) -> None:
    moved, reports, grid = run([*HONEST, hostile])
    assert [(each.client, each.reason) for each in reports[0].refused] == [("106", reason)]
    assert moved["weight"].data == run(HONEST)[0]["weight"].data
    assert len(grid.pulled) == len(set(grid.pulled))  # what was pulled once is not asked again


def test_the_silent_are_faults_and_the_round_goes_on() -> None:
    class Silent(FakeGrid):
        def pull_messages(self, message_ids: Any) -> Any:
            (each,) = message_ids
            silent = self.sent[each].metadata.dst_node_id == 106
            return [] if silent else super().pull_messages([each])

    reports: list[RoundReport] = []
    strategy = GuardedStrategy(TRIMMED, min_nodes=6, on_round=reports.append)
    strategy.start(Silent([*HONEST, HONEST[0]]), model(), num_rounds=1, timeout=0.1)
    assert [(each.client, each.reason) for each in reports[0].refused] == [("106", "no-reply")]
    assert reports[0].held is None


def test_a_message_the_superlink_did_not_take_is_told() -> None:
    class Full(FakeGrid):
        def push_messages(self, messages: Any) -> Any:
            (message,) = messages
            return (
                [None] if message.metadata.dst_node_id == 103 else super().push_messages([message])
            )

    reports: list[RoundReport] = []
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, on_round=reports.append)
    strategy.start(Full(HONEST), model(), num_rounds=1)
    assert [(each.client, each.reason) for each in reports[0].refused] == [("103", "not-sent")]


def test_a_superlink_that_fails_at_one_message_does_not_end_the_run() -> None:
    class Failing(FakeGrid):
        def push_messages(self, messages: Any) -> Any:
            (message,) = messages
            if message.metadata.dst_node_id == 103:
                raise httpx.HTTPError("500 Internal Server Error")
            return super().push_messages([message])

    reports: list[RoundReport] = []
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, on_round=reports.append)
    strategy.start(Failing(HONEST), model(), num_rounds=1)
    assert [(each.client, each.reason) for each in reports[0].refused] == [("103", "not-sent")]


def test_a_superlink_that_takes_nothing_holds_no_round() -> None:
    """It is away: the run ends with its error and is started again, nobody has to look first."""

    class Away(FakeGrid):
        def push_messages(self, messages: Any) -> Any:
            raise httpx.ConnectError("refused")

    strategy = GuardedStrategy(TRIMMED, min_nodes=5)
    with pytest.raises(httpx.ConnectError):
        strategy.start(Away(HONEST), model(), num_rounds=1)
    assert strategy.store.done == 0


def test_a_superlink_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(FakeGrid):
        away = 3

        def get_nodes(self) -> Any:
            self.away -= 1
            if self.away >= 0:
                raise httpx.ConnectError("refused")
            return super().get_nodes()

    monkeypatch.setattr(grid_module, "PAUSES", (0.0,) * 4)
    strategy = GuardedStrategy(TRIMMED, min_nodes=5)
    result = strategy.start(Away(HONEST), model(), num_rounds=1)
    assert result.arrays
    monkeypatch.setattr(Away, "away", 9)
    with pytest.raises(httpx.ConnectError):
        GuardedStrategy(TRIMMED, min_nodes=5).start(Away(HONEST), model(), num_rounds=1)


def test_what_a_round_sends_cannot_be_told_beforehand() -> None:
    """A node that could would upload its objects first, with false children."""
    sent = [
        next(iter(run(HONEST)[2].sent.values())).content.config_records["config"].object_id
        for _ in range(2)
    ]
    assert sent[0] != sent[1]


def test_memory_that_is_full_is_no_clients_fault() -> None:
    def full(message: Message) -> Message:
        raise MemoryError

    with pytest.raises(MemoryError):
        run([*HONEST, full])


def test_a_held_round_leaves_the_model_and_the_run_goes_on() -> None:
    policy = Policy(rules.krum(2), standard_scorers(2))  # needs 7
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(policy, min_nodes=5, retries=None, on_round=reports.append)
    result = strategy.start(FakeGrid(HONEST), model(), num_rounds=3)
    assert [report.held is not None for report in reports] == [True] * 3
    assert "n >= 2f + 3" in str(reports[0].held)
    assert not result.arrays
    assert [metrics["held"] for metrics in result.train_metrics_clientapp.values()] == [1, 1, 1]


@pytest.mark.parametrize("retries", [0, 2])
def test_rounds_held_in_a_row_end_the_run(retries: int) -> None:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(
        Policy(rules.krum(2)), min_nodes=5, retries=retries, on_round=reports.append
    )
    with pytest.raises(RunHeld, match="n >= 2f") as held:
        strategy.start(FakeGrid(HONEST), model(), num_rounds=9)
    assert (held.value.held, held.value.server_round, len(reports)) == (retries + 1,) * 3


def test_a_round_that_moves_ends_the_row_of_held_ones() -> None:
    left = iter([False, False, True, False, False, True])

    def sometimes(message: Message) -> Message:
        if message.metadata.dst_node_id == 101:
            sometimes.works = next(left)  # type: ignore[attr-defined]
        moved = answer(shifted(1.0, message.content.array_records["arrays"]))
        return (moved if sometimes.works else fail)(message)  # type: ignore[attr-defined]

    reports: list[RoundReport] = []
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, on_round=reports.append)
    strategy.start(FakeGrid([sometimes] * 5), model(), num_rounds=6, timeout=0.2)
    assert [report.held is None for report in reports] == [False, False, True] * 2


def test_f_follows_from_the_sample_of_a_round() -> None:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(
        lambda f: Policy(rules.trimmed_mean(f)),
        malicious=8,
        min_nodes=40,
        min_train_nodes=10,
        fraction_train=0.25,
        on_round=reports.append,
    )
    strategy.start(FakeGrid(HONEST * 8), model(), num_rounds=2)
    f = f_of_sample(clients=40, malicious=8, sampled=10)
    assert 1 <= f < 8
    assert {report.defence for report in reports} == {f"trimmed_mean(f={f})"}
    assert [len(report.verdicts) for report in reports] == [10, 10]
    with pytest.raises(InvalidParameter, match="only then"):
        GuardedStrategy(TRIMMED, malicious=3)


def test_what_the_admitted_report_is_pooled() -> None:
    lying = answer(shifted(float("nan")), train_loss=-1e9)
    told = [answer(shifted(1.0), train_loss=float(i)) for i in range(5)]
    strategy = GuardedStrategy(TRIMMED, min_nodes=6)
    result = strategy.start(FakeGrid([*told, lying]), model(), num_rounds=1)
    found = result.train_metrics_clientapp[1]
    assert [found[f"train_loss{end}"] for end in ("", "-lowest", "-highest")] == [2.0, 0.0, 4.0]
    assert "num-examples" not in found


def test_who_is_shut_out_measures_nothing() -> None:
    store = MemoryStore()
    store.override(Override("105", Action.QUARANTINE))
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, fraction_evaluate=1.0, store=store)
    replies = [answer(shifted(1.0), loss=0.5)] * 4 + [answer(shifted(1.0), loss=1e9)]
    result = strategy.start(FakeGrid(replies), model(), num_rounds=1)
    assert result.evaluate_metrics_clientapp[1]["loss-highest"] == 0.5


def test_who_is_banned_is_not_asked_any_more() -> None:
    store = MemoryStore()
    store.override(Override("102", Action.BAN, "stolen key", "ann"))
    reports = list[RoundReport]()
    grid = FakeGrid([answer(shifted(1.0)) for _ in range(5)])
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, store=store, on_round=reports.append)
    strategy.start(grid, model(), num_rounds=1, timeout=0.2)
    assert {each.metadata.dst_node_id for each in grid.sent.values()} == {101, 103, 104, 105}
    assert reports[0].held is None
    assert [each.client for each in reports[0].verdicts] == ["101", "103", "104", "105"]


def test_a_hook_goes_on_once_a_round_whoever_asks() -> None:
    called = list[int]()

    def hook(arrays: ArrayRecord, server_round: int) -> ArrayRecord:
        called.append(server_round)
        return arrays

    class Curious(GuardedStrategy):
        def _round(self, server_round: int, layout: Layout, *given: Any) -> Any:
            self.own_vectors(layout, layout.flat(self._model), server_round)
            return super()._round(server_round, layout, *given)

    grid = FakeGrid([answer(shifted(1.0)) for _ in range(5)])
    strategy = Curious(TRIMMED, min_nodes=5, vectors={"mine": hook})
    strategy.start(grid, model(), num_rounds=2, timeout=0.2)
    assert called == [1, 2]


def test_a_linked_key_goes_on_as_the_client_it_was() -> None:
    store, reports = MemoryStore(), list[RoundReport]()
    store.override(Override("105", Action.LINK, same_as="old"))
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, store=store, on_round=reports.append)
    strategy.start(FakeGrid(HONEST), model(), num_rounds=1)
    assert reports[0].admitted == ("101", "102", "103", "104", "old")


def test_a_round_waits_for_its_store() -> None:
    class Restarting(MemoryStore):
        down = 0

        def load(self) -> State:
            self.down += 1
            if self.down < 3:
                raise StoreUnavailable("here", "the database starts up")
            return super().load()

    _, reports, _ = run(HONEST, store=Restarting())
    assert len(reports) == 1
    with pytest.raises(StoreUnavailable):
        run(HONEST, store=Restarting(), store_patience=0.05)


def test_the_server_brings_its_model_and_its_root_update() -> None:
    reports: list[RoundReport] = []
    arrays, _, _ = run(
        HONEST, Policy(rules.fltrust()), root=lambda arrays, server_round: shifted(0.5, arrays)
    )
    moved = arrays["bias"].numpy() - model()["bias"].numpy()
    assert moved == pytest.approx(0.5)  # the honest direction at the root's length
    arrays, _, _ = run(HONEST, Policy(rules.flame(noise=0.0)))
    assert arrays["bias"].numpy() == pytest.approx(1.0)
    arrays, reports, _ = run(
        HONEST, Policy(rules.fltrust()), root=lambda arrays, server_round: shifted(-1.0, arrays)
    )
    assert reports[0].held == "fltrust() trusts no update of this round"
    assert arrays["bias"].numpy() == pytest.approx(0.0)


def test_a_round_without_room_for_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(strategy_module, "log", lambda _, text, *values: told.append(text % values))
    run(HONEST, Policy(rules.trimmed_mean(2)))
    assert any("a round with one refused of 5 updates will be held" in line for line in told)
    told.clear()
    run(HONEST, Policy(rules.trimmed_mean(1)))
    assert not any("will be held" in line for line in told)


def test_a_missing_root_is_told_before_anyone_trains() -> None:
    grid = FakeGrid(HONEST)
    with pytest.raises(MissingVector, match="'root' and the round brings model"):
        GuardedStrategy(Policy(rules.fltrust()), min_nodes=5).start(grid, model(), num_rounds=1)
    assert not grid.sent


def test_the_first_round_waits_for_all_nodes() -> None:
    grid, reports = FakeGrid(HONEST, appear_one_by_one=True), list[RoundReport]()
    strategy = GuardedStrategy(TRIMMED, min_nodes=5, on_round=reports.append)
    strategy.start(grid, model(), num_rounds=2)
    assert [len(report.verdicts) for report in reports] == [5, 5]


def test_it_does_not_wait_for_ever() -> None:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(TRIMMED, min_nodes=9, node_timeout=0.05, on_round=reports.append)
    strategy.start(FakeGrid(HONEST), model(), num_rounds=1)
    assert len(reports[0].verdicts) == 5


def test_sampling_is_seeded_and_by_name() -> None:
    def asked(seed: int) -> list[list[str]]:
        reports: list[RoundReport] = []
        strategy = GuardedStrategy(
            Policy(rules.mean()),
            fraction_train=0.5,
            retries=None,
            seed=seed,
            on_round=reports.append,
        )
        strategy.start(FakeGrid([answer(shifted(1.0))] * 10), model(), num_rounds=4)
        return [[verdict.client for verdict in report.verdicts] for report in reports]

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)
    assert {len(clients) for clients in asked(1)} == {5}
    assert len({tuple(clients) for clients in asked(1)}) > 1


def test_fractions_are_checked() -> None:
    with pytest.raises(InvalidParameter, match=r"fraction_train must lie in \[0, 1\], got 2"):
        GuardedStrategy(TRIMMED, fraction_train=2)


def test_reported_metrics_are_medians_of_what_most_report() -> None:
    strategy = GuardedStrategy(TRIMMED, fraction_evaluate=1.0)
    grid = FakeGrid(
        [answer(None, loss=value) for value in (0.1, 0.2, 0.3, 1e300, float("nan"))]
        + [answer(None, loss=0.3, planted=1.0)]
    )
    config = ConfigRecord()
    strategy.configure_train(1, model(), config, grid)
    messages = strategy.configure_evaluate(1, model(), config, grid)
    ids = grid.push_messages(messages)
    told = strategy.aggregate_evaluate(1, [next(iter(grid.pull_messages([i]))) for i in ids])
    assert told is not None
    assert told["loss"] == 0.3
    assert set(told) == {"loss", "loss-lowest", "loss-highest"}


def test_a_clients_name_is_its_key() -> None:
    from flwr.proto.node_pb2 import NodeInfo

    one, same = NodeInfo(node_id=1, public_key=b"k"), NodeInfo(node_id=2, public_key=b"k")
    assert name_of_node(one) == name_of_node(same)
    assert name_of_node(NodeInfo(node_id=7)) == "7"


def test_one_name_takes_part_once() -> None:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(
        TRIMMED,
        min_nodes=5,
        on_round=reports.append,
        name_of=lambda node: str(max(node.node_id, 102)),
    )
    strategy.start(FakeGrid(HONEST), model(), num_rounds=1)
    assert reports[0].admitted == ("102", "103", "104", "105")


def test_reports_are_plain_data() -> None:
    policy = Policy(chain(rules.arc(1), rules.caf(1)), standard_scorers(1))
    _, reports, _ = run(HONEST, policy)
    assert dataclasses.asdict(reports[0])["verdicts"][0]["client"] == "101"
