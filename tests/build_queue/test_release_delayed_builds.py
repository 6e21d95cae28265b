"""release_delayed_builds(): builds enter the queue when they are due, within their customers' limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, at_once

if TYPE_CHECKING:
    from collections.abc import Callable


def order_due(queue: Queue, count: int, customer: str, columns: str = "priority", values: str = "5") -> None:
    """Add delayed builds whose time has come without anybody having looked."""
    queue.run("SET session_replication_role = replica")
    queue.order_many(count, customer, f"admission, {columns}", f"'delayed', {values}")
    queue.run("RESET session_replication_role")


def release(queue: Queue, *arguments: int | None) -> int:
    return int(
        queue.value(f"SELECT release_delayed_builds({', '.join('%s' for _ in arguments)})", *arguments)
    )


def test_builds_that_are_due_may_be_claimed_and_the_others_not_yet(queue: Queue) -> None:
    customer = queue.customer()
    order_due(queue, 3, customer)
    queue.order(customer, queued_at="2999-01-01")

    assert release(queue) == 3

    assert queue.admissions(customer) == ["ready"] * 3 + ["delayed"]
    assert release(queue) == 0


def test_builds_that_are_due_wait_where_their_customer_is_at_its_limit(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    order_due(queue, 5, customer, "priority", "n")

    assert release(queue) == 5

    assert queue.admissions(customer) == ["ready", "ready", "waiting", "waiting", "waiting"]


def test_builds_that_are_due_go_before_later_ones_that_nobody_has_claimed(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    queue.order_many(3, customer, "priority", "2")
    order_due(queue, 3, customer, "priority", "2 * n - 1")

    release(queue)

    assert [claimed.priority for claimed in queue.claim_many(10)] == [5, 3]


def test_a_build_that_has_ended_is_not_released(queue: Queue) -> None:
    customer = queue.customer()
    order_due(queue, 1, customer, "status", "'cancelled'")

    assert release(queue) == 0

    assert queue.value("SELECT admission FROM build_queue") == "delayed"


def test_builds_of_an_unlimited_customer_are_released_without_its_licence(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    queue.customer(max_concurrent_builds=1)
    customer = queue.customer(max_concurrent_builds=None)
    order_due(queue, 2, customer)
    connect(autocommit=False).execute("SELECT FROM licenses FOR UPDATE")
    queue.run("SET lock_timeout = '200ms'")

    assert release(queue) == 2

    assert queue.admissions(customer) == ["ready", "ready"]


def test_the_oldest_are_released_first_when_there_is_a_limit(queue: Queue) -> None:
    customer = queue.customer()
    order_due(queue, 3, customer)

    assert release(queue, 2) == 2
    assert queue.admissions(customer) == ["ready", "ready", "delayed"]


def test_a_claim_releases_a_hundred_at_a_time(queue: Queue) -> None:
    customer = queue.customer()
    order_due(queue, 150, customer)

    queue.claim()
    assert queue.admissions(customer).count("delayed") == 50
    queue.claim()
    assert queue.admissions(customer).count("delayed") == 0


def test_eight_workers_at_once_release_builds_of_many_customers_without_a_deadlock(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    customers = [queue.customer(max_concurrent_builds=3) for _ in range(10)]
    for customer in customers:
        order_due(queue, 20, customer)
    queue.run("UPDATE build_queue SET updated_at = now()")
    clients = [Queue(connect()) for _ in range(8)]

    released = at_once(8, lambda number: sum(release(clients[number], 7) for _ in range(6)))

    assert sum(released) == 200
    while queue.claim_many(100):
        pass
    assert [queue.admissions(each) for each in customers] == [["waiting"] * 17] * 10


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_a_limit_of_nothing_is_refused(queue: Queue, limit: int | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_limit must be at least 1") as refusal:
        release(queue, limit)

    assert refusal.value.diag.message_hint
