"""lower_claim_bound(): claims that heed bounds find each build that takes a place before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from build_queue.driver import Queue


def by_order(queue: Queue) -> UUID:
    queue.heed_bounds()
    return queue.order(queued_at="2000-01-01")


def by_order_of_many(queue: Queue) -> UUID:
    queue.heed_bounds()
    customer = queue.customer()
    queue.order_many(3, customer)
    first: UUID = queue.value(
        "SELECT id FROM build_queue WHERE customer_id = %s ORDER BY queued_at LIMIT 1", customer
    )
    return first


def by_retry(queue: Queue) -> UUID:
    build = queue.order(queued_at="2000-01-01")
    queue.complete(queue.claim(), success=False)
    queue.heed_bounds()
    assert queue.retry(build)
    return build


def by_delay(queue: Queue) -> UUID:
    build = queue.order(queued_at="2000-01-01")
    queue.complete(queue.claim(), success=False)
    assert queue.retry(build, "1 ms")
    queue.run("SELECT pg_sleep(0.1)")
    queue.heed_bounds()
    return build


def by_free_slot(queue: Queue) -> UUID:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer, queued_at="2000-01-01")
    waiting = queue.order(customer, queued_at="2000-01-02")
    running = queue.claim()
    queue.heed_bounds()
    queue.complete(running)
    return waiting


def by_higher_limit(queue: Queue) -> UUID:
    customer = queue.customer(max_concurrent_builds=0)
    waiting = queue.order(customer, queued_at="2000-01-02")
    queue.heed_bounds()
    queue.limit(customer, 1)
    return waiting


def by_priority(queue: Queue) -> UUID:
    build = queue.order(queued_at="2000-01-01", priority=1)
    queue.heed_bounds()
    queue.run("UPDATE build_queue SET priority = 5 WHERE id = %s", build)
    return build


def by_architecture(queue: Queue) -> UUID:
    build = queue.order(queued_at="2000-01-01", architecture="arm64")
    queue.heed_bounds()
    queue.run("UPDATE build_queue SET architecture = 'amd64' WHERE id = %s", build)
    return build


def by_earlier_time(queue: Queue) -> UUID:
    build = queue.order(queued_at="2999-01-01")
    queue.heed_bounds()
    queue.run("UPDATE build_queue SET queued_at = '2000-01-01' WHERE id = %s", build)
    return build


def by_hand(queue: Queue) -> UUID:
    build = queue.order(queued_at="2000-01-01")
    queue.claim()
    queue.heed_bounds()
    queue.run("UPDATE build_queue SET status = 'queued' WHERE id = %s", build)
    return build


@pytest.mark.parametrize(
    "comes",
    [
        by_order, by_order_of_many, by_retry, by_delay, by_free_slot, by_higher_limit, by_priority,
        by_architecture, by_earlier_time, by_hand,
    ],
)  # fmt: skip
def test_a_build_that_comes_before_the_bound_is_claimed_in_its_turn(
    queue: Queue, comes: Callable[[Queue], UUID]
) -> None:
    build = comes(queue)
    queue.order()

    assert queue.heeds_bounds()
    assert queue.claim(architecture="amd64").build_id == build


@pytest.mark.parametrize("queued_at", ["-infinity", "1969-12-31", "1970-01-01Z"])
def test_a_time_before_1970_is_found_too(queue: Queue, queued_at: str) -> None:
    queue.heed_bounds()
    build = queue.order(queued_at=queued_at)
    queue.order()

    assert queue.claim().build_id == build


def test_a_bound_is_not_raised_by_it(queue: Queue) -> None:
    lower = "SELECT lower_claim_bound('amd64', 5, %s::timestamptz)"
    assert not queue.value(lower, "2000-01-01")
    assert queue.value("SELECT claim_bound('amd64', 5) = '-infinity'")

    queue.heed_bounds()
    lowered = [queue.value(lower, day) for day in ("2000-01-02", "2000-01-01", "2000-01-01", "2000-01-03")]

    assert lowered == [True, True, False, False]
    assert queue.value("SELECT claim_bound('amd64', 5) = '2000-01-01'")


def test_the_bounds_of_other_priorities_and_architectures_stay(queue: Queue) -> None:
    queue.heed_bounds()
    queue.order(queued_at="2000-01-01", priority=3)

    lowered = queue.rows(
        "SELECT architecture, priority"
        " FROM unnest('{amd64,arm64}'::varchar[]) AS architecture, generate_series(1, 10) AS priority"
        " WHERE claim_bound(architecture, priority) < now() - interval '1 day'"
    )
    assert lowered == [("amd64", 3)]
