"""ensure_log_partitions() and drop_old_log_partitions(): a partition per month, and no row is lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import IsolationLevel, errors

from build_queue.driver import Queue, at_once, wait_until_blocked
from builders import add_build, add_cache_access, add_cache_entry, add_customer
from queries import row, rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

TIME_COLUMNS = {
    "build_access_log": "accessed_at",
    "build_events": "event_timestamp",
    "build_metrics": "metric_timestamp",
    "audit_log": "occurred_at",
}
TABLES = list(TIME_COLUMNS)


def month(ahead: int) -> date:
    """The first day of a month, counted from the current one in UTC."""
    today = datetime.now(UTC)
    months = today.year * 12 + today.month - 1 + ahead
    return date(months // 12, months % 12 + 1, 1)


def instant(ahead: int) -> datetime:
    """The first instant of a month, in UTC."""
    return datetime(month(ahead).year, month(ahead).month, 1, tzinfo=UTC)


def partition(table: str, ahead: int) -> str:
    return f"honua_partitions.{table}_y{month(ahead):%Y}m{month(ahead):%m}"


def ensure(connection: Connection, *months_ahead: int | None) -> list[Any]:
    placeholder = "%s" if months_ahead else ""
    return rows(connection, f"SELECT * FROM ensure_log_partitions({placeholder})", *months_ahead)


def drop(connection: Connection, table: str | None, keep_months: int | None) -> list[Any]:
    return rows(connection, "SELECT * FROM drop_old_log_partitions(%s, %s)", table, keep_months)


@pytest.fixture
def build(connection: Connection) -> UUID:
    """A build, in a database whose log tables are empty and have their default partition alone."""
    for name in values(
        connection,
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhrelid::regclass::text LIKE '%\\_y____m__'",
    ):
        connection.execute(f"DROP TABLE {name}".encode())
    connection.execute("TRUNCATE build_access_log, build_events, build_metrics")
    return add_build(connection)


def add_row(connection: Connection, table: str, build: UUID, when: datetime | str) -> int:
    """Add a row to a log table and return its id."""
    statements = {
        "build_access_log": "INSERT INTO build_access_log (customer_id, access_type, accessed_at)"
        " SELECT customer_id, 'cache_miss', %s::timestamptz FROM build_queue WHERE id = %s RETURNING id",
        "build_events": "INSERT INTO build_events (event_timestamp, build_queue_id, event_type)"
        " VALUES (%s::timestamptz, %s, 'step_started') RETURNING id",
        "build_metrics": "INSERT INTO build_metrics"
        " (metric_timestamp, build_queue_id, metric_name, metric_value)"
        " VALUES (%s::timestamptz, %s, 'memory', 512) RETURNING id",
        "audit_log": "INSERT INTO audit_log"
        " (occurred_at, table_name, operation, row_id, actor, transaction_id)"
        " VALUES (%s::timestamptz, 'customers', 'DELETE', %s, 'test', 1) RETURNING id",
    }
    number: int = value(connection, statements[table], when, build)
    return number


def place(connection: Connection, table: str, number: int) -> str:
    """The partition that a row lies in."""
    name: str = value(connection, f"SELECT tableoid::regclass::text FROM {table} WHERE id = %s", number)
    return name


def test_this_month_and_three_more_get_a_partition_in_each_table(connection: Connection, build: UUID) -> None:
    connection.execute("DELETE FROM build_queue")

    made = ensure(connection)

    assert [(each.table_name, each.partition_name, each.month) for each in made] == [
        (table, partition(table, ahead), month(ahead)) for table in TABLES for ahead in range(4)
    ]
    assert ensure(connection) == []
    assert [each.month for each in ensure(connection, 4)] == [month(4)] * 4


@pytest.mark.parametrize(
    ("date_style", "zone"),
    [("ISO", "UTC"), ("German", "Pacific/Kiritimati"), ("SQL, DMY", "America/Los_Angeles")],
)
@pytest.mark.parametrize("table", TABLES)
def test_months_begin_and_end_in_utc(
    connection: Connection, build: UUID, table: str, date_style: str, zone: str
) -> None:
    ensure(connection, 1)
    connection.execute(f"SET datestyle = '{date_style}'".encode())
    connection.execute(f"SET timezone = '{zone}'".encode())
    ensure(connection, 2)
    connection.execute("SET datestyle = ISO")

    for ahead in (1, 2):
        first = add_row(connection, table, build, instant(ahead))
        last = add_row(connection, table, build, instant(ahead + 1) - timedelta(microseconds=1))
        assert place(connection, table, first) == partition(table, ahead)
        assert place(connection, table, last) == partition(table, ahead)


@pytest.mark.parametrize("table", TABLES)
def test_rows_in_the_default_partition_move_to_their_months(
    connection: Connection, build: UUID, table: str
) -> None:
    default = f"honua_partitions.{table}_default"
    places = {
        add_row(connection, table, build, when): name
        for when, name in [
            (instant(0), partition(table, 0)),
            (instant(-1), partition(table, -1)),
            (instant(-40), partition(table, -40)),
            (instant(1), partition(table, 1)),
            (instant(2), default),
            ("infinity", default),
            ("-infinity", default),
            ("0044-03-15 12:00:00+00 BC", default),
        ]
    }
    before = value(connection, f"SELECT array_agg(t ORDER BY id)::text FROM {table} AS t")

    made = {
        each.partition_name: each.rows_moved for each in ensure(connection, 1) if each.table_name == table
    }

    assert set(made) == set(places.values()) - {default}
    assert all(made.values())
    assert value(connection, f"SELECT array_agg(t ORDER BY id)::text FROM {table} AS t") == before
    assert {number: place(connection, table, number) for number in places} == places
    assert ensure(connection, 1) == []


def test_many_months_in_the_default_partition_are_made_some_at_a_time(
    connection: Connection, build: UUID
) -> None:
    connection.execute(
        "INSERT INTO build_metrics (metric_timestamp, build_queue_id, metric_name, metric_value)"
        " SELECT month, %s, 'memory', 512"
        " FROM generate_series(now() - interval '70 months', now() - interval '1 month', '1 month') AS month",
        [build],
    )

    made = [sum(each.table_name == "build_metrics" for each in ensure(connection, 0)) for _ in range(3)]

    assert made == [61, 10, 0]
    assert value(connection, "SELECT count(*) FROM honua_partitions.build_metrics_default") == 0
    assert value(connection, "SELECT count(*) FROM build_metrics") == 70


def test_moving_fires_no_trigger(connection: Connection, build: UUID) -> None:
    entry = add_cache_entry(connection)
    add_cache_access(connection, entry)
    before = row(connection, "SELECT * FROM build_cache_registry")

    ensure(connection)

    assert row(connection, "SELECT * FROM build_cache_registry") == before


def test_a_partition_equals_one_made_directly(connection: Connection, build: UUID) -> None:
    """Columns, constraints, indexes and triggers, names included, whether rows were moved or not."""
    catalogs = """
        SELECT 'column' AS kind, concat_ws(' ', attnum, attname, format_type(atttypid, atttypmod), attnotnull,
            attstorage, attcompression, pg_get_expr(adbin, adrelid), attislocal, attinhcount) AS definition
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = %(partition)s::regclass AND attnum > 0
        UNION ALL
        SELECT 'constraint', concat_ws(' ', conname, pg_get_constraintdef(oid), conislocal, coninhcount,
            convalidated) FROM pg_constraint WHERE conrelid = %(partition)s::regclass
        UNION ALL
        SELECT 'index', concat_ws(' ', pg_get_indexdef(indexrelid), relispartition, reloptions)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %(partition)s::regclass
        UNION ALL
        SELECT 'trigger', regexp_replace(pg_get_triggerdef(oid), '_[0-9]+"', '"', 'g') || tgenabled::text
        FROM pg_trigger WHERE tgrelid = %(partition)s::regclass
        ORDER BY 1, 2
    """

    def definition(name: str) -> list[Any]:
        return connection.execute(catalogs.encode(), {"partition": name}).fetchall()

    for table in TABLES:
        add_row(connection, table, build, instant(0))
    ensure(connection, 1)
    for table in TABLES:
        made = {ahead: definition(partition(table, ahead)) for ahead in (0, 1)}
        for ahead in (0, 1):
            name = partition(table, ahead)
            connection.execute(f"DROP TABLE {name}".encode())
            connection.execute(
                f"CREATE TABLE {name} PARTITION OF {table}"
                f" FOR VALUES FROM ('{instant(ahead)}') TO ('{instant(ahead + 1)}')".encode()
            )
            assert made[ahead] == definition(name)


def test_no_lock_is_taken_when_all_is_there(connection: Connection, connect: Connect, build: UUID) -> None:
    ensure(connection)
    locking = connect(autocommit=False)
    for table in ("build_queue", *TABLES):
        locking.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
    connection.execute("SET lock_timeout = '1s'")

    assert ensure(connection) == []


def test_writers_of_this_month_go_on_while_the_next_is_made(
    connection: Connection, connect: Connect, build: UUID
) -> None:
    ensure(connection, 0)
    making = connect(autocommit=False)
    assert len(ensure(making, 1)) == 4
    connection.execute("SET lock_timeout = '1s'")

    for table in TABLES:
        assert add_row(connection, table, build, instant(0))


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_comes_while_its_month_is_made_waits_and_goes_there(
    connection: Connection, connect: Connect, build: UUID, table: str
) -> None:
    making = connect(autocommit=False)
    assert len(ensure(making, 1)) == 8
    with ThreadPoolExecutor() as threads:
        adding = threads.submit(add_row, connection, table, build, instant(0))
        wait_until_blocked(Queue(making))
        making.commit()

        assert place(connection, table, adding.result()) == partition(table, 0)


def test_whoever_holds_one_table_and_wants_another_gets_it(
    connection: Connection, connect: Connect, build: UUID
) -> None:
    reading = connect(autocommit=False)
    reading.execute("SELECT FROM build_events")
    with ThreadPoolExecutor() as threads:
        making = threads.submit(ensure, connection, 0)
        for _ in range(5):
            reading.execute("UPDATE build_queue SET current_step = 'next'")
            time.sleep(0.1)
        reading.commit()
        assert len(making.result()) == 4


def test_the_callers_lock_timeout_is_as_before(connection: Connection, build: UUID) -> None:
    with connection.transaction():
        connection.execute("SET lock_timeout = '7s'")
        ensure(connection)
        assert value(connection, "SHOW lock_timeout") == "7s"


@pytest.mark.parametrize("isolation", IsolationLevel)
def test_two_at_once_make_each_partition_once(
    connection: Connection, connect: Connect, build: UUID, isolation: IsolationLevel
) -> None:
    connections = [connect() for _ in range(4)]

    def make(number: int) -> int:
        connections[number].set_isolation_level(isolation)
        while True:
            try:
                with connections[number].transaction():
                    connections[number].execute("SELECT FROM build_queue")
                    return len(ensure(connections[number], 2))
            except errors.SerializationFailure:
                continue

    assert sorted(at_once(4, make)) == [0, 0, 0, 12]


@pytest.mark.parametrize("months", [None, -1, 121])
def test_months_ahead_that_make_no_sense_are_refused(connection: Connection, months: int | None) -> None:
    with pytest.raises(errors.InvalidParameterValue) as refusal:
        ensure(connection, months)

    shown = "NULL" if months is None else months
    assert refusal.value.diag.message_primary == f"p_months_ahead must be between 0 and 120, not {shown}"
    assert refusal.value.diag.message_hint


@pytest.mark.parametrize("table", TABLES)
def test_months_before_those_kept_are_dropped(connection: Connection, build: UUID, table: str) -> None:
    for ahead in (-3, -2, -1, 0):
        add_row(connection, table, build, instant(ahead))
    ensure(connection, 1)

    dropped = drop(connection, table, 1)

    assert [(each.partition_name, each.rows_deleted) for each in dropped] == [
        (partition(table, -3), None),
        (partition(table, -2), None),
    ]
    assert all(each.bytes_freed >= 8192 for each in dropped)
    oldest = value(connection, f"SELECT min({TIME_COLUMNS[table]}) FROM {table}")
    assert oldest == instant(-1)
    assert drop(connection, table, 1) == []


@pytest.mark.parametrize("table", TABLES)
def test_old_rows_of_the_default_partition_are_deleted(
    connection: Connection, build: UUID, table: str
) -> None:
    for when in (instant(-1), instant(-1) - timedelta(microseconds=1), "-infinity", "infinity"):
        add_row(connection, table, build, when)

    assert drop(connection, table, 1) == [(f"honua_partitions.{table}_default", 2, 0)]
    assert value(connection, f"SELECT min({TIME_COLUMNS[table]}) FROM {table}") >= instant(-1)


def test_other_tables_keep_their_partitions(connection: Connection, build: UUID) -> None:
    for table in TABLES:
        add_row(connection, table, build, instant(-5))
    ensure(connection)

    drop(connection, "build_events", 1)

    for table in set(TABLES) - {"build_events"}:
        assert value(connection, "SELECT to_regclass(%s) IS NOT NULL", partition(table, -5))


def test_the_audit_log_is_append_only_again_afterwards(connection: Connection, build: UUID) -> None:
    for ahead in (-5, 0):
        add_row(connection, "audit_log", build, instant(ahead))
    add_row(connection, "audit_log", build, "-infinity")
    ensure(connection)
    drop(connection, "audit_log", 1)
    add_row(connection, "audit_log", build, "infinity")

    for table in ("audit_log", "honua_partitions.audit_log_default", partition("audit_log", 0)):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {table}".encode())


@pytest.mark.parametrize("table", [None, "", "customers", "Build_Events", "public.build_events", "x'; --"])
def test_any_other_table_is_refused(connection: Connection, table: str | None) -> None:
    with pytest.raises(errors.InvalidParameterValue) as refusal:
        drop(connection, table, 1)

    shown = "NULL" if table is None else table
    assert refusal.value.diag.message_primary == f"p_table must be a log table, not {shown}"
    for name in TABLES:
        assert name in str(refusal.value.diag.message_hint)


@pytest.mark.parametrize("months", [None, 0, -1, 1201])
def test_months_to_keep_that_make_no_sense_are_refused(
    connection: Connection, build: UUID, months: int | None
) -> None:
    add_row(connection, "build_events", build, instant(-5000))

    with pytest.raises(errors.InvalidParameterValue) as refusal:
        drop(connection, "build_events", months)

    shown = "NULL" if months is None else months
    assert refusal.value.diag.message_primary == f"p_keep_months must be between 1 and 1200, not {shown}"
    assert refusal.value.diag.message_hint
    assert value(connection, "SELECT count(*) FROM build_events") == 1


def test_counters_count_on_after_a_month_was_made(connection: Connection, build: UUID) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    add_cache_access(connection, entry, customer)
    ensure(connection)

    add_cache_access(connection, entry, customer)

    assert row(connection, "SELECT cache_hit_count, total_customers_served FROM build_cache_registry") == (
        2,
        1,
    )
