"""handle_build_timeouts(): which builds are taken from their workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., psycopg.Connection[Any]]


def test_a_build_whose_time_is_up_ends_and_is_returned(queue: Queue) -> None:
    customer = queue.customer()
    order = queue.order(customer)
    queue.claim("worker-1")

    assert queue.let_time_out(order) == [(order, customer, "worker-1")]

    build = queue.build(order)
    assert build.status == "timeout"
    assert build.completed_at == build.updated_at
    assert build.worker_id == "worker-1"


def test_builds_time_out_whatever_their_customers_licence_says(queue: Queue) -> None:
    customers = [
        queue.customer(),
        queue.customer(max_concurrent_builds=None),
        queue.customer(max_concurrent_builds=1),
    ]
    orders = [queue.order(customer) for customer in customers]
    assert len(queue.claim_many(3)) == 3

    assert {row.build_id for row in queue.let_time_out(*orders)} == set(orders)


def test_a_build_times_out_when_its_maximum_duration_has_passed(queue: Queue) -> None:
    order = queue.order(max_duration_seconds=1)
    queue.claim()

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    queue.run("SELECT pg_sleep(1)")
    assert [row.build_id for row in queue.rows("SELECT * FROM handle_build_timeouts()")] == [order]


def test_builds_end_once(queue: Queue) -> None:
    order = queue.order()
    queue.claim()
    queue.let_time_out(order)

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    assert len(queue.events(order)) == 1


def test_a_build_whose_time_is_not_up_runs_on(queue: Queue) -> None:
    order = queue.order()
    queue.claim()

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    assert queue.build(order).status == "building"


def test_a_build_without_a_maximum_duration_never_times_out(queue: Queue) -> None:
    order = queue.order(max_duration_seconds=None)
    queue.claim()
    queue.run("UPDATE build_queue SET started_at = '2000-01-01'")

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    assert queue.build(order).status == "building"


@pytest.mark.parametrize("status", ["queued", "success", "failed", "cancelled", "timeout"])
def test_only_running_builds_time_out(queue: Queue, status: str) -> None:
    queue.order(status=status, timeout_at="2026-01-01", heartbeat_at="2026-01-01")

    assert queue.rows("SELECT * FROM handle_build_timeouts(60)") == []


def test_a_silent_worker_loses_its_build_when_the_caller_says_how_long_is_silent(queue: Queue) -> None:
    silent, lively = queue.order(priority=9), queue.order(priority=8)
    queue.claim_many(2)
    queue.run("UPDATE build_queue SET heartbeat_at = now() - interval '90 s' WHERE id = %s", silent)

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    assert queue.rows("SELECT * FROM handle_build_timeouts(120)") == []
    assert [row.build_id for row in queue.rows("SELECT * FROM handle_build_timeouts(60)")] == [silent]
    assert queue.build(lively).status == "building"


def test_the_reason_is_recorded_as_an_event(queue: Queue) -> None:
    overdue, silent = queue.order(priority=9), queue.order(priority=8)
    queue.claim_many(2, "worker-1")
    queue.run("UPDATE build_queue SET heartbeat_at = now() - interval '90 s' WHERE id = %s", silent)
    queue.run("UPDATE build_queue SET timeout_at = now() WHERE id = %s", overdue)

    queue.rows("SELECT * FROM handle_build_timeouts(60)")

    ((overdue_event,), (silent_event,)) = (queue.events(overdue), queue.events(silent))
    assert overdue_event.message == "The build took too long"
    assert silent_event.message == "The worker went silent"
    for event in (overdue_event, silent_event):
        assert (event.event_type, event.severity) == ("build_timed_out", "error")
        assert event.event_data.keys() == {"worker_id", "retry_count", "timeout_at", "heartbeat_at"}
        assert event.event_data["worker_id"] == "worker-1"


def test_a_build_that_is_just_being_completed_is_left_alone(queue: Queue, connect: Connect) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.run("UPDATE build_queue SET timeout_at = now()")
    worker = Queue(connect(autocommit=False))
    worker.complete(claimed)

    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    worker.connection.commit()

    assert queue.build(order).status == "success"


def test_eight_calls_at_once_end_each_build_once(queue: Queue, connect: Connect) -> None:
    customers = [queue.customer(max_concurrent_builds=5) for _ in range(4)]
    for customer in customers:
        queue.order_many(10, customer)
    assert len(queue.claim_many(100)) == 20
    queue.run("UPDATE build_queue SET timeout_at = now() WHERE status = 'building'")
    clients = [Queue(connect()) for _ in range(8)]

    ended = at_once(8, lambda number: clients[number].rows("SELECT * FROM handle_build_timeouts()"))

    assert sum(map(len, ended)) == 20
    assert queue.value("SELECT count(*) FROM build_events") == 20
    assert len(queue.claim_many(100)) == 20


@pytest.mark.parametrize("seconds", [0, -1, -(2**31)])
def test_a_silence_of_no_time_is_refused(queue: Queue, seconds: int) -> None:
    order = queue.order()
    queue.claim()

    with pytest.raises(
        psycopg.errors.InvalidParameterValue,
        match=f"p_heartbeat_seconds must be at least 1 or NULL, not {seconds}",
    ) as refusal:
        queue.rows("SELECT * FROM handle_build_timeouts(%s)", seconds)

    assert refusal.value.diag.message_hint
    assert queue.build(order).status == "building"


def test_the_longest_silence_ends_nothing(queue: Queue) -> None:
    queue.order()
    queue.claim()

    assert queue.rows("SELECT * FROM handle_build_timeouts(%s)", 2**31 - 1) == []
