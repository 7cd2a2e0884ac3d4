"""Policies that wait for a second admin.

Safe beside the previous release: that one knows no proposals, and activates with one admin.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "policy_proposal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", TIME, nullable=False),
        sa.Column("seal", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["proposed_by"], ["person.id"], name="fk_policy_proposal_proposed_by"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_policy_proposal"),
    )


def downgrade() -> None:
    op.drop_table("policy_proposal")
