"""Defences and scorers put together: what to use when there is no reason to choose otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedguard import Policy, ReputationPolicy, chain
from fedguard.defence import Defence
from fedguard.optimisers import Optimiser
from fedguard.scoring import Scorer
from fedguard_strategies.caf import caf
from fedguard_strategies.norm_clipping import arc
from fedguard_strategies.scorers import (
    behaviour,
    direction,
    extent,
    magnitude,
    neighbourhood,
    sybil,
    temporal,
    trigger,
)

if TYPE_CHECKING:
    from fedguard.deploy.settings import PolicySettings

__all__ = ["configured_policy", "standard_policy", "standard_scorers"]


def standard_scorers(
    f: int, size: int = 1024, seed: int = 0, canaries: bool = False, triggers: bool = False
) -> tuple[Scorer, ...]:
    """One scorer a family, from one pass over the data.

    Clients' histories are sketches of `size` numbers drawn by `seed`, which is best kept secret.
    With `canaries`, clean data of the server's own, behaviour is scored too; with `triggers`, what
    a search on such data finds to open the model (`fedguard_clients.triggers`).
    """
    standard = (
        magnitude(),
        direction(size, seed),
        neighbourhood(f),
        extent(),
        sybil(size, seed),
        temporal(size, seed),
    )
    own = (*([behaviour()] if canaries else []), *([trigger()] if triggers else []))
    return (*standard, *own)


def standard_policy(
    f: int,
    defence: Defence | None = None,
    *,
    optimiser: Optimiser | None = None,
    false_quarantines: float = 0.1,
    quorum: float = 0.5,
    canaries: bool = False,
    triggers: bool = False,
    seed: int = 0,
) -> Policy:
    """What to run when there is no reason to choose otherwise, against `f` hostile clients.

    Without a `defence`, `chain(arc(f), caf(f))`: it keeps the most accuracy in its worst case
    (docs/defences.md), and gets smaller when clients in quarantine leave too few for it.
    `false_quarantines` of honest clients are accepted per 1,000 client-rounds.
    For `canaries`, `triggers` and `seed` see `standard_scorers`.
    """
    smaller = () if defence else tuple(_by_default(less) for less in reversed(range(f)))
    return Policy(
        defence or _by_default(f),
        standard_scorers(f, seed=seed, canaries=canaries, triggers=triggers),
        ReputationPolicy(f=f, false_quarantines=false_quarantines),
        quorum=quorum,
        optimiser=optimiser,
        smaller=smaller,
    )


def _by_default(f: int) -> Defence:
    return chain(arc(f), caf(f))


def configured_policy(settings: PolicySettings) -> Policy:
    """The policy that a federation's settings tell. Raises `ConfigError` for what is no rule."""
    from fedguard_strategies.expressions import parse_defence, parse_optimiser

    return standard_policy(
        settings.f,
        parse_defence(settings.defence) if settings.defence else None,
        optimiser=parse_optimiser(settings.optimiser),
        false_quarantines=settings.false_quarantines,
        quorum=settings.quorum,
        seed=settings.seed,
    )
