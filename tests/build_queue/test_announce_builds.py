"""announce_builds(): new builds wake workers that listen, and who orders waits for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from build_queue.driver import Queue, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[..., psycopg.Connection[Any]]

ANNOUNCEMENTS = (
    "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def worker(connect: Connect) -> psycopg.Connection[Any]:
    """A connection that listens for builds."""
    connection = connect()
    connection.execute("LISTEN honua_build_queue")
    return connection


def notifications(worker: psycopg.Connection[Any], seconds: float = 0.3) -> int:
    """Return how often the worker was woken, by what was committed before."""
    return len(list(worker.notifies(timeout=seconds)))


def test_a_build_wakes_every_worker_that_listens(queue: Queue, connect: Connect) -> None:
    workers = [connect() for _ in range(3)]
    for worker in workers:
        worker.execute("LISTEN honua_build_queue")

    queue.order()

    assert [notifications(worker) for worker in workers] == [1, 1, 1]


def test_many_builds_of_one_transaction_wake_it_once(queue: Queue, worker: psycopg.Connection[Any]) -> None:
    customer = queue.customer()

    with queue.connection.transaction():
        queue.order_many(50, customer)
        queue.order(customer)
        assert notifications(worker, 0.1) == 0

    assert notifications(worker) == 1


def test_builds_that_are_not_queued_after_all_wake_nobody(
    queue: Queue, worker: psycopg.Connection[Any]
) -> None:
    with queue.connection.transaction(force_rollback=True):
        queue.order()

    assert notifications(worker) == 0


def test_claims_progress_and_completion_wake_nobody(queue: Queue, worker: psycopg.Connection[Any]) -> None:
    queue.order()
    assert notifications(worker) == 1

    build = queue.claim()
    queue.report(build, 50)
    queue.complete(build)

    assert notifications(worker) == 0


def test_while_a_transaction_is_about_to_wake_the_worker_others_do_not(
    queue: Queue, connect: Connect, worker: psycopg.Connection[Any]
) -> None:
    first, other = Queue(connect(autocommit=False)), Queue(connect(autocommit=False))
    first.order(queue.customer())
    ((key, moment),) = queue.rows(ANNOUNCEMENTS)
    # As if others were about to do so at every moment of the next ten seconds.
    other.run(
        "SELECT pg_try_advisory_xact_lock(%s, %s::integer + n) FROM generate_series(1, 100) AS n", key, moment
    )

    for _ in range(5):
        queue.order()
    assert notifications(worker) == 0
    first.connection.commit()

    assert notifications(worker) == 1
    assert len(queue.claim_many(10)) == 6


def test_a_transaction_that_stays_open_keeps_others_from_it_for_a_moment_only(
    queue: Queue, connect: Connect, worker: psycopg.Connection[Any]
) -> None:
    first = Queue(connect(autocommit=False))
    first.order(queue.customer())
    queue.run("SELECT pg_sleep(0.15)")

    queue.order()

    assert notifications(worker) == 1


def test_a_long_transaction_with_many_builds_holds_one_lock(queue: Queue, connect: Connect) -> None:
    first = Queue(connect(autocommit=False))
    customer = queue.customer()

    for _ in range(4):
        first.order(customer)
        first.run("SELECT pg_sleep(0.11)")

    assert len(queue.rows(ANNOUNCEMENTS)) == 1


def test_the_next_transaction_wakes_the_worker_again(queue: Queue, worker: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        queue.order()
        assert notifications(worker) == 1


def test_sixteen_clients_at_once_wake_a_worker_at_least_once_and_lose_nothing(
    queue: Queue, connect: Connect, worker: psycopg.Connection[Any]
) -> None:
    customers = [queue.customer() for _ in range(16)]
    clients = [Queue(connect()) for _ in range(16)]

    at_once(16, lambda number: [clients[number].order(customers[number]) for _ in range(20)])

    assert 1 <= notifications(worker) <= 320
    assert len(queue.claim_many(1000)) == 320
