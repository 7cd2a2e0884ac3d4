"""Alerts on their way to people, and the signs of life of the workers.

Safe beside the previous release because it only adds tables, which that release neither writes nor reads.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "outbound_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("situation", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbound_event"),
        sa.UniqueConstraint("situation", name="uq_outbound_event_situation"),
    )
    op.create_index("ix_outbound_event_created_at", "outbound_event", ["created_at"], unique=False)
    op.create_index(
        "ix_outbound_event_subject", "outbound_event", ["subject_id", "kind"], unique=False
    )
    op.create_table(
        "outbound_send",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("carrier", sa.Uuid(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wake_at", TIME, nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("target IN ('email', 'webhook')", name=op.f("ck_outbound_send_target")),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'failed', 'gone')", name=op.f("ck_outbound_send_state")
        ),
        sa.CheckConstraint(
            "(body IS NOT NULL) = (carrier = event_id)", name=op.f("ck_outbound_send_carrier")
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["outbound_event.id"], name="fk_outbound_send_event_id"
        ),
        sa.PrimaryKeyConstraint("event_id", "target", name="pk_outbound_send"),
    )
    op.create_index("ix_outbound_send_carrier", "outbound_send", ["carrier"], unique=False)
    op.create_index(
        "ix_outbound_send_newest", "outbound_send", ["target", "created_at"], unique=False
    )
    op.create_index(
        "ix_outbound_send_wake",
        "outbound_send",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "sign_of_life",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sign_of_life"),
    )


def downgrade() -> None:
    op.drop_table("sign_of_life")
    op.drop_index(
        "ix_outbound_send_wake",
        table_name="outbound_send",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index("ix_outbound_send_newest", table_name="outbound_send")
    op.drop_index("ix_outbound_send_carrier", table_name="outbound_send")
    op.drop_table("outbound_send")
    op.drop_index("ix_outbound_event_subject", table_name="outbound_event")
    op.drop_index("ix_outbound_event_created_at", table_name="outbound_event")
    op.drop_table("outbound_event")
