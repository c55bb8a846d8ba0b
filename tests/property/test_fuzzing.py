"""Arbitrary bytes through the gate: every reply becomes an update or a fault, and the round ends.

`make fuzz` goes on for ten minutes with new examples each time; otherwise a few, always the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from flower_parts import FakeGrid, answer, content, model, shifted
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fedguard_strategies as rules
from fedguard import Policy, ReputationPolicy, RoundReport
from fedguard.flower import GuardedStrategy
from fedguard.flower.wire import Allowance, _inflated
from fedguard_strategies.recipes import standard_scorers

SECONDS = float(os.environ.get("FEDGUARD_FUZZ_SECONDS", "0"))
EXAMPLES = 2000 if SECONDS else 120
POLICY = Policy(rules.trimmed_mean(1), standard_scorers(1), ReputationPolicy(f=2))
HONEST = [answer(shifted(1.0 + 0.01 * i)) for i in range(4)]
MOST = Allowance.of(model()).bytes

Edit = tuple[str, int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put", "cut", "grow", "swap", "drop", "whole"]),
        st.integers(0, 63),
        st.integers(0, 1 << 20),
        st.binary(max_size=300),
    ),
    min_size=1,
    max_size=6,
)
VALUES = (
    st.floats(allow_nan=True)
    | st.integers(-(2**62), 2**62)
    | st.lists(st.floats(allow_nan=True), max_size=3)
)
FIELDS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["float32", "<f4", "float64", "O", "complex64", "int64", "", "🦊"])
        | st.text(max_size=8),
        "shape": st.lists(st.integers(-2, 2**62), max_size=4).map(tuple),
        "stype": st.sampled_from(["numpy.ndarray", "pickle", ""]),
    }
)


def edited(contents: dict[str, bytes], edits: list[Edit]) -> dict[str, bytes]:
    """Objects of a reply, spoiled: bytes put, cut, grown, exchanged, dropped, replaced."""
    contents = dict(contents)
    for kind, which, place, data in edits:
        name = sorted(contents)[which % len(contents)]
        old = contents[name]
        at = place % (len(old) + 1)
        if kind == "put":
            contents[name] = old[:at] + data + old[at + len(data) :]
        elif kind == "cut":
            contents[name] = old[:at]
        elif kind == "grow":
            contents[name] = old + data * (1 + place % 50)
        elif kind == "swap":
            contents[name] = contents[sorted(contents)[place % len(contents)]]
        elif kind == "drop" and len(contents) > 1:
            del contents[name]
        elif kind == "whole":
            contents[name] = data
    return contents


class Spoiled(FakeGrid):
    """Four honest nodes; the fifth's reply is put together from objects that were spoiled."""

    def __init__(self, reply: Any, edits: list[Edit]) -> None:
        super().__init__([*HONEST, HONEST[0]])
        self.reply, self.edits = reply, edits

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for each in message_ids:
            asked = self.sent[each]
            if asked.metadata.dst_node_id < 105:
                replies += super().pull_messages([each])
                continue
            reply = Message(self.reply, reply_to=asked)
            objects = get_all_nested_objects(reply)
            contents = {name: found.deflate() for name, found in objects.items()}
            replies.append(_inflated(reply.object_id, edited(contents, self.edits), MOST))
        return replies


def alone() -> bytes:
    arrays, _ = trained(FakeGrid(HONEST))
    return b"".join(array.data for array in arrays.values())


def trained(grid: FakeGrid) -> tuple[ArrayRecord, RoundReport]:
    reports: list[RoundReport] = []
    strategy = GuardedStrategy(POLICY, min_nodes=len(grid.answers), on_round=reports.append)
    result = strategy.start(grid, model(), num_rounds=1, timeout=0.2)
    return result.arrays, reports[0]


def held_against(reply: RecordDict, edits: list[Edit]) -> None:
    """One round with a spoiled reply: it ends, moves, and blames nobody else."""
    arrays, report = trained(Spoiled(reply, edits))
    assert report.held is None
    assert {each.client for each in report.refused} <= {"105"}
    values = [array.numpy() for array in arrays.values()]
    assert all(np.isfinite(each).all() for each in values)
    assert [(each.shape, each.dtype) for each in values] == [
        (each.numpy().shape, each.numpy().dtype) for each in model().values()
    ]
    if report.refused:
        assert b"".join(array.data for array in arrays.values()) == ALONE


ALONE = alone()
OFTEN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not SECONDS,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@OFTEN
@given(EDITS)
def spoiled_objects(edits: list[Edit]) -> None:
    held_against(content(shifted(1.5)), edits)


@OFTEN
@given(st.binary(max_size=400), FIELDS, st.integers(0, 160))
def forged_arrays(data: bytes, fields: dict[str, Any], kept: int) -> None:
    """An array whose bytes and what it says of itself do not fit."""
    whole = shifted(1.5)
    whole["bias"] = Array(data=whole["bias"].data[:kept] + data, **fields)
    held_against(content(whole), [])


@OFTEN
@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=5), st.text(max_size=10))
def forged_records(metrics: dict[str, Any], name: str) -> None:
    """Records and numbers that nobody asked for."""
    held_against(RecordDict({"arrays": shifted(1.5), name or "m": MetricRecord(metrics)}), [])


@pytest.mark.parametrize("tried", [spoiled_objects, forged_arrays, forged_records])
def test_no_bytes_get_past_the_gate(tried: Any) -> None:
    deadline = time.monotonic() + SECONDS / 3
    tried()
    while time.monotonic() < deadline:
        tried()
