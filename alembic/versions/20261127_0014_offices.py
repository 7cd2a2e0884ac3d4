"""Offices: who clears and who approves, why an author goes on, and by when an answer is due.

Beside the previous release: it does not know the role `clearer` and fails on whoever holds it, and it takes a decision
that clears for one that approves; so give nobody that role before all processes are of this release.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
BEFORE = ("officer", "supervisor", "admin", "auditor")
ROLES = ("officer", "clearer", "supervisor", "admin", "auditor")
MODES = ("clear", "approve", "break_glass")

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("grant") as batch:
        batch.add_column(sa.Column("office", sa.String(), server_default="", nullable=False))
        batch.drop_constraint(op.f("ck_grant_role"), type_="check")
        batch.create_check_constraint(op.f("ck_grant_role"), _among("role", ROLES))
    op.add_column("post", sa.Column("accepted", sa.JSON(), nullable=True))
    op.add_column("post", sa.Column("submitted_at", TIME, nullable=True))
    op.add_column("post", sa.Column("answer_by", TIME, nullable=True))
    # As a statement: SQLite adds a check with a column only, and to copy the table would lose its triggers.
    op.execute(
        "ALTER TABLE approval ADD COLUMN mode VARCHAR DEFAULT 'approve' NOT NULL "
        f"CONSTRAINT ck_approval_mode CHECK ({_among('mode', MODES)})"
    )
    op.add_column("approval", sa.Column("reason", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("approval", "reason")
    op.drop_column("approval", "mode")
    for column in ("answer_by", "submitted_at", "accepted"):
        op.drop_column("post", column)
    with op.batch_alter_table("grant") as batch:
        batch.drop_constraint(op.f("ck_grant_role"), type_="check")
        batch.create_check_constraint(op.f("ck_grant_role"), _among("role", BEFORE))
        batch.drop_column("office")


def _among(column: str, values: Sequence[str]) -> str:
    listed = ", ".join(f"'{each}'" for each in values)
    return f"{column} IN ({listed})"
