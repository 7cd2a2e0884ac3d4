"""Missions, persons with their grants and tokens, accounts with sealed secrets, posture and policy.

Safe beside the previous release because it is the first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# text on SQLite, so that instants sort and compare as what they are
TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "data_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("kek_uri", sa.String(), nullable=False),
        sa.Column("kek_version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_key"),
    )
    op.create_index("ix_data_key_subject", "data_key", ["subject"], unique=False)
    op.create_table(
        "mission",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("city", sa.String(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["mission.id"], name="fk_mission_parent_id"),
        sa.PrimaryKeyConstraint("id", name="pk_mission"),
        sa.UniqueConstraint("code", name="uq_mission_code"),
        sa.UniqueConstraint("path", name="uq_mission_path"),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("approvals_suspended_until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("code", name="uq_person_code"),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("base_url", sa.String(), nullable=False),
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("handle", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("software", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_reason", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'paused', 'removed')", name=op.f("ck_account_state")
        ),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_account_mission_id"),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("code", name="uq_account_code"),
    )
    op.create_index("ix_account_mission_id", "account", ["mission_id"], unique=False)
    op.create_index(
        "uq_account_profile",
        "account",
        ["platform", "base_url", "external_id"],
        unique=True,
        sqlite_where=sa.text("state <> 'removed'"),
        postgresql_where=sa.text("state <> 'removed'"),
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_api_token_person_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.UniqueConstraint("token_sha256", name="uq_api_token_token_sha256"),
    )
    op.create_index("ix_api_token_person_id", "api_token", ["person_id"], unique=False)
    op.create_table(
        "enrolment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("code_sha256", sa.String(), nullable=False),
        sa.Column("issued_by", sa.Uuid(), nullable=True),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("redeemed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["issued_by"], ["person.id"], name="fk_enrolment_issued_by"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_enrolment_person_id"),
        sa.PrimaryKeyConstraint("id", name="pk_enrolment"),
        sa.UniqueConstraint("code_sha256", name="uq_enrolment_code_sha256"),
    )
    op.create_index("ix_enrolment_person_id", "enrolment", ["person_id"], unique=False)
    op.create_table(
        "grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("not_after", TIME, nullable=True),
        sa.Column("bootstrap", sa.Boolean(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=True),
        sa.Column("proposed_at", TIME, nullable=False),
        sa.Column("confirmed_by", sa.Uuid(), nullable=True),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.CheckConstraint(
            "role IN ('officer', 'supervisor', 'admin', 'auditor')", name=op.f("ck_grant_role")
        ),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> person_id", name=op.f("ck_grant_not_own")
        ),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> proposed_by", name=op.f("ck_grant_two_admins")
        ),
        sa.ForeignKeyConstraint(["confirmed_by"], ["person.id"], name="fk_grant_confirmed_by"),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_grant_mission_id"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_grant_person_id"),
        sa.ForeignKeyConstraint(["proposed_by"], ["person.id"], name="fk_grant_proposed_by"),
        sa.PrimaryKeyConstraint("id", name="pk_grant"),
    )
    op.create_index("ix_grant_person_id", "grant", ["person_id"], unique=False)
    op.create_table(
        "idempotency_record",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("key_sha256", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name="fk_idempotency_record_person_id"
        ),
        sa.PrimaryKeyConstraint("person_id", "key_sha256", name="pk_idempotency_record"),
    )
    op.create_table(
        "media",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("mission_id", sa.Uuid(), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["mission_id"], ["mission.id"], name="fk_media_mission_id"),
        sa.ForeignKeyConstraint(["uploaded_by"], ["person.id"], name="fk_media_uploaded_by"),
        sa.PrimaryKeyConstraint("sha256", name="pk_media"),
    )
    op.create_table(
        "policy_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("activated_by", sa.Uuid(), nullable=True),
        sa.Column("activated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["activated_by"], ["person.id"], name="fk_policy_version_activated_by"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_policy_version"),
    )
    op.create_table(
        "posture",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("started_by", sa.Uuid(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_by", sa.Uuid(), nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("kind IN ('stop')", name=op.f("ck_posture_kind")),
        sa.ForeignKeyConstraint(["ended_by"], ["person.id"], name="fk_posture_ended_by"),
        sa.ForeignKeyConstraint(["started_by"], ["person.id"], name="fk_posture_started_by"),
        sa.PrimaryKeyConstraint("id", name="pk_posture"),
    )
    op.create_index(
        "uq_posture_open",
        "posture",
        ["kind"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "sealed_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("data_key_id", sa.Integer(), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('secret', 'session')", name=op.f("ck_sealed_token_kind")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_sealed_token_account_id"),
        sa.ForeignKeyConstraint(
            ["data_key_id"], ["data_key.id"], name="fk_sealed_token_data_key_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sealed_token"),
        sa.UniqueConstraint("account_id", "kind", name="uq_sealed_token_account_id"),
    )


def downgrade() -> None:
    op.drop_table("sealed_token")
    op.drop_index(
        "uq_posture_open",
        table_name="posture",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_table("posture")
    op.drop_table("policy_version")
    op.drop_table("media")
    op.drop_table("idempotency_record")
    op.drop_index("ix_grant_person_id", table_name="grant")
    op.drop_table("grant")
    op.drop_index("ix_enrolment_person_id", table_name="enrolment")
    op.drop_table("enrolment")
    op.drop_index("ix_api_token_person_id", table_name="api_token")
    op.drop_table("api_token")
    op.drop_index(
        "uq_account_profile",
        table_name="account",
        sqlite_where=sa.text("state <> 'removed'"),
        postgresql_where=sa.text("state <> 'removed'"),
    )
    op.drop_index("ix_account_mission_id", table_name="account")
    op.drop_table("account")
    op.drop_table("person")
    op.drop_table("mission")
    op.drop_index("ix_data_key_subject", table_name="data_key")
    op.drop_table("data_key")
