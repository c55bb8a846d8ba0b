"""From a snapshot of a federation to metric families; pure, apart from Prometheus's own types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import accumulate
from math import inf
from statistics import median
from typing import Any, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from fedguard.state.monitoring import Client, Counts, Snapshot
from fedguard.types import Standing

__all__ = ["LEVELS", "Clients", "families", "shown_name"]

SAFE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LEVELS = {standing: level for level, standing in enumerate(Standing)}
"""A standing as a number, for a timeline: 0 trusted, 1 watch, 2 probation, 3 quarantine, 4 ban."""
SUSPICIOUS = 0.5
"""Evidence, as a share of what an alarm takes, from which a client is worth seeing."""
ACCURACY = ("accuracy", "eval-accuracy", "eval_accuracy", "eval_acc", "acc")
LOSS = ("loss", "eval-loss", "eval_loss")
CANARIES = ("attack_success", "attack-success")
SIMULATED = {
    "attackers_weight": "Share of the last aggregate that simulated attackers had.",
    "attackers_out": "Share of the simulated attackers in quarantine or banned.",
    "honest_out": "Share of the simulated honest clients in quarantine or banned.",
}
RANGES = {"": "median", "-lowest": "lowest", "-highest": "highest"}


class Clients(NamedTuple):
    """Which clients have series of their own.

    `most` of the most suspect, and as many of those in quarantine or else banned, the last ones
    first. Who was shown stays until it is well out of the first `most`: series do not flicker.
    """

    most: int = 500

    def shown(self, clients: Sequence[Client], before: frozenset[str]) -> list[Client]:
        """The clients to show, given the names shown last time."""
        out = sorted(
            (each for each in clients if not each.standing.counts),
            key=lambda each: (each.standing is Standing.BANNED, -each.since, each.name),
        )[: self.most]
        others = sorted(
            (each for each in clients if each.standing.counts),
            key=lambda each: (-each.suspicion, each.reputation, each.name),
        )
        near = others[: self.most + self.most // 4]
        near.sort(key=lambda each: each.name not in before)  # stable: the most suspect first
        return out + near[: self.most]


def shown_name(name: str) -> str:
    """A client's name as a label: itself if it is plain, else a digest of it.

    >>> shown_name("site-1"), shown_name('x"} 1')
    ('site-1', 'sha256-c8a245985bd35b89')
    """
    if SAFE.fullmatch(name):
        return name
    return "sha256-" + sha256(name.encode("utf8", "surrogatepass")).hexdigest()[:16]


def families(snapshots: Iterable[tuple[Snapshot, Sequence[Client]]]) -> Iterator[Metric]:
    """The families of some federations, each with the clients it shows."""
    table = _Table()
    for snapshot, shown in snapshots:
        _rounds(table, snapshot)
        _model(table, snapshot)
        _store(table, snapshot)
        _server(table, snapshot)
        _clients(table, snapshot, shown)
    yield from table.made.values()


class _Table:
    """Families by name, made when first used; every series has its federation first."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def _row(
        self, kind: Any, name: str, told: str, labels: Mapping[str, str], federation: str
    ) -> partial[None]:
        """What adds a series to its family."""
        if name not in self.made:
            self.made[name] = kind(f"fedguard_{name}", told, labels=["federation", *labels])
        return partial(self.made[name].add_metric, [federation, *labels.values()])

    def gauge(
        self, name: str, told: str, federation: str, value: float | None, **labels: str
    ) -> None:
        """Nothing where there is no value."""
        if value is not None:
            self._row(GaugeMetricFamily, name, told, labels, federation)(value)

    def counter(self, name: str, told: str, federation: str, value: float, **labels: str) -> None:
        self._row(CounterMetricFamily, name, told, labels, federation)(value)

    def histogram(
        self,
        name: str,
        told: str,
        federation: str,
        counts: Counts,
        worst: tuple[float, Exemplar] | None = None,
        **labels: str,
    ) -> None:
        """`worst` goes as an exemplar to the bucket that its value falls in."""
        buckets: list[Any] = []
        lower = -inf
        for bound, count in zip((*counts.bounds, inf), accumulate(counts.counts), strict=True):
            bucket = ("+Inf" if bound == inf else str(bound), count)
            here = worst is not None and lower < worst[0] <= bound
            buckets.append((*bucket, worst[1]) if here and worst else bucket)
            lower = bound
        self._row(HistogramMetricFamily, name, told, labels, federation)(buckets, counts.sum)


