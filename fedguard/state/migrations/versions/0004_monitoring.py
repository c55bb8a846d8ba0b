"""What monitoring shows: norms, stages and tallies of rounds, measurements, a heartbeat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("norm", sa.Float()))
    op.add_column("rounds", sa.Column("stages", sa.JSON()))
    op.add_column("rounds", sa.Column("tally", sa.JSON()))
    op.create_table(
        "measurements",
        sa.Column("federation", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["federation"], ["federations.id"], name=op.f("fk_measurements_federations")
        ),
        sa.PrimaryKeyConstraint(
            "federation", "round", "source", "name", name=op.f("pk_measurements")
        ),
    )
    op.create_table(
        "heartbeats",
        sa.Column("federation", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("replied", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("spooled", sa.BigInteger(), nullable=False),
        sa.Column("commit_seconds", sa.Float()),
        sa.ForeignKeyConstraint(
            ["federation"], ["federations.id"], name=op.f("fk_heartbeats_federations")
        ),
        sa.PrimaryKeyConstraint("federation", name=op.f("pk_heartbeats")),
    )
