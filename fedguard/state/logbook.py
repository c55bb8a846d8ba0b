"""The audit log in its tables: appended in the transaction of what it tells."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from fedguard.audit import Checkpoint, Frontier, Signer, leaf_hash
from fedguard.canonical import to_json
from fedguard.state.tables import checkpoints, federations, log

__all__ = ["Entry", "Line", "append", "entries_of", "entry_at", "notes_of", "origin_of", "unpacked"]

CHECKSUM = 4


class Entry(NamedTuple):
    """One entry: its place, its hash as stored, and its exact bytes."""

    place: int
    leaf: bytes
    data: bytes


class Line(NamedTuple):
    """An entry as it will be stored: its hash, and its bytes, packed."""

    leaf: bytes
    packed: bytes

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Line:
        """The line of an entry in plain data."""
        data = to_json(entry)
        return cls(leaf_hash(data), _packed(data))


def append(connection: Connection, federation: int, name: str, signer: Signer, line: Line) -> None:
    """Add a line, and the checkpoint that covers it. The caller holds the row lock."""
    row = connection.execute(select(federations).where(federations.c.id == federation)).one()
    before = Frontier(row.log_size, tuple(map(bytes.fromhex, row.log_frontier)))
    after = before.plus(line.leaf)
    note = signer.signed(Checkpoint(origin_of(name), after.size, after.root))
    own = {"place": before.size, "leaf": line.leaf, "entry": line.packed}
    connection.execute(insert(log).values(federation=federation, **own))
    connection.execute(
        insert(checkpoints).values(federation=federation, size=after.size, note=note)
    )
    frontier = [each.hex() for each in after.roots]
    connection.execute(
        update(federations)
        .where(federations.c.id == federation)
        .values(log_size=after.size, log_frontier=frontier)
    )


def origin_of(name: str) -> str:
    """What the log of a federation calls itself in its checkpoints."""
    return f"fedguard/{name}"


def entries_of(connection: Connection, federation: int) -> Iterator[Entry]:
    """All entries, in order."""
    query = select(log).where(log.c.federation == federation).order_by(log.c.place)
    yield from map(_entry, connection.execute(query))


def entry_at(connection: Connection, federation: int, place: int) -> Entry:
    """One entry."""
    own = (log.c.federation == federation) & (log.c.place == place)
    return _entry(connection.execute(select(log).where(own)).one())


def _entry(row: Any) -> Entry:
    stored = row.entry or b""
    return Entry(
        row.place, row.leaf, unpacked(stored.encode() if isinstance(stored, str) else stored)
    )


def _packed(data: bytes) -> bytes:
    """Compressed, behind a checksum: a compressed stream ends in bits that mean nothing."""
    packed = zlib.compress(data, 1)
    return zlib.crc32(packed).to_bytes(CHECKSUM) + packed


def unpacked(stored: bytes) -> bytes:
    """What was packed. Bytes that were touched since stay as they are, and have another hash."""
    packed = stored[CHECKSUM:]
    if zlib.crc32(packed).to_bytes(CHECKSUM) != stored[:CHECKSUM]:
        return stored
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return stored


def notes_of(connection: Connection, federation: int) -> list[str]:
    """All checkpoints, the shortest log's first."""
    query = select(checkpoints.c.note).where(checkpoints.c.federation == federation)
    return list(connection.scalars(query.order_by(checkpoints.c.size)))
