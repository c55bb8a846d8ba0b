"""What a round does to reputations: evidence, the operator's word, and how many may go at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedguard.probes import Float64
from fedguard.reputation import Action, Reputation, ReputationPolicy
from fedguard.reputation.policy import ENOUGH, PROTOCOL
from fedguard.scoring import MOST_SURPRISE
from fedguard.server.policy import Policy
from fedguard.server.scored import Scored
from fedguard.state import State
from fedguard.types import Change, Cohort, Standing

__all__ = ["HARD_FAULTS", "Judged", "judged", "overruled"]

HARD_FAULTS = frozenset(
    {
        "spoofed-source",
        "unreadable",
        "too-large",
        "encoding",
        "keys",
        "shape",
        "dtype",
        "non-finite",
        "replayed",
    }
)
"""Faults that an honest client of the right version does not commit; others are of the network."""
NEW = Reputation()
UNKNOWN = Reputation(standing=Standing.TRUSTED)
"""Everybody's without an order, where no policy keeps reputations."""


class Judged(NamedTuple):
    """Reputations after the round, what changed, and why the round must be held, if it must."""

    policy: ReputationPolicy | None
    reputations: Mapping[str, Reputation]
    changes: tuple[Change, ...] = ()
    held: str | None = None

    def of(self, client: str) -> Reputation:
        known = self.reputations.get(client, NEW)
        return known if self.policy or known.own else UNKNOWN

    def weights(self, clients: Sequence[str]) -> Float64:
        """How much each counts; nothing, if it is one of several that lie apart from the rest.

        One such client may be an honest one with data like nobody's. Several are no such chance,
        and more than f, or half of them all, are no minority. Whom the operator trusts counts.
        """
        if not self.policy:
            return np.ones(len(clients))
        known = [self.of(client) for client in clients]
        apart = np.array([not each.own and self.policy.apart(each) for each in known])
        weights = np.array([self.policy.weight(each) for each in known])
        most = min(self.policy.f, (len(clients) - 1) // 2)
        return np.where(apart & (2 <= apart.sum() <= most), 0.0, weights)

    def told(self, client: str) -> tuple[Standing, float | None, Mapping[str, float]]:
        """What a verdict says of a client: its standing, reputation and evidence."""
        if not self.policy:
            return Standing.TRUSTED, None, {}
        known = self.of(client)
        levels = {family: level and round(level, 4) for family, level in known.evidence.items()}
        return known.standing, known.value, levels


def overruled(state: State) -> dict[str, Reputation]:
    """Reputations before a round, with the standings that the operator gave for it.

    Whose order has ended stands again as the evidence says.
    """
    known, now = dict(state.reputations), state.round + 1
    for client, earlier in state.reputations.items():
        if earlier.own and client not in state.overrides:
            known[client] = earlier._replace(standing=earlier.own, since=now, own=None)
    for client, override in state.overrides.items():
        earlier = known.get(client, NEW)
        if override.action is Action.REINSTATE:
            earlier = earlier._replace(evidence={}, clean=0, own=None)
        else:
            earlier = earlier._replace(own=earlier.own or earlier.standing)
        if earlier.standing is not override.standing:
            earlier = earlier._replace(standing=override.standing, since=now)
        known[client] = earlier
    return known


def judged(state: State, cohort: Cohort, policy: Policy, seen: Scored | None) -> Judged:
    """Judge everybody by this round; the operator's word counts more."""
    rules, now = policy.reputation, state.round + 1
    before = overruled(state)
    after = dict(before)
    if not rules:
        return Judged(None, after, tuple(_changes(state, after)))
    broken = [each.client for each in cohort.faults if each.reason in HARD_FAULTS]
    part = broken + list(cohort.clients)
    after |= {client: NEW for client in part if client not in before}  # in the cohort's order
    for shown in _shown(broken, seen):
        known = [before.get(client, NEW) for client in shown.clients]
        after.update(zip(shown.clients, _all_after(rules, known, shown, now), strict=True))
    going = [
        client
        for client, known in after.items()
        if not known.standing.counts
        and before.get(client, NEW).standing.counts
        and client not in state.overrides
    ]
    held = None
    if len(going) > rules.f:
        held = (
            f"{len(going)} clients would be quarantined at once, more than f = {rules.f}: the data "
            "drifted, or a majority attacks; look at fedguard clients and decide"
        )
        for client in going:
            after[client] = _as_before(after[client], before.get(client, NEW))
    return Judged(rules, after, tuple(_changes(state, after)), held)


def _changes(state: State, after: Mapping[str, Reputation]) -> Iterator[Change]:
    for client, known in sorted(after.items()):
        earlier = state.reputations.get(client, NEW)
        if earlier.standing is not known.standing:
            why = _why(earlier, known, state, client)
            yield Change(client, earlier.standing, known.standing, why)


class Shown(NamedTuple):
    """Evidence of some clients, one for each: surprises by family, shape (clients, families)."""

    clients: list[str]
    families: tuple[str, ...]
    surprises: Float64
    suspected: list[bool]


def _shown(broken: list[str], seen: Scored | None) -> Iterator[Shown]:
    """Of everyone who took part; who sent nothing in time did not."""
    sound, clients = np.zeros(0, np.intp), seen.context.clients if seen else ()
    if seen:
        sound = np.flatnonzero(seen.finite)
        broken = broken + [clients[row] for row in np.flatnonzero(~seen.finite)]
    n = len(broken)
    yield Shown(broken, (PROTOCOL,), np.full((n, 1), MOST_SURPRISE), [True] * n)
    if seen:
        families = {PROTOCOL: np.zeros(len(sound))}
        families |= {family: own[sound] for family, own in seen.surprises.items()}
        surprises = np.stack([*families.values()], axis=1)
        suspected = seen.suspected[sound].tolist()
        yield Shown([clients[row] for row in sound], tuple(families), surprises, suspected)


def _all_after(
    rules: ReputationPolicy, known: list[Reputation], shown: Shown, now: int
) -> list[Reputation]:
    """Under an order the evidence moves what the client's own standing is, and no more."""
    own = [each._replace(standing=each.own, own=None) if each.own else each for each in known]
    moved = rules.all_after(own, shown.families, shown.surprises, shown.suspected, now)
    return [
        after._replace(standing=each.standing, since=each.since, own=after.standing)
        if each.own
        else after
        for each, after in zip(known, moved, strict=True)
    ]


def _as_before(known: Reputation, before: Reputation) -> Reputation:
    """The evidence counts, the standing stays until the operator has decided."""
    return known._replace(
        standing=before.standing, since=before.since, quarantines=before.quarantines
    )


def _why(earlier: Reputation, known: Reputation, state: State, client: str) -> str:
    override = state.overrides.get(client)
    if override:
        return f"the operator: {override.action}. {override.note}".rstrip(". ")
    if earlier.own and not known.own:
        return f"the operator's order has ended; {_evidence_of(known)}"
    return _evidence_of(known)


def _evidence_of(known: Reputation) -> str:
    told = [
        f"{family} {100 * level:.0f} %"
        for family, level in sorted(known.evidence.items(), key=lambda pair: -pair[1])
        if level >= ENOUGH
    ]
    if not told:
        return f"{known.participations} rounds, nothing held against it"
    return f"evidence of {', '.join(told)} of an alarm, {known.participations} rounds"
