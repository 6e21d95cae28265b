"""revoke_expired_credentials(): what has been invalid for days goes out of use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_customer, add_registry_credential
from queries import row, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

NOW = datetime.now(UTC)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def revoke(connection: Connection, *days: int | None) -> list[Any]:
    placeholder = "%s" if days else ""
    return rows(connection, f"SELECT * FROM revoke_expired_credentials({placeholder})", *days)


def test_a_credential_invalid_for_a_week_is_revoked_once(connection: Connection) -> None:
    customer = add_customer(connection)
    number = add_registry_credential(
        connection, customer, registry_name="Quay", validation_status="invalid", last_validated_at=days_ago(7)
    )

    (revoked,) = revoke(connection)

    assert (revoked.credential_id, revoked.customer_id, revoked.registry_name) == (number, customer, "Quay")
    now = row(connection, "SELECT is_active, revoked_at, updated_at FROM registry_credentials")
    assert now == (False, revoked.revoked_at, revoked.revoked_at)
    assert revoke(connection) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"validation_status": "invalid", "last_validated_at": days_ago(6.9)},
        {"validation_status": "valid", "last_validated_at": days_ago(30)},
        {"validation_status": "unknown", "last_validated_at": days_ago(30)},
        {"validation_status": None, "last_validated_at": days_ago(30)},
        {"validation_status": "invalid", "last_validated_at": days_ago(30), "revoked_at": days_ago(20)},
        {"validation_status": "invalid", "last_validated_at": None},
    ],
)
def test_any_other_credential_stays(connection: Connection, columns: dict[str, Any]) -> None:
    add_registry_credential(connection, **columns)
    before = row(connection, "SELECT * FROM registry_credentials")

    assert revoke(connection) == []
    assert row(connection, "SELECT * FROM registry_credentials") == before


def test_of_several_credentials_only_those_that_are_due_are_revoked(connection: Connection) -> None:
    customer = add_customer(connection)
    due, other = (
        add_registry_credential(
            connection,
            customer,
            registry_name=status,
            validation_status=status,
            last_validated_at=days_ago(8),
        )
        for status in ("invalid", "valid")
    )

    assert [each.credential_id for each in revoke(connection)] == [due]

    in_use = rows(connection, "SELECT id FROM registry_credentials WHERE is_active AND revoked_at IS NULL")
    assert in_use == [(other,)]


def test_one_that_was_never_validated_counts_from_its_last_change(connection: Connection) -> None:
    number = add_registry_credential(connection, validation_status="invalid", updated_at=days_ago(8))

    assert [each.credential_id for each in revoke(connection)] == [number]


def test_the_days_can_be_chosen(connection: Connection) -> None:
    number = add_registry_credential(connection, validation_status="invalid", last_validated_at=days_ago(2.5))

    assert revoke(connection, 3) == []
    assert [each.credential_id for each in revoke(connection, 2)] == [number]


def test_one_that_is_being_mended_is_not_waited_for(connection: Connection, connect: Connect) -> None:
    add_registry_credential(connection, validation_status="invalid", last_validated_at=days_ago(8))
    mending = connect(autocommit=False)
    mending.execute("UPDATE registry_credentials SET validation_status = 'valid'")
    connection.execute("SET lock_timeout = '1s'")

    assert revoke(connection) == []


@pytest.mark.parametrize("days", [None, 0, -1, 36501])
def test_days_that_make_no_sense_are_refused(connection: Connection, days: int | None) -> None:
    add_registry_credential(connection, validation_status="invalid", last_validated_at=days_ago(8))

    with pytest.raises(errors.InvalidParameterValue) as refusal:
        revoke(connection, days)

    shown = "NULL" if days is None else days
    assert refusal.value.diag.message_primary == f"p_invalid_days must be between 1 and 36500, not {shown}"
    assert refusal.value.diag.message_hint
    assert row(connection, "SELECT revoked_at FROM registry_credentials") == (None,)
