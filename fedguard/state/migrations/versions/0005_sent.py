"""A round is written in few places: its verdicts together, what it was sent in its own row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fedguard.canonical import from_json
from fedguard.state.logbook import unpacked
from fedguard.state.sent import beginnings

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_verdicts_sha256", "verdicts")
    op.add_column("rounds", sa.Column("sent", sa.LargeBinary()))
    rounds = sa.table("rounds", *map(sa.column, ("federation", "number", "entry", "sent")))
    log = sa.table("log", *map(sa.column, ("federation", "place", "entry")))
    connection = op.get_bind()
    every = sa.select(rounds.c.federation, rounds.c.number, rounds.c.entry)
    for federation, number, place in connection.execute(every).all():
        own = (log.c.federation == federation) & (log.c.place == place)
        entry = connection.scalars(sa.select(log.c.entry).where(own)).one_or_none()
        row = (rounds.c.federation == federation) & (rounds.c.number == number)
        connection.execute(sa.update(rounds).where(row).values(sent=_sent(entry)))
    with op.batch_alter_table("verdicts") as batch:
        batch.drop_index("ix_verdicts_round")
        batch.drop_constraint("pk_verdicts", type_="primary")
        batch.create_primary_key("pk_verdicts", ["federation", "round", "client"])


def _sent(entry: bytes | None) -> bytes | None:
    """As the log tells it, which holds rounds whose verdicts are no longer kept, too.

    None for an entry that cannot be read: `fedguard audit verify` names it.
    """
    try:
        receipts = from_json(unpacked(bytes(entry or b"")))["receipts"]
        return beginnings(each["sha256"] for each in receipts.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
