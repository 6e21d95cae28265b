"""free_build_slot(): when a build ends, its slot goes to the next one that waits, and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from build_queue.driver import Queue


@pytest.fixture
def customer(queue: Queue) -> str:
    """A customer with one slot, and a build in it that nobody has claimed yet."""
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer)
    return customer


def test_the_slot_goes_to_the_next_build_and_only_to_that_one(queue: Queue, customer: str) -> None:
    running = queue.claim()
    later, next_one = queue.order(customer, priority=3), queue.order(customer, priority=9)

    queue.complete(running)

    assert (queue.build(next_one).admission, queue.build(later).admission) == ("ready", "waiting")


def test_the_slot_does_not_go_to_a_build_that_is_not_due(queue: Queue, customer: str) -> None:
    running = queue.claim()
    delayed = queue.order(customer, priority=9, queued_at="2999-01-01")
    waiting = queue.order(customer)

    queue.complete(running)

    assert (queue.build(delayed).admission, queue.build(waiting).admission) == ("delayed", "ready")


def test_the_slot_does_not_go_to_a_build_that_ended_whatever_was_written_behind_the_triggers(
    queue: Queue, customer: str
) -> None:
    running = queue.claim()
    ended, waiting = queue.order(customer, priority=9), queue.order(customer)
    queue.cancel(ended)
    queue.run("UPDATE build_queue SET admission = 'waiting' WHERE id = %s", ended)

    queue.complete(running)

    assert (queue.build(ended).admission, queue.build(waiting).admission) == ("waiting", "ready")


def test_nothing_waits_and_the_slot_stays_free(queue: Queue, customer: str) -> None:
    queue.complete(queue.claim())

    assert queue.build(queue.order(customer)).admission == "ready"


def test_more_builds_than_the_limit_give_up_slots_until_they_fit(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=3)
    queue.order_many(5, customer)
    running = queue.claim_many(3)
    queue.limit(customer, 2)

    for claimed, waiting in zip(running, (2, 1, 0), strict=True):
        queue.complete(claimed)
        assert queue.admissions(customer).count("waiting") == waiting
