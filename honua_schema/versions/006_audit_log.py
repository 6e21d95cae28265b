"""The audit log: who changed which licence, credential or customer, and when.

- Locks: a trigger takes SHARE ROW EXCLUSIVE on its table for a moment.
- Online: yes; the log has no reader yet.
- Data: downgrade() drops the log with all that is in it.

Revision: 006
Revises: 005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from honua_schema import sqlfile

revision = "006"
down_revision = "005"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "006/build_queue/record_build_audit.sql",
    "006/system/hash_audit_log.sql",
    "006/system/record_audit.sql",
    "006/system/refuse_audit_log_change.sql",
    "006/system/seal_audit_log.sql",
    "006/system/verify_audit_log.sql",
    "006/system/write_audit_log.sql",
)
TRIGGERS = (
    "006/build_queue/build_queue_record_audit.sql",
    "006/core/customers_record_audit.sql",
    "006/core/licenses_record_audit.sql",
    "006/core/registry_credentials_record_audit.sql",
    "006/system/audit_log_append_only.sql",
    "006/system/audit_log_no_truncate.sql",
)


def upgrade() -> None:
    """Create the log, and the triggers that write it and keep it."""
    op.create_table(
        "audit_log",
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=True,
            nullable=False,
            comment="Technical key of the row, with occurred_at",
        ),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the transaction that made the change began; the partition key",
        ),
        sa.Column("table_name", sa.String(length=100), nullable=False, comment="Table that was changed"),
        sa.Column(
            "operation",
            sa.String(length=20),
            nullable=False,
            comment="What was done: INSERT, UPDATE, DELETE, or SEAL of the records before it",
        ),
        sa.Column("row_id", sa.Uuid(), nullable=False, comment="Technical key of the changed row"),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=True,
            comment="Customer whose row it is; no foreign key, for the record outlives the customer",
        ),
        sa.Column(
            "actor",
            sa.String(length=255),
            nullable=False,
            comment="Who made the change: the setting honua.actor, else the session's database role",
        ),
        sa.Column(
            "transaction_id", sa.BigInteger(), nullable=False, comment="Transaction that made the change"
        ),
        sa.Column(
            "old_values",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Old values of what changed, of the columns that may be recorded",
        ),
        sa.Column(
            "new_values",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="New values of what changed, of the columns that may be recorded",
        ),
        sa.CheckConstraint(
            "jsonb_typeof(new_values) = 'object'", name=op.f("ck_audit_log_new_values_object")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(old_values) = 'object'", name=op.f("ck_audit_log_old_values_object")
        ),
        sa.CheckConstraint(
            "operation IN ('INSERT', 'UPDATE', 'DELETE', 'SEAL')", name=op.f("ck_audit_log_operation_allowed")
        ),
        sa.PrimaryKeyConstraint("id", "occurred_at", name=op.f("pk_audit_log")),
        comment="Who changed which customer, licence, credential or build; append only, by month",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    sqlfile.execute("CREATE TABLE honua_partitions.audit_log_default PARTITION OF audit_log DEFAULT;")
    op.create_index("ix_audit_log_actor", "audit_log", ["actor", "occurred_at"], unique=False)
    op.create_index("ix_audit_log_customer_id", "audit_log", ["customer_id", "occurred_at"], unique=False)
    op.create_index(
        "ix_audit_log_occurred_at", "audit_log", ["occurred_at"], unique=False, postgresql_using="brin"
    )
    op.create_index("ix_audit_log_row_id", "audit_log", ["row_id", "occurred_at"], unique=False)
    sqlfile.create(*FUNCTIONS)
    sqlfile.keep_for_owner(*FUNCTIONS)
    sqlfile.create(*TRIGGERS)


def downgrade() -> None:
    """Drop all of it."""
    sqlfile.drop(*reversed(TRIGGERS))
    op.drop_table("audit_log")
    sqlfile.drop(*reversed(FUNCTIONS))
