"""One upgrade at a time, and no upgrade that holds everybody else up."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

# Any number does that nobody else uses: advisory locks have no names.
LOCK_ID = 4_823_190_775_118_342_961
TRY_LOCK = text(f"SELECT pg_try_advisory_xact_lock({LOCK_ID})")
# A server may end transactions that are idle or old: this one is both, while the upgrade runs in another.
KEEP_TRANSACTION = text(
    "SELECT set_config(pg_settings.name, '0', true) FROM pg_settings "
    "WHERE pg_settings.name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)
LOCK_HOLDER = text("""
    SELECT pg_locks.pid, pg_stat_activity.usename, pg_stat_activity.application_name
    FROM pg_locks
    JOIN pg_database ON pg_database.oid = pg_locks.database AND pg_database.datname = current_database()
    LEFT JOIN pg_stat_activity ON pg_stat_activity.pid = pg_locks.pid
    WHERE pg_locks.locktype = 'advisory' AND pg_locks.granted AND pg_locks.objsubid = 1
      AND pg_locks.classid = :upper_half AND pg_locks.objid = :lower_half
""").bindparams(upper_half=LOCK_ID >> 32, lower_half=LOCK_ID & 0xFFFFFFFF)
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.25  # seconds between two attempts


@contextmanager
def migration_lock(
    connection: Connection, wait: timedelta, report_waiting: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lock that lets one process at a time change the schema of this database.

    The lock belongs to a transaction, not to the session: a session lock would stay behind in a pool such as
    PgBouncer. It is asked for again and again and not waited for: a waiting statement has a snapshot, and
    CREATE INDEX CONCURRENTLY in the process that holds the lock would wait for that snapshot, for ever.

    Args:
        connection: A connection that does nothing else. If its transaction was begun by the caller, the lock
            is held until that transaction ends.
        wait: How long to wait at most.
        report_waiting: Called once, with a message, when the lock is not free.

    Raises:
        SchemaError: The lock was not free within ``wait``.
    """
    of_caller = connection.in_transaction()
    deadline = time.monotonic() + wait.total_seconds()
    pause = SHORTEST_PAUSE
    while not connection.scalar(TRY_LOCK):
        holder = lock_holder(connection) or "which ends just now"
        if not of_caller:
            connection.rollback()
        if time.monotonic() >= deadline:
            raise SchemaError(
                f"Another upgrade of this database ({holder}) did not finish within {wait}.",
                "Wait until it has. If it hangs, pg_terminate_backend(pid) ends it: nothing stays half done.",
            )
        if pause == SHORTEST_PAUSE:
            report_waiting(f"Waiting for another upgrade of this database ({holder})")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
    if of_caller:
        yield
        return
    connection.execute(KEEP_TRANSACTION)
    try:
        yield
    finally:
        with suppress(DBAPIError):  # if this connection was lost, so is its lock
            connection.rollback()


def lock_holder(connection: Connection) -> str | None:
    """Return which session holds the lock, in words; None if none does.

    Args:
        connection: The database to look at.
    """
    holder = connection.execute(LOCK_HOLDER).first()
    if holder is None:
        return None
    return (
        f"pid {holder.pid}, role {holder.usename}, application {holder.application_name or 'without a name'}"
    )


SETTINGS = {
    "search_path": "public",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
}
ALWAYS_THE_SAME = " ".join(f"SET LOCAL {name} = {value};" for name, value in SETTINGS.items())
"""Makes names, strings and dates mean the same, whatever the role, the database or the URL says.

Settings of a transaction: those of a session would stay behind in a pool such as PgBouncer.
"""
_CHANGED = ("lock_timeout", *SETTINGS)
READ_SETTINGS = text("SELECT " + ", ".join(f"current_setting('{name}') AS \"{name}\"" for name in _CHANGED))
RESTORE_SETTINGS = text("SELECT " + ", ".join(f"set_config('{name}', :{name}, true)" for name in _CHANGED))


