"""Work for the maintenance tasks: how it comes about, and how much is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from build_queue.driver import Queue
from builders import (
    add_build,
    add_cache_entry,
    add_conversation,
    add_customer,
    add_license,
    add_registry_credential,
    add_result,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]

NOW = datetime.now(UTC)
LAST_YEAR = NOW - timedelta(days=365)


def let_builds_time_out(connection: Connection, count: int) -> None:
    queue = Queue(connection)
    builds = [queue.order() for _ in range(count)]
    queue.claim_many(count)
    queue.run("UPDATE build_queue SET timeout_at = now() WHERE id = ANY (%s)", builds)


def let_builds_miss_their_slots(connection: Connection, count: int) -> None:
    customer = add_customer(connection)
    builds = [add_build(connection, customer) for _ in range(count)]
    connection.execute("UPDATE build_queue SET admission = 'waiting' WHERE id = ANY (%s)", [builds])


def let_conversations_fall_silent(connection: Connection, count: int) -> None:
    for _ in range(count):
        add_conversation(connection, started_at=LAST_YEAR)


def let_logins_fail(connection: Connection, count: int) -> None:
    for _ in range(count):
        add_registry_credential(connection, validation_status="invalid", last_validated_at=LAST_YEAR)


def let_licences_end(connection: Connection, count: int) -> None:
    for _ in range(count):
        add_license(connection, issued_at=LAST_YEAR, expires_at=NOW - timedelta(days=1))


def let_logs_grow_old(connection: Connection, count: int) -> None:
    for _ in range(count):
        add_result(connection, stdout_log="out", created_at=LAST_YEAR)


def delete_cache_entries(connection: Connection, count: int) -> None:
    for _ in range(count):
        add_cache_entry(connection, deleted_at=LAST_YEAR)


@dataclass(frozen=True)
class Work:
    """What a task has to do: how it comes about, and the query that counts what is left of it."""

    let_it_come: Callable[[Connection, int], None]
    left: str


WORK = {
    "timeouts": Work(let_builds_time_out, "SELECT count(*) FROM build_queue WHERE status = 'building'"),
    "admission": Work(
        let_builds_miss_their_slots, "SELECT count(*) FROM build_queue WHERE admission = 'waiting'"
    ),
    "conversations": Work(
        let_conversations_fall_silent, "SELECT count(*) FROM conversations WHERE status = 'active'"
    ),
    "credentials": Work(let_logins_fail, "SELECT count(*) FROM registry_credentials WHERE is_active"),
    "licenses": Work(let_licences_end, "SELECT count(*) FROM licenses WHERE status = 'active'"),
    "logs": Work(let_logs_grow_old, "SELECT count(*) FROM build_results WHERE stdout_log IS NOT NULL"),
    "purge": Work(
        delete_cache_entries, "SELECT count(*) FROM build_cache_registry WHERE deleted_at IS NOT NULL"
    ),
}
