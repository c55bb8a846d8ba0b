"""Whether a store still holds what its log says, entry by entry and file by file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from fedguard.audit import (
    Checkpoint,
    Frontier,
    Verifier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
)
from fedguard.canonical import from_json
from fedguard.errors import BadCheckpoint, ConfigError, CorruptBlob, InvalidParameter
from fedguard.reputation import Reputation
from fedguard.state import tables
from fedguard.state.blobs import sha256_of
from fedguard.state.database import SQLITE, reading, reading_anything
from fedguard.state.logbook import Entry, entries_of, notes_of, origin_of
from fedguard.state.models import manifest_of
from fedguard.state.rows import CLIENT, NO_RECEIPT, client_row, round_row
from fedguard.state.sent import beginnings
from fedguard.state.sql import SqlStore
from fedguard.state.types import RoundRecord, State
from fedguard.types import Change, RoundReport, Standing, Verdict

__all__ = ["Finding", "proof_of", "verify"]


RECORDED = ("seconds", "model", "inputs", "stages")
"""Of a round's record, what its row holds."""
MAY_GO = ("inputs", "stages", "tally")
"""Columns of a round that retention empties, or that an older fedguard did not write."""


class Finding(NamedTuple):
    """Something that is not what the log says: what, and how it shows."""

    what: str
    why: str


def verify(
    store: SqlStore, verifier: Verifier, witnessed: Checkpoint | None = None
) -> list[Finding]:
    """Everything wrong with a store's log, tables and files; nothing if it is whole.

    `witnessed` is a checkpoint that somebody kept: without one, whoever holds the key and the
    store could have written the whole log anew. Raises `ConfigError` for one of another log.
    """
    if witnessed and witnessed.origin != origin_of(store.name):
        raise ConfigError(
            f"the witnessed checkpoint is of {witnessed.origin}, not of {origin_of(store.name)}"
        )
    found: list[Finding] = []
    with reading_anything(store.engine) as connection:
        found += _database(connection)
        entries = list(entries_of(connection, store.id))
        parts = {
            "the log": _log(connection, store, verifier, entries, witnessed),
            "the rounds": _rounds(connection, store, entries),
            "the clients": _clients(connection, store, entries),
            "the orders": _orders(connection, store, entries),
            "the files": _files(store, entries),
        }
        for what, part in parts.items():
            try:
                found += part
            except (ValueError, TypeError, LookupError) as error:
                found.append(Finding(what, f"they hold what cannot be read: {error}"))
    return found


