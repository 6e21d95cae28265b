"""The build queue as customers, workers and operators use it: by SQL, one method for each thing they do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import sql

from builders import add_build, add_customer, add_license

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Connection = psycopg.Connection[Any]
    Claimed = Any
    """A row of get_next_build_for_worker(), with the worker_id added."""

Outcome = TypeVar("Outcome")


class Queue:
    """The build queue of the test's database.

    Args:
        connection: A connection that commits each statement and returns rows as named tuples.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def customer(self, **limits: Any) -> str:
        """Add a customer; with limits, also a licence that has these alone."""
        customer_id = add_customer(self.connection)
        if limits:
            unlimited = {"max_builds_per_month": None, "max_concurrent_builds": None}
            add_license(self.connection, customer_id, **(unlimited | limits))
        return customer_id

    def order(self, customer_id: str | None = None, **columns: Any) -> UUID:
        """Queue a build."""
        return add_build(self.connection, customer_id, **columns)

    def order_many(self, count: int, customer_id: str, columns: str = "priority", values: str = "5") -> None:
        """Queue builds in one statement.

        Args:
            count: The number of builds.
            customer_id: Who orders them.
            columns: Names of columns that get a value.
            values: Their values, as SQL expressions over n, the build's number from 1.
        """
        self.run(
            "INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json, queued_at,"
            f" {columns}) SELECT %s, '/m', 'h', '{{}}', now() - interval '1 day' + n * interval '1 ms',"
            f" {values} FROM generate_series(1, %s) AS n",
            customer_id,
            count,
        )

    def claim_many(
        self, count: int | None, worker_id: str | None = "worker", architecture: str | None = None
    ) -> list[Claimed]:
        """Claim up to so many builds."""
        return self.rows(
            "SELECT claimed.*, %s::text AS worker_id"
            " FROM get_next_build_for_worker(%s, 'host', %s, %s) AS claimed",
            worker_id,
            worker_id,
            architecture,
            count,
        )

    def claim(self, worker_id: str | None = "worker", architecture: str | None = None) -> Claimed:
        """Claim the next build. None when there is nothing to claim."""
        return next(iter(self.claim_many(1, worker_id, architecture)), None)

    def report(self, claimed: Claimed, percent: int | None, step: str | None = None, **other: Any) -> bool:
        """Report progress as the worker that claimed the build."""
        return bool(
            self.call(
                "update_build_progress",
                p_build_id=claimed.build_id,
                p_progress_percent=percent,
                p_current_step=step,
                **({"p_worker_id": claimed.worker_id, "p_retry_count": claimed.retry_count} | other),
            )
        )

    def complete(self, claimed: Claimed, success: bool | None = True, **other: Any) -> UUID | None:
        """Complete a build as the worker that claimed it, and return the id of its result."""
        arguments = {
            "p_build_id": claimed.build_id,
            "p_worker_id": claimed.worker_id,
            "p_retry_count": claimed.retry_count,
            "p_success": success,
            "p_actual_duration_seconds": 480,
        }
        result: UUID | None = self.call("complete_build", **(arguments | other))
        return result

    def cancel(self, build_id: UUID | None, reason: str | None = None) -> bool:
        """Cancel a build."""
        return bool(self.call("cancel_build", p_build_id=build_id, p_reason=reason))

    def retry(self, build_id: UUID | None, delay: str | None = "0") -> bool:
        """Requeue a build that failed or timed out."""
        return bool(self.value("SELECT retry_failed_build(%s, %s::interval)", build_id, delay))

    def let_time_out(self, *build_ids: UUID) -> list[Any]:
        """Let the time of running builds be up, and end them."""
        self.run(
            "UPDATE build_queue SET timeout_at = now() - interval '1 s' WHERE id = ANY (%s)", list(build_ids)
        )
        return self.rows("SELECT * FROM handle_build_timeouts()")

    def build(self, build_id: UUID) -> Any:
        """Return a build's row."""
        return self.row("SELECT * FROM build_queue WHERE id = %s", build_id)

    def result(self, build_id: UUID) -> Any:
        """Return a build's result, None if it has none."""
        return self.row("SELECT * FROM build_results WHERE build_queue_id = %s", build_id)

    def events(self, build_id: UUID) -> list[Any]:
        """Return a build's events, oldest first."""
        return self.rows("SELECT * FROM build_events WHERE build_queue_id = %s ORDER BY id", build_id)

    def admissions(self, customer_id: str) -> list[str]:
        """Return the admission of a customer's queued builds, by priority and age."""
        return [
            row.admission
            for row in self.rows(
                "SELECT admission FROM build_queue WHERE customer_id = %s AND status = 'queued'"
                " ORDER BY priority DESC, queued_at, created_at",
                customer_id,
            )
        ]

    def limit(self, customer_id: str, max_concurrent_builds: int | None) -> None:
        """Change the number of builds that a customer may have building."""
        self.run(
            "UPDATE licenses SET max_concurrent_builds = %s WHERE customer_id = %s",
            max_concurrent_builds,
            customer_id,
        )

    def heed_bounds(self) -> None:
        """Let claims heed their bounds for a while, as they do when they pass over many entries."""
        self.run("SELECT raise_claim_bounds(false)")
        self.look_again_in(50)

    def look_again_in(self, seconds: float) -> None:
        """Set when the bounds are found anew, and so let claims heed them until then."""
        self.run(
            "SELECT setval('claim_bounds_due_at',"
            " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + %s)",
            round(seconds * 1_000_000),
        )

    def heeds_bounds(self) -> bool:
        """Return whether claims heed their bounds."""
        return bool(self.value("SELECT last_value > 1 FROM claim_bounds_due_at"))

    def run(self, statement: str, *values: Any) -> None:
        """Execute a statement."""
        self.connection.execute(statement.encode(), values or None)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return a query's rows."""
        return self.connection.execute(query.encode(), values or None).fetchall()

    def row(self, query: str, *values: Any) -> Any:
        """Return a query's first row, None if it has none."""
        return next(iter(self.rows(query, *values)), None)

    def value(self, query: str, *values: Any) -> Any:
        """Return the one value of a query."""
        ((value,),) = self.rows(query, *values)
        return value

    def columns(self, relation: str) -> list[tuple[str, str]]:
        """Return the names and types of a table's or view's columns; of a domain, what it is made of."""
        return [
            tuple(row)
            for row in self.rows(
                "SELECT a.attname, CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)"
                " ELSE format_type(a.atttypid, a.atttypmod) END"
                " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                relation,
            )
        ]

    def buffers(self, query: str) -> int:
        """Execute a query twice, and return how many pages of tables and indexes the second time reads."""
        explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON)"
        self.run(query)
        plan = self.value(f"{explain} {query}")[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    def call(self, function: str, **arguments: Any) -> Any:
        """Return the value of a function."""
        named = [
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in arguments
        ]
        query = sql.SQL("SELECT {}({})").format(sql.Identifier(function), sql.SQL(", ").join(named))
        ((value,),) = self.connection.execute(query, arguments).fetchall()
        return value


def at_once(count: int, work: Callable[[int], Outcome]) -> list[Outcome]:
    """Start threads together and return what each one's work returned.

    Args:
        count: The number of threads.
        work: Called with the number of the thread, from 0.
    """
    ready = threading.Barrier(count)

    def start(number: int) -> Outcome:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(start, range(count)))


def until_serialized(work: Callable[..., Outcome], *arguments: Any) -> Outcome:
    """Do work again as long as what others do makes it fail, as REPEATABLE READ and SERIALIZABLE demand."""
    while True:
        with suppress(psycopg.errors.SerializationFailure):
            return work(*arguments)


def wait_until_blocked(queue: Queue) -> None:
    """Wait until somebody waits for a lock that the queue's connection holds."""
    while not queue.value(
        "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    ):
        queue.run("SELECT pg_sleep(0.005)")
