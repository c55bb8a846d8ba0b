"""Find an update by its hash."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_verdicts_sha256", "verdicts", ["federation", "sha256"])
