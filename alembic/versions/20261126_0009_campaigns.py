"""Campaigns: posts of several missions with one aim, which can be stopped together.

Safe beside the previous release, which writes posts of no campaign. It takes a stop by campaign for one that was changed
by hand, and sends nothing at all: set one only when all workers are of this release.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_campaign_mission_id"),
        sa.ForeignKeyConstraint(["created_by"], ["person.id"], name="fk_campaign_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
        sa.UniqueConstraint("code", name="uq_campaign_code"),
    )
    op.create_index("ix_campaign_mission_id", "campaign", ["mission_id"])
    for table in ("post", "posture"):
        _add_reference(table)
    op.create_index("ix_post_campaign_id", "post", ["campaign_id"])


def _add_reference(table: str) -> None:
    """In place on SQLite, too: a copy of the table is not to be had, because others refer to it and triggers watch it."""
    name = f"fk_{table}_campaign_id"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN campaign_id CHAR(32) "
            f"CONSTRAINT {name} REFERENCES campaign (id)"
        )
        return
    reference = sa.ForeignKey("campaign.id", name=name)
    op.add_column(table, sa.Column("campaign_id", sa.Uuid(), reference, nullable=True))


def downgrade() -> None:
    op.drop_index("ix_post_campaign_id", table_name="post")
    for table in ("posture", "post"):
        op.drop_column(table, "campaign_id")
    op.drop_index("ix_campaign_mission_id", table_name="campaign")
    op.drop_table("campaign")
