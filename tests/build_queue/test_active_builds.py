"""The view active_builds: what is queued and running, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builders import add_customer

if TYPE_CHECKING:
    from build_queue.driver import Queue


def test_it_has_the_columns_that_are_documented(queue: Queue) -> None:
    assert queue.columns("active_builds") == [
        ("id", "uuid"),
        ("customer_id", "character varying(100)"),
        ("organization_name", "character varying(255)"),
        ("status", "character varying(20)"),
        ("priority", "integer"),
        ("progress_percent", "integer"),
        ("current_step", "character varying(255)"),
        ("worker_id", "character varying(100)"),
        ("queued_at", "timestamp with time zone"),
        ("started_at", "timestamp with time zone"),
        ("timeout_at", "timestamp with time zone"),
        ("elapsed_seconds", "integer"),
        ("remaining_seconds", "integer"),
        ("estimated_duration_seconds", "integer"),
        ("retry_count", "integer"),
    ]


def test_builds_are_shown_until_they_end(queue: Queue) -> None:
    orders = {
        status: queue.order(status=status)
        for status in ("queued", "building", "success", "failed", "cancelled", "timeout")
    }

    shown = {row.id: row.status for row in queue.rows("SELECT * FROM active_builds")}

    assert shown == {orders[status]: status for status in ("queued", "building")}


def test_a_running_build_shows_who_does_what_for_whom(queue: Queue) -> None:
    customer = add_customer(queue.connection, organization_name="Bergwerk Karten")
    order = queue.order(customer, priority=8, estimated_duration_seconds=300)
    queue.report(queue.claim("worker-1"), 40, "compile")
    build = queue.build(order)

    row = queue.row("SELECT * FROM active_builds")

    assert row._replace(elapsed_seconds=None, remaining_seconds=None) == (
        order,
        customer,
        "Bergwerk Karten",
        "building",
        8,
        40,
        "compile",
        "worker-1",
        build.queued_at,
        build.started_at,
        build.timeout_at,
        None,
        None,
        300,
        0,
    )


def test_seconds_count_from_the_start_to_the_timeout(queue: Queue) -> None:
    queue.order(max_duration_seconds=3600)
    queue.claim()

    with queue.connection.transaction():
        queue.run(
            "UPDATE build_queue SET started_at = now() - interval '100.5 s',"
            " timeout_at = now() + interval '50.2 s'"
        )
        row = queue.row("SELECT * FROM active_builds")

    assert (row.elapsed_seconds, row.remaining_seconds) == (100, 51)


def test_no_time_remains_after_the_timeout(queue: Queue) -> None:
    queue.order()
    queue.claim()
    queue.run("UPDATE build_queue SET timeout_at = now() - interval '1 hour'")

    assert queue.row("SELECT * FROM active_builds").remaining_seconds == 0


def test_a_queued_build_has_no_seconds_yet(queue: Queue) -> None:
    queue.order()

    row = queue.row("SELECT * FROM active_builds")

    assert (row.elapsed_seconds, row.remaining_seconds, row.worker_id) == (None, None, None)


def test_a_build_without_a_maximum_duration_has_no_end_in_sight(queue: Queue) -> None:
    queue.order(max_duration_seconds=None)
    queue.claim()

    row = queue.row("SELECT * FROM active_builds")

    assert (row.elapsed_seconds, row.remaining_seconds) == (0, None)


@pytest.mark.parametrize(
    ("started_at", "timeout_at", "seconds"),
    [
        ("-infinity", "infinity", (2147483647, 2147483647)),
        ("infinity", "-infinity", (-2147483648, 0)),
        ("1900-01-01", "9999-12-31", (2147483647, 2147483647)),
    ],
)
def test_a_time_far_from_now_counts_as_the_most_seconds_that_there_are(
    queue: Queue, started_at: str, timeout_at: str, seconds: tuple[int, int]
) -> None:
    queue.order()
    queue.claim()
    queue.run("UPDATE build_queue SET started_at = %s, timeout_at = %s", started_at, timeout_at)

    assert queue.row("SELECT elapsed_seconds, remaining_seconds FROM active_builds") == seconds
