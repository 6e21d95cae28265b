"""The view build_performance_summary: what ended on each day in UTC, and how well."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from builders import add_result

if TYPE_CHECKING:
    from build_queue.driver import Queue


def end(queue: Queue, completed_at: str, status: str = "success", **result: object) -> None:
    """Add a build that has ended, with a result if any of it is given."""
    order = queue.order(status=status, completed_at=completed_at)
    if result:
        add_result(queue.connection, order, success=status == "success", **result)


def test_it_has_the_columns_that_are_documented(queue: Queue) -> None:
    assert queue.columns("build_performance_summary") == [
        ("build_date", "date"),
        ("total_builds", "bigint"),
        ("successful_builds", "bigint"),
        ("failed_builds", "bigint"),
        ("avg_duration_seconds", "numeric"),
        ("median_duration_seconds", "numeric"),
        ("p95_duration_seconds", "numeric"),
        ("avg_image_size_mb", "numeric"),
        ("avg_cache_hit_rate_percent", "numeric"),
    ]


def test_a_day_counts_what_ended_on_it(queue: Queue) -> None:
    for status in ("success", "success", "failed", "timeout", "cancelled"):
        end(queue, "2026-01-05 12:00+00", status)
    end(queue, "2026-01-06 12:00+00")

    days = queue.rows("SELECT * FROM build_performance_summary ORDER BY build_date")

    assert [row[:4] for row in days] == [(date(2026, 1, 5), 4, 2, 2), (date(2026, 1, 6), 1, 1, 0)]


def test_builds_that_go_on_are_not_shown(queue: Queue) -> None:
    queue.order()
    queue.claim()

    assert queue.rows("SELECT * FROM build_performance_summary") == []


def test_durations_sizes_and_layers_are_summed_up(queue: Queue) -> None:
    for duration, size, cached in [(10, 2**20, 5), (20, 3 * 2**20, 10), (90, None, None)]:
        end(
            queue,
            "2026-01-05",
            actual_duration_seconds=duration,
            final_image_size_bytes=size,
            total_layers=cached and 10,
            cache_layers_used=cached,
        )

    (row,) = queue.rows("SELECT * FROM build_performance_summary")

    assert row[4:] == (
        Decimal("40.00"),
        Decimal("20.00"),
        Decimal("83.00"),
        Decimal("2.00"),
        Decimal("75.00"),
    )


def test_an_image_without_layers_says_nothing_about_the_cache(queue: Queue) -> None:
    end(queue, "2026-01-05", total_layers=0, cache_layers_used=0)

    assert queue.row("SELECT * FROM build_performance_summary").avg_cache_hit_rate_percent is None


def test_a_day_without_results_has_no_averages(queue: Queue) -> None:
    end(queue, "2026-01-05", "timeout")

    (row,) = queue.rows("SELECT * FROM build_performance_summary")

    assert row[4:] == (None,) * 5


def test_a_timeout_is_not_given_the_duration_of_an_attempt_before(queue: Queue) -> None:
    end(queue, "2026-01-05", "timeout", actual_duration_seconds=1000)

    (row,) = queue.rows("SELECT * FROM build_performance_summary")

    assert (row.failed_builds, row.avg_duration_seconds) == (1, None)


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_day_is_the_one_in_utc(queue: Queue, time_zone: str) -> None:
    queue.run("SELECT set_config('TimeZone', %s, false)", time_zone)
    end(queue, "2026-01-05 00:00:00+00")
    end(queue, "2026-01-05 23:59:59.999999+00")

    (row,) = queue.rows("SELECT * FROM build_performance_summary")

    assert row[:2] == (date(2026, 1, 5), 2)
