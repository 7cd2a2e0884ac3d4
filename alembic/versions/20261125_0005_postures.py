"""Postures in their full shape: a kind, a scope, allowed classes, a time, and two persons for its end.

An open stop stays in force: it names no scope, no class and no time, so it forbids everything. Beside the previous
release: it takes every stop, however narrow, for a stop of everything, and sends nothing when two are open; but it
does not see postures of another kind, so set those only when all workers are of this release. The trigger is not for
rows of the past, which one person was allowed to end.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
OPEN = "ended_at IS NULL"

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

SQLITE_TRIGGER = """
CREATE TRIGGER posture_lifted_by_its_setter BEFORE UPDATE OF ended_by ON posture
WHEN NEW.ended_by = NEW.started_by
BEGIN SELECT RAISE(ABORT, 'posture_lifted_by_its_setter'); END
"""
POSTGRESQL_FUNCTION = """
CREATE FUNCTION refuse_posture_lifted_by_its_setter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ended_by = NEW.started_by THEN
        RAISE EXCEPTION 'posture_lifted_by_its_setter' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER posture_lifted_by_its_setter BEFORE UPDATE OF ended_by ON posture
FOR EACH ROW EXECUTE FUNCTION refuse_posture_lifted_by_its_setter()
"""
REFERENCES = {
    "mission_id": "mission",
    "account_id": "account",
    "set_from_id": "mission",
    "end_proposed_by": "person",
}


def upgrade() -> None:
    op.drop_index("uq_posture_open", table_name="posture")
    with op.batch_alter_table("posture") as batch:
        batch.drop_constraint(op.f("ck_posture_kind"), type_="check")
        for column, table in REFERENCES.items():
            batch.add_column(sa.Column(column, sa.Uuid(), nullable=True))
            batch.create_foreign_key(f"fk_posture_{column}", table, [column], ["id"])
        batch.add_column(sa.Column("language", sa.String(), nullable=True))
        batch.add_column(
            sa.Column("allowed_classes", sa.JSON(), server_default="[]", nullable=False)
        )
        for column in ("starts_at", "ends_at", "end_proposed_at"):
            batch.add_column(sa.Column(column, TIME, nullable=True))
        batch.create_check_constraint(op.f("ck_posture_kind"), "length(kind) BETWEEN 1 AND 40")
        batch.create_check_constraint(
            op.f("ck_posture_ends_after_start"),
            "ends_at IS NULL OR ends_at > coalesce(starts_at, started_at)",
        )
    op.create_index(
        "ix_posture_open",
        "posture",
        ["started_at"],
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(SQLITE_TRIGGER)
    else:
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_TRIGGER)


def downgrade() -> None:
    """Refused by the old rules as long as postures of another kind, or several at once, are on record."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER posture_lifted_by_its_setter")
    else:
        op.execute("DROP TRIGGER posture_lifted_by_its_setter ON posture")
        op.execute("DROP FUNCTION refuse_posture_lifted_by_its_setter")
    op.drop_index("ix_posture_open", table_name="posture")
    with op.batch_alter_table("posture") as batch:
        batch.drop_constraint(op.f("ck_posture_kind"), type_="check")
        batch.drop_constraint(op.f("ck_posture_ends_after_start"), type_="check")
        for column in REFERENCES:
            batch.drop_constraint(f"fk_posture_{column}", type_="foreignkey")
            batch.drop_column(column)
        for column in ("language", "allowed_classes", "starts_at", "ends_at", "end_proposed_at"):
            batch.drop_column(column)
        batch.create_check_constraint(op.f("ck_posture_kind"), "kind IN ('stop')")
    op.create_index(
        "uq_posture_open",
        "posture",
        ["kind"],
        unique=True,
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )
