"""Engines for SQLite and PostgreSQL, and transactions whose failures are told as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Insert, Update, create_engine, event
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
)

from fedguard.canonical import from_json, to_json
from fedguard.errors import ConfigError, StoreUnavailable

__all__ = [
    "SQLITE",
    "engine_of",
    "execute_many",
    "reading",
    "reading_anything",
    "told",
    "without_secrets",
    "writing",
]

SQLITE = "sqlite"
"""The dialect's name."""

NOT_THE_STORE = DataError, IntegrityError
"""Errors of a value, which fails again however long one waits."""
SQLITE_SETTINGS = (
    "PRAGMA page_size=16384",  # of a new database: a round is megabytes, a page costs two writes
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a committed round outlives a power cut
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=5000",
    "PRAGMA cache_size=-65536",  # KiB: what a round writes and reads, with room
    "PRAGMA secure_delete=FAST",  # else a state that is dropped is written once more, as zeros
    "PRAGMA wal_autocheckpoint=4096",  # pages, 64 MB (16 of old ones): less writes twice
)


def engine_of(url: str) -> Engine:
    """An engine for a database URL. Raises `ConfigError` for what is none."""
    try:
        engine = create_engine(url, json_serializer=_spelt, json_deserializer=from_json)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"{without_secrets(url)} is no database that can be used: {error}; write "
            "sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME with fedguard[postgres]"
        ) from None
    if engine.dialect.name == SQLITE:
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    return engine


def _spelt(value: Any) -> str:
    return to_json(value).decode()


def _set_up(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late for a write lock
    for setting in SQLITE_SETTINGS:
        connection.execute(setting)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes, whole or not at all. Raises `StoreUnavailable`."""
    connect = engine.execution_options(writes=True).connect
    with told(engine), connect() as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view, whoever commits meanwhile. Raises `StoreUnavailable`."""
    whole = {} if engine.dialect.name == SQLITE else {"isolation_level": "REPEATABLE READ"}
    connect = engine.execution_options(**whole).connect
    with told(engine), connect() as connection, connection.begin():
        yield connection


@contextmanager
def reading_anything(engine: Engine) -> Iterator[Connection]:
    """`reading`, text that is none included: each byte that cannot be read is a sign for that."""
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        if engine.dialect.name != SQLITE:  # a server lets no such text in
            yield connection
            return
        usual, driver.text_factory = (
            driver.text_factory,
            partial(str, encoding="utf8", errors="replace"),
        )
        try:
            yield connection
        finally:
            driver.text_factory = usual


def execute_many(
    connection: Connection,
    statement: Insert | Update,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """A statement for every row, by the driver: bringing parameters up to it costs most of it.

    It is put into words once, so give the same one each time. Values are of the parameters'
    `names`, as the driver takes them; JSON is text.
    """
    if not rows:
        return
    text, order = _compiled(statement, connection.dialect, tuple(names))
    given: list[Any] = (
        list(map(order, rows)) if order else [dict(zip(names, row, strict=True)) for row in rows]
    )
    connection.exec_driver_sql(text, given)


@lru_cache(maxsize=64)
def _compiled(
    statement: Insert | Update, dialect: Dialect, names: tuple[str, ...]
) -> tuple[str, itemgetter[Any] | None]:
    """A statement's text, and what puts a row in the order of its parameters if they have one."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order = compiled.positiontup
    return str(compiled), itemgetter(*map(names.index, order)) if order else None


@contextmanager
def told(engine: Engine) -> Iterator[None]:
    """What waiting or the operator can mend is the store's; a wrong value stays wrong."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, NOT_THE_STORE):
            raise
        shown = without_secrets(engine.url.render_as_string(hide_password=False))
        raise StoreUnavailable(shown, str(error.orig).strip()) from error


def without_secrets(url: str) -> str:
    """A database's URL without who logs in and how; of one that is malformed the kind alone.

    >>> without_secrets("postgresql+psycopg://me:secret@db.example/fed?sslmode=require")
    'postgresql+psycopg://db.example/fed'
    >>> without_secrets("postgresql+psycopg://me:sec@ret@db.example/fed")
    'postgresql+psycopg://…'
    """
    kind, _, rest = url.partition("://")
    if kind == SQLITE or not rest:
        return url if kind == SQLITE else "what was given"
    plain = re.fullmatch(r"(?:[^@?/]*@)?([^@?]*)(?:\?[^@]*)?", rest)
    return f"{kind}://{plain[1] if plain else '…'}"
