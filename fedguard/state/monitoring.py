"""A store as monitoring sees it: totals over all rounds, and how everything stands now."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Text, case, cast, func, select

from fedguard.audit import Frontier, Verifier, leaf_hash
from fedguard.canonical import from_json
from fedguard.errors import BadCheckpoint
from fedguard.state import tables
from fedguard.state.database import reading
from fedguard.state.logbook import unpacked
from fedguard.state.queries import bytes_of
from fedguard.state.sql import SqlStore
from fedguard.state.tallies import SCORE_BOUNDS
from fedguard.types import Standing

__all__ = ["SECONDS_BOUNDS", "Client", "Counts", "Monitor", "Snapshot", "Totals"]

STANDINGS = {standing.value: standing for standing in Standing}
RECENT = 100
"""Rounds in which the last measurement of a source is looked for."""
SECONDS_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets of durations."""


@dataclass
class Counts:
    """A histogram: how many up to each bound and beyond the last, and the sum of all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def put(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, counts: Iterable[int], total: float) -> None:
        """Another histogram of the same bounds."""
        self.counts = [one + other for one, other in zip(self.counts, counts, strict=True)]
        self.sum += total


@dataclass
class Totals:
    """What only grows, counted over the rounds in the store."""

    rounds: Counter[str] = field(default_factory=Counter)
    admitted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    suspected: int = 0
    scores: dict[str, Counts] = field(default_factory=dict)
    seconds: Counts = field(default_factory=lambda: Counts(SECONDS_BOUNDS))
    stages: dict[str, Counts] = field(default_factory=dict)

    def add(self, row: Any) -> None:
        """One more round of the table."""
        self.rounds["held" if row.held else "committed"] += 1
        self.admitted += row.admitted
        self.suspected += row.suspected
        tally = row.tally or {"refused": {}, "scores": {}}  # of a round before there were any
        self.refused.update(tally["refused"])
        unknown = row.refused - sum(tally["refused"].values())
        if unknown:
            self.refused["unknown"] += unknown
        for family, told in tally["scores"].items():
            own = self.scores.setdefault(family, Counts(SCORE_BOUNDS))
            own.add(told["counts"], told["sum"])
        if row.seconds is not None:
            self.seconds.put(row.seconds)
        for stage, seconds in (row.stages or {}).items():
            self.stages.setdefault(stage, Counts(SECONDS_BOUNDS)).put(seconds)


class Client(NamedTuple):
    """One client as it stands. What is of the last round is None for who was not in it.

    `told` are the scores as they are stored: of thousands of clients few are looked at. `suspicion`
    is the most evidence that any family has gathered, as a share of what an alarm takes.
    """

    name: str
    standing: Standing
    since: int
    reputation: float
    participations: int
    told: str | None
    weight: float | None
    norm: float | None
    suspected: bool | None
    evidence: Mapping[str, float]
    suspicion: float

    @property
    def scores(self) -> dict[str, float]:
        """By family, of the last round."""
        return dict(from_json(self.told)) if self.told else {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A federation at one moment, in one consistent view of its store.

    `measured` is the last value of each source's number, and `last` the row of the last round.
    `whole` tells whether the log is: None without a key to check it by.
    """

    federation: str
    rounds: int
    held_in_a_row: int
    last: Any
    totals: Totals
    clients: tuple[Client, ...]
    measured: Mapping[tuple[str, str], float]
    heartbeat: Any
    sizes: Mapping[str, int]
    log_entries: int
    whole: bool | None


