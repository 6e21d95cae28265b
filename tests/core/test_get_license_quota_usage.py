"""get_license_quota_usage(): exact counts, months in UTC, NULL for what is unlimited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_build, add_customer, add_license, add_registry_credential
from queries import row, rows, value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

UNLIMITED = {"max_builds_per_month": None, "max_registries": None, "max_concurrent_builds": None}


def usage(connection: Connection, customer: str | None) -> Any:
    return row(connection, "SELECT * FROM get_license_quota_usage(%s)", customer)


def add_licensed_customer(connection: Connection, **limits: Any) -> str:
    customer = add_customer(connection)
    add_license(connection, customer, **limits)
    return customer


def test_builds_are_not_multiplied_by_registries(connection: Connection) -> None:
    customer = add_licensed_customer(connection, max_builds_per_month=10, max_concurrent_builds=5)
    for _ in range(4):
        add_build(connection, customer)
    for _ in range(3):
        add_registry_credential(connection, customer)

    assert usage(connection, customer) == (10, 4, 6, Decimal("40.00"), 3, 3, 5, 0)


def test_an_unlimited_licence_has_no_remainder_and_no_utilisation(connection: Connection) -> None:
    customer = add_licensed_customer(connection, **UNLIMITED)
    add_build(connection, customer)

    assert usage(connection, customer) == (None, 1, None, None, None, 0, None, 0)


def test_a_new_customer_has_used_nothing(connection: Connection) -> None:
    customer = add_licensed_customer(connection)

    assert usage(connection, customer) == (100, 0, 100, Decimal(0), 3, 0, 1, 0)


def test_a_lowered_quota_is_over_used_but_nothing_negative_remains(connection: Connection) -> None:
    customer = add_licensed_customer(connection)
    for _ in range(3):
        add_build(connection, customer)
    connection.execute("UPDATE licenses SET max_builds_per_month = 2")

    counted = usage(connection, customer)
    assert (counted.remaining_builds, counted.quota_utilization_percent) == (0, 150)


@pytest.mark.parametrize(("builds", "percent"), [(0, 0), (1, 100)])
def test_a_quota_of_zero_is_used_up_by_the_first_build(
    connection: Connection, builds: int, percent: int
) -> None:
    customer = add_licensed_customer(connection)
    for _ in range(builds):
        add_build(connection, customer)
    connection.execute("UPDATE licenses SET max_builds_per_month = 0")

    counted = usage(connection, customer)
    assert (counted.remaining_builds, counted.quota_utilization_percent) == (0, percent)


@pytest.mark.parametrize("session_zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_month_begins_and_ends_in_utc(connection: Connection, session_zone: str) -> None:
    connection.execute(f"SET timezone = '{session_zone}'".encode())
    customer = add_licensed_customer(connection, **UNLIMITED)
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = (month + timedelta(days=32)).replace(day=1)
    instant = timedelta(microseconds=1)
    for queued_at in (month - instant, month, next_month - instant, next_month):
        add_build(connection, customer, queued_at=queued_at)

    assert usage(connection, customer).builds_this_month == 2


def test_a_delayed_retry_of_last_months_build_does_not_count_again(connection: Connection) -> None:
    customer = add_licensed_customer(connection)
    last_month = datetime.now(UTC).replace(day=1) - timedelta(days=3)
    add_build(connection, customer, created_at=last_month, retry_count=1)
    add_build(connection, customer, retry_count=1)

    assert usage(connection, customer).builds_this_month == 1


def test_a_build_that_was_brought_over_keeps_its_month_when_it_is_retried(connection: Connection) -> None:
    customer = add_licensed_customer(connection, max_builds_per_month=1)
    last_month = datetime.now(UTC).replace(day=1) - timedelta(days=3)
    brought_over = {"queued_at": last_month, "status": "failed", "completed_at": last_month}
    build = add_build(connection, customer, **brought_over)

    assert value(connection, "SELECT retry_failed_build(%s)", build)

    assert usage(connection, customer).builds_this_month == 0
    assert value(connection, "SELECT sum(builds_this_month) FROM customer_build_usage") == 0
    assert add_build(connection, customer)
    with pytest.raises(errors.CheckViolation) as refusal:
        add_build(connection, customer, **brought_over)
    assert refusal.value.diag.constraint_name == "max_builds_per_month"


def test_only_active_unrevoked_registries_and_running_builds_are_in_use(connection: Connection) -> None:
    customer = add_licensed_customer(connection, **UNLIMITED)
    for columns in ({}, {"is_active": False}, {"revoked_at": datetime.now(UTC)}):
        add_registry_credential(connection, customer, **columns)
    add_build(connection, customer)
    add_build(connection, customer)
    value(connection, "SELECT count(*) FROM get_next_build_for_worker('worker', 'host')")

    counted = usage(connection, customer)
    assert (counted.active_registries, counted.current_concurrent_builds) == (1, 1)


def test_other_customers_do_not_count(connection: Connection) -> None:
    customer = add_licensed_customer(connection)
    add_build(connection)
    add_build(connection, status="building")
    add_registry_credential(connection)

    counted = usage(connection, customer)
    assert (counted.builds_this_month, counted.active_registries, counted.current_concurrent_builds) == (
        0,
    ) * 3


@pytest.mark.parametrize("customer", ["unlicensed", "nobody", None])
def test_who_has_no_licence_has_no_quota(connection: Connection, customer: str | None) -> None:
    add_customer(connection, "unlicensed")

    assert rows(connection, "SELECT * FROM get_license_quota_usage(%s)", customer) == []
