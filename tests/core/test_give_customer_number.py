"""give_customer_number(): each new customer has the next number, and none is used up by one that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_cache_access, add_cache_entry, add_customer
from queries import value, values

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]


def number_of(connection: Connection, customer: str) -> int:
    number: int = value(connection, "SELECT customer_number FROM customers WHERE customer_id = %s", customer)
    return number


def test_the_numbers_of_new_customers_follow_each_other(connection: Connection) -> None:
    first = number_of(connection, add_customer(connection))
    connection.execute(
        "INSERT INTO customers (customer_id, organization_name, contact_email)"
        " SELECT 'batch-' || n, 'o', 'e' FROM generate_series(1, 3) AS n"
    )

    numbers = values(
        connection, "SELECT customer_number FROM customers WHERE customer_id <> 'system' ORDER BY 1"
    )
    assert numbers == [first, first + 1, first + 2, first + 3]
    assert number_of(connection, "system") == 1


def test_a_customer_that_is_there_already_uses_up_no_number(connection: Connection) -> None:
    customer = add_customer(connection)
    number = number_of(connection, customer)
    for _ in range(5):
        connection.execute(
            "INSERT INTO customers (customer_id, organization_name, contact_email) VALUES (%s, 'new', 'e')"
            " ON CONFLICT (customer_id) DO UPDATE SET organization_name = excluded.organization_name",
            [customer],
        )
        connection.execute(
            "INSERT INTO customers (id, customer_id, organization_name, contact_email)"
            " SELECT id, 'renamed', 'o', 'e' FROM customers WHERE customer_id = %s"
            " ON CONFLICT (id) DO NOTHING",
            [customer],
        )
    with pytest.raises(errors.UniqueViolation) as refusal:
        add_customer(connection, customer)

    assert refusal.value.diag.constraint_name == "uq_customers_customer_id"
    assert number_of(connection, customer) == number
    assert number_of(connection, add_customer(connection)) == number + 1


def test_a_number_that_is_given_stays(connection: Connection) -> None:
    assert number_of(connection, add_customer(connection, customer_number=500)) == 500


def test_who_gets_an_image_is_found_by_the_number(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    add_cache_access(connection, entry, customer)

    served = value(connection, "SELECT customers_served FROM build_cache_registry")
    assert value(connection, "SELECT get_bit(%s, %s)", served, number_of(connection, customer)) == 1
