"""A federation's memory in SQLite or PostgreSQL, one transaction a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fedguard.audit import Signer
from fedguard.blocks.threads import beside
from fedguard.errors import (
    CorruptBlob,
    InvalidParameter,
    MissingKey,
    StaleCommit,
    UnheardOrder,
    UnknownName,
)
from fedguard.events import Event, events_of
from fedguard.reputation import Action, Override, Reputation
from fedguard.reputation.overrides import followed
from fedguard.state import progress, tables
from fedguard.state.blobs import Blobs, sha256_of
from fedguard.state.database import execute_many, reading, writing
from fedguard.state.logbook import Line, append
from fedguard.state.measured import write_heartbeat, write_measurements
from fedguard.state.models import read_model, write_model
from fedguard.state.orders import last_order, links_in, orders_in
from fedguard.state.rows import CLIENT, VERDICT, client_row, round_row, verdict_row
from fedguard.state.sent import Sent, beginnings
from fedguard.state.types import Heartbeat, RoundRecord, State
from fedguard.types import RoundReport, Standing

__all__ = ["AS_USUAL", "Retention", "SqlStore"]

federations, clients, rounds = tables.federations, tables.clients, tables.rounds
INPUTS = ".inputs"
SEEN = ("last_round", *CLIENT)
"""Of a client, the columns that a round changes."""


def _new(column: str) -> str:
    return f"new_{column}"


UNJUDGED = Reputation(standing=Standing.TRUSTED)
"""Everybody, where no policy keeps reputations."""
CHANGED = (
    update(clients)
    .where(clients.c.id == bindparam("own"))
    .values({column: bindparam(_new(column)) for column in SEEN})
)
ADDED, JUDGED = insert(clients), insert(tables.verdicts)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many rounds things are kept; None keeps them for good.

    The last round's states and verdicts always are.
    `inputs` are the updates themselves, as large as the round, which `fedguard replay` needs.
    Log and models stay whatever is pruned. Inputs of more than 1.75 GiB are not kept.
    """

    states: int = 2
    inputs: int = 0
    verdicts: int | None = None


AS_USUAL = Retention()


