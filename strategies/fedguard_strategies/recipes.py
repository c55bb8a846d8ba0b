"""Defences and scorers put together: what to use when there is no reason to choose otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedguard import Policy, ReputationPolicy, chain
from fedguard.defence import Defence
from fedguard.errors import InvalidParameter
from fedguard.optimisers import Optimiser
from fedguard.sampling import f_of_sample
from fedguard.scoring import Scorer
from fedguard_strategies.caf import caf
from fedguard_strategies.norm_clipping import arc
from fedguard_strategies.scorers import (
    behaviour,
    direction,
    extent,
    magnitude,
    neighbourhood,
    response,
    sybil,
    temporal,
    trigger,
)

if TYPE_CHECKING:
    from fedguard.deploy.settings import PolicySettings

__all__ = ["auto", "configured_policy", "standard_policy", "standard_scorers"]


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
        response(size, seed),
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
    """A `defence` against `f` hostile clients with scores and reputations; without one, `auto`'s.

    `false_quarantines` of honest clients are accepted per 1,000 client-rounds.
    For `canaries`, `triggers` and `seed` see `standard_scorers`.
    """
    policy = Policy(
        defence or _by_default(f),
        standard_scorers(f, seed=seed, canaries=canaries, triggers=triggers),
        ReputationPolicy(f=f, false_quarantines=false_quarantines),
        quorum=quorum,
        optimiser=optimiser,
    )
    if defence:
        return policy
    smaller = tuple(_by_default(less) for less in reversed(range(f)))
    return replace(policy, smaller=smaller, adaptive=True)


def auto(
    f: int,
    n: int | None = None,
    sampled: int | None = None,
    *,
    optimiser: Optimiser | None = None,
    false_quarantines: float = 0.1,
    quorum: float = 0.5,
    canaries: bool = False,
    triggers: bool = False,
    seed: int = 0,
) -> Policy:
    """What the evidence in docs/standard.md chooses, with its reason in words in `reason`.

    `f` clients of the federation's `n` may be hostile, of whom a round asks `sampled`: what the
    defence is against then follows from the sample. Skew is not asked for: it shows in how many
    clients are in doubt, by which the defence is as strong as it has to be. For `canaries`,
    `triggers` and `seed` see `standard_scorers`.

    Raises `InvalidParameter` where no defence could hold.
    """
    among = sampled or n
    against = f_of_sample(n, f, sampled) if n and sampled else f
    if among is not None and 2 * against >= among:
        raise InvalidParameter(
            f"of {among} clients {against} may be hostile: no defence holds against half of those "
            "who take part; lower f, or ask more clients a round"
        )
    policy = standard_policy(
        against,
        optimiser=optimiser,
        false_quarantines=false_quarantines,
        quorum=quorum,
        canaries=canaries,
        triggers=triggers,
        seed=seed,
    )
    return replace(policy, reason=_reason(f, against, n, sampled, len(policy.scorers)))


def _reason(f: int, against: int, n: int | None, sampled: int | None, families: int) -> str:
    """Why `auto` chose what it chose."""
    told = [
        f"{_by_default(against).name}: this rule kept the most accuracy under its worst attack of "
        "all that were measured on skewed data, with 4 of 20 hostile (docs/standard.md)"
    ]
    if n and sampled:
        told.append(
            f"{sampled} of {n} clients are asked a round, among whom more than {against} of the "
            f"{f} hostile are drawn less than once in 1,000 rounds"
        )
    if against:
        told.append(
            f"it is against {against - against // 2} while nobody is in doubt, and against up to "
            f"{against} as clients are new, watched or suspected: what it costs on skewed data is "
            "paid while it is needed"
        )
    if n and against and sampled is None and n < 2 * against + 2:
        told.append("so few clients cannot be told apart by distances: evidence gathers slowly")
    told.append(f"scores of {families} families and reputations find who it is, and put them away")
    return "; ".join(told)


def _by_default(f: int) -> Defence:
    return chain(arc(f), caf(f))


def configured_policy(settings: PolicySettings) -> Policy:
    """The policy that a federation's settings tell. Raises `ConfigError` for what is no rule."""
    from fedguard_strategies.expressions import parse_defence, parse_optimiser

    given: dict[str, Any] = {
        "optimiser": parse_optimiser(settings.optimiser),
        "false_quarantines": settings.false_quarantines,
        "quorum": settings.quorum,
        "seed": settings.seed,
    }
    if settings.defence:
        return standard_policy(settings.f, parse_defence(settings.defence), **given)
    return auto(settings.f, **given)
