"""retry_failed_build(): which builds return to the queue, as what, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from build_queue.driver import Queue, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., psycopg.Connection[Any]]


def fail(queue: Queue, **columns: Any) -> UUID:
    """Order a build and let it fail."""
    order = queue.order(**columns)
    claimed = queue.claim("worker-1")
    queue.report(claimed, 40, "compile", p_steps_completed=2)
    queue.complete(claimed, success=False, p_error_code="E1", p_stdout_log="long", p_stderr_log="long")
    return order


def test_a_failed_build_returns_to_the_queue_as_new(queue: Queue) -> None:
    order = fail(queue)

    assert queue.retry(order)

    build = queue.build(order)
    assert (build.status, build.retry_count, build.admission) == ("queued", 1, "ready")
    assert (build.progress_percent, build.current_step, build.steps_completed) == (0, None, 0)
    assert build.last_retry_at == build.updated_at
    for name in ("started_at", "completed_at", "timeout_at", "heartbeat_at", "worker_id", "worker_hostname"):
        assert getattr(build, name) is None, name
    assert build.worker_assigned_at is None


def test_of_several_builds_the_one_that_failed_is_retried_and_no_other(queue: Queue) -> None:
    before, failed, after = queue.order(status="success"), fail(queue), queue.order(status="success")

    assert [queue.retry(order) for order in (before, failed, after)] == [False, True, False]

    assert [queue.build(order).status for order in (before, failed, after)] == [
        "success",
        "queued",
        "success",
    ]


def test_a_build_that_timed_out_returns_to_the_queue(queue: Queue) -> None:
    order = queue.order()
    queue.claim()
    queue.let_time_out(order)

    assert queue.retry(order)
    assert queue.claim().build_id == order


def test_a_retry_keeps_the_place_in_the_queue(queue: Queue) -> None:
    order = fail(queue, queued_at="2026-01-01")
    queue.order(queued_at="2026-01-02")

    queue.retry(order)

    assert queue.claim().build_id == order


def test_a_delayed_retry_is_claimed_when_the_delay_is_over(queue: Queue) -> None:
    order = fail(queue)

    assert queue.retry(order, "300 ms")

    build = queue.build(order)
    assert build.admission == "delayed"
    assert build.queued_at - build.last_retry_at == timedelta(milliseconds=300)
    assert queue.claim() is None
    queue.run("SELECT pg_sleep(0.4)")
    assert queue.claim().build_id == order


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_build_is_retried_as_often_as_allowed_and_each_retry_is_claimed(
    queue: Queue, max_retries: int
) -> None:
    order = fail(queue, max_retries=max_retries)

    for retry in range(max_retries):
        assert queue.retry(order)
        claimed = queue.claim()
        assert (claimed.build_id, claimed.retry_count) == (order, retry + 1)
        queue.complete(claimed, success=False)

    assert not queue.retry(order)
    assert (queue.build(order).status, queue.build(order).retry_count) == ("failed", max_retries)


@pytest.mark.parametrize("status", ["queued", "building", "success", "cancelled"])
def test_only_failed_and_timed_out_builds_are_retried(queue: Queue, status: str) -> None:
    order = queue.order(status=status)

    assert not queue.retry(order)

    assert (queue.build(order).status, queue.build(order).retry_count) == (status, 0)
    assert queue.events(order) == []


def test_an_unknown_build_is_not_retried(queue: Queue) -> None:
    assert not queue.retry(uuid4())
    assert not queue.retry(None)


def test_the_attempt_that_failed_stays_in_the_events(queue: Queue) -> None:
    order = fail(queue)
    before = queue.build(order)

    queue.retry(order)

    (event,) = queue.events(order)
    assert (event.event_type, event.source, event.severity) == (
        "build_retried",
        "retry_failed_build",
        "warning",
    )
    assert event.message == "Attempt 1 of 4 ended as failed"
    assert event.event_data["worker_id"] == "worker-1"
    assert datetime.fromisoformat(event.event_data["started_at"]) == before.started_at
    assert event.event_data["result"]["error_code"] == "E1"
    assert not event.event_data["result"].keys() & {"stdout_log", "stderr_log"}


def test_the_event_of_a_timeout_has_no_result_of_an_earlier_attempt(queue: Queue) -> None:
    order = fail(queue)
    queue.retry(order)
    queue.claim()
    queue.let_time_out(order)

    queue.retry(order)

    event = queue.events(order)[-1]
    assert event.message == "Attempt 2 of 4 ended as timeout"
    assert event.event_data["result"] is None


def test_sixteen_calls_at_once_retry_a_build_once(queue: Queue, connect: Connect) -> None:
    order = fail(queue)
    clients = [Queue(connect()) for _ in range(16)]

    retried = at_once(16, lambda number: clients[number].retry(order))

    assert retried.count(True) == 1
    assert queue.build(order).retry_count == 1


@pytest.mark.parametrize("delay", [None, "-1 s", "-1 year", "367 days", "1 year 1 us", "178000000 years"])
def test_a_delay_that_makes_no_sense_is_refused(queue: Queue, delay: str | None) -> None:
    order = fail(queue)

    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="p_delay must be between 0 and 1 year"
    ) as refusal:
        queue.retry(order, delay)

    assert refusal.value.diag.message_hint
    assert queue.build(order).status == "failed"


def test_an_infinite_delay_is_refused(queue: Queue, server_version: int) -> None:
    order = fail(queue)
    # PostgreSQL 17 introduced infinite intervals; before, the text is none.
    refusal = psycopg.errors.InvalidParameterValue if server_version >= 170000 else psycopg.DataError

    with pytest.raises(refusal):
        queue.retry(order, "infinity")


def test_the_longest_delay_is_a_year(queue: Queue) -> None:
    order = fail(queue)

    assert queue.retry(order, "1 year")
    assert queue.build(order).admission == "delayed"


@pytest.mark.parametrize("delay", ["365 days", "364 days", "12 months"])
def test_a_delay_of_up_to_a_year_may_be_given_in_other_units(queue: Queue, delay: str) -> None:
    assert queue.retry(fail(queue), delay)
