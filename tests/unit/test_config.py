"""Expressions: what they build, and what they answer to mistakes."""

from __future__ import annotations

import pytest

from fedguard.defence import Chain
from fedguard.errors import ConfigError, InvalidParameter, UnknownName
from fedguard_simulations.scenario import parse_attack
from fedguard_strategies.expressions import parse_defence


def test_a_chain_is_read() -> None:
    defence = parse_defence("chain(arc(f=4), nnm(4), trimmed_mean(f=4))")
    assert isinstance(defence, Chain)
    assert defence.name == "chain(arc(f=4), nnm(f=4), trimmed_mean(f=4))"


def test_a_name_alone_is_a_call() -> None:
    assert parse_defence("mean").name == "mean()"
    assert parse_attack("label_flip").name == "label_flip()"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("trimmd_mean(f=2)", "trimmed_mean"),
        ("chain(ark(f=1), mean())", "arc"),
        ("krum(ff=2)", "f"),
    ],
)
def test_unknown_names_get_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean '{nearest}'"):
        parse_defence(text)


@pytest.mark.parametrize(
    "text",
    [
        "krum()",
        "krum(f=1, f=2)",
        "krum(1, 2, 3)",
        "krum(f=__import__('os'))",
        "(lambda: 1)()",
        "krum.f(1)",
        "krum(*[1])",
        "krum(**{})",
        "1 + 1",
        "krum(f=",
        "",
        "chain(1)",
        "chain(arc(f=1), 'x')",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_defence(text)


def test_a_bad_value_keeps_its_own_error() -> None:
    with pytest.raises(InvalidParameter, match="f must be an int >= 0, got -1"):
        parse_defence("krum(f=-1)")
