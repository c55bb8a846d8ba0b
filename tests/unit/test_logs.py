"""Log lines and traces: every line of a round with its number, none with a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from flower_parts import FakeGrid, answer, model, shifted
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import clear_contextvars

import fedguard_strategies as rules
from fedguard import Policy
from fedguard.flower import GuardedStrategy
from fedguard.telemetry.logs import in_round, set_up


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Every logger as it was."""
    kept = [(each, each.handlers, each.level, each.propagate) for each in _both()]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    clear_contextvars()


def _both() -> list[logging.Logger]:
    return [logging.getLogger(), logging.getLogger("flwr")]


def two_rounds() -> None:
    nodes = [answer(shifted(1.0)), answer(shifted(2.0)), answer(None)]
    GuardedStrategy(Policy(rules.mean()), min_nodes=3).start(
        FakeGrid(nodes), model(), num_rounds=2, timeout=1.0
    )


def test_every_line_of_a_round_has_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json", "ward")
    two_rounds()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["federation"] for line in lines} == {"ward"}
    refused = [line for line in lines if line["event"].startswith("refused 103: keys")]
    assert [line["round"] for line in refused] == [1, 2]
    assert refused[0]["level"] == "warning"
    assert refused[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_line_has_a_secret_or_is_forged(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(form, "ward")
    in_round(3)
    log = logging.getLogger("flwr")
    log.warning("the store postgresql://u:hunter2@db/x is away: %s", "Authorization: Bearer abc")
    log.warning("token=xyzzy and password: hunter2")
    log.warning("refused 7: %s", 'x\n{"event": "all is well"}\r\x1b[31m\u202e' + "y" * 100_000)
    try:
        raise ValueError("sqlite:///x?password=hunter2")
    except ValueError:
        log.exception("it failed")
    told = capsys.readouterr().err
    for secret in ("hunter2", "abc", "xyzzy", "\x1b[31m", "\u202e"):
        assert secret not in told
    lines = told.splitlines()
    assert len(lines) == {"json": 4, "console": 5}[form]  # an exception has a line of its own
    assert max(map(len, lines)) < 10_000
    assert all(("3" in line) and ("ward" in line) for line in lines[:4])


def test_a_round_is_a_trace_of_its_stages() -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    two_rounds()
    found = spans.get_finished_spans()
    rounds = [each for each in found if each.name == "round"]
    assert [(each.attributes or {})["fedguard.round"] for each in rounds] == [1, 2]
    first = rounds[0]
    assert first.start_time
    assert first.end_time
    own = first.context.span_id
    stages = [each for each in found if each.parent and each.parent.span_id == own]
    assert [each.name for each in stages] == ["collect", "score", "aggregate", "save", "commit"]
    assert stages[0].start_time == first.start_time
    assert stages[-1].end_time == first.end_time
