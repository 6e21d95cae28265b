"""change_build_customer(): what belongs to a build that changes hands goes with it, also what comes then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, wait_until_blocked
from builders import add_build, add_customer, add_event, add_metric, add_result
from queries import row, value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

TABLES = ("build_results", "build_events", "build_metrics")
GIVE = "UPDATE build_queue SET customer_id = %s WHERE id = %s"


def customers_of(connection: Connection, table: str, build: UUID) -> list[str]:
    return values(connection, f"SELECT customer_id FROM {table} WHERE build_queue_id = %s", build)


def add_everything(connection: Connection, build: UUID) -> None:
    add_result(connection, build)
    for _ in range(2):
        add_event(connection, build)
        add_metric(connection, build)


@pytest.mark.parametrize("table", TABLES)
def test_what_belongs_to_a_build_goes_with_it(connection: Connection, table: str) -> None:
    customer, other = add_customer(connection), add_customer(connection)
    moved, kept = add_build(connection, customer), add_build(connection, customer)
    for build in (moved, kept):
        add_everything(connection, build)
    versions = f"SELECT xmin::text FROM {table} WHERE build_queue_id = %s"
    before = values(connection, versions, kept)

    connection.execute(GIVE, [other, moved])

    assert set(customers_of(connection, table, moved)) == {other}
    assert set(customers_of(connection, table, kept)) == {customer}
    assert values(connection, versions, kept) == before


def test_a_build_that_is_claimed_as_it_changes_hands_takes_along_what_it_has(connection: Connection) -> None:
    other = add_customer(connection)
    build = add_build(connection)
    add_event(connection, build)

    connection.execute(
        "UPDATE build_queue SET customer_id = %s, status = 'building', worker_id = 'w', started_at = now()",
        [other],
    )

    assert customers_of(connection, "build_events", build) == [other]


def test_an_update_that_leaves_the_customer_writes_nothing_else(connection: Connection) -> None:
    customer = add_customer(connection)
    build = add_build(connection, customer)
    add_event(connection, build)
    before = value(connection, "SELECT xmin::text FROM build_events")

    connection.execute(GIVE, [customer, build])
    connection.execute("UPDATE build_queue SET priority = 9")

    assert value(connection, "SELECT xmin::text FROM build_events") == before


@pytest.mark.parametrize("add", [add_event, add_metric, add_result])
def test_what_is_being_written_as_a_build_changes_hands_goes_with_it(
    connection: Connection, connect: Connect, add: Callable[..., object]
) -> None:
    build, other = add_build(connection), add_customer(connection)
    writing = connect(autocommit=False)
    add(writing, build)

    with ThreadPoolExecutor() as threads:
        change = threads.submit(connection.execute, GIVE, [other, build])
        wait_until_blocked(Queue(writing))
        writing.commit()
        change.result()

    assert [each for table in TABLES for each in customers_of(connection, table, build)] == [other]


@pytest.mark.parametrize("add", [add_event, add_metric, add_result])
def test_what_is_written_while_a_build_changes_hands_waits_and_finds_its_new_customer(
    connection: Connection, connect: Connect, add: Callable[..., object]
) -> None:
    build, other = add_build(connection), add_customer(connection)
    changing = connect(autocommit=False)
    changing.execute(GIVE, [other, build])

    with ThreadPoolExecutor() as threads:
        write = threads.submit(add, connection, build)
        wait_until_blocked(Queue(changing))
        changing.commit()
        write.result()

    assert [each for table in TABLES for each in customers_of(connection, table, build)] == [other]


def test_a_build_waits_for_those_alone_who_are_writing_something_of_it(
    connection: Connection, connect: Connect
) -> None:
    build, busy, other = add_build(connection), add_build(connection), add_customer(connection)
    writing = connect(autocommit=False)
    add_event(writing, busy)
    connection.execute("SET lock_timeout = '200ms'")

    connection.execute(GIVE, [other, build])
    with pytest.raises(psycopg.errors.LockNotAvailable):
        connection.execute(GIVE, [other, busy])

    writing.rollback()
    assert row(connection, "SELECT customer_id FROM build_queue WHERE id = %s", build) == (other,)


def test_a_build_that_waits_keeps_nobody_from_the_licence(connection: Connection, connect: Connect) -> None:
    queue = Queue(connection)
    customer, other = (queue.customer(max_concurrent_builds=1) for _ in range(2))
    queue.order(customer)
    build = queue.order(customer)
    writing = connect(autocommit=False)
    add_event(writing, build)

    with ThreadPoolExecutor() as threads:
        change = threads.submit(connection.execute, GIVE, [other, build])
        wait_until_blocked(Queue(writing))
        writing.execute("SET lock_timeout = '5s'")
        writing.execute("SELECT FROM licenses FOR UPDATE")
        writing.commit()
        change.result()

    assert customers_of(connection, "build_events", build) == [other]
