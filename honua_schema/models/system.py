"""The schema's own records: which revisions were applied, and who changed what."""

from __future__ import annotations

import enum
import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from honua_schema.models.base import (
    Base,
    ByteCount,
    CreationTimestamp,
    GeneratedNumber,
    String50,
    String64,
    String100,
    String255,
    enum_type,
    in_range,
    index,
    json_object,
    one_of,
    partitioned_by_month,
)


class AuditOperation(enum.StrEnum):
    """What was done to the audited row, or, for a seal, to the records before it."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    SEAL = "SEAL"


class SchemaMigration(Base):
    """One applied revision. Written in the transaction of the revision itself."""

    __tablename__ = "schema_migrations"

    version: Mapped[String50] = mapped_column(
        primary_key=True, comment="Number of the revision: 001, 002, ..."
    )
    name: Mapped[String255] = mapped_column(comment="Name of the revision, as in its file name")
    applied_at: Mapped[CreationTimestamp] = mapped_column(comment="When it was applied")
    applied_by: Mapped[String100] = mapped_column(
        server_default=text("CURRENT_USER"), comment="Database role that applied it"
    )
    checksum: Mapped[String64] = mapped_column(
        comment="SHA-256 of the revision and its SQL files, in hexadecimal: an edited revision shows"
    )
    execution_time_ms: Mapped[int] = mapped_column(comment="How long it took, in milliseconds")

    __table_args__ = (
        in_range("execution_time_ms"),
        {"comment": "Revisions applied to this database"},
    )


@partitioned_by_month
class AuditLog(Base):
    """One change to a licence, credential, customer or build. Append only; partitioned by month."""

    __tablename__ = "audit_log"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row, with occurred_at")
    occurred_at: Mapped[CreationTimestamp] = mapped_column(
        primary_key=True, comment="When the transaction that made the change began; the partition key"
    )
    table_name: Mapped[String100] = mapped_column(comment="Table that was changed")
    operation: Mapped[AuditOperation] = mapped_column(
        enum_type(AuditOperation),
        comment="What was done: INSERT, UPDATE, DELETE, or SEAL of the records before it",
    )
    row_id: Mapped[uuid.UUID] = mapped_column(comment="Technical key of the changed row")
    customer_id: Mapped[String100 | None] = mapped_column(
        comment="Customer whose row it is; no foreign key, for the record outlives the customer"
    )
    actor: Mapped[String255] = mapped_column(
        comment="Who made the change: the setting honua.actor, else the session's database role"
    )
    transaction_id: Mapped[ByteCount] = mapped_column(comment="Transaction that made the change")
    old_values: Mapped[dict[str, Any] | None] = mapped_column(
        comment="Old values of what changed, of the columns that may be recorded"
    )
    new_values: Mapped[dict[str, Any] | None] = mapped_column(
        comment="New values of what changed, of the columns that may be recorded"
    )

    __table_args__ = (
        one_of("operation", AuditOperation),
        json_object("old_values"),
        json_object("new_values"),
        index("ix_audit_log_row_id", "row_id", "occurred_at", serves="the history of a row"),
        index("ix_audit_log_customer_id", "customer_id", "occurred_at", serves="what happened to a customer"),
        index("ix_audit_log_actor", "actor", "occurred_at", serves="what somebody did"),
        index("ix_audit_log_occurred_at", "occurred_at", using="brin", serves="all changes of a time"),
        {
            "comment": "Who changed which customer, licence, credential or build; append only, by month",
            "postgresql_partition_by": "RANGE (occurred_at)",
        },
    )
