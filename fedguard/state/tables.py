"""The tables of a store; `migrations` brings an older one to this."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "checkpoints",
    "clients",
    "events",
    "federations",
    "heartbeats",
    "log",
    "measurements",
    "metadata",
    "overrides",
    "rounds",
    "states",
    "verdicts",
]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _federation() -> Column[int]:
    return Column("federation", Integer, ForeignKey("federations.id"), nullable=False)


federations = Table(
    "federations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("rounds", Integer, nullable=False),  # committed so far
    Column("log_size", BigInteger, nullable=False),
    Column("log_frontier", JSON, nullable=False),  # hex, as `fedguard.audit.Frontier`
)
clients = Table(  # as they stand after the last round they took part in
    "clients",
    metadata,
    Column("id", Integer, primary_key=True),
    _federation(),
    Column("name", String(200), nullable=False),
    Column("first_round", Integer, nullable=False),
    Column("last_round", Integer, nullable=False),
    Column("participations", Integer, nullable=False),
    Column("standing", String(20), nullable=False),
    Column("since", Integer, nullable=False),
    Column("reputation", Float, nullable=False),
    UniqueConstraint("federation", "name"),
)
rounds = Table(
    "rounds",
    metadata,
    _federation(),
    Column("number", Integer, nullable=False),
    Column("committed_at", Float, nullable=False),
    Column("seconds", Float),
    Column("defence", Text, nullable=False),
    Column("held", Text),
    Column("norm", Float, nullable=False),
    Column("admitted", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("suspected", Integer, nullable=False),
    Column("entry", BigInteger, nullable=False),  # its place in the log
    Column("report", String(64), nullable=False),  # sha256 of the report
    Column("model", Text),  # blob of the manifest
    Column("inputs", Text),  # blob of the kept inputs
    Column("stages", JSON),  # seconds of each part
    Column("tally", JSON),  # as `fedguard.state.tallies`
    Column("sent", LargeBinary),  # as `fedguard.state.sent`
    PrimaryKeyConstraint("federation", "number"),
)
verdicts = Table(
    "verdicts",
    metadata,
    _federation(),
    Column("round", Integer, nullable=False),
    Column("client", Integer, ForeignKey("clients.id"), nullable=False),
    Column("admitted", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("weight", Float),
    Column("suspected", Boolean, nullable=False),
    Column("standing", String(20), nullable=False),
    Column("reputation", Float),
    Column("scores", JSON, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("num_examples", BigInteger),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Column("received_at", Float),
    Column("model_version", Integer),
    Column("norm", Float),
    PrimaryKeyConstraint("federation", "round", "client"),  # a round is written in one place
    ForeignKeyConstraint(["federation", "round"], ["rounds.federation", "rounds.number"]),
)
states = Table(
    "states",
    metadata,
    _federation(),
    Column("round", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("federation", "round"),
)
measurements = Table(  # of the model after a round
    "measurements",
    metadata,
    _federation(),
    Column("round", Integer, nullable=False),
    Column("source", String(20), nullable=False),
    Column("name", String(100), nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("federation", "round", "source", "name"),
)
heartbeats = Table(  # the server as it is, overwritten
    "heartbeats",
    metadata,
    _federation(),
    Column("at", Float, nullable=False),
    Column("round", Integer, nullable=False),
    Column("phase", String(20), nullable=False),
    Column("asked", Integer, nullable=False),
    Column("replied", Integer, nullable=False),
    Column("memory", BigInteger, nullable=False),
    Column("spooled", BigInteger, nullable=False),
    Column("commit_seconds", Float),
    PrimaryKeyConstraint("federation"),
)
overrides = Table(
    "overrides",
    metadata,
    Column("id", Integer, primary_key=True),
    _federation(),
    Column("client", String(200), nullable=False),
    Column("action", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("author", String(200), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("until_round", Integer),
    Column("until_time", Float),
    Column("same_as", String(200)),
    Index("ix_overrides_client", "federation", "client"),
)
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    _federation(),
    Column("at", Float, nullable=False),
    Column("round", Integer, nullable=False),
    Column("client", String(200)),
    Column("kind", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Index("ix_events_round", "federation", "round"),
)
log = Table(
    "log",
    metadata,
    _federation(),
    Column("place", BigInteger, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
    Column("entry", LargeBinary),  # the exact bytes, packed
    PrimaryKeyConstraint("federation", "place"),
)
checkpoints = Table(
    "checkpoints",
    metadata,
    _federation(),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("federation", "size"),
)