class Monitor:
    """Looks at one federation again and again, and reads only what is new.

    It keeps totals and the end of the log, so that a log which was shortened or written anew is
    noticed; nothing else outlives a look.
    """

    def __init__(self, store: SqlStore, verifier: Verifier | None = None) -> None:
        self._store, self._verifier = store, verifier
        self._totals, self._read = Totals(), 0
        self._in_a_row = 0
        self._frontier, self._whole = Frontier(), True
        self._clients: tuple[Client, ...] = ()
        self._sizes: dict[str, int] = {}
        self._last: Any = None

    def look(self) -> Snapshot:
        """The federation as it is now. Raises `StoreUnavailable`."""
        with reading(self._store.engine) as connection:
            own = self._own(connection, tables.federations, tables.federations.c.id)[0]
            if own.rounds < self._read:  # another store lies there now, such as an older back-up
                self._totals, self._read, self._in_a_row = Totals(), 0, 0
            if own.rounds > self._read or not self._sizes:
                self._sizes = {}  # until all of it was read: a look that fails is made again
                self._count(connection)
                self._clients = self._those(connection)
                self._sizes = bytes_of(self._store)
            self._check(connection, own)
            beats = self._own(connection, tables.heartbeats)
            measured = self._measured(connection)
        return Snapshot(
            self._store.name,
            own.rounds,
            self._in_a_row,
            self._last,
            self._totals,
            self._clients,
            measured,
            beats[0] if beats else None,
            self._sizes,
            own.log_size,
            self._whole if self._verifier else None,
        )

    def _own(self, connection: Connection, table: Any, key: Any = None) -> Any:
        mine = (table.c.federation if key is None else key) == self._store.id
        return connection.execute(select(table).where(mine)).all()

    def _count(self, connection: Connection) -> None:
        """Add the rounds that are new."""
        table = tables.rounds
        new = (table.c.federation == self._store.id) & (table.c.number > self._read)
        for row in connection.execute(select(table).where(new).order_by(table.c.number)):
            self._totals.add(row)
            self._in_a_row = self._in_a_row + 1 if row.held else 0
            self._read, self._last = row.number, row

    def _those(self, connection: Connection) -> tuple[Client, ...]:
        clients, verdicts = tables.clients, tables.verdicts
        last = (
            (verdicts.c.federation == clients.c.federation)
            & (verdicts.c.client == clients.c.id)
            & (verdicts.c.round == clients.c.last_round)
        )
        took_part = clients.c.last_round == self._read
        query = (
            select(
                clients.c.name,
                clients.c.standing,
                clients.c.since,
                clients.c.reputation,
                clients.c.participations,
                case((took_part, cast(verdicts.c.scores, Text))),
                case((took_part, verdicts.c.weight)),
                case((took_part, verdicts.c.norm)),
                case((took_part, verdicts.c.suspected)),
                cast(verdicts.c.evidence, Text),
            )
            .outerjoin(verdicts, last)
            .where(clients.c.federation == self._store.id)
        )
        return tuple(map(_client, connection.execute(query).all()))

    def _measured(self, connection: Connection) -> dict[tuple[str, str], float]:
        table = tables.measurements
        recent = table.c.round >= self._read - RECENT
        mine = (table.c.federation == self._store.id) & recent
        newest = (
            select(table.c.source, func.max(table.c.round).label("round"))
            .where(mine)
            .group_by(table.c.source)
            .subquery()
        )
        joined = (table.c.source == newest.c.source) & (table.c.round == newest.c.round)
        found = connection.execute(select(table).join(newest, joined).where(mine))
        return {(row.source, row.name): row.value for row in found}

    def _check(self, connection: Connection, own: Any) -> None:
        """Whether the log goes on from where it was seen last, and its end is signed."""
        if not self._verifier or not self._whole:
            return
        if own.log_size == self._frontier.size:
            self._whole = [each.hex() for each in self._frontier.roots] == own.log_frontier
            return
        table, notes = tables.log, tables.checkpoints
        new = (table.c.federation == self._store.id) & (table.c.place >= self._frontier.size)
        first = not self._frontier.size
        columns = (table.c.place, table.c.leaf) if first else table.c
        for row in connection.execute(select(*columns).where(new).order_by(table.c.place)):
            data = None if first else row.entry
            if data is not None and leaf_hash(unpacked(data)) != row.leaf:
                self._whole = False
            self._frontier = self._frontier.plus(row.leaf)
        last = (notes.c.federation == self._store.id) & (notes.c.size == own.log_size)
        note = connection.scalars(select(notes.c.note).where(last)).one_or_none()
        try:
            told = self._verifier.opened(note or "")
        except BadCheckpoint:
            self._whole = False
            return
        self._whole = self._whole and (
            (told.size, told.root) == (self._frontier.size, self._frontier.root)
        )


def _client(row: Any) -> Client:
    """A row of the store; its evidence is looked through, since the most suspect are shown."""
    name, standing, *others, told = row
    evidence = from_json(told) if told else {}
    suspicion = max(evidence.values(), default=0.0)
    return Client._make([name, STANDINGS[standing], *others, evidence, suspicion])
