"""purge_soft_deleted_records(): what was deleted long enough ago goes, with all that belongs to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from build_queue.driver import Queue, wait_until_blocked
from builders import (
    add_artifact,
    add_build,
    add_cache_access,
    add_cache_entry,
    add_conversation,
    add_customer,
    add_license,
    add_manifest,
    add_registry_credential,
)
from queries import rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

TABLES = ["build_artifacts", "build_manifests", "build_cache_registry", "customers"]
NOW = datetime.now(UTC)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def purge(connection: Connection, *arguments: int | None) -> dict[str, int]:
    placeholders = ", ".join(["%s"] * len(arguments))
    found = rows(connection, f"SELECT * FROM purge_soft_deleted_records({placeholders})", *arguments)
    assert [each.table_name for each in found] == TABLES
    return {each.table_name: each.records_purged for each in found}


def add_one_to_each_table(connection: Connection, deleted_at: datetime | None) -> None:
    add_artifact(connection, deleted_at=deleted_at)
    add_manifest(connection, deleted_at=deleted_at)
    add_cache_entry(connection, deleted_at=deleted_at)
    add_customer(connection, deleted_at=deleted_at)


def test_records_deleted_a_month_ago_go_and_others_stay(connection: Connection) -> None:
    for deleted_at in (days_ago(31), days_ago(29), None):
        add_one_to_each_table(connection, deleted_at)
    before = {table: value(connection, f"SELECT count(*) FROM {table}") for table in TABLES}

    assert purge(connection) == dict.fromkeys(TABLES, 1)
    after = {table: value(connection, f"SELECT count(*) FROM {table}") for table in TABLES}
    assert after == {table: count - 1 for table, count in before.items()}
    assert purge(connection) == dict.fromkeys(TABLES, 0)


def test_a_customer_takes_along_what_belongs_to_it_alone(connection: Connection) -> None:
    customer = add_customer(connection, deleted_at=days_ago(31))
    add_license(connection, customer)
    add_registry_credential(connection, customer)
    add_build(connection, customer)
    entry = add_cache_entry(connection, first_built_by_customer=customer)
    add_cache_access(connection, entry, customer)
    conversation = add_conversation(connection, customer)

    assert purge(connection)["customers"] == 1

    for table in ("licenses", "registry_credentials", "build_queue", "build_access_log"):
        assert value(connection, f"SELECT count(*) FROM {table}") == 0
    assert values(
        connection, "SELECT id FROM build_cache_registry WHERE first_built_by_customer IS NULL"
    ) == [entry]
    assert values(connection, "SELECT id FROM conversations WHERE customer_id IS NULL") == [conversation]


def test_the_customer_system_is_never_purged(connection: Connection) -> None:
    connection.execute("UPDATE customers SET deleted_at = %s", [days_ago(1000)])

    assert purge(connection)["customers"] == 0
    assert values(connection, "SELECT customer_id FROM customers") == ["system"]


def test_the_days_can_be_chosen(connection: Connection) -> None:
    add_one_to_each_table(connection, days_ago(2.5))

    assert purge(connection, 3) == dict.fromkeys(TABLES, 0)
    assert purge(connection, 2) == dict.fromkeys(TABLES, 1)


def test_the_limit_holds_for_each_table_and_takes_the_oldest_first(connection: Connection) -> None:
    for days in (40, 60, 50):
        add_one_to_each_table(connection, days_ago(days))

    assert purge(connection, 30, 2) == dict.fromkeys(TABLES, 2)
    for table in TABLES:
        assert values(connection, f"SELECT deleted_at FROM {table} WHERE deleted_at IS NOT NULL") == [
            days_ago(40)
        ]
    assert purge(connection, 30, 2) == dict.fromkeys(TABLES, 1)


def test_a_record_in_use_is_left_to_the_next_run(connection: Connection, connect: Connect) -> None:
    add_one_to_each_table(connection, days_ago(31))
    using = connect(autocommit=False)
    for table in TABLES:
        using.execute(f"SELECT FROM {table} FOR KEY SHARE".encode())
    connection.execute("SET lock_timeout = '1s'")

    assert purge(connection) == dict.fromkeys(TABLES, 0)
    using.rollback()
    assert purge(connection) == dict.fromkeys(TABLES, 1)


def test_a_customer_whose_build_is_running_is_left_to_a_later_run(connection: Connection) -> None:
    customer = add_customer(connection, deleted_at=days_ago(31))
    build = add_build(connection, customer, status="building")
    add_customer(connection, "idle", deleted_at=days_ago(31))

    assert purge(connection)["customers"] == 1
    assert value(connection, "SELECT count(*) FROM customers WHERE customer_id = 'idle'") == 0
    connection.execute("UPDATE build_queue SET status = 'failed' WHERE id = %s", [build])
    assert purge(connection)["customers"] == 1


def test_the_licence_of_a_customer_that_stays_is_not_waited_for(
    connection: Connection, connect: Connect
) -> None:
    gone = add_customer(connection, deleted_at=days_ago(31))
    add_license(connection, gone)
    stays = [add_customer(connection, deleted_at=deleted_at) for deleted_at in (days_ago(29), None)]
    using = connect(autocommit=False)
    for customer in stays:
        add_license(connection, customer)
        using.execute("SELECT FROM licenses WHERE customer_id = %s FOR UPDATE", [customer])
    connection.execute("SET lock_timeout = '1s'")

    assert purge(connection)["customers"] == 1

    assert values(connection, "SELECT customer_id FROM licenses ORDER BY customer_id") == sorted(stays)


def test_a_customer_that_is_restored_while_its_licence_is_waited_for_stays(
    connection: Connection, connect: Connect
) -> None:
    restored, gone = (add_customer(connection, deleted_at=days_ago(31)) for _ in range(2))
    for customer in (restored, gone):
        add_license(connection, customer)
    restoring = connect(autocommit=False)
    restoring.execute("SELECT FROM licenses WHERE customer_id = %s FOR UPDATE", [restored])

    with ThreadPoolExecutor() as threads:
        purged = threads.submit(purge, connection)
        wait_until_blocked(Queue(restoring))
        restoring.execute("UPDATE customers SET deleted_at = NULL WHERE customer_id = %s", [restored])
        restoring.commit()
        assert purged.result()["customers"] == 1

    assert values(connection, "SELECT customer_id FROM licenses") == [restored]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "p_purge_after_days must be between 1 and 36500, not NULL"),
        ((0,), "p_purge_after_days must be between 1 and 36500, not 0"),
        ((-30,), "p_purge_after_days must be between 1 and 36500, not -30"),
        ((36501,), "p_purge_after_days must be between 1 and 36500, not 36501"),
        ((30, 0), "p_limit must be at least 1 or NULL, not 0"),
        ((30, -1), "p_limit must be at least 1 or NULL, not -1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    connection: Connection, arguments: tuple[int | None, ...], message: str
) -> None:
    add_one_to_each_table(connection, days_ago(31))

    with pytest.raises(errors.InvalidParameterValue) as refusal:
        purge(connection, *arguments)

    assert refusal.value.diag.message_primary == message
    assert refusal.value.diag.message_hint
    assert purge(connection) == dict.fromkeys(TABLES, 1)
