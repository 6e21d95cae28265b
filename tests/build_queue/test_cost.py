"""What the queue's functions read, by pages and plans: the same with ten builds as with thousands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from builders import add_license

if TYPE_CHECKING:
    from build_queue.driver import Queue

CLAIM = "SELECT * FROM get_next_build_for_worker('worker', 'host', {architecture})"
PAGES_OF_A_CLAIM = 150
"""An order of magnitude above what is needed, and below what any scan of a thousand builds takes."""


def fill(queue: Queue, count: int, columns: str = "priority", values: str = "5") -> str:
    """Queue builds of a customer without a limit and let the planner know of them."""
    customer = queue.customer()
    queue.order_many(count, customer, columns, values)
    queue.run("VACUUM ANALYZE build_queue")
    return customer


@pytest.mark.parametrize("architecture", ["NULL", "'amd64'"])
def test_a_claim_reads_the_same_with_ten_thousand_builds_queued(queue: Queue, architecture: str) -> None:
    claim = CLAIM.format(architecture=architecture)
    fill(queue, 10)
    few = queue.buffers(claim)

    fill(queue, 10_000)

    assert queue.buffers(claim) <= few + 20


def test_the_view_of_active_builds_reads_none_that_have_ended(queue: Queue) -> None:
    query = "SELECT * FROM active_builds"
    customer = fill(queue, 10)
    add_license(queue.connection, customer, max_concurrent_builds=5, max_builds_per_month=None)
    queue.order(customer, queued_at=datetime.now(UTC) + timedelta(days=1))
    queue.run("VACUUM ANALYZE build_queue")
    few = queue.buffers(query)

    queue.order_many(20_000, queue.customer(), "status", "'success'")
    queue.run("VACUUM ANALYZE build_queue")

    assert len(queue.rows(query)) == 11
    assert queue.buffers(query) <= few + 20


def test_builds_of_a_customer_at_its_limit_slow_no_other_claim(queue: Queue) -> None:
    customer = fill(queue, 20_000, "priority", "10")
    add_license(queue.connection, customer, max_concurrent_builds=1, max_builds_per_month=None)
    queue.run("VACUUM ANALYZE build_queue")
    assert queue.claim().customer_id == customer
    orders = [queue.order(priority=1) for _ in range(3)]

    assert queue.buffers(CLAIM.format(architecture="NULL")) < PAGES_OF_A_CLAIM

    assert queue.value("SELECT count(*) FROM build_queue WHERE status = 'building'") == 3
    assert queue.claim().build_id == orders[2]
    assert queue.claim() is None


def test_a_customer_at_its_limit_with_many_builds_completes_and_starts_them_one_by_one_at_the_same_cost(
    queue: Queue,
) -> None:
    customer = fill(queue, 20_000)
    add_license(queue.connection, customer, max_concurrent_builds=1, max_builds_per_month=None)
    queue.run("VACUUM ANALYZE build_queue")
    running = queue.claim()
    for _ in range(20):
        queue.complete(running)
        running = queue.claim()

    completion = f"SELECT complete_build('{running.build_id}', 'worker', 0, true, 1)"
    with queue.connection.transaction():
        assert queue.buffers(completion) < PAGES_OF_A_CLAIM


def test_delayed_builds_slow_no_claim(queue: Queue) -> None:
    customer = queue.customer()
    queue.run("SET session_replication_role = replica")
    queue.order_many(10_000, customer, "admission", "'delayed'")
    queue.run("UPDATE build_queue SET queued_at = now() + interval '1 day'")
    queue.run("RESET session_replication_role")
    queue.run("VACUUM ANALYZE build_queue")
    queue.order(customer)
    queue.order(customer)

    assert queue.buffers(CLAIM.format(architecture="NULL")) < PAGES_OF_A_CLAIM


def test_a_build_for_another_architecture_is_found_behind_thousands(queue: Queue) -> None:
    fill(queue, 10_000)
    orders = [queue.order(architecture="arm64", priority=1) for _ in range(2)]

    assert queue.buffers(CLAIM.format(architecture="'arm64'")) < PAGES_OF_A_CLAIM

    assert queue.build(orders[1]).status == "building"


def test_a_worker_without_work_reads_next_to_nothing(queue: Queue) -> None:
    fill(queue, 5_000, "status, completed_at", "'success', now()")

    assert queue.buffers(CLAIM.format(architecture="NULL")) < 50


def test_progress_and_completion_find_the_build_by_its_key_after_many_builds_without_vacuum(
    queue: Queue,
) -> None:
    queue.run("ANALYZE build_queue")  # as of an empty table: what the planner knows in a young database
    customer = queue.customer()
    queue.order_many(3_000, customer)
    for _ in range(3):
        assert len(queue.claim_many(1000)) == 1000
        queue.run(
            "SELECT update_build_progress(id, 50, 'compile', 1, 'worker', 0),"
            " complete_build(id, 'worker', 0, true, 1) FROM build_queue WHERE status = 'building'"
        )
    assert queue.value("SELECT count(*) FROM build_queue WHERE status = 'success'") == 3_000
    orders = [queue.order(customer) for _ in range(10)]
    builds = queue.claim_many(10)
    assert {build.build_id for build in builds} == set(orders)

    # Ten times each, for the planner may change its mind after the fifth.
    queue.run("SELECT pg_stat_force_next_flush()")
    with queue.connection.transaction():
        for build in builds:
            assert queue.report(build, 50, "compile")
            assert queue.complete(build)
        scans = queue.rows(
            "SELECT relname, pg_stat_get_xact_numscans(oid) AS count FROM pg_class"
            " WHERE relname LIKE '%build_queue%' AND pg_stat_get_xact_numscans(oid) > 0 ORDER BY relname"
        )

    # The third is the foreign key of the result.
    assert scans == [("pk_build_queue", 30), ("uq_build_results_build_queue_id", 10)]
    for each in builds:
        assert queue.build(each.build_id).status == "success"


def test_a_claim_after_many_builds_without_vacuum_reads_no_table_through(queue: Queue) -> None:
    queue.run("ANALYZE build_queue")
    customer = queue.customer()
    queue.order_many(5_000, customer)
    for _ in range(5):
        queue.claim_many(1000)
    for _ in range(12):
        queue.order(customer)

    queue.run("SELECT pg_stat_force_next_flush()")
    with queue.connection.transaction():
        for _ in range(10):
            assert queue.claim()
        assert queue.value("SELECT pg_stat_get_xact_numscans('build_queue'::regclass)") == 0


def test_progress_reports_touch_no_index(queue: Queue) -> None:
    fill(queue, 200)
    builds = queue.claim_many(100)
    queue.run("SELECT pg_stat_force_next_flush()")
    counts = (
        "SELECT pg_stat_get_tuples_updated('build_queue'::regclass) AS all,"
        " pg_stat_get_tuples_hot_updated('build_queue'::regclass) AS hot"
    )
    before = queue.row(counts)

    for percent in (20, 40, 60, 80):
        for build in builds:
            assert queue.report(build, percent, f"step {percent}", p_steps_completed=percent)

    queue.run("SELECT pg_stat_force_next_flush()")
    after = queue.row(counts)
    assert after.all - before.all == 400
    assert after.hot - before.hot >= 396


def test_the_quota_is_counted_in_the_index_of_the_customers_month(queue: Queue) -> None:
    queue.run("SET session_replication_role = replica")
    queue.order_many(20_000, queue.customer(), "created_at", "now()")
    customer = queue.customer()
    queue.order_many(500, customer)
    queue.run("UPDATE build_queue SET queued_at = '2026-01-15' WHERE customer_id = %s", customer)
    queue.run("RESET session_replication_role")
    add_license(queue.connection, customer, max_builds_per_month=10, max_concurrent_builds=None)
    queue.run("VACUUM ANALYZE build_queue")

    queue.run("SELECT pg_stat_force_next_flush()")
    with queue.connection.transaction():
        queue.order(customer)
        assert queue.value("SELECT pg_stat_get_xact_numscans('build_queue'::regclass)") == 0
        assert (
            queue.value("SELECT pg_stat_get_xact_tuples_returned('ix_build_queue_customer_id'::regclass)")
            <= 1
        )


def test_emptying_logs_costs_as_much_as_there_are_logs_to_empty(queue: Queue) -> None:
    fill(queue, 10_000)
    queue.run(
        "INSERT INTO build_results (build_queue_id, success, actual_duration_seconds, created_at,"
        " logs_truncated_at) SELECT id, true, 1, '2020-01-01', '2021-01-01' FROM build_queue"
    )
    queue.run("VACUUM ANALYZE build_results")

    assert queue.buffers("SELECT * FROM cleanup_old_build_logs()") < 50


def test_looking_for_timeouts_costs_as_much_as_there_are_builds_to_end(queue: Queue) -> None:
    fill(queue, 5_000)
    queue.claim_many(1000)
    queue.run("VACUUM ANALYZE build_queue")

    assert queue.buffers("SELECT * FROM handle_build_timeouts()") < 50