class SqlStore:
    """A `StateStore` in a database, with models in `blobs` and a log signed by `signer`.

    Made by `open_store`. Without a signer it only reads.
    """

    def __init__(
        self,
        engine: Engine,
        blobs: Blobs,
        signer: Signer | None,
        federation: str = "default",
        retention: Retention = AS_USUAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine, self.blobs, self.signer, self.name = engine, blobs, signer, federation
        self.retention, self._clock = retention, clock
        self._last: tuple[int, str, State] = 0, "", State()
        self._sent, self._known = Sent(), dict[str, int]()
        with writing(engine) if signer else reading(engine) as connection:
            self.id = _federation(connection, federation, clock() if signer else None)

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the database's connections back."""
        self.engine.dispose()

    @property
    def done(self) -> int:
        """Rounds committed so far, without reading what they left."""
        with reading(self.engine) as connection:
            return int(connection.scalars(self._own(federations, federations.c.rounds)).one())

    def load(self) -> State:
        now = self._clock()
        with reading(self.engine) as connection:
            done = connection.scalars(self._own(federations, federations.c.rounds)).one()
            state = self._state_after(connection, done) if done else State()
            overrides = orders_in(connection, self.id, done + 1, now)
            heard = last_order(connection, self.id)
        return replace(state, overrides=overrides, heard=heard)

    def _state_after(self, connection: Connection, done: int) -> State:
        """The state that a round left; of the round read or committed last it is known.

        Raises `CorruptBlob`.
        """
        query = self._own(rounds, rounds.c.report).where(rounds.c.number == done)
        report = connection.scalars(query).one_or_none() or ""
        if (done, report) != self._last[:2]:
            states = tables.states
            query = self._own(states, states.c.data).where(states.c.round == done)
            state = self._state_of(connection.scalars(query).one_or_none(), done)
            self._last = done, report, state
        return self._last[2]

    def _state_of(self, data: bytes | None, done: int) -> State:
        what = f"the state of {self.name} after round {done}"
        if data is None:
            raise CorruptBlob(what, "it is not there")
        try:
            return State.from_bytes(data)
        except InvalidParameter:
            raise  # of a rule or scorer that is not known here
        except (ValueError, TypeError, LookupError) as error:
            raise CorruptBlob(what, f"it cannot be read ({error})") from None

    def commit(
        self,
        state: State,
        report: RoundReport,
        expected_round: int,
        record: RoundRecord = RoundRecord(),  # noqa: B008  (frozen and empty)
    ) -> None:
        now, body, data = self._clock(), report.to_bytes(), state.to_bytes()
        digest = sha256_of(body)
        told = {"kind": "round", "at": now, "report": body.decode(), **record.plain()}
        line = beside(lambda: Line.of(told | {"state": sha256_of(data)}))
        with writing(self.engine) as connection:
            if not self._take_turn(connection, state, expected_round, digest):
                return
            if state.heard is not None and last_order(connection, self.id) > state.heard:
                raise UnheardOrder
            ids = self._write_clients(connection, report, state.reputations)
            self._write_round(connection, report, record, digest, now)
            self._write_verdicts(connection, report, record, ids)
            self._log(connection, line())
            self._write_events(connection, events_of(report), now)
            own = {"federation": self.id, "round": report.round, "data": data}
            connection.execute(insert(tables.states).values(own))
            dropped = self._prune(connection, report.round)
        self._last, self._known = (report.round, digest, state), ids
        for name in dropped:
            self.blobs.drop(name)

    @property
    def advanced(self) -> int:
        with reading(self.engine) as connection:
            return progress.advanced(connection, self.id)

    @property
    def version(self) -> int:
        with reading(self.engine) as connection:
            return progress.version(connection, self.id)

    def sent_before(self, digests: Collection[str], version: int) -> Mapping[str, int]:
        with reading(self.engine) as connection:
            self._sent.read(connection, self.id)
            seem = self._sent.rounds_of(digests)
            return progress.sent_before(connection, self.id, digests, version, seem) if seem else {}

    def override(self, override: Override) -> None:
        now = self._clock()
        with writing(self.engine) as connection:
            self._lock(connection)
            done = connection.scalars(self._own(federations, federations.c.rounds)).one()
            if override.action is Action.LINK:  # refused if it would lead in a circle
                followed(links_in(connection, self.id) | {override.client: str(override.same_as)})
            plain = asdict(override.begun(done))
            self._log(connection, Line.of({"kind": "override", "at": now} | plain))
            row = {"federation": self.id, "created_at": now} | plain
            connection.execute(insert(tables.overrides).values(row))
            by = f" by {override.author}" if override.author else ""
            note = f": {override.note}" if override.note else ""
            told = f"the operator: {override.action}{by}{note}"
            event = Event(done, f"operator.{override.action}", override.client or None, told, plain)
            self._write_events(connection, [event], now)

    def links(self) -> Mapping[str, str]:
        with reading(self.engine) as connection:
            return followed(links_in(connection, self.id))

    def tidy(self) -> None:
        """Drop inputs that no round of any federation here names: a server was killed then."""
        with reading(self.engine) as connection:
            query = select(rounds.c.inputs).where(rounds.c.inputs.is_not(None))
            self.blobs.tidy(INPUTS, set(connection.scalars(query)))

    def measure(self, server_round: int, source: str, values: Mapping[str, float]) -> None:
        with writing(self.engine) as connection:
            write_measurements(connection, self.id, server_round, source, values)

    def beat(self, heartbeat: Heartbeat) -> None:
        with writing(self.engine) as connection:
            write_heartbeat(connection, self.id, self._clock(), heartbeat)

    def keep_inputs(self, data: Callable[[], bytes]) -> str | None:
        return self.blobs.put(data(), INPUTS) if self.retention.inputs > 0 else None

    def keep_model(
        self, arrays: Callable[[], Mapping[str, NDArray[Any]]], provenance: Mapping[str, Any]
    ) -> str | None:
        parent = {"parent": self.last_model(), "federation": self.name}
        return write_model(self.blobs, arrays(), dict(provenance) | parent)

    def newest_model(self) -> Mapping[str, NDArray[Any]] | None:
        name = self.last_model()
        return read_model(self.blobs, name) if name else None

    def last_model(self) -> str | None:
        """The manifest of the newest model, for who goes on from it."""
        with reading(self.engine) as connection:
            found = progress.model_after(connection, self.id)
        return found[1] if found else None

    def _own(self, table: Any, *columns: Any) -> Any:
        """A selection of this federation's rows."""
        own = table.c.id if table is federations else table.c.federation
        return select(*columns).where(own == self.id)

    def _lock(self, connection: Connection) -> None:
        """Wait for whoever else writes to this federation."""
        connection.execute(
            update(federations)
            .where(federations.c.id == self.id)
            .values(rounds=federations.c.rounds)
        )

    def _take_turn(
        self, connection: Connection, state: State, expected_round: int, digest: str
    ) -> bool:
        """Whether this round is to be written; False if it is there already."""
        mine = (federations.c.id == self.id) & (federations.c.rounds == expected_round)
        moved = connection.execute(
            update(federations).where(mine).values(rounds=expected_round + 1)
        ).rowcount
        if moved and state.round == expected_round + 1:
            return True
        done = connection.scalars(self._own(federations, federations.c.rounds)).one() - moved
        last = self._own(rounds, rounds.c.report).where(rounds.c.number == expected_round + 1)
        if done == expected_round + 1 and connection.scalars(last).one() == digest:
            return False
        raise StaleCommit(expected_round, done)

    def _log(self, connection: Connection, line: Line) -> None:
        if not self.signer:
            raise MissingKey("", "the store was opened for reading")
        append(connection, self.id, self.name, self.signer, line)

    def _write_round(
        self,
        connection: Connection,
        report: RoundReport,
        record: RoundRecord,
        digest: str,
        now: float,
    ) -> None:
        connection.execute(
            insert(rounds).values(
                federation=self.id,
                committed_at=now,
                entry=self._own(federations, federations.c.log_size).scalar_subquery(),
                report=digest,
                sent=beginnings(receipt.sha256 for receipt in record.receipts.values()),
                **round_row(report, record),
            )
        )

    def _write_clients(
        self, connection: Connection, report: RoundReport, reputations: Mapping[str, Reputation]
    ) -> dict[str, int]:
        """Bring the clients of a round up to date; their ids by name."""
        names = dict.fromkeys(
            [*(each.client for each in report.verdicts), *(each.client for each in report.changes)]
        )
        known = self._known if names.keys() <= self._known.keys() else self._ids(connection)
        fresh = Reputation() if reputations else UNJUDGED
        rows = {name: (report.round, *client_row(reputations.get(name, fresh))) for name in names}
        old = [(*row, known[name]) for name, row in rows.items() if name in known]
        execute_many(connection, CHANGED, (*map(_new, SEEN), "own"), old)
        new = [
            (self.id, name, report.round, *row) for name, row in rows.items() if name not in known
        ]
        execute_many(connection, ADDED, ("federation", "name", "first_round", *SEEN), new)
        return self._ids(connection) if new else known

    def _ids(self, connection: Connection) -> dict[str, int]:
        query = self._own(clients, clients.c.name, clients.c.id)
        return dict(connection.execute(query).all())

    def _write_verdicts(
        self,
        connection: Connection,
        report: RoundReport,
        record: RoundRecord,
        ids: Mapping[str, int],
    ) -> None:
        rows = [
            (self.id, report.round, ids[verdict.client], *verdict_row(verdict, record))
            for verdict in report.verdicts
        ]
        execute_many(connection, JUDGED, ("federation", "round", "client", *VERDICT), rows)

    def _write_events(self, connection: Connection, found: list[Event], now: float) -> None:
        rows = [{"federation": self.id, "at": now} | each._asdict() for each in found]
        if rows:
            connection.execute(insert(tables.events), rows)

    def _prune(self, connection: Connection, done: int) -> list[str]:
        """Delete what is no longer kept; the blobs to drop once that is committed."""
        states, keep = tables.states, self.retention
        old = (states.c.federation == self.id) & (states.c.round <= done - max(keep.states, 1))
        connection.execute(delete(states).where(old))
        if keep.verdicts is not None:
            last = done - max(keep.verdicts, 1)
            for table in (tables.verdicts, tables.events):
                gone = (table.c.federation == self.id) & (table.c.round <= last)
                if table is tables.events:  # SQLite would give the newest one's number again
                    gone &= table.c.id < select(func.max(table.c.id)).scalar_subquery()
                connection.execute(delete(table).where(gone))
        gone = (
            (rounds.c.federation == self.id)
            & (rounds.c.number <= done - keep.inputs)
            & rounds.c.inputs.is_not(None)
        )
        dropped = list(connection.scalars(select(rounds.c.inputs).where(gone)))
        if dropped:
            connection.execute(update(rounds).where(gone).values(inputs=None))
        return dropped


def _federation(connection: Connection, name: str, now: float | None) -> int:
    """The number of a federation, which begins `now` if there is none. Raises `UnknownName`."""
    query = select(federations.c.id).where(federations.c.name == name)
    found: int | None = connection.scalars(query).one_or_none()
    if found is None:
        if now is None:
            raise UnknownName("federation", name, connection.scalars(select(federations.c.name)))
        values = {"name": name, "created_at": now, "rounds": 0, "log_size": 0, "log_frontier": []}
        with suppress(IntegrityError), connection.begin_nested():  # another made it just now
            connection.execute(insert(federations).values(values))
        found = connection.scalars(query).one()
    return found
