"""update_cache_stats(): an entry's counters equal a recount of the log, whoever writes it, and outlive it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from build_queue.driver import Queue, at_once, wait_until_blocked
from builders import add_cache_access, add_cache_entry, add_customer
from queries import row, rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

RECOUNT = """
    SELECT
        e.id,
        (e.cache_hit_count, e.total_customers_served, e.last_accessed_at) IS NOT DISTINCT FROM (
            count(a.*) FILTER (WHERE a.access_type = 'cache_hit'),
            greatest(1, count(DISTINCT a.customer_id)),
            max(a.accessed_at)
        ) AS exact
    FROM build_cache_registry AS e
    LEFT JOIN build_access_log AS a ON a.build_cache_id = e.id AND a.access_type <> 'cache_miss'
    GROUP BY e.id
"""


def entry_of(connection: Connection, entry: UUID) -> Any:
    return row(connection, "SELECT * FROM build_cache_registry WHERE id = %s", entry)


def assert_exact(connection: Connection) -> None:
    """The counters of all entries equal a recount."""
    assert [each for each in rows(connection, RECOUNT) if not each.exact] == []


def test_hits_count_and_customers_count_once(connection: Connection) -> None:
    entry = add_cache_entry(connection)
    ours, theirs = add_customer(connection), add_customer(connection)

    for customer in (ours, theirs, ours, ours):
        add_cache_access(connection, entry, customer)

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (4, 2)
    assert_exact(connection)


def test_an_access_counts_for_its_own_entry_and_no_other(connection: Connection) -> None:
    entries = [add_cache_entry(connection) for _ in range(3)]

    for number, entry in enumerate(entries):
        for _ in range(number):
            add_cache_access(connection, entry)

    assert [entry_of(connection, entry).cache_hit_count for entry in entries] == [0, 1, 2]
    assert_exact(connection)


def test_the_customer_who_built_it_is_served_but_made_no_hit(connection: Connection) -> None:
    entry = add_cache_entry(connection)

    add_cache_access(connection, entry, access_type="build_created")
    add_cache_access(connection, entry, access_type="build_created")

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (0, 2)
    assert counted.last_accessed_at is not None


def test_a_miss_leaves_the_entry_alone(connection: Connection) -> None:
    entry = add_cache_entry(connection)
    before = value(connection, "SELECT xmin::text FROM build_cache_registry")

    add_cache_access(connection, entry, access_type="cache_miss")
    add_cache_access(connection, None)

    assert value(connection, "SELECT xmin::text FROM build_cache_registry") == before
    assert entry_of(connection, entry).last_accessed_at is None


def test_an_old_record_that_comes_late_does_not_turn_time_back(connection: Connection) -> None:
    entry = add_cache_entry(connection)
    add_cache_access(connection, entry)
    accessed_at = entry_of(connection, entry).last_accessed_at

    add_cache_access(connection, entry, accessed_at=datetime.now(UTC) - timedelta(days=1))

    assert entry_of(connection, entry).last_accessed_at == accessed_at


def test_one_statement_may_be_about_many_entries_and_customers(connection: Connection) -> None:
    for _ in range(10):
        add_cache_entry(connection)
        add_customer(connection)

    connection.execute("""
        INSERT INTO build_access_log (build_cache_id, customer_id, access_type)
        SELECT e.id, c.customer_id, t.access_type
        FROM build_cache_registry AS e, customers AS c,
            (VALUES ('cache_hit'), ('cache_hit'), ('cache_miss'), ('build_created')) AS t (access_type)
    """)

    assert set(values(connection, "SELECT total_customers_served FROM build_cache_registry")) == {11}
    assert_exact(connection)


def test_copied_records_count(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)

    with connection.cursor().copy(
        "COPY build_access_log (build_cache_id, customer_id, access_type) FROM STDIN"
    ) as copy:
        for _ in range(1000):
            copy.write_row((entry, customer, "cache_hit"))

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (1000, 1)


def test_large_customer_numbers_are_counted(connection: Connection) -> None:
    connection.execute("ALTER SEQUENCE customer_numbers RESTART 100000")
    entry, customer = add_cache_entry(connection), add_customer(connection)

    for _ in range(3):
        add_cache_access(connection, entry, customer)

    assert entry_of(connection, entry).total_customers_served == 1
    assert value(connection, "SELECT length(customers_served) FROM build_cache_registry") == 100_000 // 8 + 1


def test_every_customer_is_counted_wherever_its_bit_lies(connection: Connection) -> None:
    entry = add_cache_entry(connection)

    for expected in range(1, 40):
        add_cache_access(connection, entry)
        assert entry_of(connection, entry).total_customers_served == expected


def test_counters_outlive_the_log(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    add_cache_access(connection, entry, customer)
    add_cache_access(connection, entry)
    connection.execute("TRUNCATE build_access_log")

    add_cache_access(connection, entry, customer)

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (3, 2)


def test_sixteen_first_accesses_at_once_are_all_counted(connection: Connection, connect: Connect) -> None:
    entry = add_cache_entry(connection)
    customers = [add_customer(connection) for _ in range(16)]
    connections = [connect() for _ in range(16)]

    def access(number: int) -> None:
        for step in range(16):
            add_cache_access(connections[number], entry, customers[(number + step) % 16])

    at_once(16, access)

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (256, 16)


@pytest.mark.parametrize(
    "hold",
    [
        "UPDATE build_cache_registry SET image_layers = 7",
        "SELECT FROM build_cache_registry FOR UPDATE",
        "SELECT FROM build_cache_registry FOR SHARE",
    ],
)
def test_who_has_the_entry_already_does_not_wait_for_those_who_wait_for_him(
    connection: Connection, connect: Connect, hold: str
) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    others = [connect() for _ in range(3)]

    with ThreadPoolExecutor() as threads:
        with connection.transaction():
            connection.execute(hold.encode())
            waiting = [threads.submit(add_cache_access, other, entry, customer) for other in others]
            wait_until_blocked(Queue(connection))
            add_cache_access(connection, entry, customer)
        for each in waiting:
            each.result()

    assert entry_of(connection, entry).cache_hit_count == 4


def test_accesses_that_wait_take_turns_and_only_the_first_waits_at_the_entry(
    connection: Connection, connect: Connect
) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    others = [connect() for _ in range(4)]

    with ThreadPoolExecutor() as threads:
        with connection.transaction():
            add_cache_access(connection, entry, customer)
            waiting = [threads.submit(add_cache_access, other, entry, customer) for other in others]
            look = "SELECT locktype FROM pg_locks WHERE NOT granted ORDER BY locktype"
            while len(waits := values(connection, look)) < len(others):
                connection.execute("SELECT pg_sleep(0.005)")
        for each in waiting:
            each.result()

    assert waits == ["advisory", "advisory", "advisory", "transactionid"]
    assert entry_of(connection, entry).cache_hit_count == 5


def test_accesses_to_any_number_of_entries_in_one_transaction_need_no_lock_each(
    connection: Connection,
) -> None:
    customer = add_customer(connection)
    entries = [add_cache_entry(connection) for _ in range(20)]

    with connection.transaction():
        for entry in entries:
            add_cache_access(connection, entry, customer)
        locks = values(
            connection,
            "SELECT locktype FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'tuple')",
        )

    assert locks == []


def test_statements_about_the_same_entries_in_another_order_do_not_deadlock(
    connection: Connection, connect: Connect
) -> None:
    customer = add_customer(connection)
    entries = [add_cache_entry(connection) for _ in range(8)]
    connections = [connect() for _ in range(8)]

    def access(number: int) -> None:
        mine = entries[number:] + entries[:number]
        for _ in range(10):
            connections[number].execute(
                "INSERT INTO build_access_log (build_cache_id, customer_id, access_type)"
                " SELECT id, %s, 'cache_hit' FROM unnest(%s::uuid[]) AS id",
                [customer, mine[::-1] if number % 2 else mine],
            )

    at_once(8, access)

    assert set(values(connection, "SELECT cache_hit_count FROM build_cache_registry")) == {80}


def test_the_map_of_customers_is_not_written_again_by_later_accesses(connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    add_cache_access(connection, entry, customer)
    connection.execute("""
        CREATE TEMPORARY TABLE changes AS SELECT 0 AS written;
        CREATE FUNCTION pg_temp.count_write() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE changes SET written = written + 1; RETURN NULL; END';
        CREATE TRIGGER written AFTER UPDATE OF customers_served ON build_cache_registry
            FOR EACH ROW EXECUTE FUNCTION pg_temp.count_write();
    """)

    add_cache_access(connection, entry, customer)
    assert value(connection, "SELECT written FROM changes") == 0
    add_cache_access(connection, entry)
    assert value(connection, "SELECT written FROM changes") == 1


def test_misses_beside_a_hit_in_one_statement_count_for_no_entry(connection: Connection) -> None:
    entry, customer, other = add_cache_entry(connection), add_customer(connection), add_customer(connection)

    connection.execute(
        "INSERT INTO build_access_log (build_cache_id, customer_id, access_type)"
        " VALUES (%(entry)s, %(customer)s, 'cache_hit'), (%(entry)s, %(other)s, 'cache_miss'),"
        " (NULL, %(other)s, 'cache_miss')",
        {"entry": entry, "customer": customer, "other": other},
    )

    counted = entry_of(connection, entry)
    assert (counted.cache_hit_count, counted.total_customers_served) == (1, 1)
