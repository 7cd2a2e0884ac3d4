"""Seals on the rows that give power: who may do what, and what is in force.

Safe beside the previous release because the columns have a default. What that release writes from then on has no seal
and gives no power until `chancery db upgrade` of this release is run after its processes have ended.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TABLES = ("mission", "person", "grant", "enrolment", "api_token", "posture", "policy_version")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("seal", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "seal")
