"""Whether a store still holds what its log says, entry by entry and file by file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from fedguard.audit import Checkpoint, Frontier, Verifier, inclusion_proof, leaf_hash
from fedguard.canonical import from_json
from fedguard.errors import BadCheckpoint, CorruptBlob, InvalidParameter
from fedguard.state import tables
from fedguard.state.blobs import sha256_of
from fedguard.state.database import reading
from fedguard.state.logbook import Entry, entries_of, notes_of
from fedguard.state.models import manifest_of
from fedguard.state.sql import SqlStore

__all__ = ["Finding", "proof_of", "verify"]


class Finding(NamedTuple):
    """Something that is not what the log says: what, and how it shows."""

    what: str
    why: str


def verify(
    store: SqlStore, verifier: Verifier, witnessed: Checkpoint | None = None
) -> list[Finding]:
    """Everything wrong with a store's log, tables and files; nothing if it is whole.

    `witnessed` is a checkpoint that somebody kept: without one, whoever holds the key and the
    store could have written the whole log anew.
    """
    with reading(store.engine) as connection:
        entries = list(entries_of(connection, store.id))
        found = list(_log(connection, store, verifier, entries, witnessed))
        found += _rounds(connection, store, entries)
        found += _clients(connection, store, entries)
        found += _orders(connection, store, entries)
    found += _files(store, entries)
    return found


def _log(
    connection: Connection,
    store: SqlStore,
    verifier: Verifier,
    entries: list[Entry],
    witnessed: Checkpoint | None,
) -> Iterator[Finding]:
    frontier, roots = Frontier(), {}
    for place, entry in enumerate(entries):
        if entry.place != place:
            yield Finding(f"log entry {place}", f"entry {entry.place} stands in its place")
        if entry.data is not None and leaf_hash(entry.data) != entry.leaf:
            yield Finding(f"log entry {entry.place}", "its bytes do not have its hash")
        frontier = frontier.plus(entry.leaf)
        roots[frontier.size] = frontier.root
    own = select(tables.federations).where(tables.federations.c.id == store.id)
    row = connection.execute(own).one()
    if (row.log_size, row.log_frontier) != (frontier.size, [x.hex() for x in frontier.roots]):
        yield Finding("the log's end", "its hashes do not follow from the entries")
    covered = 0
    for note in notes_of(connection, store.id):
        try:
            told = verifier.opened(note)
        except BadCheckpoint as error:
            yield Finding(f"the checkpoint after {covered} entries", str(error))
            continue
        covered = told.size
        if roots.get(told.size) != told.root:
            yield Finding(f"the checkpoint of {told.size} entries", "the log has another root")
    if covered != frontier.size:
        yield Finding(
            "the log's end", f"{frontier.size} entries, the last checkpoint has {covered}"
        )
    if witnessed and roots.get(witnessed.size) != witnessed.root:
        why = f"the log no longer begins with the {witnessed.size} entries witnessed"
        yield Finding("the witnessed checkpoint", why)


def _told(entries: list[Entry], kind: str) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """What entries of a kind say; one that cannot be read was found by its hash."""
    for entry in entries:
        if entry.data is None or leaf_hash(entry.data) != entry.leaf:
            continue
        with suppress(ValueError, KeyError, TypeError):
            plain = from_json(entry.data)
            if plain["kind"] == kind:
                yield entry, plain


def _told_rounds(entries: list[Entry]) -> Iterator[dict[str, Any]]:
    """The rounds as the log tells them."""
    for entry, plain in _told(entries, "round"):
        with suppress(ValueError, KeyError, TypeError):
            told = {name: plain[name] for name in ("report", "state", "model")}
            number = from_json(told["report"])["round"]
            yield told | {"place": entry.place, "round": number}


def _rounds(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    rows = {
        row.number: row
        for row in connection.execute(
            select(tables.rounds).where(tables.rounds.c.federation == store.id)
        )
    }
    kept = select(tables.states).where(tables.states.c.federation == store.id)
    states = {row.round: row.data for row in connection.execute(kept)}
    for told in _told_rounds(entries):
        report, number = from_json(told["report"]), told["round"]
        row = rows.pop(number, None)
        if row is None:
            yield Finding(f"round {number}", "the log has it, the table does not")
            continue
        digest = sha256_of(told["report"].encode())
        if (row.entry, row.report, row.model) != (told["place"], digest, told["model"]):
            yield Finding(f"round {number}", "the table says another thing than the log")
        if number in states and sha256_of(states[number]) != told["state"]:
            yield Finding(f"the state after round {number}", "its bytes do not have its hash")
        yield from _verdicts(connection, store, number, report["verdicts"])
    for number, row in rows.items():
        if row.entry < len(entries) and entries[row.entry].data is not None:
            yield Finding(f"round {number}", "the table has it, the log does not")


def _verdicts(
    connection: Connection, store: SqlStore, number: int, told: list[dict[str, Any]]
) -> Iterator[Finding]:
    table, names = tables.verdicts, tables.clients
    query = (
        select(table, names.c.name)
        .join(names, names.c.id == table.c.client)
        .where(table.c.federation == store.id, table.c.round == number)
    )
    kept = {row.name: row for row in connection.execute(query)}
    if not kept:
        return  # no longer kept
    for verdict in told:
        row = kept.get(verdict["client"])
        fields = [name for name in verdict if name != "client"]
        if row is None or any(getattr(row, name) != verdict[name] for name in fields):
            yield Finding(
                f"the verdict on {verdict['client']} in round {number}",
                "the table says another thing than the log",
            )


def _clients(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    """The table of clients against the last that the log says of each."""
    last: dict[str, tuple[int, str, float | None]] = {}
    for told in _told_rounds(entries):
        report = from_json(told["report"])
        changed = {each["client"]: (each["after"], None) for each in report["changes"]}
        judged = {
            each["client"]: (each["standing"], each["reputation"])
            for each in report["verdicts"]
            if each["reputation"] is not None
        }
        last |= {name: (told["round"], *own) for name, own in (changed | judged).items()}
    table = tables.clients
    rows = {
        row.name: row
        for row in connection.execute(select(table).where(table.c.federation == store.id))
    }
    for name, (number, standing, reputation) in last.items():
        row = rows.get(name)
        stands = row and (row.last_round, row.standing) == (number, standing)
        if not (row and stands and reputation in (None, row.reputation)):
            yield Finding(f"client {name}", "the table says another thing than the log")


def _orders(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    """The operator's orders, which act, against those in the log."""
    table = tables.overrides
    names = [column.name for column in table.columns if column.name not in ("id", "federation")]
    query = select(*(table.c[name] for name in names)).where(table.c.federation == store.id)
    kept = [dict(row._mapping) for row in connection.execute(query.order_by(table.c.id))]
    if any(entry.data is None for entry in entries):
        return
    told = [
        {name: plain["at"] if name == "created_at" else plain.get(name) for name in names}
        for _, plain in _told(entries, "override")
    ]
    for place, (one, other) in enumerate(zip_longest(kept, told)):
        if one != other:
            whose = (one or other or {})["client"]
            yield Finding(f"order {place + 1}, on {whose}", "the table has another than the log")


def _files(store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    for told in _told_rounds(entries):
        if not told["model"]:
            continue
        try:
            store.blobs.get(manifest_of(store.blobs, told["model"])["model"])
        except CorruptBlob as error:
            yield Finding(error.path, error.why)


def proof_of(store: SqlStore, place: int) -> dict[str, Any]:
    """An entry, the path from it to the root, and the signed root: all that a stranger needs."""
    with reading(store.engine) as connection:
        entries = list(entries_of(connection, store.id))
        notes = notes_of(connection, store.id)
    path = inclusion_proof([entry.leaf for entry in entries], place)
    data = entries[place].data
    if data is None:
        raise InvalidParameter(f"log entry {place} was pruned; only its hash is kept")
    return {
        "entry": base64.b64encode(data).decode(),
        "index": place,
        "proof": [base64.b64encode(each).decode() for each in path],
        "checkpoint": notes[-1],
    }
