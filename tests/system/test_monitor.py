"""The queries behind ``honua-schema top``, postgres_exporter and the Grafana dashboard."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from builders import add_build, add_cache_access, add_cache_entry, add_customer, add_license
from honua_schema import monitor

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

EXAMPLES = Path(__file__).parents[2] / "docs/examples/grafana"
EXPORTER = yaml.safe_load((EXAMPLES / "queries.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((EXAMPLES / "honua.json").read_text(encoding="utf-8"))
METRICS = {metric for query in monitor.QUERIES for metric in query.metrics}


def ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


def ask(connection: Connection, query: monitor.Query) -> list[Any]:
    """Ask as postgres_exporter does: as a member of honua_readonly, with the query of the file."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE honua_readonly")
        return connection.execute(EXPORTER[query.name]["query"]).fetchall()


def add_ended(connection: Connection, customer: str, ended: datetime, **columns: Any) -> None:
    """Add a build that was claimed a minute before it ended."""
    started = ended - timedelta(minutes=1)
    defaults = {
        "status": "success", "queued_at": started - timedelta(seconds=30), "started_at": started,
        "worker_assigned_at": started, "worker_id": "worker", "completed_at": ended, "heartbeat_at": started,
    }  # fmt: skip
    add_build(connection, customer, **defaults | columns)


class TestFile:
    def test_it_is_what_the_module_prints(self) -> None:
        text = (EXAMPLES / "queries.yaml").read_text(encoding="utf-8")
        assert text == monitor.exporter_queries(), "python -m honua_schema.monitor > queries.yaml"

    def test_it_has_every_query_with_its_columns(self) -> None:
        assert [*EXPORTER] == [query.name for query in monitor.QUERIES]
        for query in monitor.QUERIES:
            found = EXPORTER[query.name]
            assert found["query"].split() == query.sql.split()
            assert [
                (name, *facts.values()) for metric in found["metrics"] for name, facts in metric.items()
            ] == [(each.name, each.usage, each.description) for each in query.columns]

    @pytest.mark.parametrize("query", monitor.QUERIES, ids=lambda query: query.name)
    def test_a_member_of_honua_readonly_gets_the_columns_that_it_declares(
        self, connection: Connection, query: monitor.Query
    ) -> None:
        declared = [name for metric in EXPORTER[query.name]["metrics"] for name in metric]
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL ROLE honua_readonly")
            cursor = connection.execute(EXPORTER[query.name]["query"])
            rows = cursor.fetchall()
        assert [column.name for column in cursor.description or ()] == declared
        assert rows
        labels = [each.name for each in query.columns if each.usage == "LABEL"]
        named = [tuple(getattr(row, label) for label in labels) for row in rows]
        assert len(set(named)) == len(named), "Prometheus refuses two values of the same name"
        for row in rows:
            for column in query.columns:
                value = getattr(row, column.name)
                # A decimal or an interval would reach Prometheus as text.
                assert isinstance(value, int | float | None if column.usage == "GAUGE" else int | str)


class TestQueue:
    def test_it_counts_builds_by_state_and_priority(self, connection: Connection) -> None:
        customer, limited = add_customer(connection), add_customer(connection)
        add_license(connection, limited, max_concurrent_builds=1)
        add_build(connection, customer, priority=3, queued_at=ago(hours=2))
        add_build(connection, customer, priority=3, queued_at=ago(hours=1))
        for _ in range(3):
            add_build(connection, limited, priority=9)
        add_build(connection, customer, queued_at=ago(hours=-1))
        connection.execute("SELECT get_next_build_for_worker('worker', 'host')")
        add_ended(connection, customer, ago(minutes=1))
        rows = ask(connection, monitor.QUEUE)
        assert len(rows) == 40
        assert {(row.state, row.priority): row.builds for row in rows if row.builds} == {
            ("ready", 3): 2, ("waiting", 9): 2, ("delayed", 5): 1, ("building", 9): 1,
        }  # fmt: skip
        oldest = {row.state: row.oldest_seconds for row in rows if row.builds}
        assert oldest["ready"] == pytest.approx(7200, abs=60)
        assert oldest["delayed"] == pytest.approx(-3600, abs=60)
        assert 0 <= oldest["building"] < 60
        assert {row.oldest_seconds for row in rows if not row.builds} == {0}

    def test_the_oldest_build_is_the_one_that_may_be_claimed(self, connection: Connection) -> None:
        assert connection.execute(monitor.OLDEST).fetchall() == []
        customer = add_customer(connection)
        add_build(connection, customer, priority=10, queued_at=ago(minutes=5))
        oldest = add_build(connection, customer, priority=1, architecture="arm64", queued_at=ago(minutes=9))
        add_build(connection, customer, queued_at=ago(hours=-1))
        (row,) = connection.execute(monitor.OLDEST).fetchall()
        assert (row.id, row.customer_id, row.priority, row.architecture) == (oldest, customer, 1, "arm64")
        assert row.seconds == pytest.approx(540, abs=30)


