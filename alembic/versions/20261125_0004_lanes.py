"""Indexes for the lanes: the next delivery of each account, and the accounts that are in a worker's hands.

Safe beside the previous release: only indexes are added.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_READY = sa.text("state = 'ready'")
_IN_HAND = sa.text("state IN ('claimed', 'preparing', 'sending')")


def upgrade() -> None:
    op.create_index(
        "ix_delivery_lane",
        "delivery",
        ["account_id", "wake_at", "id"],
        sqlite_where=_READY,
        postgresql_where=_READY,
    )
    op.create_index(
        "ix_delivery_in_hand",
        "delivery",
        ["account_id"],
        sqlite_where=_IN_HAND,
        postgresql_where=_IN_HAND,
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_in_hand", "delivery")
    op.drop_index("ix_delivery_lane", "delivery")
