"""Seals on approvals, so that none is carried over to other content by hand.

Not beside the previous release: what that one approves has no seal and lets nothing leave. `chancery db upgrade` seals the
approvals of before that are what their records say.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("approval", sa.Column("seal", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("approval", "seal")
