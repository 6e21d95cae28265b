"""find_license_customer(): whose licence has a key, as long as the licence is in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from builders import add_customer, add_license, new_hash
from queries import value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)


def found(connection: Connection, key_hash: str | None) -> str | None:
    customer: str | None = value(connection, "SELECT find_license_customer(%s)", key_hash)
    return customer


def test_each_key_finds_its_customer_and_another_none(connection: Connection) -> None:
    customers = {new_hash(): add_customer(connection) for _ in range(3)}
    for key_hash, customer in customers.items():
        add_license(connection, customer, license_key_hash=key_hash)

    assert {key_hash: found(connection, key_hash) for key_hash in customers} == customers
    assert found(connection, new_hash()) is None
    assert found(connection, None) is None


@pytest.mark.parametrize(
    ("status", "expires_at", "trial_expires_at", "in_force"),
    [
        ("active", TOMORROW, None, True),
        ("active", TOMORROW, YESTERDAY, True),
        ("active", YESTERDAY, None, False),
        ("trial", TOMORROW, None, True),
        ("trial", YESTERDAY, TOMORROW, True),
        ("trial", TOMORROW, YESTERDAY, False),
        ("trial", YESTERDAY, None, False),
        ("expired", TOMORROW, None, False),
        ("revoked", TOMORROW, None, False),
    ],
)
def test_a_key_finds_its_customer_as_long_as_the_licence_is_in_force(
    connection: Connection,
    status: str,
    expires_at: datetime,
    trial_expires_at: datetime | None,
    in_force: bool,
) -> None:
    customer, key_hash = add_customer(connection), new_hash()
    add_license(
        connection,
        customer,
        license_key_hash=key_hash,
        status=status,
        issued_at=NOW - timedelta(days=9),
        expires_at=expires_at,
        trial_expires_at=trial_expires_at,
    )

    assert found(connection, key_hash) == (customer if in_force else None)
