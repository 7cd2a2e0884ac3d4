"""Series and their occurrences, pre-flight results, and renewals of sign-ins.

Safe beside the previous release because it only adds tables.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("starts_on", sa.String(), nullable=False),
        sa.Column("until", sa.String(), nullable=True),
        sa.Column("amount", sa.Integer(), nullable=True),
        sa.Column("exceptions", sa.JSON(), nullable=False),
        sa.Column("fold", sa.String(), nullable=True),
        sa.Column("gap", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("ended_by", sa.Uuid(), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=False),
        sa.CheckConstraint("every >= 1", name=op.f("ck_series_every")),
        sa.CheckConstraint(
            "until IS NOT NULL OR amount IS NOT NULL", name=op.f("ck_series_bounded")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_series_ended")),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_series_mission_id"),
        sa.ForeignKeyConstraint(["source_id"], ["post.id"], name="fk_series_source_id"),
        sa.ForeignKeyConstraint(["author_id"], ["person.id"], name="fk_series_author_id"),
        sa.ForeignKeyConstraint(["ended_by"], ["person.id"], name="fk_series_ended_by"),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
    )
    op.create_index("ix_series_mission_id", "series", ["mission_id"], unique=False)
    op.create_table(
        "occurrence",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("series_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_occurrence_post_id"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_occurrence_series_id"),
        sa.PrimaryKeyConstraint("post_id", name="pk_occurrence"),
        sa.UniqueConstraint("series_id", "day", name="uq_occurrence_series_id"),
    )
    op.create_table(
        "preflight",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "revision", name="pk_preflight"),
    )
    op.create_table(
        "sign_in",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ends_at", TIME, nullable=True),
        sa.Column("warned_days", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_sign_in_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_sign_in"),
    )


def downgrade() -> None:
    op.drop_table("sign_in")
    op.drop_table("preflight")
    op.drop_table("occurrence")
    op.drop_index("ix_series_mission_id", table_name="series")
    op.drop_table("series")
