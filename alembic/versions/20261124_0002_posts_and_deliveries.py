"""Posts, their texts and decisions, and one delivery for each account.

Safe beside the previous release because it only adds tables.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Separation of duties, also against whoever forgets it: no approval by an author or editor.
SQLITE_TRIGGERS = tuple(
    f"""
    CREATE TRIGGER approval_by_editor_{event.lower()} BEFORE {event} ON approval
    WHEN EXISTS (
        SELECT 1 FROM post_editor WHERE post_id = NEW.post_id AND person_id = NEW.person_id
    )
    BEGIN SELECT RAISE(ABORT, 'approval_by_editor'); END
    """
    for event in ("INSERT", "UPDATE")
)
POSTGRESQL_FUNCTION = """
CREATE FUNCTION refuse_approval_by_editor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM post_editor WHERE post_id = NEW.post_id AND person_id = NEW.person_id
    ) THEN
        RAISE EXCEPTION 'approval_by_editor' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER approval_by_editor BEFORE INSERT OR UPDATE ON approval
FOR EACH ROW EXECUTE FUNCTION refuse_approval_by_editor()
"""


def upgrade() -> None:
    op.create_table(
        "post",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("post_class", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("local_time", sa.String(), nullable=True),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("choice", sa.String(), nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("late_minutes", sa.Integer(), nullable=False),
        sa.Column("not_after", TIME, nullable=True),
        sa.Column("schedule_on_approval", sa.Boolean(), nullable=False),
        sa.Column("link_card", sa.JSON(), nullable=True),
        sa.Column("policy", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'cancelled') OR digest IS NOT NULL", name=op.f("ck_post_digest")
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'in_review', 'approved', 'scheduled', 'closed', 'cancelled')",
            name=op.f("ck_post_state"),
        ),
        sa.CheckConstraint("late_minutes >= 0", name=op.f("ck_post_late_minutes")),
        sa.ForeignKeyConstraint(["author_id"], ["person.id"], name="fk_post_author_id"),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_post_mission_id"),
        sa.PrimaryKeyConstraint("id", name="pk_post"),
    )
    op.create_index("ix_post_mission_id", "post", ["mission_id"], unique=False)
    op.create_index("ix_post_state", "post", ["state", "due_at"], unique=False)
    op.create_table(
        "approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_approval_person_id"),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_approval_post_id"),
        sa.PrimaryKeyConstraint("id", name="pk_approval"),
        sa.UniqueConstraint("post_id", "revision", "person_id", name="uq_approval_post_id"),
    )
    op.create_table(
        "comment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_comment_person_id"),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_comment_post_id"),
        sa.PrimaryKeyConstraint("id", name="pk_comment"),
    )
    op.create_index("ix_comment_post_id", "comment", ["post_id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("wake_at", TIME, nullable=True),
        sa.Column("late_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_part", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("remote_url", sa.String(), nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state <> 'ready' OR wake_at IS NOT NULL", name=op.f("ck_delivery_wake_at")
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'ready', 'claimed', 'preparing', 'sending', 'sent', 'verified', 'drifted', 'unknown', 'rejected', 'held', 'expired', 'cancelled')",
            name=op.f("ck_delivery_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('claimed', 'preparing', 'sending') OR lease_until IS NOT NULL",
            name=op.f("ck_delivery_lease"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('sent', 'verified', 'drifted') OR remote_id IS NOT NULL",
            name=op.f("ck_delivery_remote_id"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_delivery_account_id"),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_delivery_post_id"),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("post_id", "account_id", name="uq_delivery_post_id"),
    )
    op.create_index(
        "ix_delivery_lease",
        "delivery",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state IN ('claimed', 'preparing', 'sending')"),
        postgresql_where=sa.text("state IN ('claimed', 'preparing', 'sending')"),
    )
    op.create_index("ix_delivery_post_id", "delivery", ["post_id"], unique=False)
    op.create_index(
        "ix_delivery_wake",
        "delivery",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('ready', 'sent', 'unknown')"),
        postgresql_where=sa.text("state IN ('ready', 'sent', 'unknown')"),
    )
    op.create_index(
        "uq_delivery_remote",
        "delivery",
        ["account_id", "remote_id"],
        unique=True,
        sqlite_where=sa.text("remote_id IS NOT NULL"),
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_index(
        "uq_delivery_sending",
        "delivery",
        ["account_id"],
        unique=True,
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_table(
        "post_editor",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_post_editor_person_id"),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_post_editor_post_id"),
        sa.PrimaryKeyConstraint("post_id", "person_id", name="pk_post_editor"),
    )
    op.create_table(
        "post_text",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_post_text_post_id"),
        sa.PrimaryKeyConstraint("post_id", "language", name="pk_post_text"),
    )
    op.create_table(
        "variant",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("segments", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_variant_account_id"),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name="fk_variant_post_id"),
        sa.PrimaryKeyConstraint("post_id", "account_id", name="pk_variant"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("deadline", TIME, nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint(
            "outcome IN ('sent', 'not_sent', 'rejected', 'unknown', 'found', 'absent')",
            name=op.f("ck_attempt_outcome"),
        ),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("ck_attempt_ended")),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name="fk_attempt_delivery_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
        sa.UniqueConstraint("delivery_id", "number", name="uq_attempt_delivery_id"),
    )
    op.create_index("ix_attempt_delivery_id", "attempt", ["delivery_id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)
    else:
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_TRIGGER)


def downgrade() -> None:
    op.drop_index("ix_attempt_delivery_id", table_name="attempt")
    op.drop_table("attempt")
    op.drop_table("variant")
    op.drop_table("post_text")
    op.drop_table("post_editor")
    op.drop_index(
        "uq_delivery_remote",
        table_name="delivery",
        sqlite_where=sa.text("remote_id IS NOT NULL"),
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_delivery_sending",
        table_name="delivery",
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.drop_index(
        "ix_delivery_wake",
        table_name="delivery",
        sqlite_where=sa.text("state IN ('ready', 'sent', 'unknown')"),
        postgresql_where=sa.text("state IN ('ready', 'sent', 'unknown')"),
    )
    op.drop_index("ix_delivery_post_id", table_name="delivery")
    op.drop_index(
        "ix_delivery_lease",
        table_name="delivery",
        sqlite_where=sa.text("state IN ('claimed', 'preparing', 'sending')"),
        postgresql_where=sa.text("state IN ('claimed', 'preparing', 'sending')"),
    )
    op.drop_table("delivery")
    op.drop_index("ix_comment_post_id", table_name="comment")
    op.drop_table("comment")
    op.drop_table("approval")
    op.drop_index("ix_post_state", table_name="post")
    op.drop_index("ix_post_mission_id", table_name="post")
    op.drop_table("post")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_approval_by_editor")
