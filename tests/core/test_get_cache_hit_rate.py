"""get_cache_hit_rate(): hits out of hits and misses, in the last days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_cache_access, add_cache_entry, add_customer
from queries import row

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]


def hit_rate(connection: Connection, customer: str | None = None, days: int | None = 30) -> Any:
    return row(connection, "SELECT * FROM get_cache_hit_rate(%s, %s)", customer, days)


def test_the_rate_is_of_hits_and_misses_and_ignores_created_builds(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    for access_type in ["cache_hit", "cache_hit", "cache_miss", "build_created"]:
        add_cache_access(connection, entry, customer, access_type=access_type)

    assert hit_rate(connection) == (None, 4, 2, 1, Decimal("66.67"))
    assert hit_rate(connection, customer) == (customer, 4, 2, 1, Decimal("66.67"))


def test_there_is_no_rate_without_hits_and_misses(connection: Connection) -> None:
    customer = add_customer(connection)
    assert hit_rate(connection, customer) == (customer, 0, 0, 0, None)

    add_cache_access(connection, add_cache_entry(connection), customer, access_type="build_created")
    assert hit_rate(connection, customer) == (customer, 1, 0, 0, None)
    assert hit_rate(connection, "nobody") == ("nobody", 0, 0, 0, None)


def test_misses_alone_make_a_rate_of_zero(connection: Connection) -> None:
    add_cache_access(connection, None)

    assert hit_rate(connection).hit_rate_percent == 0


def test_customers_are_told_apart(connection: Connection) -> None:
    entry = add_cache_entry(connection)
    lucky, unlucky = add_customer(connection), add_customer(connection)
    add_cache_access(connection, entry, lucky)
    add_cache_access(connection, None, unlucky)

    rates = [hit_rate(connection, customer).hit_rate_percent for customer in (lucky, unlucky, None)]

    assert rates == [100, 0, 50]


def test_only_the_last_days_count(connection: Connection) -> None:
    now, entry = datetime.now(UTC), add_cache_entry(connection)
    for hours in (1, 47, 49):
        add_cache_access(connection, entry, accessed_at=now - timedelta(hours=hours))

    assert [hit_rate(connection, days=days).total_accesses for days in (1, 2, 3, 36500)] == [1, 2, 3, 3]


def test_a_day_has_24_hours_where_clocks_change_too(connection: Connection) -> None:
    connection.execute("SET timezone = 'America/New_York'")
    now, entry = datetime.now(UTC), add_cache_entry(connection)
    add_cache_access(connection, entry, accessed_at=now - timedelta(days=180, minutes=1))
    add_cache_access(connection, entry, accessed_at=now - timedelta(days=180, minutes=-1))

    assert hit_rate(connection, days=180).total_accesses == 1


@pytest.mark.parametrize("days", [None, 0, -1, 36501, 2**31 - 1])
def test_days_that_make_no_sense_are_refused(connection: Connection, days: int | None) -> None:
    with pytest.raises(errors.InvalidParameterValue) as refusal:
        hit_rate(connection, days=days)

    shown = "NULL" if days is None else days
    assert refusal.value.diag.message_primary == f"p_days must be between 1 and 36500, not {shown}"
    assert refusal.value.diag.message_hint


def test_both_arguments_have_defaults(connection: Connection) -> None:
    assert row(connection, "SELECT * FROM get_cache_hit_rate()").total_accesses == 0
