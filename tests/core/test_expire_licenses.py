"""expire_licenses(): licences that have ended are set to expired, and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from builders import add_customer, add_license
from queries import rows, value

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

NOW = datetime.now(UTC)
LAST_YEAR, YESTERDAY, TOMORROW = NOW - timedelta(days=365), NOW - timedelta(days=1), NOW + timedelta(days=1)


def expire(connection: Connection) -> list[Any]:
    return rows(connection, "SELECT * FROM expire_licenses()")


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "active", "expires_at": YESTERDAY},
        {"status": "trial", "expires_at": TOMORROW, "trial_expires_at": YESTERDAY},
        {"status": "trial", "expires_at": YESTERDAY, "trial_expires_at": None},
    ],
)
def test_a_licence_that_has_ended_expires_once(connection: Connection, columns: dict[str, Any]) -> None:
    customer = add_customer(connection)
    number = add_license(connection, customer, issued_at=LAST_YEAR, **columns)

    assert expire(connection) == [(number, customer, YESTERDAY)]
    assert value(connection, "SELECT status FROM licenses") == "expired"
    assert expire(connection) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "active", "expires_at": TOMORROW},
        {"status": "active", "expires_at": TOMORROW, "trial_expires_at": YESTERDAY},
        {"status": "trial", "expires_at": TOMORROW, "trial_expires_at": TOMORROW},
        {"status": "trial", "expires_at": TOMORROW, "trial_expires_at": None},
        {"status": "expired", "expires_at": YESTERDAY},
        {"status": "revoked", "expires_at": YESTERDAY},
    ],
)
def test_any_other_licence_stays(connection: Connection, columns: dict[str, Any]) -> None:
    add_license(connection, issued_at=LAST_YEAR, **columns)

    assert expire(connection) == []
    assert value(connection, "SELECT status FROM licenses") == columns["status"]


def test_a_licence_that_is_being_renewed_is_not_waited_for(connection: Connection, connect: Connect) -> None:
    number = add_license(connection, issued_at=LAST_YEAR, expires_at=YESTERDAY)
    renewing = connect(autocommit=False)
    renewing.execute("UPDATE licenses SET expires_at = %s", [TOMORROW])
    connection.execute("SET lock_timeout = '1s'")

    assert expire(connection) == []
    renewing.rollback()
    assert [each.license_id for each in expire(connection)] == [number]


def test_the_expiry_is_on_record(connection: Connection) -> None:
    number = add_license(connection, issued_at=LAST_YEAR, expires_at=YESTERDAY)

    expire(connection)

    assert rows(
        connection, "SELECT row_id, old_values, new_values FROM audit_log WHERE operation = 'UPDATE'"
    ) == [(number, {"status": "active"}, {"status": "expired"})]
