"""record_cache_access(): one record per look-up, refused with a reason when it makes no sense."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from builders import add_cache_entry, add_customer
from queries import row, value

if TYPE_CHECKING:
    Connection = psycopg.Connection[Any]


def record(connection: Connection, *arguments: Any) -> int:
    placeholders = ", ".join(["%s"] * len(arguments))
    number: int = value(connection, f"SELECT record_cache_access({placeholders})", *arguments)
    return number


def test_all_that_is_known_of_an_access_is_recorded(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)

    where, client = ("deployment-1", "eu-west-1"), ("podman", "::1")

    number = record(connection, entry, customer, "cache_hit", *where, Decimal("1.25"), 2048, *client)

    access = row(connection, "SELECT * FROM build_access_log")
    assert (access.id, access.build_cache_id, access.customer_id, access.access_type) == (
        number, entry, customer, "cache_hit",
    )  # fmt: skip
    assert (access.deployment_id, access.deployment_region) == where
    assert (access.pull_duration_seconds, access.download_size_bytes) == (Decimal("1.25"), 2048)
    assert (access.user_agent, access.ip_address) == ("podman", IPv6Address("::1"))


@pytest.mark.parametrize("access_type", ["cache_hit", "cache_miss", "build_created"])
def test_three_arguments_suffice(connection: Connection, access_type: str) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)

    assert record(connection, entry, customer, access_type) > 0


def test_a_miss_needs_no_entry(connection: Connection) -> None:
    assert record(connection, None, add_customer(connection), "cache_miss") > 0


@pytest.mark.parametrize("access_type", ["cache_hit", "build_created"])
def test_anything_but_a_miss_needs_one(connection: Connection, access_type: str) -> None:
    customer = add_customer(connection)

    with pytest.raises(errors.NullValueNotAllowed) as refusal:
        record(connection, None, customer, access_type)

    message = f"p_build_cache_id must not be NULL for access type {access_type}"
    assert refusal.value.diag.message_primary == message
    assert refusal.value.diag.message_hint


@pytest.mark.parametrize(
    ("entry", "customer", "access_type", "error"),
    [
        (UUID(int=0), "customer", "cache_hit", errors.ForeignKeyViolation),
        (None, "nobody", "cache_miss", errors.ForeignKeyViolation),
        (None, None, "cache_miss", errors.NotNullViolation),
        (None, "customer", None, errors.NotNullViolation),
        (UUID(int=0), "customer", "cache_something", errors.CheckViolation),
        (None, "customer", "cache_something", errors.CheckViolation),
    ],
)
def test_what_does_not_exist_is_refused(
    connection: Connection, entry: UUID | None, customer: str, access_type: str, error: type[psycopg.Error]
) -> None:
    add_customer(connection, "customer")

    with pytest.raises(error):
        record(connection, entry, customer, access_type)

    assert value(connection, "SELECT count(*) FROM build_access_log") == 0


def test_a_miss_that_names_an_unknown_entry_is_refused_when_the_transaction_ends(
    connection: Connection,
) -> None:
    customer = add_customer(connection)

    connection.execute("BEGIN")
    record(connection, UUID(int=0), customer, "cache_miss")
    with pytest.raises(errors.ForeignKeyViolation):
        connection.execute("COMMIT")

    assert value(connection, "SELECT count(*) FROM build_access_log") == 0


def test_a_transaction_that_recorded_accesses_may_make_partitions_and_drop_old_ones(
    connection: Connection,
) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)

    with connection.transaction():
        record(connection, entry, customer, "cache_hit")
        connection.execute("SELECT ensure_log_partitions(7)")
        record(connection, entry, customer, "cache_hit")
        connection.execute("SELECT drop_old_log_partitions('build_access_log', 1)")

    assert value(connection, "SELECT count(*) FROM build_access_log") == 2
