"""lock_license(): who counts towards a limit is alone with the licence, at every isolation level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors

from builders import add_customer, add_license
from queries import row, value

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]


@pytest.fixture
def customer(connection: Connection) -> str:
    customer = add_customer(connection)
    add_license(connection, customer, max_registries=7)
    return customer


def test_the_licence_is_returned(connection: Connection, customer: str) -> None:
    locked = row(connection, "SELECT (lock_license(%s)).*", customer)

    assert (locked.customer_id, locked.max_registries) == (customer, 7)


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_without_a_licence_it_is_null(connection: Connection, isolation: IsolationLevel) -> None:
    connection.set_isolation_level(isolation)

    with connection.transaction():
        assert value(connection, "SELECT lock_license(%s) IS NULL", add_customer(connection))
        assert value(connection, "SELECT lock_license(NULL) IS NULL")


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_each_customer_is_alone_with_its_own_licence(
    connection: Connection, connect: Connect, isolation: IsolationLevel
) -> None:
    for limit in (3, 4):
        add_license(connection, add_customer(connection, f"customer-of-{limit}"), max_registries=limit)
    other = connect(autocommit=False)
    for each in (connection, other):
        each.set_isolation_level(isolation)
    connection.execute("SET lock_timeout = '200ms'")

    lock = "SELECT (lock_license(%s)).max_registries"
    assert value(other, lock, "customer-of-4") == 4
    assert value(connection, lock, "customer-of-3") == 3


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_nobody_else_gets_the_licence_meanwhile(
    connection: Connection, connect: Connect, customer: str, isolation: IsolationLevel
) -> None:
    connection.set_isolation_level(isolation)
    with connection.transaction():
        connection.execute("SELECT lock_license(%s)", [customer])
        with pytest.raises(errors.LockNotAvailable):
            connect().execute("SELECT FROM licenses FOR NO KEY UPDATE NOWAIT")


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_who_could_only_count_what_was_there_before_the_wait_fails(
    connection: Connection, connect: Connect, customer: str, isolation: IsolationLevel
) -> None:
    late = connect()
    late.set_isolation_level(isolation)
    connection.set_isolation_level(isolation)
    with late.transaction(force_rollback=True):
        late.execute("SELECT FROM licenses")
        with connection.transaction():
            connection.execute("SELECT lock_license(%s)", [customer])
        with pytest.raises(errors.SerializationFailure):
            late.execute("SELECT lock_license(%s)", [customer])


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_the_lock_changes_nothing_and_is_not_recorded(
    connection: Connection, customer: str, isolation: IsolationLevel
) -> None:
    before = row(connection, "SELECT * FROM licenses")
    records = value(connection, "SELECT count(*) FROM audit_log")
    connection.set_isolation_level(isolation)

    with connection.transaction():
        connection.execute("SELECT lock_license(%s)", [customer])

    assert row(connection, "SELECT * FROM licenses") == before
    assert value(connection, "SELECT count(*) FROM audit_log") == records
