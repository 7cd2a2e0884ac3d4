"""What a post's authors declare for the policy's rules.

Safe beside the previous release: it writes posts that declare nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("post", sa.Column("facts", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("post", "facts")
