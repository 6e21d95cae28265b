"""What keeps the database in order over time; each function may be called again at any time.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from honua_schema.calls import Call, SqlFunction, records, value

if TYPE_CHECKING:
    import datetime
    import uuid


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
