"""Replicas, logical replication, and what Citus would need."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

import builders
import citus
import interface
from build_queue.driver import Queue
from honua_schema import MigrationRunner
from honua_schema.embedded import EmbeddedServer
from honua_schema.models import Base
from invariants import violations
from queries import row, value, values
from replicas import (
    EACH_ITS_OWN_HISTORY,
    EMPTY,
    PUBLISH,
    SET_SEQUENCES,
    SUBSCRIBE,
    TABLES,
    catch_up,
    follow,
)
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]
    Servers = tuple[EmbeddedServer, EmbeddedServer]

VIEWS = (
    "active_builds", "build_performance_summary", "cache_performance_summary", "customer_build_usage",
    "active_conversations", "conversation_performance_summary", "intent_analytics", "extraction_accuracy",
)  # fmt: skip


class Pair(NamedTuple):
    """A server and one that follows it, with connections to both."""

    source: EmbeddedServer
    follower: EmbeddedServer
    write: Connection
    read: Connection


@contextmanager
def two_servers(bin_folder: Path | None, **settings: str) -> Iterator[Servers]:
    """Run two servers."""
    with ExitStack() as cleanup:
        servers = []
        for _ in range(2):
            folder = Path(tempfile.mkdtemp(prefix="honua-replicas-"))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.chmod(0o755)
            server = EmbeddedServer(
                folder / "server", bin_folder=bin_folder, settings={"fsync": "off", **settings}
            )
            cleanup.callback(server.remove)
            servers.append(cleanup.enter_context(server))
        yield servers[0], servers[1]


def upgrade(server: EmbeddedServer, database: str) -> None:
    server.create_database(database)
    result = MigrationRunner(server.url(database)).apply_migrations()
    assert result.success, result.errors


def use(connection: Connection) -> Queue:
    """Let every part of the schema be used: the queue, the cache, intake and the logs."""
    queue = Queue(connection)
    connection.execute("SELECT ensure_log_partitions(1)")
    customer = queue.customer(max_concurrent_builds=2)
    builders.add_registry_credential(connection, customer)
    for _ in range(5):
        queue.order(customer)
    done, running = queue.claim("worker-1"), queue.claim("worker-2")
    result = queue.complete(done, p_stdout_log="log " * 2000)
    queue.report(running, 40, "compile")
    builders.add_artifact(connection, result)
    builders.add_event(connection, done.build_id)
    builders.add_metric(connection, done.build_id)
    entry = builders.add_cache_entry(connection)
    for other in (customer, queue.customer()):
        for _ in range(2):
            builders.add_cache_access(connection, entry, other)
    manifest = builders.add_manifest(connection, customer)
    conversation = builders.add_conversation(connection, customer, build_manifest_id=manifest)
    for number in (1, 2):
        builders.add_message(connection, conversation, sequence_number=number)
    builders.add_intent(connection, conversation)
    builders.add_extraction(connection, conversation)
    return queue


def contents(connection: Connection, table: str) -> list[str]:
    return values(connection, f"SELECT t::text FROM {table} AS t ORDER BY 1")


@pytest.fixture(scope="module")
def streaming(bin_folder: Path | None, programs: Path) -> Iterator[Servers]:
    """A primary at head and its replica."""
    with two_servers(bin_folder) as (primary, replica):
        upgrade(primary, "honua")
        follow(replica, primary, programs)
        yield primary, replica


@pytest.fixture(scope="module")
def logical(bin_folder: Path | None) -> Iterator[Servers]:
    """Two servers that can publish, each with a database at head to copy."""
    with two_servers(bin_folder, wal_level="logical") as servers:
        for server in servers:
            upgrade(server, "at_head")
        yield servers


class TestStreamingReplica:
    @pytest.fixture
    def pair(self, streaming: Servers, connect: Callable[..., Connection]) -> Pair:
        primary, replica = streaming
        pair = Pair(primary, replica, connect(primary.url("honua")), connect(replica.url("honua")))
        use(pair.write)
        catch_up(pair.write)
        return pair

    def test_tables_views_and_functions_say_what_they_say_on_the_primary(self, pair: Pair) -> None:
        for table in TABLES:
            assert contents(pair.read, table) == contents(pair.write, table) != [], table
        for view in VIEWS:
            # Elapsed times differ from one moment to the next, and so are not compared.
            shown = f"SELECT count(*) FROM {view}"
            assert value(pair.read, shown) == value(pair.write, shown) > 0, view
        active = "SELECT b.id FROM active_builds AS b ORDER BY b.id"
        assert values(pair.read, active) == values(pair.write, active)
        customer = value(pair.read, "SELECT max(customer_id) FROM licenses")
        usage = "SELECT * FROM get_license_quota_usage(%s)"
        assert row(pair.read, usage, customer) == row(pair.write, usage, customer)

    def test_row_security_and_scopes_hold_on_the_replica(
        self, pair: Pair, connect: Callable[..., Connection]
    ) -> None:
        pair.write.execute("CREATE ROLE reader LOGIN IN ROLE honua_app")
        catch_up(pair.write)
        customer = value(pair.write, "SELECT max(customer_id) FROM licenses")
        reader = connect(pair.follower.url("honua").set(username="reader"))

        assert value(reader, "SELECT count(*) FROM build_queue") == 0
        with reader.transaction():
            reader.execute("SELECT set_config('honua.customer_id', %s, true)", [customer])
            assert value(reader, "SELECT count(*) FROM build_queue") == 5

    def test_claims_listeners_and_upgrades_are_refused_on_the_replica(self, pair: Pair) -> None:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            Queue(pair.read).claim()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="LISTEN"):
            pair.read.execute("LISTEN honua_build_queue")
        runner = MigrationRunner(pair.follower.url("honua"))
        assert runner.get_current_version() == runner.get_available_migrations()[-1].version
        refused = runner.rollback("base")
        assert not refused.success
        assert "standby" in refused.errors[0]


def test_a_promoted_replica_goes_on_where_the_primary_stopped(
    bin_folder: Path | None, programs: Path, connect: Callable[..., Connection]
) -> None:
    with two_servers(bin_folder) as (primary, replica):
        upgrade(primary, "honua")
        follow(replica, primary, programs)
        write = connect(primary.url("honua"))
        held = use(write).claim("worker-3")
        catch_up(write)
        primary.stop()
        read = connect(replica.url("honua"))
        read.execute("SELECT pg_promote()")
        queue = Queue(read)

        assert queue.complete(held)
        queue.order(held.customer_id)
        claimed = queue.claim("worker-4")
        assert claimed.build_id != held.build_id
        assert queue.complete(claimed)
        assert violations(read) == {}


class TestLogicalReplication:
    @pytest.fixture
    def pair(self, logical: Servers, connect: Callable[..., Connection]) -> Iterator[Pair]:
        publisher, subscriber = logical
        for server in logical:
            administration = connect(server.url("postgres"))
            administration.execute("DROP DATABASE IF EXISTS honua WITH (FORCE)")
            administration.execute("CREATE DATABASE honua TEMPLATE at_head")
        pair = Pair(publisher, subscriber, connect(publisher.url("honua")), connect(subscriber.url("honua")))
        pair.read.execute(EMPTY.encode())
        pair.write.execute(PUBLISH.encode())
        yield pair
        pair.read.execute("DROP SUBSCRIPTION IF EXISTS honua")

    def subscribe(self, pair: Pair) -> None:
        source = f"host={pair.source.host} port={pair.source.port} user=postgres dbname=honua"
        pair.read.execute(SUBSCRIBE.format(source).encode())
        copied = "SELECT bool_and(s.srsubstate = 'r') AND count(*) = %s FROM pg_subscription_rel AS s"
        until(lambda: value(pair.read, copied, len(TABLES)))
        catch_up(pair.write)

    def test_every_row_of_every_table_arrives_whether_it_was_there_or_comes_later(self, pair: Pair) -> None:
        use(pair.write)
        self.subscribe(pair)
        copied = {table: contents(pair.read, table) for table in TABLES}
        use(pair.write)
        catch_up(pair.write)

        for table in TABLES:
            assert copied[table], table
            assert contents(pair.read, table) == contents(pair.write, table), table

    def test_counters_and_the_audit_log_are_copied_and_not_written_twice(self, pair: Pair) -> None:
        self.subscribe(pair)
        use(pair.write)
        catch_up(pair.write)

        entry = row(pair.read, "SELECT * FROM build_cache_registry")
        assert (entry.cache_hit_count, entry.total_customers_served) == (4, 2)
        assert values(pair.read, "SELECT total_messages FROM conversations") == [2]
        records = "SELECT count(*) FROM audit_log"
        assert value(pair.read, records) == value(pair.write, records) > 0
        assert violations(pair.read) == {}

    def test_changes_and_cascading_deletes_arrive(self, pair: Pair) -> None:
        self.subscribe(pair)
        queue = use(pair.write)
        for build in values(pair.write, "SELECT id FROM build_queue WHERE status IN ('queued', 'building')"):
            queue.cancel(build)
        customer = value(pair.write, "SELECT customer_id FROM licenses")
        pair.write.execute(
            "UPDATE customers SET deleted_at = now() - interval '1 year' WHERE customer_id = %s", [customer]
        )
        pair.write.execute("SELECT purge_soft_deleted_records(30)")
        catch_up(pair.write)

        assert value(pair.write, "SELECT count(*) FROM licenses") == 0
        for table in TABLES:
            assert contents(pair.read, table) == contents(pair.write, table), table

    def test_months_of_the_logs_are_each_servers_own(self, pair: Pair) -> None:
        self.subscribe(pair)
        pair.write.execute("SELECT ensure_log_partitions(2)")
        use(pair.write)
        catch_up(pair.write)
        partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'build_events'::regclass"

        assert (value(pair.write, partitions), value(pair.read, partitions)) == (4, 1)
        assert contents(pair.read, "build_events") == contents(pair.write, "build_events") != []
        pair.read.execute("SELECT ensure_log_partitions(0)")
        assert value(pair.read, partitions) == 2
        assert contents(pair.read, "build_events") == contents(pair.write, "build_events")

    def test_a_revision_that_adds_something_goes_to_the_subscriber_first(self, pair: Pair) -> None:
        self.subscribe(pair)
        for connection, statement in zip((pair.write, pair.read), EACH_ITS_OWN_HISTORY, strict=True):
            connection.execute(statement.encode())
        use(pair.write)
        for connection in (pair.read, pair.write):
            connection.execute("ALTER TABLE customers ADD COLUMN phone varchar(50)")
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum, execution_time_ms)"
                " VALUES ('999', 'phone', repeat('0', 64), 1)"
            )
            use(pair.write)
            catch_up(pair.write)
            assert contents(pair.read, "build_queue") == contents(pair.write, "build_queue")
        pair.write.execute("UPDATE customers SET phone = '1'")
        catch_up(pair.write)

        assert set(values(pair.read, "SELECT phone FROM customers")) == {"1"}
        assert contents(pair.read, "customers") == contents(pair.write, "customers")

    def test_sequences_do_not_follow_so_who_takes_over_sets_them(self, pair: Pair) -> None:
        self.subscribe(pair)
        use(pair.write)
        catch_up(pair.write)
        pair.read.execute("DROP SUBSCRIPTION honua")

        with pytest.raises(psycopg.errors.UniqueViolation):
            builders.add_customer(pair.read)
        pair.read.execute(SET_SEQUENCES.encode())
        queue = Queue(pair.read)
        assert queue.complete(queue.claim("worker-4"))
        use(pair.read)
        assert violations(pair.read) == {}

    def test_every_table_has_an_identity_to_replicate_by(self, connection: Connection) -> None:
        without = """
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace IN ('public'::regnamespace, 'honua_partitions'::regnamespace)
              AND c.relkind IN ('r', 'p') AND NOT (
                c.relreplident = 'd'
                AND EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
              )
        """
        assert values(connection, without) == []
        assert len(TABLES) == len(Base.metadata.tables) == 17


class TestCitus:
    def test_the_page_lists_what_the_catalog_says(self, database: URL) -> None:
        written = interface.written_part(interface.BEYOND_ONE_MACHINE)
        assert written == citus.write(database).strip(), "run: make reference"

    def test_each_kind_of_obstacle_is_found_and_only_where_it_is(self, connection: Connection) -> None:
        connection.execute("""
            CREATE TABLE plain (customer_id text, id int, PRIMARY KEY (customer_id, id), UNIQUE (id));
            CREATE TABLE child (
                customer_id text, plain_id int, other int, PRIMARY KEY (customer_id, plain_id),
                CONSTRAINT with_customer FOREIGN KEY (customer_id, plain_id) REFERENCES plain,
                CONSTRAINT without_customer FOREIGN KEY (other) REFERENCES plain (id)
            );
            CREATE TABLE apart (id int PRIMARY KEY);
        """)
        found = citus.obstacles(connection)
        assert found["plain"] == ["unique plain_id_key"]
        assert found["child"] == ["foreign key without_customer"]
        assert found["apart"] == ["no customer_id", "unique apart_pkey"]
        assert found["schema_migrations"] == []


@pytest.mark.parametrize(
    "statement", [EMPTY, PUBLISH, SUBSCRIBE.partition("'")[0], *EACH_ITS_OWN_HISTORY, SET_SEQUENCES]
)
def test_the_page_shows_the_statements_that_were_tried(statement: str) -> None:
    page = interface.BEYOND_ONE_MACHINE.read_text(encoding="utf-8")
    assert "".join(statement.split()) in "".join(page.split())