def settings_of_transaction(lock_timeout: timedelta) -> str:
    """Return the statements that begin each transaction of an upgrade.

    They limit how long a statement waits for a lock, since all who come after it in the queue wait as well.

    Args:
        lock_timeout: How long to wait for a lock at most; zero for no limit.
    """
    milliseconds = lock_timeout // timedelta(milliseconds=1)
    return f"SET LOCAL lock_timeout = {milliseconds}; {ALWAYS_THE_SAME}"


@contextmanager
def transaction_settings(connection: Connection, statements: str) -> Iterator[None]:
    """Begin each transaction on a connection with settings that end with it.

    In a transaction that the caller began, they end with the block.

    Args:
        connection: The connection.
        statements: Such as `ALWAYS_THE_SAME`, or as from `settings_of_transaction`.
    """
    if connection.in_transaction():
        earlier = connection.execute(READ_SETTINGS).one()
        connection.exec_driver_sql(statements)
        try:
            yield
        finally:
            # A transaction that has ended, or that a statement has aborted, takes its settings with it.
            if connection.in_transaction():
                with suppress(SQLAlchemyError):
                    connection.execute(RESTORE_SETTINGS, dict(earlier._mapping))
        return
    apply = beginning_with(statements)
    event.listen(connection, "begin", apply)
    try:
        yield
    finally:
        event.remove(connection, "begin", apply)


def beginning_with(statements: str) -> Callable[[Connection], None]:
    """Return a listener that runs statements when a transaction begins.

    Args:
        statements: Such as `ALWAYS_THE_SAME`.
    """

    def apply(connection: Connection) -> None:
        # In an autocommit block there is no transaction whose setting it could be.
        if not is_autocommit(connection):
            connection.exec_driver_sql(statements)

    return apply


def is_autocommit(connection: Connection) -> bool:
    """Return whether each statement on a connection commits by itself.

    Args:
        connection: The connection to look at.
    """
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
}


def parse_duration(value: str | timedelta, name: str) -> timedelta:
    """Read a duration such as ``500ms``, ``5s``, ``10min`` or ``0``.

    Args:
        value: The text; a timedelta is returned as it is.
        name: What the duration is for, for the message.

    Raises:
        SchemaError: The text is not a duration.
    """
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,9}) ?(ms|s|min|h)", value.strip())
    if match:
        return int(match[1]) * UNITS[match[2]]
    if value.strip() == "0":
        return timedelta()
    raise SchemaError(
        f"{name} is {value!r}, which is not a duration.", "Write a number and a unit: 500ms, 5s, 10min or 1h."
    )


SESSIONS_IN_THE_WAY = text("""
    SELECT DISTINCT
        pg_locks.pid, pg_stat_activity.usename, pg_stat_activity.application_name, pg_stat_activity.state,
        COALESCE(parent.relname, pg_class.relname) AS relation
    FROM pg_locks
    JOIN pg_class ON pg_class.oid = pg_locks.relation AND pg_class.relkind IN ('r', 'p')
    LEFT JOIN pg_inherits ON pg_inherits.inhrelid = pg_class.oid
    LEFT JOIN pg_class parent ON parent.oid = pg_inherits.inhparent
    JOIN pg_stat_activity ON pg_stat_activity.pid = pg_locks.pid
    WHERE pg_stat_activity.datname = current_database()
      AND pg_locks.granted AND pg_locks.pid <> pg_backend_pid()
      AND COALESCE(parent.relname, pg_class.relname) = ANY (:names)
    ORDER BY pg_locks.pid
""")


def describe_blockers(connection: Connection, statement: str) -> str:
    """Say which sessions use the tables that a statement names; empty when none does any more.

    Args:
        connection: The connection that waited, its transaction rolled back.
        statement: The statement that did not get its lock.
    """
    rows = connection.execute(SESSIONS_IN_THE_WAY, {"names": list(set(re.findall(r"\w+", statement)))}).all()
    connection.rollback()
    return "".join(
        f"\n{row.relation} is in use by pid {row.pid} "
        f"(role {row.usename}, application {row.application_name}, {row.state})"
        for row in rows
    )