def _rounds(table: _Table, seen: Snapshot) -> None:
    own, totals = seen.federation, seen.totals
    for outcome in ("committed", "held"):
        table.counter("rounds", "Rounds by outcome.", own, totals.rounds[outcome], outcome=outcome)
    told = "Updates by verdict; refused ones by reason."
    table.counter("updates", told, own, totals.admitted, verdict="admitted", reason="")
    for reason, count in sorted(totals.refused.items()):
        table.counter("updates", told, own, count, verdict="refused", reason=reason)
    told = "Updates that looked suspicious in their round."
    table.counter("suspected_updates", told, own, totals.suspected)
    clients = {each.name: each for each in seen.clients}
    for family, counts in sorted(totals.scores.items()):
        told = "Anomaly scores of updates, robust z by family; below 0 counts as 0."
        worst = _worst(seen, family, clients)
        table.histogram("anomaly_score", told, own, counts, worst, family=family)
    told = "Deciding on a round and saving it, waiting for replies apart."
    table.histogram("round_duration_seconds", told, own, totals.seconds)
    for stage, counts in sorted(totals.stages.items()):
        told = "Each stage of a round."
        table.histogram("round_stage_duration_seconds", told, own, counts, stage=stage)
    told = "Rounds held one after the other, up to the last one."
    table.gauge("held_rounds_in_a_row", told, own, seen.held_in_a_row)
    if seen.last:
        told = "When the last round was committed."
        table.gauge("last_round_timestamp_seconds", told, own, seen.last.committed_at)
        table.gauge("last_round", "Number of the last round.", own, seen.last.number)
        away = [
            each.suspected
            for each in seen.clients
            if not each.standing.counts and each.suspected is not None  # and it took part
        ]
        told = "Suspects in it, without those in quarantine."
        table.gauge("last_round_suspects", told, own, seen.last.suspected - sum(away))
        asked = seen.last.admitted + seen.last.refused
        table.gauge("last_round_clients", "Clients asked in it.", own, asked)
        told = "Clients asked in it that are in quarantine: scored, and of no weight."
        table.gauge("last_round_quarantined", told, own, len(away))
        table.gauge("last_round_refused", "Refused in it.", own, seen.last.refused)


def _worst(
    seen: Snapshot, family: str, clients: Mapping[str, Client]
) -> tuple[float, Exemplar] | None:
    """The strangest client of the last round."""
    tally = (seen.last.tally or {}).get("scores", {}) if seen.last else {}
    name = tally.get(family, {}).get("worst", "")
    if name not in clients or family not in (scores := clients[name].scores):
        return None
    labels = {"client": shown_name(name), "round": str(seen.last.number)}
    score = max(scores[family], 0.0)
    return score, Exemplar(labels, score, seen.last.committed_at)


def _model(table: _Table, seen: Snapshot) -> None:
    own = seen.federation
    for names, family, told in (
        (ACCURACY, "model_accuracy_ratio", "Accuracy of the global model, by who measured it."),
        (LOSS, "model_loss", "Loss of the global model, by who measured it."),
        (CANARIES, "attack_success_ratio", "Share of triggered inputs that take the target."),
    ):
        for source in sorted({source for source, _ in seen.measured}):
            known = [name for name in names if (source, name) in seen.measured]
            for ending, of in RANGES.items() if known else ():
                value = seen.measured.get((source, known[0] + ending))
                table.gauge(family, told, own, value, source=source, of=of)
    for name, told in SIMULATED.items():
        value = seen.measured.get(("simulation", name))
        table.gauge(f"simulated_{name}_ratio", told, own, value)
    if seen.last and seen.last.norm is not None:
        told = "Euclidean norm of the last step."
        table.gauge("aggregate_norm", told, own, seen.last.norm)
    norms = [each.norm for each in seen.clients if each.norm is not None]
    if norms:
        told = "Median of the last updates' norms."
        table.gauge("update_norm_median", told, own, median(norms))
    shares = [each for each in seen.clients if each.weight is not None]
    if shares:
        told = "Share of the last aggregate that clients with evidence of half an alarm have."
        share = sum(each.weight or 0.0 for each in shares if each.suspicion >= SUSPICIOUS)
        table.gauge("suspects_weight_ratio", told, own, share)