class TestEnded:
    def test_it_counts_what_ended_by_outcome_and_time(self, connection: Connection) -> None:
        customer = add_customer(connection)
        for minutes, status in (
            *((0.5, "success"), (0.6, "failed"), (3, "success"), (4, "timeout")),
            *((10, "success"), (14, "cancelled"), (16, "success")),
        ):
            add_ended(connection, customer, ago(minutes=minutes), status=status)
        rows = {
            row.status: (row.last_1m, row.last_5m, row.last_15m) for row in ask(connection, monitor.ENDED)
        }
        assert rows == {
            "success": (1, 2, 3), "failed": (1, 1, 1), "timeout": (0, 1, 1), "cancelled": (0, 0, 1),
        }  # fmt: skip


class TestWait:
    def test_it_is_the_time_until_the_first_claim(self, connection: Connection) -> None:
        customer = add_customer(connection)
        for number in range(1, 101):
            started = ago(minutes=5)
            add_ended(connection, customer, ago(minutes=4), started_at=started,
                      queued_at=started - timedelta(seconds=number))  # fmt: skip
        (row,) = ask(connection, monitor.WAIT)
        assert row.builds == 100
        assert (row.p50_seconds, row.p95_seconds, row.max_seconds) == pytest.approx((50.5, 95.05, 100))

    def test_running_builds_count_and_retries_and_older_ones_do_not(self, connection: Connection) -> None:
        customer = add_customer(connection)
        add_build(connection, customer, queued_at=ago(seconds=42))
        connection.execute("SELECT get_next_build_for_worker('worker', 'host')")
        add_ended(connection, customer, ago(minutes=2), retry_count=1)
        add_ended(connection, customer, ago(minutes=2), started_at=ago(minutes=16), queued_at=ago(hours=1))
        add_ended(connection, customer, ago(minutes=20))
        (row,) = ask(connection, monitor.WAIT)
        assert row.builds == 1
        assert row.max_seconds == pytest.approx(42, abs=30)

    def test_without_claims_it_is_unknown(self, connection: Connection) -> None:
        assert tuple(ask(connection, monitor.WAIT)[0]) == (0, None, None, None)


class TestRunning:
    def test_it_counts_workers_builds_and_those_past_their_timeout(self, connection: Connection) -> None:
        customer = add_customer(connection)
        for worker in ("one", "one", "two"):
            add_build(connection, customer)
            connection.execute("SELECT get_next_build_for_worker(%s, 'host')", [worker])
        (row,) = ask(connection, monitor.RUNNING)
        assert tuple(row)[:3] == (2, 3, 0)
        connection.execute(
            "UPDATE build_queue SET timeout_at = now() - interval '1 s',"
            " heartbeat_at = now() - interval '1 h' WHERE worker_id = 'two'"
        )
        (row,) = ask(connection, monitor.RUNNING)
        assert tuple(row)[:3] == (2, 3, 1)
        assert row.longest_silence_seconds == pytest.approx(3600, abs=30)

    def test_nobody_works(self, connection: Connection) -> None:
        assert tuple(ask(connection, monitor.RUNNING)[0]) == (0, 0, 0, 0)


class TestCache:
    def test_it_is_the_share_of_hits_among_the_newest_look_ups(self, connection: Connection) -> None:
        customer, entry = add_customer(connection), add_cache_entry(connection)
        for _ in range(3):
            add_cache_access(connection, entry, customer)
        add_cache_access(connection, entry, customer, access_type="build_created")
        add_cache_access(connection, None, customer)
        add_cache_access(connection, None, customer, accessed_at=ago(minutes=16))
        assert tuple(ask(connection, monitor.CACHE)[0]) == (3, 1, 0.75)

    def test_without_look_ups_it_is_unknown(self, connection: Connection) -> None:
        assert tuple(ask(connection, monitor.CACHE)[0]) == (0, 0, None)

    def test_of_more_look_ups_than_5000_it_takes_the_newest(self, connection: Connection) -> None:
        customer = add_customer(connection)
        insert = (
            "INSERT INTO build_access_log (customer_id, build_cache_id, access_type, accessed_at)"
            " SELECT %s, %s, %s, now() - %s * interval '1 s' FROM generate_series(1, 3000)"
        )
        connection.execute(insert, [customer, None, "cache_miss", 20])
        connection.execute(insert, [customer, add_cache_entry(connection), "cache_hit", 10])
        assert tuple(ask(connection, monitor.CACHE)[0])[:2] == (3000, 2000)


