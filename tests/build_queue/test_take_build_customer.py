"""take_build_customer() gives a result the customer of its build."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from builders import add_build, add_customer, add_result

if TYPE_CHECKING:
    from tests.conftest import Connection


def owner_of(connection: Connection, result_id: object) -> str:
    row = connection.execute("SELECT customer_id FROM build_results WHERE id = %s", [result_id]).fetchone()
    assert row is not None
    return str(row.customer_id)


def test_a_result_belongs_to_the_customer_of_its_build(connection: Connection) -> None:
    customer = add_customer(connection)
    result = add_result(connection, add_build(connection, customer))
    assert owner_of(connection, result) == customer


def test_the_result_goes_with_a_build_that_changes_hands(connection: Connection) -> None:
    build = add_build(connection, add_customer(connection))
    result = add_result(connection, build)
    other = add_customer(connection)
    connection.execute("UPDATE build_queue SET customer_id = %s WHERE id = %s", [other, build])
    assert owner_of(connection, result) == other


def test_a_result_without_a_build_is_refused_by_its_foreign_key(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
        add_result(connection, uuid4())
    assert refusal.value.diag.constraint_name == "fk_build_results_build_queue_id"