def _store(table: _Table, seen: Snapshot) -> None:
    own = seen.federation
    for part, size in seen.sizes.items():
        table.gauge("store_size_bytes", "What the store takes, by part.", own, size, part=part)
    table.gauge("audit_log_entries", "Entries of the audit log.", own, seen.log_entries)
    told = "Whether the log goes on from where it was and its end is signed."
    whole = None if seen.whole is None else float(seen.whole)
    table.gauge("audit_log_whole", told, own, whole)


def _server(table: _Table, seen: Snapshot) -> None:
    own, beat = seen.federation, seen.heartbeat
    if not beat:
        return
    told = "When the server was last heard of."
    table.gauge("server_heartbeat_timestamp_seconds", told, own, beat.at)
    told = "Whether a run goes on; 0 after it has ended as it should."
    table.gauge("server_running", told, own, float(beat.phase != "ended"))
    told = "1 for what the server is at."
    table.gauge("server_phase", told, own, 1.0, phase=beat.phase)
    waited = max(beat.asked - beat.replied, 0) if beat.phase == "training" else 0
    table.gauge("replies_awaited", "Replies still to come in this round.", own, waited)
    table.gauge("server_memory_bytes", "Resident memory of the server.", own, beat.memory)
    table.gauge("spooled_bytes", "Updates held for this round.", own, beat.spooled)
    table.gauge("commit_duration_seconds", "Of the last commit.", own, beat.commit_seconds)


def _worth_seeing(client: Client) -> bool:
    """Who is banned takes part no more."""
    suspect = client.suspicion >= SUSPICIOUS or not client.standing.counts
    return suspect and client.standing is not Standing.BANNED


def _clients(table: _Table, seen: Snapshot, shown: Sequence[Client]) -> None:
    own = seen.federation
    stand = dict.fromkeys(Standing, 0)
    for each in seen.clients:
        stand[each.standing] += 1
    for standing, count in stand.items():
        told = "Clients by standing."
        table.gauge("clients", told, own, count, standing=standing.value)
    told = "Clients without series of their own: fewer are shown than there are."
    table.gauge("clients_left_out", told, own, len(seen.clients) - len(shown))
    worth, there = sum(map(_worth_seeing, seen.clients)), sum(map(_worth_seeing, shown))
    told = "Of those, the ones in quarantine or with evidence of half an alarm; none is banned."
    table.gauge("suspects_left_out", told, own, worth - there)
    for each in shown:
        name = shown_name(each.name)
        for family, score in sorted(each.scores.items()):
            told = "Score in the last round, robust z."
            table.gauge("client_anomaly_score", told, own, score, client=name, family=family)
        told = "Evidence gathered over rounds, 1 being an alarm."
        for family, value in sorted(each.evidence.items()):
            table.gauge("client_evidence_ratio", told, own, value, client=name, family=family)
        told = "The most evidence of any family."
        table.gauge("client_suspicion_ratio", told, own, each.suspicion, client=name)
        told = "Reputation, 0 to 1."
        table.gauge("client_reputation_ratio", told, own, each.reputation, client=name)
        told = "0 trusted, 1 watch, 2 probation, 3 quarantine, 4 banned."
        table.gauge("client_standing", told, own, LEVELS[each.standing], client=name)
        told = "Round in which the standing last changed."
        table.gauge("client_standing_since_round", told, own, each.since, client=name)
        told = "Rounds it took part in."
        table.counter("client_participations", told, own, each.participations, client=name)
        told = "Share of the last aggregate."
        table.gauge("client_weight_ratio", told, own, each.weight, client=name)
        told = "Euclidean norm of its last update."
        table.gauge("client_update_norm", told, own, each.norm, client=name)
