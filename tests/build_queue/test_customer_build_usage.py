"""The view customer_build_usage: what each customer has built, this month and in all."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from builders import add_customer, add_result

if TYPE_CHECKING:
    from build_queue.driver import Queue


def usage(queue: Queue, customer: str) -> object:
    return queue.row("SELECT * FROM customer_build_usage WHERE customer_id = %s", customer)


def test_it_has_the_columns_that_are_documented(queue: Queue) -> None:
    assert queue.columns("customer_build_usage") == [
        ("customer_id", "character varying(100)"),
        ("organization_name", "character varying(255)"),
        ("tier", "character varying(20)"),
        ("total_builds", "bigint"),
        ("builds_this_month", "bigint"),
        ("successful_builds", "bigint"),
        ("avg_build_duration_seconds", "numeric"),
        ("total_build_time_seconds", "numeric"),
        ("last_build_at", "timestamp with time zone"),
    ]


def test_a_customer_without_builds_has_none(queue: Queue) -> None:
    customer = add_customer(queue.connection, organization_name="Bergwerk Karten", tier="pro")

    assert usage(queue, customer) == (customer, "Bergwerk Karten", "pro", 0, 0, 0, None, 0, None)


def test_builds_and_their_durations_are_summed_up(queue: Queue) -> None:
    customer = queue.customer()
    for status, queued_at, duration in [("success", "2026-01-05", 10), ("failed", "2026-01-06", 25)]:
        order = queue.order(customer, status=status, queued_at=queued_at)
        add_result(queue.connection, order, success=status == "success", actual_duration_seconds=duration)
    last = queue.order(customer)
    queue.order(queue.customer())

    assert usage(queue, customer) == (
        customer,
        "Atlas Surveys",
        "core",
        3,
        1,
        1,
        Decimal("17.50"),
        Decimal("35.00"),
        queue.build(last).queued_at,
    )


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_month_is_the_one_in_utc(queue: Queue, time_zone: str) -> None:
    queue.run("SELECT set_config('TimeZone', %s, false)", time_zone)
    customer = queue.customer()
    month = "date_trunc('month', now() AT TIME ZONE 'UTC')"
    for moment in (
        f"{month} - interval '1 us'",
        month,
        f"{month} + interval '1 month' - interval '1 us'",
        f"{month} + interval '1 month'",
    ):
        queue.order(customer, queued_at=queue.value(f"SELECT ({moment}) AT TIME ZONE 'UTC'"))

    row = queue.row("SELECT * FROM customer_build_usage WHERE customer_id = %s", customer)

    assert (row.builds_this_month, row.total_builds) == (2, 4)


def test_the_month_is_counted_as_the_quota_counts_it(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=5)
    queue.order(customer, queued_at="2026-01-15", created_at="2026-01-15")
    retried = queue.claim()
    queue.complete(retried, success=False)
    queue.retry(retried.build_id, "1 us")
    queue.order(customer)

    row = queue.row("SELECT * FROM customer_build_usage WHERE customer_id = %s", customer)
    quota = queue.row("SELECT * FROM get_license_quota_usage(%s)", customer)

    assert row.builds_this_month == quota.builds_this_month == 1


def test_a_deleted_customer_is_not_shown(queue: Queue) -> None:
    customer = add_customer(queue.connection, deleted_at="2026-01-01")

    assert usage(queue, customer) is None
