"""Expressions: what they build, and what they answer to mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedguard import Policy
from fedguard.defence import Chain, Stage
from fedguard.errors import ConfigError, InvalidParameter, UnknownName
from fedguard_simulations.scenario import parse_attack
from fedguard_strategies.expressions import parse_defence, parse_policy


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


OWN = """
from fedguard import chain
from fedguard_strategies import nnm, trimmed_mean
from fedguard_strategies.recipes import standard_policy

class makers:
    @staticmethod
    def whole(f): return standard_policy(f)

def careful(f, tau=1.0): return chain(nnm(f), trimmed_mean(f))
def nothing(): return 3
def broken(f): return {}["b"]
ready = trimmed_mean(1)
"""


def test_a_users_own_defence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_defences.py").write_text(OWN, encoding="utf8")
    (tmp_path / "own_unreadable.py").write_text("def careful(f)\n", encoding="utf8")
    (tmp_path / "own_unnamed.py").write_text("careful = undefined\n", encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    careful = parse_policy("own_defences:careful", f=2)
    assert isinstance(careful, Chain)
    assert careful.name == "chain(nnm(f=2), trimmed_mean(f=2))"
    ready = parse_policy("own_defences:ready", f=2)
    assert isinstance(ready, Stage)
    assert ready.name == "trimmed_mean(f=1)"
    whole = parse_policy("own_defences:makers.whole", f=3)
    assert isinstance(whole, Policy)
    assert whole.reputation
    assert whole.reputation.f == 3
    for text, words in (
        ("own_defences:carefull", "did you mean 'careful'"),
        ("own_defences:nothing", "neither a defence nor a policy"),
        ("no_such_module:at_all", "No module named"),
        ("own_defences:broken", "KeyError: 'b'"),
        ("own_unreadable:careful", "SyntaxError: expected ':'"),
        ("own_unnamed:careful", "NameError: name 'undefined' is not defined"),
        ("standard_polcy(f=2)", "did you mean 'standard_policy'"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_policy(text, f=2)
