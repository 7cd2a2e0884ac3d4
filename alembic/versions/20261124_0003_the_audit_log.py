"""The audit log: outbox, leaves, nodes, head and checkpoints.

Safe beside the previous release because it only adds tables.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# A sealed line is never changed: this stops mistakes; checkpoints show what it does not stop.
SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER audit_leaf_update BEFORE UPDATE ON audit_leaf
    BEGIN SELECT RAISE(ABORT, 'audit_leaf_append_only'); END
    """,
    """
    CREATE TRIGGER audit_leaf_delete BEFORE DELETE ON audit_leaf
    BEGIN SELECT RAISE(ABORT, 'audit_leaf_append_only'); END
    """,
)
POSTGRESQL_FUNCTION = """
CREATE FUNCTION refuse_audit_leaf_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_leaf_append_only' USING ERRCODE = 'check_violation';
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER audit_leaf_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_leaf
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_leaf_change()
"""


def upgrade() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_leaf",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_leaf"),
    )
    op.create_index("ix_audit_leaf_subject", "audit_leaf", ["subject"], unique=False)
    op.create_table(
        "audit_node",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name="pk_audit_node"),
    )
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_outbox"),
    )
    op.create_index(
        "ix_audit_outbox_unsealed",
        "audit_outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("signed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoint"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)
    else:
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_TRIGGER)


def downgrade() -> None:
    op.drop_table("checkpoint")
    op.drop_index(
        "ix_audit_outbox_unsealed",
        table_name="audit_outbox",
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.drop_table("audit_outbox")
    op.drop_table("audit_node")
    op.drop_index("ix_audit_leaf_subject", table_name="audit_leaf")
    op.drop_table("audit_leaf")
    op.drop_table("audit_head")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_leaf_change")
