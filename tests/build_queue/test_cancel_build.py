"""cancel_build(): what can still be cancelled, and what remains of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from build_queue.driver import Queue


def test_a_queued_build_is_cancelled_and_no_longer_claimed(queue: Queue) -> None:
    order = queue.order()

    assert queue.cancel(order)

    build = queue.build(order)
    assert build.status == "cancelled"
    assert build.completed_at == build.updated_at
    assert queue.claim() is None


def test_a_running_build_is_cancelled_and_its_worker_told_so(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()

    assert queue.cancel(order)

    assert queue.build(order).status == "cancelled"
    assert not queue.report(claimed, 50)


@pytest.mark.parametrize("admission", ["delayed", "waiting"])
def test_a_build_that_may_not_be_claimed_yet_is_cancelled(queue: Queue, admission: str) -> None:
    customer = queue.customer(max_concurrent_builds=0)
    order = queue.order(customer, queued_at="2999-01-01" if admission == "delayed" else "2026-01-01")
    assert queue.build(order).admission == admission

    assert queue.cancel(order)
    assert queue.build(order).status == "cancelled"


def test_the_reason_is_recorded_as_an_event(queue: Queue) -> None:
    order = queue.order()
    queue.claim("worker-1")

    queue.cancel(order, "the customer left")

    (event,) = queue.events(order)
    assert (event.event_type, event.message, event.source, event.severity) == (
        "build_cancelled",
        "the customer left",
        "cancel_build",
        "info",
    )
    assert event.event_data == {"worker_id": "worker-1", "retry_count": 0}
    assert event.event_timestamp == queue.build(order).completed_at


@pytest.mark.parametrize("status", ["success", "failed", "cancelled", "timeout"])
def test_a_build_that_has_ended_is_not_cancelled(queue: Queue, status: str) -> None:
    order = queue.order(status=status)

    assert not queue.cancel(order)

    assert queue.build(order).status == status
    assert queue.events(order) == []


def test_an_unknown_build_is_not_cancelled(queue: Queue) -> None:
    assert not queue.cancel(uuid4())
    assert not queue.cancel(None)


def test_a_cancelled_build_is_not_retried(queue: Queue) -> None:
    order = queue.order()
    queue.cancel(order)

    assert not queue.retry(order)
