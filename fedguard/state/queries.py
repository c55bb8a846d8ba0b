"""What people ask of a store: who the clients are, what happened to one, how the rounds went."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select

from fedguard.errors import ConfigError, InvalidParameter, UnknownName
from fedguard.reputation import Override
from fedguard.state import tables
from fedguard.state.database import reading
from fedguard.state.logbook import entry_at
from fedguard.state.orders import notes_in, orders_in
from fedguard.state.progress import model_after
from fedguard.state.sql import SqlStore

__all__ = [
    "bytes_of",
    "clients_of",
    "entry_of",
    "events_since",
    "heartbeat_of",
    "history_of",
    "model_of",
    "name_like",
    "notes_of",
    "orders_of",
    "rounds_of",
    "sizes_of",
    "told_of",
]

MOST_NAMES = 5
"""That are told where several are meant."""
OVER = ("ended", "failed")
"""Phases of a run that goes on no more."""
Rows = Sequence[Row[Any]]
clients, rounds, verdicts, events = (
    tables.clients,
    tables.rounds,
    tables.verdicts,
    tables.events,
)


def clients_of(store: SqlStore) -> Rows:
    """All clients as they stand, with the scores of the last round each took part in."""
    last = (
        (verdicts.c.federation == clients.c.federation)
        & (verdicts.c.client == clients.c.id)
        & (verdicts.c.round == clients.c.last_round)
    )
    query = (
        select(clients, verdicts.c.scores, verdicts.c.evidence)
        .outerjoin(verdicts, last)
        .where(clients.c.federation == store.id)
        .order_by(clients.c.reputation, clients.c.name)
    )
    with reading(store.engine) as connection:
        return connection.execute(query).all()


def orders_of(store: SqlStore) -> dict[str, Override]:
    """By client, what the operator ordered for the next round."""
    done = store.done
    with reading(store.engine) as connection:
        return orders_in(connection, store.id, done + 1, time.time())


def notes_of(store: SqlStore) -> dict[str, str]:
    """By client, the last thing that the operator noted of it."""
    with reading(store.engine) as connection:
        return notes_in(connection, store.id)


def name_like(store: SqlStore, given: str) -> str:
    """The one client whose name is, or begins with, what was given. Raises `ConfigError`."""
    with reading(store.engine) as connection:
        query = select(clients.c.name).where(clients.c.federation == store.id)
        names = list(connection.scalars(query))
    if given in names:
        return given
    found = [name for name in names if name.startswith(given)]
    if not found:
        raise UnknownName("client", given, names)
    if len(found) > 1:
        shown = ", ".join([*sorted(found)[:MOST_NAMES], *["…"] * (len(found) > MOST_NAMES)])
        raise ConfigError(f"{len(found)} clients' names begin with {given!r}: {shown}")
    return str(found[0])


def history_of(store: SqlStore, name: str) -> tuple[Row[Any], Rows, Rows]:
    """One client, its verdicts by round, and what was told of it."""
    with reading(store.engine) as connection:
        mine = (clients.c.federation == store.id) & (clients.c.name == name)
        client = connection.execute(select(clients).where(mine)).one()
        own = (rounds.c.federation == store.id) & (verdicts.c.client == client.id)
        there = (verdicts.c.federation == store.id) & (verdicts.c.round == rounds.c.number)
        query = select(verdicts).select_from(rounds).join(verdicts, there).where(own)
        past = connection.execute(query.order_by(rounds.c.number)).all()
        told = (events.c.federation == store.id) & (events.c.client == name)
        return (
            client,
            past,
            connection.execute(select(events).where(told).order_by(events.c.id)).all(),
        )


def rounds_of(store: SqlStore, last: int) -> Rows:
    """The last rounds, the newest first."""
    query = select(rounds).where(rounds.c.federation == store.id)
    with reading(store.engine) as connection:
        return connection.execute(query.order_by(rounds.c.number.desc()).limit(last)).all()


def entry_of(store: SqlStore, number: int) -> int:
    """The place in the log of a round's entry. Raises `InvalidParameter`."""
    mine = (rounds.c.federation == store.id) & (rounds.c.number == number)
    with reading(store.engine) as connection:
        found: int | None = connection.scalars(select(rounds.c.entry).where(mine)).one_or_none()
    if found is None:
        raise InvalidParameter(f"round {number} is not in the store")
    return found


def model_of(store: SqlStore, number: int | None = None) -> tuple[int, str]:
    """The round and the manifest of the model that stands, or stood after round `number`.

    Raises `InvalidParameter`.
    """
    done = store.done
    if number is not None and number > done:
        raise InvalidParameter(f"round {number} is not done: {done} are")
    with reading(store.engine) as connection:
        found = model_after(connection, store.id, number)
    if found is None:
        before = "" if number is None else f" of round {number} or before"
        raise InvalidParameter(f"no model{before} is in the store")
    return found


def heartbeat_of(store: SqlStore) -> Any:
    """The last heartbeat of a run that has not ended; None if none goes on."""
    beats = tables.heartbeats
    with reading(store.engine) as connection:
        row = connection.execute(select(beats).where(beats.c.federation == store.id)).first()
    return None if row is None or row.phase in OVER else row


def told_of(store: SqlStore, number: int) -> tuple[dict[str, Any], str | None]:
    """What the log holds of a round, and the blob of its inputs if they are kept."""
    place = entry_of(store, number)
    mine = (rounds.c.federation == store.id) & (rounds.c.number == number)
    with reading(store.engine) as connection:
        inputs = connection.scalars(select(rounds.c.inputs).where(mine)).one()
        entry = entry_at(connection, store.id, place)
    return json.loads(entry.data), inputs


def events_since(store: SqlStore, place: int = 0) -> Rows:
    """Events with a number above `place`, in order."""
    query = select(events).where(events.c.federation == store.id, events.c.id > place)
    with reading(store.engine) as connection:
        return connection.execute(query.order_by(events.c.id)).all()


def bytes_of(store: SqlStore) -> dict[str, int]:
    """How large the store is: its log, the whole database with the log in it, and its files."""
    log, checkpoints = tables.log, tables.checkpoints
    entries = select(func.coalesce(func.sum(func.length(log.c.entry) + func.length(log.c.leaf)), 0))
    notes = select(func.coalesce(func.sum(func.length(checkpoints.c.note)), 0))
    whole = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        "postgresql": "SELECT pg_database_size(current_database())",
    }
    with reading(store.engine) as connection:
        told = connection.scalars(entries.where(log.c.federation == store.id)).one()
        told += connection.scalars(notes.where(checkpoints.c.federation == store.id)).one()
        database = connection.exec_driver_sql(whole[store.engine.dialect.name]).scalar_one()
    return {"log": int(told), "database": int(database), "files": store.blobs.size}


def sizes_of(store: SqlStore) -> dict[str, int]:
    """How many of everything there are."""
    with reading(store.engine) as connection:
        return {
            table.name: connection.scalars(
                select(func.count()).select_from(table).where(table.c.federation == store.id)
            ).one()
            for table in (clients, rounds, verdicts, events, tables.log)
        }
