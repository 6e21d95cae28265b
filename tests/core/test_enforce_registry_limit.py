"""The registry limit: never more active, unrevoked credentials than max_registries, however they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel, errors

from build_queue.driver import at_once
from builders import add_customer, add_license, add_registry_credential
from queries import value

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

NOW = datetime.now(UTC)


@pytest.fixture
def customer(connection: Connection) -> str:
    """A customer who may have two registries and has them."""
    customer = add_customer(connection)
    add_license(connection, customer, max_registries=2)
    for _ in range(2):
        add_registry_credential(connection, customer)
    return customer


def active(connection: Connection) -> int:
    count: int = value(
        connection, "SELECT count(*) FROM registry_credentials WHERE is_active AND revoked_at IS NULL"
    )
    return count


def test_one_more_than_the_limit_is_refused_by_name(connection: Connection, customer: str) -> None:
    with pytest.raises(errors.CheckViolation) as refusal:
        add_registry_credential(connection, customer)

    diagnostics = refusal.value.diag
    assert (diagnostics.constraint_name, diagnostics.table_name) == ("max_registries", "registry_credentials")
    assert diagnostics.message_primary == (
        f"customer {customer} has 2 active registry credentials, and its licence allows 2"
    )
    assert diagnostics.message_hint
    assert active(connection) == 2


@pytest.mark.parametrize("unused", [{"is_active": False}, {"revoked_at": NOW}])
def test_a_credential_out_of_use_does_not_count(
    connection: Connection, customer: str, unused: dict[str, Any]
) -> None:
    add_registry_credential(connection, customer, **unused)
    with pytest.raises(errors.CheckViolation):
        connection.execute("UPDATE registry_credentials SET is_active = true, revoked_at = NULL")
    assert active(connection) == 2


@pytest.mark.parametrize("change", ["revoked_at = now()", "is_active = false"])
def test_taking_one_out_of_use_makes_room_for_another(
    connection: Connection, customer: str, change: str
) -> None:
    connection.execute(
        f"UPDATE registry_credentials SET {change}"
        " WHERE id = (SELECT id FROM registry_credentials LIMIT 1)".encode()
    )
    add_registry_credential(connection, customer)
    assert active(connection) == 2


def test_no_credential_can_be_moved_to_a_customer_at_the_limit(connection: Connection, customer: str) -> None:
    other = add_registry_credential(connection)
    with pytest.raises(errors.CheckViolation):
        connection.execute(
            "UPDATE registry_credentials SET customer_id = %s WHERE id = %s", [customer, other]
        )


def test_one_statement_can_not_exceed_the_limit_either(connection: Connection) -> None:
    customer = add_customer(connection)
    add_license(connection, customer, max_registries=2)
    template = add_registry_credential(connection, customer, is_active=False)
    with pytest.raises(errors.CheckViolation):
        connection.execute(
            "INSERT INTO registry_credentials (customer_id, registry_name, registry_url, registry_provider,"
            " username_encrypted, password_encrypted, encryption_key_id)"
            " SELECT customer_id, registry_name || n, registry_url, registry_provider, username_encrypted,"
            " password_encrypted, encryption_key_id FROM registry_credentials, generate_series(1, 3) AS n"
            " WHERE id = %s",
            [template],
        )
    assert active(connection) == 0


def test_credentials_at_the_limit_can_still_be_changed(connection: Connection, customer: str) -> None:
    connection.execute("UPDATE registry_credentials SET is_active = true, registry_name = 'renamed'")
    connection.execute("UPDATE licenses SET max_registries = 1")
    connection.execute("UPDATE registry_credentials SET is_active = true, registry_name = 'renamed again'")
    assert active(connection) == 2


def test_replacing_a_credential_by_itself_needs_no_room(connection: Connection, customer: str) -> None:
    number = value(connection, "SELECT id FROM registry_credentials LIMIT 1")
    connection.execute(
        "INSERT INTO registry_credentials (id, customer_id, registry_name, registry_url, registry_provider,"
        " username_encrypted, password_encrypted, encryption_key_id)"
        " VALUES (%s, %s, 'new', 'u', 'ghcr', '', '', 'key-2')"
        " ON CONFLICT (id) DO UPDATE SET encryption_key_id = excluded.encryption_key_id",
        [number, customer],
    )
    assert active(connection) == 2


def test_replacing_the_default_needs_no_room(connection: Connection, customer: str) -> None:
    connection.execute(
        "UPDATE registry_credentials SET is_default = true"
        " WHERE id = (SELECT id FROM registry_credentials LIMIT 1)"
    )

    connection.execute(
        "INSERT INTO registry_credentials (customer_id, registry_name, registry_url, registry_provider,"
        " username_encrypted, password_encrypted, encryption_key_id, is_default)"
        " VALUES (%s, 'new', 'u', 'ghcr', '', '', 'key-2', true)"
        " ON CONFLICT (customer_id) WHERE is_default AND revoked_at IS NULL"
        " DO UPDATE SET encryption_key_id = excluded.encryption_key_id",
        [customer],
    )

    assert value(connection, "SELECT encryption_key_id FROM registry_credentials WHERE is_default") == "key-2"
    assert active(connection) == 2


def test_a_default_that_is_not_there_any_more_makes_no_room(connection: Connection, customer: str) -> None:
    add_registry_credential(connection, customer, is_default=True, revoked_at=NOW)
    add_registry_credential(connection, add_customer(connection), is_default=True)
    with pytest.raises(errors.CheckViolation):
        add_registry_credential(connection, customer, is_default=True)


def test_a_raised_limit_counts_at_once(connection: Connection, customer: str) -> None:
    connection.execute("UPDATE licenses SET max_registries = 3")
    assert isinstance(add_registry_credential(connection, customer), UUID)


@pytest.mark.parametrize("license_columns", [None, {"max_registries": None}])
def test_without_a_limit_there_may_be_any_number(
    connection: Connection, license_columns: dict[str, Any] | None
) -> None:
    customer = add_customer(connection)
    if license_columns:
        add_license(connection, customer, **license_columns)
    for _ in range(5):
        add_registry_credential(connection, customer)
    assert active(connection) == 5


def test_a_limit_of_zero_allows_none(connection: Connection) -> None:
    customer = add_customer(connection)
    add_license(connection, customer, max_registries=0)
    with pytest.raises(errors.CheckViolation):
        add_registry_credential(connection, customer)


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_sixteen_clients_at_once_do_not_exceed_the_limit(
    connection: Connection, connect: Connect, isolation: IsolationLevel
) -> None:
    customer = add_customer(connection)
    add_license(connection, customer, max_registries=3)
    connections = [connect() for _ in range(16)]

    def add(number: int) -> bool:
        connections[number].set_isolation_level(isolation)
        while True:
            try:
                with connections[number].transaction():
                    add_registry_credential(connections[number], customer)
            except errors.SerializationFailure:
                continue
            except errors.CheckViolation:
                return False
            return True

    assert sum(at_once(16, add)) == 3
    assert active(connection) == 3
