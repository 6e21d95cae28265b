"""Maintenance: what keeps the database in order, in small steps, from as many machines as one likes.

Each task may run at any time and as often as one likes: the data say what is due, and where nothing is,
nothing happens. A task that another machine is at is left to that machine. A backlog is worked off in
batches, each in a transaction of its own, so that no lock is held for long.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from honua_schema import database, intake, licenses, maintenance, queue, refusals
from honua_schema.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from psycopg.errors import Diagnostic
    from sqlalchemy import Connection, Engine

BATCH = 500  # rows; a batch takes a fraction of a second
TASK_LOCK = 1_213_157_197  # the first of the two numbers of each task's advisory lock
INTERVALS = {
    "minutely": "* * * * *",
    "6-hourly": "0 */6 * * *",
    "daily": "10 3 * * *",
    "weekly": "30 3 * * 0",
    "monthly": "50 3 1 * *",
}
"""How often a task should run, and the same as a cron expression in UTC."""
LOCK_NOT_AVAILABLE = "55P03"
VACUUM_DUE = text("""
    SELECT t.relid::regclass::text
    FROM pg_stat_user_tables AS t
    WHERE coalesce(greatest(t.last_vacuum, t.last_autovacuum), '-infinity') < now() - interval '7 days'
      AND (
        t.relname IN ('build_queue', 'build_cache_registry', 'conversations', 'conversation_messages')
        OR t.schemaname = 'honua_partitions' AND t.n_mod_since_analyze > 0
      )
    ORDER BY 1
""")


@dataclass(frozen=True)
class Task:
    """Something to be done again and again.

    Attributes:
        name: How it is named on the command line.
        interval: How often it should run, one of ``INTERVALS``; as a name, it stands for all such tasks.
        purpose: What it does.
        step: Does one batch, and returns how much that was; less than ``BATCH`` ends the task.
    """

    name: str
    interval: str
    purpose: str
    step: Callable[[Connection], int]

    @property
    def cron(self) -> str:
        """How often it should run, as a cron expression in UTC."""
        return INTERVALS[self.interval]


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        task: Its name.
        status: ``done``, ``elsewhere`` when another machine is at it, or ``failed``.
        changed: How many rows, partitions or tables it dealt with.
        elapsed_ms: How long it took, in milliseconds.
        error: What the server said when it refused; batches before that are done.
        remedy: What to do about it, if that can be said.
    """

    task: str
    status: str
    changed: int
    elapsed_ms: int
    error: str | None = None
    remedy: str | None = None


def _purge(connection: Connection) -> int:
    return sum(
        each.records_purged for each in maintenance.purge_soft_deleted_records(connection, limit=BATCH)
    )


def _vacuum(connection: Connection) -> int:
    connection.rollback()
    autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
    warnings: list[tuple[str | None, str | None]] = []

    def note(warning: Diagnostic) -> None:
        warnings.append((warning.sqlstate, warning.message_primary))

    driver: Any = autocommit.connection.driver_connection
    driver.add_notice_handler(note)
    try:
        tables = autocommit.scalars(VACUUM_DUE).all()
        for table in tables:
            autocommit.exec_driver_sql(f"VACUUM (ANALYZE, SKIP_LOCKED) {table}")
    finally:
        # The pool hands the connection on.
        driver.remove_notice_handler(note)
    # A table that is being vacuumed already is left alone. VACUUM merely warns of one that it may not touch.
    if refusals := [message for code, message in warnings if code != LOCK_NOT_AVAILABLE]:
        remedy = "Run this task as the owner of the tables, or leave them to autovacuum."
        raise SchemaError(f"{refusals[0]}.", remedy)
    return len(tables) - len(warnings)


TASKS = (
    Task(
        "timeouts", "minutely", "End builds whose time is up",
        lambda connection: len(queue.handle_build_timeouts(connection, limit=BATCH)),
    ),
    Task(
        "admission", "minutely", "Let in builds that wait although a slot is free",
        queue.admit_waiting_builds,
    ),
    Task(
        "conversations", "6-hourly", "Give up conversations that fell silent a day ago",
        lambda connection: len(intake.expire_old_conversations(connection, limit=BATCH)),
    ),
    Task(
        "credentials", "daily", "Revoke credentials that failed and were not tried for a week",
        lambda connection: len(maintenance.revoke_expired_credentials(connection, limit=BATCH)),
    ),
    Task(
        "licenses", "daily", "Expire licences that have ended",
        lambda connection: len(licenses.expire_licenses(connection, limit=BATCH)),
    ),
    Task(
        "logs", "weekly", "Empty the logs of builds that ended 90 days ago",
        lambda connection: maintenance.cleanup_old_build_logs(connection, limit=BATCH),
    ),
    Task(
        "vacuum", "weekly", "VACUUM ANALYZE busy tables that were not for a week",
        _vacuum,
    ),
    Task("purge", "monthly", "Remove what was deleted softly 30 days ago", _purge),
    Task(
        "partitions", "monthly", "Make the coming months' partitions of the log tables",
        lambda connection: len(maintenance.ensure_log_partitions(connection)),
    ),
)  # fmt: skip


def select_tasks(names: Collection[str] = ()) -> list[Task]:
    """Return the tasks of these names, in the order of the schedule; all of them without names.

    Args:
        names: Names of tasks, or intervals such as ``daily`` for all tasks that should run that often.

    Raises:
        UsageError: There is no task or interval of such a name.
    """
    known = [task.name for task in TASKS]
    if unknown := sorted(set(names).difference(known, INTERVALS)):
        raise UsageError(
            f"There is no task {', '.join(unknown)}.",
            f"The tasks are {', '.join(known)}, or all that are due {', '.join(INTERVALS)}.",
        )
    return [task for task in TASKS if not names or not {task.name, task.interval}.isdisjoint(names)]


def run(engine: Engine, tasks: Collection[Task] = TASKS) -> Iterator[Outcome]:
    """Run maintenance tasks one after the other, and yield what came of each as soon as it has ended.

    Args:
        engine: The database.
        tasks: What to run. A task that fails keeps none of the others from running.

    Raises:
        SchemaError: The database can't be reached.
    """
    for task in tasks:
        started = time.monotonic()
        changed, status, error, remedy = 0, "done", None, None
        with database.connect(engine) as connection:
            try:
                for batch in _batches(connection, task):
                    changed += batch
            except _TaskElsewhereError:
                status = "elsewhere"
            except DBAPIError as refusal:
                status, error = "failed", database.server_message(refusal)
                remedy = refusals.remedy(refusal, "a member of honua_maintenance") or None
            except SchemaError as refusal:
                status, error, remedy = "failed", refusal.message, refusal.remedy
        elapsed_ms = round(1000 * (time.monotonic() - started))
        yield Outcome(task.name, status, changed, elapsed_ms, error, remedy)


class _TaskElsewhereError(Exception):
    """Another machine is at the task."""


def _batches(connection: Connection, task: Task) -> Iterator[int]:
    """Do a task batch by batch, and yield how much each did."""
    lock = text("SELECT pg_try_advisory_xact_lock(:task_lock, :task)")
    numbers = {"task_lock": TASK_LOCK, "task": zlib.crc32(task.name.encode()) - 2**31}
    done = BATCH
    while done >= BATCH:
        # The lock is the transaction's: nothing is left behind in a pool, or when this process is killed.
        if not connection.scalar(lock, numbers):
            raise _TaskElsewhereError
        done = task.step(connection)
        connection.commit()
        yield done
