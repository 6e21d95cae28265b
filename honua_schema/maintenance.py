"""What keeps the database in order over time; each function may be called again at any time.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, select, table, text

from honua_schema import refusals
from honua_schema.calls import Call, SqlFunction, records, value
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    import datetime
    import uuid

    from sqlalchemy import Connection

LOG_TABLES = ("audit_log", "build_access_log", "build_events", "build_metrics")
LOG_PARTITIONS = text("""
    SELECT t.relname::text AS table_name,
        n.nspname::text AS schema_name,
        p.relname::text AS partition_name,
        to_date(substring(p.relname FROM '_y(\\d{4}m\\d{2})$'), 'YYYY"m"MM') AS month,
        -- Before the first VACUUM or ANALYZE it is -1.
        nullif(p.reltuples, -1)::bigint AS estimated_rows,
        s.bytes,
        pg_size_pretty(s.bytes) AS size,
        pg_get_expr(p.relpartbound, p.oid) = 'DEFAULT' AS is_default,
        has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(p.oid, 'SELECT') AS is_readable
    FROM pg_class AS t
    JOIN pg_inherits AS i ON i.inhparent = t.oid
    JOIN pg_class AS p ON p.oid = i.inhrelid
    JOIN pg_namespace AS n ON n.oid = p.relnamespace
    CROSS JOIN LATERAL (SELECT pg_total_relation_size(p.oid) AS bytes) AS s
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY (:tables)
        -- NULL if somebody drops the partition at the moment.
        AND s.bytes IS NOT NULL
    ORDER BY t.relname, month NULLS LAST
""")


@dataclass(frozen=True)
class RevokedCredential:
    """A registry credential that was revoked.

    Attributes:
        credential_id: The credential.
        customer_id: Whose it is.
        registry_name: The customer's name for the registry.
        revoked_at: When it was revoked.
    """

    credential_id: uuid.UUID
    customer_id: str
    registry_name: str
    revoked_at: datetime.datetime


@dataclass(frozen=True)
class PurgedRecords:
    """How much was removed from a table.

    Attributes:
        table_name: The table.
        records_purged: The number of its rows that were removed.
    """

    table_name: str
    records_purged: int


@dataclass(frozen=True)
class NewLogPartition:
    """A partition that was made.

    Attributes:
        table_name: The log table.
        partition_name: Its new partition.
        month: First day of the partition's month.
        rows_moved: Rows that came from the default partition.
    """

    table_name: str
    partition_name: str
    month: datetime.date
    rows_moved: int


@dataclass(frozen=True)
class DroppedLogPartition:
    """A partition that was dropped, or the default partition from which rows were deleted.

    Attributes:
        partition_name: The partition.
        rows_deleted: Rows that were deleted one by one; None for a partition that was dropped.
        bytes_freed: Disk space given back.
    """

    partition_name: str
    rows_deleted: int | None
    bytes_freed: int


@dataclass(frozen=True)
class LogPartition:
    """A partition of a log table.

    Attributes:
        table_name: The log table.
        partition_name: The partition, with its schema.
        month: First day of the partition's month (UTC); None for the default partition.
        estimated_rows: Rows as of the last VACUUM or ANALYZE; None before the first.
        bytes: Disk space, with that of the indexes.
        size: The same for people to read.
        has_rows: Whether rows lie in the default partition; None if this role may not look, and for a month.
    """

    table_name: str
    partition_name: str
    month: datetime.date | None
    estimated_rows: int | None
    bytes: int
    size: str
    has_rows: bool | None


def get_log_partitions(connection: Connection) -> list[LogPartition]:
    """Return the partitions of the log tables, the default partition of each table last; nothing is changed.

    Args:
        connection: The database. Only who may read the default partitions learns whether rows lie there.

    Raises:
        SchemaError: The database has no log tables.
    """
    found = connection.execute(LOG_PARTITIONS, {"tables": list(LOG_TABLES)}).mappings().all()
    if not found:
        message = "There are no log tables in this database."
        raise SchemaError(message, refusals.UPGRADE_FIRST)
    partitions = []
    for row in found:
        has_rows = None
        if row["is_default"] and row["is_readable"]:
            # Looked at, as an estimate may be old: a single row there is worth knowing.
            partition = table(row["partition_name"], schema=row["schema_name"])
            has_rows = connection.scalar(select(exists().select_from(partition)))
        partitions.append(
            LogPartition(
                row["table_name"],
                f"{row['schema_name']}.{row['partition_name']}",
                row["month"],
                row["estimated_rows"],
                row["bytes"],
                row["size"],
                has_rows,
            )
        )
    return partitions


@SqlFunction
def revoke_expired_credentials(
    invalid_days: int = 7, limit: int | None = None
) -> Call[list[RevokedCredential]]:
    """Revoke registry credentials whose logins have failed for long enough.

    Args:
        invalid_days: For how many times 24 hours an invalid credential is kept.
        limit: How many credentials at most; all if None.
    """
    return records("revoke_expired_credentials", RevokedCredential, invalid_days=invalid_days, limit=limit)


@SqlFunction
def cleanup_old_build_logs(retention_days: int = 90, limit: int | None = None) -> Call[int]:
    """Empty the logs of builds that ended long ago.

    Args:
        retention_days: For how many days logs are kept.
        limit: How many results to empty at most; all if None.

    Returns:
        How many results were emptied.
    """
    return value("cleanup_old_build_logs", retention_days=retention_days, limit=limit)


@SqlFunction
def purge_soft_deleted_records(
    purge_after_days: int = 30, limit: int | None = None
) -> Call[list[PurgedRecords]]:
    """Remove what was deleted softly long ago, with all that belongs to it.

    Args:
        purge_after_days: For how many times 24 hours deleted records are kept.
        limit: How many records to remove at most from each table; all if None.
    """
    return records(
        "purge_soft_deleted_records", PurgedRecords, purge_after_days=purge_after_days, limit=limit
    )


@SqlFunction
def ensure_log_partitions(months_ahead: int = 3) -> Call[list[NewLogPartition]]:
    """Make the monthly partitions of the log tables that are missing.

    Args:
        months_ahead: For how many months after this one.
    """
    return records("ensure_log_partitions", NewLogPartition, months_ahead=months_ahead)


@SqlFunction
def drop_old_log_partitions(table: str, keep_months: int) -> Call[list[DroppedLogPartition]]:
    """Drop the partitions of a log table that are old enough, with all their rows.

    Args:
        table: build_access_log, build_events, build_metrics or audit_log.
        keep_months: How many months before the current one are kept.
    """
    return records("drop_old_log_partitions", DroppedLogPartition, table=table, keep_months=keep_months)
