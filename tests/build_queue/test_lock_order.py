"""Nobody waits for a lock that it does not need: see the order of locks in docs/explain/build-queue.md."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, wait_until_blocked
from builders import add_build, add_customer, add_license

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Connect = Callable[..., psycopg.Connection[Any]]


@pytest.fixture
def somebody(connect: Connect) -> psycopg.Connection[Any]:
    """Somebody else, who locks rows and keeps them."""
    return connect(autocommit=False)


@pytest.fixture(autouse=True)
def _impatience(queue: Queue) -> None:
    queue.run("SET lock_timeout = '200ms'")


def lock_license(somebody: psycopg.Connection[Any], customer_id: str) -> None:
    somebody.execute("SELECT FROM licenses WHERE customer_id = %s FOR UPDATE", [customer_id])


def lock_build(somebody: psycopg.Connection[Any], build_id: UUID) -> None:
    somebody.execute("SELECT FROM build_queue WHERE id = %s FOR UPDATE", [build_id])


def test_a_build_of_an_unlimited_customer_ends_without_the_license(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    queue.customer(max_concurrent_builds=1)
    customer = queue.customer(max_concurrent_builds=None)
    queue.order(customer)
    claimed = queue.claim()
    lock_license(somebody, customer)
    assert queue.complete(claimed, success=False)
    assert queue.retry(claimed.build_id)
    assert queue.cancel(claimed.build_id)


def test_a_build_of_a_limited_customer_waits_for_the_license_to_end(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer)
    claimed = queue.claim()
    lock_license(somebody, customer)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        queue.complete(claimed)


@pytest.mark.parametrize("limit", [1, None])
def test_timeouts_need_no_license_of_a_customer_without_an_overdue_build(
    queue: Queue, somebody: psycopg.Connection[Any], limit: int | None
) -> None:
    customer = queue.customer(max_concurrent_builds=limit)
    runs, waits = queue.order(customer), queue.order(customer)
    queue.claim()
    # Not running, though its time would be up.
    queue.run("UPDATE build_queue SET timeout_at = now() - interval '1 s' WHERE id = %s", waits)
    overdue = queue.order()
    queue.claim_many(3)
    lock_license(somebody, customer)
    assert [row.build_id for row in queue.let_time_out(overdue)] == [overdue]
    assert queue.build(runs).status == "building"


def test_timeouts_leave_a_build_that_is_locked(queue: Queue, somebody: psycopg.Connection[Any]) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    first, second = queue.order(customer), queue.order(customer)
    queue.claim_many(2)
    lock_build(somebody, first)
    queue.run("UPDATE build_queue SET timeout_at = now() - interval '1 s' WHERE id = %s", second)
    assert [row.build_id for row in queue.rows("SELECT * FROM handle_build_timeouts()")] == [second]
    somebody.rollback()
    queue.run("UPDATE build_queue SET timeout_at = now() - interval '1 s' WHERE id = %s", first)
    lock_build(somebody, first)
    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []


def test_the_first_limit_waits_only_for_builds_of_its_customer_that_may_run(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    customer = queue.customer(max_concurrent_builds=None)
    ended = queue.order(customer)
    queue.cancel(ended)
    delayed = queue.order(customer, queued_at="tomorrow")
    others = queue.order()
    for build in (ended, delayed, others):
        lock_build(somebody, build)
    add_build(somebody, queue.customer())
    queue.limit(customer, 1)
    queue.limit(customer, None)

    ready = queue.order(customer)
    somebody.rollback()
    lock_build(somebody, ready)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        queue.limit(customer, 1)


def test_the_first_limit_waits_for_orders_that_are_not_committed(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    queue.run("SET lock_timeout = 0")
    customer = queue.customer(max_concurrent_builds=None)
    add_build(somebody, customer)
    with ThreadPoolExecutor() as pool:
        limited = pool.submit(queue.limit, customer, 1)
        wait_until_blocked(Queue(somebody))
        add_build(somebody, customer)
        somebody.commit()
        limited.result()

    assert sorted(queue.admissions(customer)) == ["ready", "waiting"]


def test_a_build_that_somebody_adds_an_event_to_can_be_claimed_admitted_and_made_to_wait(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    first, second, third = (queue.order(customer) for _ in range(3))
    for build in (first, second, third):
        somebody.execute("SELECT FROM build_queue WHERE id = %s FOR KEY SHARE", [build])

    queue.limit(customer, 1)
    assert queue.build(second).admission == "waiting"
    claimed = queue.claim()
    assert claimed.build_id == first
    queue.complete(claimed)
    assert (queue.build(second).admission, queue.build(third).admission) == ("ready", "waiting")


def test_a_claim_does_not_wait_for_the_licenses_of_builds_that_are_not_due(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer, queued_at="tomorrow")
    build = queue.order(customer)
    lock_license(somebody, customer)
    assert queue.claim().build_id == build


def test_a_claim_that_finds_nothing_waits_for_no_license(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer, priority=9)
    missed = queue.order(customer)
    running = queue.claim()
    lock_build(somebody, missed)
    queue.complete(running)
    somebody.rollback()
    lock_license(somebody, customer)

    assert queue.claim() is None
    somebody.rollback()
    assert queue.claim().build_id == missed


def test_a_claim_that_finds_nothing_locks_no_license_without_a_build_to_admit(
    queue: Queue, somebody: psycopg.Connection[Any]
) -> None:
    full, idle = (add_customer(queue.connection, name) for name in ("a", "b"))
    for customer in (full, idle):
        add_license(queue.connection, customer, max_concurrent_builds=1)
    queue.order_many(2, full)
    queue.claim()
    queue.order(idle, queued_at="tomorrow")
    with queue.connection.transaction():
        assert queue.claim() is None
        somebody.execute("SELECT FROM licenses FOR UPDATE NOWAIT")


def test_timeouts_lock_licenses_in_one_go(queue: Queue, connect: Connect) -> None:
    customers = [queue.customer(max_concurrent_builds=1) for _ in range(2)]
    early, late = (queue.order(customer) for customer in customers)
    unlimited = queue.order()
    queue.claim_many(3)
    let_the_time_be_up = "UPDATE build_queue SET timeout_at = now() - interval '1 minute' WHERE id = ANY (%s)"
    queue.run(let_the_time_be_up, [early])
    others = [connect(autocommit=False) for _ in customers]
    for other, customer in zip(others, customers, strict=True):
        lock_license(other, customer)
    client = Queue(connect())

    with ThreadPoolExecutor() as threads:
        ended = threads.submit(client.rows, "SELECT * FROM handle_build_timeouts()")
        wait_until_blocked(Queue(others[0]))
        queue.run(let_the_time_be_up, [late, unlimited])
        others[0].rollback()
        assert {row.build_id for row in ended.result()} == {early, unlimited}

    others[1].rollback()
    assert [row.build_id for row in queue.rows("SELECT * FROM handle_build_timeouts()")] == [late]
