"""cache_performance_summary: the cache on each of the last 30 days, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from builders import add_cache_access, add_cache_entry, add_customer
from queries import row, rows, values

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

TODAY = datetime.combine(datetime.now(UTC).date(), time(), UTC)


def test_a_day_is_summed_up(connection: Connection) -> None:
    quick = add_cache_entry(connection, build_duration_seconds=100)
    slow = add_cache_entry(connection, build_duration_seconds=Decimal("250.5"))
    ours, theirs = add_customer(connection), add_customer(connection)
    add_cache_access(connection, quick, ours, download_size_bytes=1000)
    add_cache_access(connection, slow, ours, download_size_bytes=2000)
    add_cache_access(connection, slow, theirs)
    add_cache_access(connection, slow, theirs, access_type="build_created")
    add_cache_access(connection, None, theirs)

    summary = row(connection, "SELECT * FROM cache_performance_summary")

    assert summary._asdict() == {
        "access_date": TODAY.date(),
        "total_accesses": 5,
        "cache_hits": 3,
        "cache_misses": 1,
        "hit_rate_percent": 75,
        "unique_customers": 2,
        "bytes_served": 3000,
        "build_seconds_saved": Decimal("601.0"),
    }


def test_more_bytes_than_can_be_counted_are_the_most_there_are(connection: Connection) -> None:
    for _ in range(2):
        add_cache_access(connection, None, download_size_bytes=5 * 10**18)

    assert row(connection, "SELECT * FROM cache_performance_summary").bytes_served == 2**63 - 1


def test_a_day_without_hits_and_misses_has_no_rate_and_saved_nothing(connection: Connection) -> None:
    add_cache_access(connection, add_cache_entry(connection), access_type="build_created")

    summary = row(connection, "SELECT * FROM cache_performance_summary")

    assert (summary.hit_rate_percent, summary.bytes_served, summary.build_seconds_saved) == (None, 0, 0)


def test_days_begin_in_utc_and_go_back_for_thirty(connection: Connection) -> None:
    for accessed_at in (
        TODAY,
        TODAY - timedelta(microseconds=1),
        TODAY - timedelta(days=29),
        TODAY - timedelta(days=29, microseconds=1),
    ):
        add_cache_access(connection, None, accessed_at=accessed_at)

    days = values(connection, "SELECT access_date FROM cache_performance_summary ORDER BY access_date DESC")

    assert days == [(TODAY - timedelta(days=days)).date() for days in (0, 1, 29)]


def test_without_accesses_there_are_no_days(connection: Connection) -> None:
    assert rows(connection, "SELECT * FROM cache_performance_summary") == []