class TestTables:
    def test_sizes_are_those_of_the_table_with_its_partitions(self, connection: Connection) -> None:
        customer = add_customer(connection)
        for month in range(3):
            add_cache_access(connection, None, customer, accessed_at=ago(days=31 * month))
        connection.execute("VACUUM ANALYZE")
        rows = {row.table_name: row for row in ask(connection, monitor.TABLE)}
        assert {"build_queue", "build_access_log", "customers"} <= rows.keys()
        assert not any("_y2" in name or name.endswith("_default") for name in rows)
        assert rows["build_access_log"].estimated_rows == 3
        assert rows["customers"].estimated_rows == 2  # and 'system'
        sizes = connection.execute(
            "SELECT sum(pg_total_relation_size(relid)) AS bytes FROM pg_partition_tree('build_access_log')"
        ).fetchone()
        assert sizes is not None
        assert rows["build_access_log"].bytes + rows["build_access_log"].index_bytes == sizes.bytes

    def test_months_ahead_and_rows_without_a_partition_are_told(self, connection: Connection) -> None:
        connection.execute("SELECT ensure_log_partitions(5)")
        rows = {row.table_name: tuple(row)[1:] for row in ask(connection, monitor.LOG_PARTITIONS)}
        assert rows == dict.fromkeys(
            ("audit_log", "build_access_log", "build_events", "build_metrics"), (5, 0)
        )
        add_cache_access(connection, None, add_customer(connection), accessed_at=ago(days=-400))
        connection.execute("SELECT pg_stat_force_next_flush()")
        rows = {row.table_name: row for row in ask(connection, monitor.LOG_PARTITIONS)}
        assert rows["build_access_log"].default_rows == 1
        assert rows["build_events"].default_rows == 0


ENDED_BUILDS = """
    INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json, status, queued_at,
        started_at, completed_at, worker_id, worker_assigned_at)
    SELECT %s, '/m', 'h', '{"modules": []}', 'success', t.at, t.at, t.at, 'worker', t.at
    FROM generate_series(1, %s) AS n
    CROSS JOIN LATERAL (SELECT now() - interval '1 day' - n * interval '1 min' AS at) AS t
"""
LOOK_UPS = """
    INSERT INTO build_access_log (customer_id, access_type, accessed_at)
    SELECT %s, 'cache_miss', now() - interval '20 min' - n * interval '1 s'
    FROM generate_series(%s, 1, -1) AS n
"""


def pages(connection: Connection, query: str) -> int:
    """Return how many pages a query reads, without those for planning it."""
    (row,) = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {query}").fetchall()
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
def live(connection: Connection) -> str:
    """Some builds that are queued, running or have just ended; their customer."""
    customer = add_customer(connection)
    for _ in range(20):
        add_build(connection, customer)
    connection.execute("SELECT get_next_build_for_worker('worker', 'host', NULL, 10)")
    add_ended(connection, customer, ago(minutes=1))
    return customer


@pytest.mark.parametrize(
    "query",
    [query.sql for query in monitor.QUERIES[:5]] + [monitor.OLDEST, monitor.HELD],
    ids=[query.name for query in monitor.QUERIES[:5]] + ["oldest", "held"],
)
def test_what_is_past_costs_nothing(connection: Connection, live: str, query: str) -> None:
    def fill(count: int) -> int:
        connection.execute(ENDED_BUILDS, [live, count])
        connection.execute(LOOK_UPS, [live, count])
        connection.execute("VACUUM ANALYZE")
        return pages(connection, query)

    few, many = fill(6_000), fill(24_000)
    assert many <= 1.2 * few + 20


class TestDashboard:
    def test_every_metric_that_it_shows_is_one_of_the_queries(self) -> None:
        shown = set()
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                found = set(re.findall(r"\bhonua_\w+", target["expr"]))
                assert found, panel["title"]
                assert found <= METRICS
                shown |= found
        variables = json.dumps(DASHBOARD["templating"])
        assert set(re.findall(r"\bhonua_\w+", variables)) <= METRICS
        left_out = {"honua_ended_last_1m", "honua_ended_last_15m", "honua_wait_builds"}  # told by the others
        assert METRICS - shown == left_out

    def test_labels_are_those_of_the_query(self) -> None:
        labels = {
            metric: {each.name for each in query.columns if each.usage == "LABEL"}
            for query in monitor.QUERIES
            for metric in query.metrics
        }
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                (known,) = {frozenset(labels[each]) for each in re.findall(r"\bhonua_\w+", target["expr"])}
                used = set(re.findall(r"by \((\w+)\)", target["expr"]))
                used |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                used |= set(re.findall(r"(\w+)=", "".join(re.findall(r"\{(.*?)\}", target["expr"]))))
                assert used - {"instance"} <= known, target["expr"]

    def test_ids_are_unique_and_panels_do_not_overlap(self) -> None:
        panels = DASHBOARD["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({panel["title"] for panel in panels}) == len(panels)
        for place in (panel["gridPos"] for panel in panels):
            assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        for one, other in combinations((panel["gridPos"] for panel in panels), 2):
            assert (
                one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            )  # fmt: skip

    def test_the_data_source_is_chosen_by_a_variable(self) -> None:
        variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
        assert (variables["datasource"]["type"], variables["datasource"]["query"]) == (
            "datasource",
            "prometheus",
        )
        sources = [variables["instance"]["datasource"]]
        for panel in DASHBOARD["panels"]:
            sources += [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert "id" not in DASHBOARD, "a number of the Grafana that it was made on"
