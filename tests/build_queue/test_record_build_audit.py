"""record_build_audit(): a build that is cancelled or built again is recorded; nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from build_queue.driver import Queue

RECORDS = "SELECT * FROM audit_log WHERE table_name = 'build_queue' ORDER BY id"


def records(queue: Queue) -> list[Any]:
    return queue.rows(RECORDS)


def test_claims_reports_ends_and_timeouts_are_not_recorded(queue: Queue) -> None:
    for _ in range(3):
        queue.order()
    claimed = queue.claim()
    queue.report(claimed, 50)
    queue.complete(claimed)
    queue.complete(queue.claim(), False)
    queue.let_time_out(queue.claim().build_id)

    assert records(queue) == []


@pytest.mark.parametrize("was", ["queued", "building"])
def test_a_cancelled_build_is_recorded_with_what_changed(queue: Queue, was: str) -> None:
    order = queue.order()
    if was == "building":
        queue.claim()

    queue.cancel(order)

    [record] = records(queue)
    assert (record.operation, record.row_id, record.customer_id) == (
        "UPDATE", order, queue.build(order).customer_id,
    )  # fmt: skip
    assert (record.old_values, record.new_values) == ({"status": was}, {"status": "cancelled"})


def test_a_retry_is_recorded_with_the_attempt_that_it_ends(queue: Queue) -> None:
    order = queue.order()
    queue.complete(queue.claim(), False)

    queue.retry(order)

    [record] = records(queue)
    assert record.old_values == {"status": "failed", "retry_count": 0, "worker_id": "worker"}
    assert record.new_values == {"status": "queued", "retry_count": 1, "worker_id": None}


def test_a_queued_build_that_stays_queued_is_not_recorded(queue: Queue) -> None:
    order = queue.order()

    queue.run("UPDATE build_queue SET status = 'queued', priority = 9 WHERE id = %s", order)

    assert records(queue) == []


def test_each_build_of_a_statement_is_recorded(queue: Queue) -> None:
    orders = {queue.order() for _ in range(3)}

    queue.run("UPDATE build_queue SET status = 'cancelled', completed_at = now()")

    assert {record.row_id for record in records(queue)} == orders
