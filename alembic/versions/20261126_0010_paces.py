"""The distance between an account's posts, and what counts against a platform's quota.

Safe beside the previous release: what that one sends meanwhile is not counted. Attempts of before get their account, so
that nothing is forgotten.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "account", sa.Column("spacing_s", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("attempt", sa.Column("account_id", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE attempt SET account_id = (SELECT d.account_id FROM delivery d WHERE d.id = attempt.delivery_id)"
    )
    op.create_index("ix_attempt_pace", "attempt", ["account_id", "started_at"])


def downgrade() -> None:
    op.drop_index("ix_attempt_pace", table_name="attempt")
    op.drop_column("attempt", "account_id")
    op.drop_column("account", "spacing_s")
