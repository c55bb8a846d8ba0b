"""Every public factory against every promise of `fedguard.testing`."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import numpy as np
import pytest
from counting import count_passes

import fedguard_strategies as rules
from fedguard import (
    Blockwise,
    Cohort,
    Fault,
    Policy,
    Stage,
    State,
    Update,
    aggregate,
    chain,
    passes,
    step,
    testing,
)
from fedguard.defence import Defence
from fedguard.errors import NonFiniteUpdate
from fedguard.probes import Context


class Case(NamedTuple):
    defence: Defence
    f: int = 0  # wild rows it survives
    excused: tuple[str, ...] = ()


F = 3
END = rules.mean()
IN_UNITS = ("check_scales",)  # its radius is in the model's units
ABSOLUTE = Stage(
    "absolute()",
    1,
    "n >= 1",
    lambda rows, state: (Blockwise(lambda block, _: np.abs(block), rows=rows.n), state),
    blockwise=True,
)
CASES = {
    "mean": Case(rules.mean()),
    "norm_clipping": Case(chain(rules.norm_clipping(5.0), END), excused=IN_UNITS),
    "clip_by_median_norm": Case(chain(rules.clip_by_median_norm(), END), F),
    "arc": Case(chain(rules.arc(F), END), F),
    "trimmed_mean": Case(rules.trimmed_mean(F), F),
    "coordinate_median": Case(rules.coordinate_median(), F),
    "mean_around_median": Case(rules.mean_around_median(F), F),
    "krum": Case(rules.krum(F), F),
    "multi_krum": Case(rules.multi_krum(F), F),
    "geometric_median": Case(rules.geometric_median(), F),
    "nnm": Case(chain(rules.nnm(F), rules.trimmed_mean(F)), F),
    "bucketing": Case(
        chain(rules.bucketing(2), rules.coordinate_median()), 2, excused=("check_client_order",)
    ),
    "centred_clipping": Case(rules.centred_clipping(5.0), F, excused=IN_UNITS),
    "caf": Case(rules.caf(F), F),
    "bulyan": Case(rules.bulyan(2), 2),
    "mda": Case(rules.mda(F), F),
    "smea": Case(rules.smea(F), F),
    "monna": Case(rules.monna(F), F),
    "monna of one client": Case(rules.monna(F, pivot="01"), F),
    "cge": Case(rules.cge(F), F),
    "dnc": Case(rules.dnc(F)),
    "clip_by_median_norm, dnc": Case(chain(rules.clip_by_median_norm(), rules.dnc(F)), F),
    "fltrust": Case(rules.fltrust(), F),
    "flame": Case(rules.flame(), F),
    "foolsgold": Case(rules.foolsgold()),
    "signguard": Case(rules.signguard(), F),
    "rlr": Case(rules.rlr(4)),
    "arc, rlr": Case(chain(rules.arc(F), rules.rlr(4)), F),
    "multi_metrics": Case(rules.multi_metrics()),
    "clip_by_median_norm, multi_metrics": Case(
        chain(rules.clip_by_median_norm(), rules.multi_metrics()), F
    ),
    "alignins": Case(rules.alignins(), F),
    "client_momentum": Case(chain(rules.client_momentum(), rules.trimmed_mean(F)), F),
    "weighted_mean": Case(rules.weighted_mean()),
    "weighted_median": Case(rules.weighted_median(), 2),
    "weighted_trimmed_mean": Case(rules.weighted_trimmed_mean(2), 2),
    "weak_dp": Case(chain(END, rules.weak_dp(0.01)), excused=IN_UNITS),
    "nnm, caf": Case(chain(rules.nnm(F), rules.caf(F)), F),
    "nnm, geometric_median": Case(chain(rules.nnm(F), rules.geometric_median()), F),
    "chain": Case(chain(rules.arc(F), rules.nnm(F), rules.caf(F)), F),
    "probe after block-wise": Case(chain(rules.nnm(F), ABSOLUTE, rules.krum(F))),
}


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(12, 30)) + rng.normal(size=30)).astype(np.float32)


@pytest.fixture
def context(rows: np.ndarray) -> Context:
    rng = np.random.default_rng(1)
    return Context(
        clients=tuple(f"{row:02}" for row in range(len(rows))),
        examples=tuple(rng.integers(10, 1000, len(rows)).tolist()),
        vectors={
            "model": rng.normal(size=rows.shape[1]) * 20.0,
            "root": rows.mean(axis=0) + rng.normal(size=rows.shape[1]) * 0.3,
        },
    )


def test_every_public_factory_is_in_the_table() -> None:
    assert set(rules.__all__) <= set(CASES)


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_promise(name: str, check, rows: np.ndarray, context: Context) -> None:
    case = CASES[name]
    if check.__name__ in case.excused:
        with pytest.raises(AssertionError):  # excused because it cannot hold, not to save work
            check(case.defence, rows, context)
    else:
        check(case.defence, rows, context)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].f])
def test_wild_rows_are_bounded(name: str, rows: np.ndarray, context: Context) -> None:
    testing.check_bounds_wild_rows(CASES[name].defence, rows, CASES[name].f, context)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].f])
def test_wild_rows_that_claim_everything_are_bounded(
    name: str, rows: np.ndarray, context: Context
) -> None:
    f = CASES[name].f
    claims = (100,) * (len(rows) - f) + (2**53,) * f
    lying = context._replace(examples=claims)
    testing.check_bounds_wild_rows(CASES[name].defence, rows, f, lying)


@pytest.mark.parametrize("name", CASES)
def test_a_round_of_nobody_is_held(name: str, rows: np.ndarray, context: Context) -> None:
    """At first and after a round that left the stages' vectors behind."""
    policy, state = Policy(CASES[name].defence), State()
    updates = [Update(*pair) for pair in zip(context.clients, rows, strict=True)]
    for sent in ((), updates, ()):
        cohort = Cohort.of(sent, [Fault("silent", "no-reply")], context.vectors)
        vector, report, state = step(state, cohort, policy)
        assert (vector is None) == (report.held is not None) == (not sent)
        assert "silent" in {verdict.client for verdict in report.verdicts}


def test_a_probe_after_a_block_wise_stage_costs_a_pass() -> None:
    assert passes(CASES["chain"].defence) == 2
    assert passes(CASES["probe after block-wise"].defence) == 3


@pytest.mark.parametrize("name", CASES)
def test_passes_are_counted_right(
    name: str, rows: np.ndarray, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_passes(monkeypatch)
    aggregate(CASES[name].defence, rows, context=context)
    assert len(seen) == passes(CASES[name].defence)


def test_rows_are_blamed_by_their_own_number(rows: np.ndarray) -> None:
    wild = rows.copy()
    wild[11, 3] = np.nan
    for defence in (
        chain(rules.bucketing(2), rules.krum(1)),
        chain(rules.bucketing(2), rules.trimmed_mean(1)),
        chain(ABSOLUTE, rules.krum(1)),
    ):
        with pytest.raises(NonFiniteUpdate) as caught:
            aggregate(defence, wild)
        assert caught.value.rows == (11,)


def test_mean_is_not_bounded(rows: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        testing.check_bounds_wild_rows(rules.mean(), rows, 1)


@pytest.mark.parametrize("name", rules.__all__)
def test_docstring_tells_bound_and_source(name: str) -> None:
    text = inspect.getdoc(getattr(rules, name)) or ""
    assert "Bound: n >=" in text
    assert "Source: " in text