def _database(connection: Connection) -> Iterator[Finding]:
    """SQLite's own look at its file; a database server looks after its files itself."""
    if connection.dialect.name == SQLITE:
        for (told,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if told != "ok":
                yield Finding("the database's file", told)


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
        if leaf_hash(entry.data) != entry.leaf:
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
        if told.origin != origin_of(store.name):
            yield Finding(f"the checkpoint of {told.size} entries", f"it is of {told.origin}")
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
        if leaf_hash(entry.data) != entry.leaf:
            continue
        with suppress(ValueError, KeyError, TypeError):
            plain = from_json(entry.data)
            if plain["kind"] == kind:
                yield entry, plain


class _Round(NamedTuple):
    """A committed round as the log tells it."""

    report: dict[str, Any]
    columns: dict[str, Any]
    receipts: dict[str, dict[str, Any]]
    state: str


def _told_rounds(entries: list[Entry]) -> Iterator[_Round]:
    """The rounds as the log tells them; one that cannot be read was found by its hash."""
    for entry, plain in _told(entries, "round"):
        with suppress(ValueError, KeyError, TypeError):
            report = from_json(plain["report"])
            record = RoundRecord(**{name: plain[name] for name in RECORDED if name in plain})
            columns = round_row(_report_of(report), record) | {
                "report": sha256_of(plain["report"].encode()),
                "entry": entry.place,
                "committed_at": plain["at"],
                "sent": beginnings(each["sha256"] for each in plain["receipts"].values()),
            }
            yield _Round(report, columns, plain["receipts"], plain["state"])


def _report_of(plain: dict[str, Any]) -> RoundReport:
    """The report that became JSON."""
    verdicts = [
        Verdict(**each | {"standing": Standing(each["standing"])}) for each in plain["verdicts"]
    ]
    changes = [
        Change(each["client"], Standing(each["before"]), Standing(each["after"]), each["why"])
        for each in plain["changes"]
    ]
    told: dict[str, Any] = plain | {"verdicts": tuple(verdicts), "changes": tuple(changes)}
    return RoundReport(**told)


def _rounds(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    rows = _by(connection, store, tables.rounds, "number")
    kept = _by(connection, store, tables.states, "round")
    own = select(tables.federations.c.rounds).where(tables.federations.c.id == store.id)
    done, told = connection.scalars(own).one(), list(_told_rounds(entries))
    last = told[-1].columns["number"] if told else 0
    verdicts = tables.verdicts.c
    query = select(verdicts.round).where(verdicts.federation == store.id).distinct()
    judged = set(connection.scalars(query))
    oldest = min(judged, default=last)
    if done != last:
        yield Finding("the count of rounds", f"it is {done}, the log's last round is {last}")
    if last and last not in kept:
        yield Finding(f"the state after round {last}", "it is not there")
    for each in told:
        number = each.columns["number"]
        row = rows.pop(number, None)
        if row is None:
            yield Finding(f"round {number}", "the log has it, the table does not")
            continue
        others = [
            name
            for name, value in each.columns.items()
            if row[name] != value and not (row[name] is None and name in MAY_GO)
        ]
        if others:
            why = f"the table says another thing than the log: {', '.join(others)}"
            yield Finding(f"round {number}", why)
        if number in kept and sha256_of(kept[number]["data"]) != each.state:
            yield Finding(f"the state after round {number}", "its bytes do not have its hash")
        if number >= oldest:  # retention drops the oldest
            yield from _verdicts(connection, store, number, each)
    for number in rows:
        yield Finding(f"round {number}", "the table has it, the log does not")
    for number in sorted(judged - {each.columns["number"] for each in told}):
        yield Finding(f"the verdicts of round {number}", "the table has them, the log does not")


def _by(connection: Connection, store: SqlStore, table: Table, key: str) -> dict[Any, Any]:
    """A federation's rows of a table."""
    query = select(table).where(table.c.federation == store.id)
    return {row[key]: row for row in connection.execute(query).mappings()}


def _verdicts(
    connection: Connection, store: SqlStore, number: int, told: _Round
) -> Iterator[Finding]:
    table, names = tables.verdicts, tables.clients
    query = (
        select(table, names.c.name)
        .join(names, names.c.id == table.c.client)
        .where(table.c.federation == store.id, table.c.round == number)
    )
    kept = {row["name"]: row for row in connection.execute(query).mappings()}
    if told.report["verdicts"] and not kept:
        yield Finding(f"the verdicts of round {number}", "they are not there")
        return
    for verdict in told.report["verdicts"]:
        client = verdict["client"]
        row = kept.pop(client, None)
        wanted = verdict | (told.receipts.get(client) or NO_RECEIPT)
        if row is None or any(row[name] != wanted[name] for name in wanted if name != "client"):
            why = "the table says another thing than the log"
            yield Finding(f"the verdict on {client} in round {number}", why)
    for client in kept:
        why = "the table has it, the log does not"
        yield Finding(f"the verdict on {client} in round {number}", why)


def _clients(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    """The table of clients against what the log says of each, and against the newest state."""
    wanted: dict[str, dict[str, Any]] = {}
    newest = None
    for told in _told_rounds(entries):
        number, newest = told.columns["number"], told.state
        for each in told.report["changes"]:
            own = {"last_round": number, "standing": each["after"]}
            wanted.setdefault(each["client"], {"first_round": number}).update(own)
        for each in told.report["verdicts"]:
            own = {"last_round": number}
            if each["reputation"] is not None:
                own |= {"standing": each["standing"], "reputation": each["reputation"]}
            wanted.setdefault(each["client"], {"first_round": number}).update(own)
    rows = _by(connection, store, tables.clients, "name")
    kept = select(tables.states.c.data).where(tables.states.c.federation == store.id)
    data = next((each for each in connection.scalars(kept) if sha256_of(each) == newest), None)
    known: Mapping[str, Reputation] = {}
    with suppress(InvalidParameter):  # of a scorer that this process does not know
        known = State.from_bytes(data).reputations if data else {}
    for name in sorted({*wanted, *rows}):
        row, own = rows.get(name), wanted.get(name, {})
        if name in known:
            own |= dict(zip(CLIENT, client_row(known[name]), strict=True))
        if row is None or name not in wanted or any(row[key] != own[key] for key in own):
            yield Finding(f"client {name}", "the table says another thing than the log")


def _orders(connection: Connection, store: SqlStore, entries: list[Entry]) -> Iterator[Finding]:
    """The operator's orders, which act, against those in the log."""
    table = tables.overrides
    names = [column.name for column in table.columns if column.name not in ("id", "federation")]
    query = select(*(table.c[name] for name in names)).where(table.c.federation == store.id)
    kept = [dict(row._mapping) for row in connection.execute(query.order_by(table.c.id))]
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
        if not told.columns["model"]:
            continue
        try:
            store.blobs.get(manifest_of(store.blobs, told.columns["model"])["model"])
        except CorruptBlob as error:
            yield Finding(error.path, error.why)


def proof_of(store: SqlStore, place: int, since: Checkpoint | None = None) -> dict[str, Any]:
    """An entry, the path from it to the root, and the signed root: all that a stranger needs.

    With the checkpoint that somebody kept `since`, also the proof that the log grew from there.
    """
    with reading(store.engine) as connection:
        entries = list(entries_of(connection, store.id))
        notes = notes_of(connection, store.id)
    leaves = [entry.leaf for entry in entries]
    path = inclusion_proof(leaves, place)
    grown = {"since": _in_base64(consistency_proof(leaves, since.size))} if since else {}
    return {
        "entry": base64.b64encode(entries[place].data).decode(),
        "index": place,
        "proof": _in_base64(path),
        "checkpoint": notes[-1],
        **grown,
    }


def _in_base64(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]
