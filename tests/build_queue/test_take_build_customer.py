"""take_build_customer() gives a result, an event and a metric the customer of its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from builders import add_build, add_customer, add_event, add_metric, add_result
from queries import value

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]
    Add = Callable[..., Any]

ADD: dict[str, Add] = {
    "build_results": add_result,
    "build_events": add_event,
    "build_metrics": add_metric,
}


@pytest.fixture(params=ADD)
def table(request: pytest.FixtureRequest) -> str:
    """Each table whose rows belong to a build."""
    return str(request.param)


@pytest.fixture(params=["build_events", "build_metrics"])
def log(request: pytest.FixtureRequest) -> str:
    """Each table in which a build has any number of rows, written by anybody."""
    return str(request.param)


def customer_of(connection: Connection, table: str, key: Any) -> Any:
    return value(connection, f"SELECT customer_id FROM {table} WHERE id = %s", key)


def test_a_row_belongs_to_the_customer_of_its_build(connection: Connection, table: str) -> None:
    customer = add_customer(connection)
    key = ADD[table](connection, add_build(connection, customer))
    assert customer_of(connection, table, key) == customer


@pytest.mark.parametrize("given", ["system", "nobody", "", None])
def test_what_the_caller_says_of_the_customer_does_not_count(
    connection: Connection, log: str, given: str | None
) -> None:
    customer = add_customer(connection)
    key = ADD[log](connection, add_build(connection, customer), customer_id=given)
    assert customer_of(connection, log, key) == customer

    connection.execute(f"UPDATE {log} SET customer_id = %s".encode(), [given])
    assert customer_of(connection, log, key) == customer


def test_a_row_without_a_build_is_refused_by_its_foreign_key(connection: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
        ADD[table](connection, uuid4())
    assert refusal.value.diag.constraint_name == f"fk_{table}_build_queue_id"


def test_a_row_that_names_no_build_is_refused_for_that(connection: Connection, log: str) -> None:
    key = ADD[log](connection)
    with pytest.raises(psycopg.errors.NotNullViolation, match='"build_queue_id"'):
        connection.execute(f"UPDATE {log} SET build_queue_id = NULL WHERE id = %s".encode(), [key])


def test_a_row_that_is_moved_to_another_build_takes_its_customer(connection: Connection, log: str) -> None:
    key = ADD[log](connection)
    customer = add_customer(connection)
    build = add_build(connection, customer)

    connection.execute(f"UPDATE {log} SET build_queue_id = %s WHERE id = %s".encode(), [build, key])

    assert customer_of(connection, log, key) == customer


def test_a_row_that_is_moved_to_another_month_keeps_its_customer(connection: Connection) -> None:
    connection.execute("SELECT ensure_log_partitions(3)")
    customer = add_customer(connection)
    key = add_event(connection, add_build(connection, customer))

    connection.execute("UPDATE build_events SET event_timestamp = now() + interval '2 months'")

    assert customer_of(connection, "build_events", key) == customer


def test_rows_of_several_builds_in_one_statement_get_each_its_own(connection: Connection) -> None:
    builds = [add_build(connection) for _ in range(3)]

    connection.execute(
        "INSERT INTO build_events (build_queue_id, event_type)"
        " SELECT b.id, 'step' FROM build_queue AS b, generate_series(1, 4)"
    )
    copy_metrics = "COPY build_metrics (build_queue_id, metric_name, metric_value) FROM STDIN"
    with connection.cursor().copy(copy_metrics) as copy:
        for build in builds * 4:
            copy.write_row((build, "memory", 1))

    for log in ("build_events", "build_metrics"):
        agree = (
            f"SELECT count(*) FROM {log} AS l"
            " JOIN build_queue AS b ON b.id = l.build_queue_id AND b.customer_id = l.customer_id"
        )
        assert value(connection, agree) == 12
