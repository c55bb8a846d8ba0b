"""A round is written in few places: its verdicts together, what it was sent in its own row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fedguard.state.sent import beginnings

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_verdicts_sha256", "verdicts")
    op.add_column("rounds", sa.Column("sent", sa.LargeBinary()))
    rounds = sa.table("rounds", sa.column("federation"), sa.column("number"), sa.column("sent"))
    verdicts = sa.table(
        "verdicts", sa.column("federation"), sa.column("round"), sa.column("sha256")
    )
    connection = op.get_bind()
    every = connection.execute(sa.select(rounds.c.federation, rounds.c.number)).all()
    for federation, number in every:
        own = (verdicts.c.federation == federation) & (verdicts.c.round == number)
        digests = sa.select(verdicts.c.sha256).where(own, verdicts.c.sha256.is_not(None))
        row = (rounds.c.federation == federation) & (rounds.c.number == number)
        sent = beginnings(connection.scalars(digests))
        connection.execute(sa.update(rounds).where(row).values(sent=sent))
    with op.batch_alter_table("verdicts") as batch:
        batch.drop_index("ix_verdicts_round")
        batch.drop_constraint("pk_verdicts", type_="primary")
        batch.create_primary_key("pk_verdicts", ["federation", "round", "client"])
