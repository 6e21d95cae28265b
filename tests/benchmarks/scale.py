"""What reading, maintaining and storing costs at a scale of the demo.

``PYTHONPATH=tests python -m benchmarks.scale --scale 1`` starts a server of its own, fills a database with
the demo's data, and writes what it measures to docs/explain/scale.md and the plans to docs/explain/plans.txt.
Another scale is written to scale-10.md or the like, beside what it was at scale 1. The server is removed in
the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from honua_schema import monitor
from honua_schema.demo.load import load
from honua_schema.demo.world import Volume, World
from honua_schema.embedded import EmbeddedServer
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Connection = psycopg.Connection[Any]

DOCS = Path(__file__).parents[2] / "docs/explain"
SETTINGS = {
    "autovacuum": "off",  # it would write in between
    "full_page_writes": "off",  # so that the bytes of the write-ahead log are those of the change, each time
    "checkpoint_timeout": "1h",
    "max_wal_size": "8GB",
    "shared_buffers": "1GB",
    "jit": "off",
    "max_locks_per_transaction": "1024",
    "synchronous_commit": "off",
}
LONGEST_PLAN = 45  # lines

VIEWS = (
    *("active_builds", "build_performance_summary", "cache_performance_summary", "customer_build_usage"),
    *("active_conversations", "conversation_performance_summary", "intent_analytics", "extraction_accuracy"),
)
BUSIEST = "(SELECT b.customer_id FROM build_queue AS b GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"
ENTRY = "(SELECT e.{} FROM build_cache_registry AS e ORDER BY e.cache_hit_count DESC LIMIT 1)"
READS = {
    "find_cached_build": "SELECT * FROM find_cached_build(:customer, :hash)",
    "get_cache_hit_rate, all customers": "SELECT * FROM get_cache_hit_rate()",
    "get_cache_hit_rate, one customer": "SELECT * FROM get_cache_hit_rate(:customer)",
    "get_license_quota_usage": "SELECT * FROM get_license_quota_usage(:customer)",
    "find_license_customer": "SELECT find_license_customer(:license)",
    "verify_audit_log": "SELECT * FROM verify_audit_log()",
}
MAINTENANCE = {
    "handle_build_timeouts": "SELECT * FROM handle_build_timeouts(p_limit => 500)",
    "handle_build_timeouts, silent for 5 minutes": "SELECT * FROM handle_build_timeouts(300, 500)",
    "admit_waiting_builds": "SELECT admit_waiting_builds()",
    "release_delayed_builds": "SELECT release_delayed_builds()",
    "expire_old_conversations": "SELECT * FROM expire_old_conversations(24, 500)",
    "revoke_expired_credentials": "SELECT * FROM revoke_expired_credentials(7, 500)",
    "expire_licenses": "SELECT * FROM expire_licenses(500)",
    "cleanup_old_build_logs, 500 of them": "SELECT * FROM cleanup_old_build_logs(90, 500)",
    "purge_soft_deleted_records, 500 of each": "SELECT * FROM purge_soft_deleted_records(30, 500)",
    "ensure_log_partitions, nothing to do": "SELECT * FROM ensure_log_partitions()",
    "seal_audit_log": "SELECT * FROM seal_audit_log()",
}
# Megabytes at scale 1, as the documents estimate them for six months of a hundred customers.
ESTIMATES = {
    "build_cache_registry": 500, "build_access_log": 2000, "build_queue": 100, "build_results": 500,
    "build_events": 1000, "conversations": 50, "conversation_messages": 200, "build_manifests": 50,
    "all other tables": 100, "indexes": 1500,
}  # fmt: skip
WRITES = {
    "enqueue": """
        INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)
        SELECT :customer, '/manifests/m.json', e.manifest_hash, e.manifest_json
        FROM build_cache_registry AS e ORDER BY e.id LIMIT 1
    """,
    "claim": "SELECT * FROM get_next_build_for_worker('benchmark', 'host')",
    "progress": "SELECT update_build_progress(:build, 50, 'compile', 4, 'benchmark', 0)",
    "complete, with a log of 6 kB": """
        SELECT complete_build(:build, 'benchmark', 0, true, 60, 0, :log, '', p_image_digest => :digest)
    """,
    "access": "SELECT record_cache_access(:entry, :customer, 'cache_hit', 'deployment', 'eu-west-1', 1.5)",
    "message of 400 characters": """
        INSERT INTO conversation_messages (conversation_id, role, content, sequence_number, total_tokens)
        SELECT c.id, 'user', left(:log, 400), 1000, 100 FROM conversations AS c ORDER BY c.id LIMIT 1
    """,
}


@dataclass
class Bench:
    """Measures on one database.

    Attributes:
        connection: The database; every statement is rolled back.
        runs: How often each is run.
        values: What stands for the names in the statements.
        plans: The plans so far.
    """

    connection: Connection
    runs: int
    values: dict[str, object] = field(default_factory=dict)
    plans: list[str] = field(default_factory=list)

    def statement(self, query: str) -> str:
        """Put literals into a statement: a plan depends on them."""

        def literal(match: re.Match[str]) -> str:
            return psycopg.sql.Literal(self.values[match[1]]).as_string(self.connection)

        return re.sub(r"(?<![:\w]):([a-z]+)\b", literal, query)

    def run(self, query: str) -> tuple[float, list[tuple[Any, ...]]]:
        """Run a statement, and return its milliseconds and its rows."""
        started = time.perf_counter()
        rows = self.connection.execute(query).fetchall()
        return 1000 * (time.perf_counter() - started), rows

    def cost(self, name: str, query: str) -> tuple[str, float, int, int]:
        """Return a statement's name, median of milliseconds, pages read or found in memory, and rows."""
        query = self.statement(query)
        times, rows = [], []
        for _ in range(self.runs):
            with self.connection.transaction(force_rollback=True):
                elapsed, rows = self.run(query)
            times.append(elapsed)
        with self.connection.transaction(force_rollback=True):
            found = self.explain(query, "ANALYZE, BUFFERS, FORMAT json")
        plan = json.loads(found)[0]["Plan"]
        self.plans.append(f"{name}\n\n{self.plan(query)}")
        if len(rows) == 1 and len(rows[0]) == 1 and isinstance(rows[0][0], int):
            count = rows[0][0]
        elif name.startswith("purge"):
            count = sum(row[1] for row in rows)
        else:
            count = len(rows)
        return name, statistics.median(times), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], count

    def explain(self, query: str, options: str) -> str:
        """Return what EXPLAIN says."""
        rows = self.connection.execute(f"EXPLAIN ({options}) {query}").fetchall()
        return "\n".join(row[0] if isinstance(row[0], str) else json.dumps(row[0]) for row in rows)

    def plan(self, query: str) -> str:
        """Return the plan of a statement, or of the statements inside the function that it calls."""
        notices: list[str] = []

        def take(notice: psycopg.errors.Diagnostic) -> None:
            notices.append(notice.message_primary or "")

        self.connection.add_notice_handler(take)
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("SET LOCAL client_min_messages = log")
            self.connection.execute("SET LOCAL auto_explain.log_min_duration = 0")
            self.connection.execute(query)
        self.connection.remove_notice_handler(take)
        plans = [each.partition("plan:\n")[2] for each in notices if "plan:\n" in each]
        inner = [each for each in plans if "Function Scan on " not in each or "Append" in each] or plans
        lines = [
            re.sub(r"\(cost=[^)]*\) |\(cost=.*?\)(?=$)", "", line)
            for plan in inner
            for line in plan.partition("\n")[2].splitlines()
        ]
        if len(lines) > LONGEST_PLAN:
            lines[LONGEST_PLAN:] = [f"... and {len(lines) - LONGEST_PLAN} more lines"]
        return "\n".join(lines)

    def wal(self, prepare: Callable[[], None], query: str, count: int = 200) -> float:
        """Return the bytes of write-ahead log that a statement with its commit takes: the mean of many."""
        written = 0
        for _ in range(count):
            prepare()
            before = self.value("SELECT pg_current_wal_insert_lsn()")
            self.connection.execute(self.statement(query))
            written += self.value(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')::int")
        return written / count

    def value(self, query: str) -> Any:
        """Return the only value of a query's only row."""
        row = self.connection.execute(self.statement(query)).fetchone()
        return None if row is None else row[0]


def markdown(titles: Sequence[str], rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> str:
    """Return a table; columns after the first are numbers."""
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def costs(bench: Bench, queries: dict[str, str], *, per_row: bool = False) -> str:
    """Return a table of what queries cost."""
    titles = ("What", "ms", "pages", "rows")
    rows = []
    for name, query in queries.items():
        name, elapsed, pages, count = bench.cost(name, query)
        extra = (f"{pages / count:,.1f}" if count else "",) if per_row else ()
        function, comma, case = name.partition(",")
        rows.append((f"`{function}`{comma}{case}", f"{elapsed:,.1f}", f"{pages:,}", f"{count:,}", *extra))
    return markdown((*titles, "pages a row") if per_row else titles, rows)


def sizes(bench: Bench, scale: float) -> str:
    """Return bytes per table and per index, beside the documents' estimate."""
    tables = bench.connection.execute(monitor.TABLE.sql).fetchall()
    found: dict[str, list[int]] = {}
    for name, rows, heap, indexes in tables:
        place = found.setdefault(name if name in ESTIMATES else "all other tables", [0, 0, 0])
        for position, number in enumerate((rows, heap, indexes)):
            place[position] += number
    index_bytes = sum(each[2] for each in found.values())
    heap_bytes = sum(each[1] for each in found.values())
    rows = [
        (name, f"{count:,}", megabytes(heap), f"{ESTIMATES[name] * scale:,.1f}", megabytes(indexes))
        for name, (count, heap, indexes) in sorted(found.items(), key=lambda item: -item[1][1])
    ]
    rows.append(("all indexes", "", "", f"{ESTIMATES['indexes'] * scale:,.1f}", megabytes(index_bytes)))
    total = sum(ESTIMATES.values()) * scale
    rows.append(("all", "", megabytes(heap_bytes + index_bytes), f"{total:,.1f}", ""))
    by_index = bench.connection.execute("""
        SELECT regexp_replace(c.relname, '_y\\d{4}m\\d{2}_', '_*_'), sum(pg_relation_size(c.oid))
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_class AS t ON t.oid = i.indrelid
        WHERE t.relnamespace IN ('public'::regnamespace, 'honua_partitions'::regnamespace)
        GROUP BY 1 HAVING sum(pg_relation_size(c.oid)) > 0 ORDER BY 2 DESC LIMIT 40
    """).fetchall()
    share = f"Indexes are {100 * index_bytes / heap_bytes:.0f} % of tables with TOAST.\n"
    titles = ("Table, MB", "rows, about", "table", "estimated", "its indexes")
    return "\n".join((
        markdown(titles, rows), "", share,
        markdown(("Index", "MB"), [(f"`{name}`", megabytes(size)) for name, size in by_index]),
    ))  # fmt: skip


def megabytes(count: float) -> str:
    """Return bytes in millions."""
    return f"{float(count) / 1e6:,.1f}"


def written(bench: Bench) -> str:
    """Return the bytes of write-ahead log of each write."""
    connection = bench.connection

    def claim() -> None:
        connection.execute(bench.statement(WRITES["enqueue"]))
        bench.values["build"] = bench.value(
            "SELECT build_id FROM get_next_build_for_worker('benchmark', 'host')"
        )  # fmt: skip

    def number() -> None:
        connection.execute("DELETE FROM conversation_messages AS m WHERE m.sequence_number = 1000")

    before = {"claim": lambda: connection.execute(bench.statement(WRITES["enqueue"])), "progress": claim,
              "complete, with a log of 6 kB": claim, "message of 400 characters": number}  # fmt: skip
    return markdown(
        ("Write", "bytes"),
        [
            (name, f"{bench.wal(before.get(name, lambda: None), query):,.0f}")
            for name, query in WRITES.items()
        ],
    )


def partitions(bench: Bench) -> str:
    """Return what partitions save, and what they cost."""
    connection = bench.connection
    oldest, rows = connection.execute("""
        SELECT p.oid::regclass::text, p.reltuples::bigint
        FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhrelid
        WHERE i.inhparent = 'build_events'::regclass AND p.relname ~ '_y\\d' AND p.reltuples > 0
        ORDER BY p.reltuples DESC LIMIT 1
    """).fetchone()
    lines = []

    def change(query: str) -> tuple[str, str]:
        """Run a change that is rolled back, and return its milliseconds and its write-ahead log in MB."""
        with connection.transaction(force_rollback=True):
            start = bench.value("SELECT pg_current_wal_insert_lsn()")
            began = time.perf_counter()
            connection.execute(query)
            elapsed = 1000 * (time.perf_counter() - began)
            size = bench.value(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{start}')::float8")
        return f"{elapsed:,.1f}", f"{size / 1e6:,.2f}"

    lines.append(markdown(
        (f"A month of build_events, {rows:,} rows", "ms", "MB of WAL"),
        [("`DELETE`, and then there is VACUUM", *change(f"DELETE FROM {oldest}")),
         ("dropping its partition, as `drop_old_log_partitions()` does", *change(f"DROP TABLE {oldest}"))],
    ))  # fmt: skip

    def insert(month: str) -> str:
        query = bench.statement(
            "INSERT INTO build_access_log (customer_id, access_type, accessed_at)"
            f" SELECT :customer, 'cache_miss', {month} FROM generate_series(1, 1000)"
        )
        return change(query)[0]

    ahead = "date_trunc('month', now(), 'UTC') + interval '7 months'"
    with connection.transaction(force_rollback=True):
        connection.execute(bench.statement(
            "INSERT INTO build_access_log (customer_id, access_type, accessed_at)"
            f" SELECT :customer, 'cache_miss', {ahead} FROM generate_series(1, 10000)"
        ))  # fmt: skip
        began = time.perf_counter()
        moved = connection.execute("SELECT sum(rows_moved) FROM ensure_log_partitions(8)").fetchone()[0]
        repair = f"{1000 * (time.perf_counter() - began):,.1f}"
    lines.append(markdown(
        ("The end of a month, on build_access_log", "ms"),
        [("1,000 rows into this month's partition", insert("now()")),
         ("1,000 rows into the default partition, where none was made ahead", insert(ahead)),
         (f"making 9 months' partitions then, and moving {moved:,} rows there", repair)],
    ))  # fmt: skip

    queries = {
        "`cache_performance_summary`": "SELECT * FROM cache_performance_summary",
        "hits of a customer in a week": "SELECT count(*) FROM build_access_log AS a"
        " WHERE a.customer_id = :customer AND a.accessed_at >= now() - interval '7 days'",
        "events of a build, of any time": "SELECT * FROM build_events AS e WHERE e.build_queue_id = :build",
        "an access, written": WRITES["access"],
    }  # fmt: skip
    before = {name: planned(bench, query) for name, query in queries.items()}
    with connection.transaction(force_rollback=True):
        for table, columns, values in (
            ("build_access_log", "customer_id, access_type, accessed_at", ":customer, 'cache_miss', m"),
            ("build_events", "build_queue_id, event_type, event_timestamp", ":build, 'step', m"),
        ):
            connection.execute(bench.statement(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series("
                "date_trunc('month', now(), 'UTC') - interval '56 months', now(), interval '1 month') AS m"
            ))  # fmt: skip
        connection.execute("SELECT ensure_log_partitions()")
        count = bench.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'build_events'::regclass")
        after = {name: planned(bench, query) for name, query in queries.items()}
    lines.append(markdown(
        ("ms, and partitions read", "planned", "run", "read",
         f"planned, {count} partitions", f"run, {count}", f"read, {count}"),
        [(name, *before[name], *after[name]) for name in queries],
    ))  # fmt: skip
    return "\n\n".join(lines)


def planned(bench: Bench, query: str) -> tuple[str, str, int]:
    """Return the milliseconds that planning and running takes, and how many partitions are read."""
    query, planning, running, read = bench.statement(query), [], [], 0
    for _ in range(bench.runs):
        with bench.connection.transaction(force_rollback=True):
            found = json.loads(bench.explain(query, "ANALYZE, FORMAT json"))[0]
        planning.append(found["Planning Time"])
        running.append(found["Execution Time"])
        text = json.dumps(found)
        scans = re.findall(r'"Relation Name": "\w+?_(?:y\d{4}m\d{2}|default)"', text)
        read = len(set(scans))
    return f"{statistics.median(planning):,.2f}", f"{statistics.median(running):,.2f}", read


def report(bench: Bench, scale: float, filling: float, rows: int) -> str:
    """Measure everything, and return it as a page."""
    server = bench.value("SHOW server_version")
    hits = bench.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'build_access_log'::regclass")
    return f"""\
# What it costs at scale {scale:g}

Written by `PYTHONPATH=tests python -m benchmarks.scale --scale {scale:g}`: PostgreSQL {server},
{os.cpu_count()} processors ({platform.machine()}), Python {platform.python_version()}.
Times are medians of {bench.runs} runs with everything in memory. They vary with the machine and what else
it does; pages and bytes do not. [plans.txt](plans.txt) has the plans at scale 1.

The demo made {rows:,} rows in {filling:.0f} seconds.

## Views

{costs(bench, {name: f"SELECT * FROM {name}" for name in VIEWS})}

## Functions that read

{costs(bench, READS)}

## What `honua-schema top` and Grafana ask

{costs(bench, {query.name: query.sql for query in monitor.QUERIES})}

## Maintenance

Each in a batch as `honua-schema maintenance run` does it; what it changes is rolled back. Where nothing
is due, it should cost next to nothing, and elsewhere in proportion to the rows.

{costs(bench, MAINTENANCE, per_row=True)}

## Size

{sizes(bench, scale)}

## Write-ahead log

With the commit, without full pages; the mean of 200.

{written(bench)}

## Partitions

The log of accesses has {hits} partitions, the default one included.

{partitions(bench)}
"""


def beside(page: str, base: str) -> str:
    """Put what something took at scale 1 beside what it takes now, in each table that says so.

    Args:
        page: The page of another scale.
        base: The page of scale 1.
    """
    base_of: dict[tuple[str, str], str] = {}
    section = ""
    for line in base.splitlines():
        section = line if line.startswith("#") else section
        if cells := re.match(r"\| (.+?) \| ([\d.,]+) \| [\d,]+ \| [\d,]+ \|", line):
            base_of[section, cells[1]] = cells[2]
    lines = []
    for line in page.splitlines():
        section = line if line.startswith("#") else section
        name, *numbers = line.removeprefix("| ").removesuffix(" |").split(" | ")
        if name == "What":
            line += " ms at scale 1 | times |"
        elif name == "---" and lines[-1].startswith("| What "):
            line += " ---: | ---: |"
        elif before := base_of.get((section, name)):
            times = float(numbers[0].replace(",", "")) / max(float(before.replace(",", "")), 0.1)
            line += f" {before} | {times:,.1f} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fill a database, measure, and write the page and the plans."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.1, help="of the demo's data; 1 is 50,000 builds")
    parser.add_argument("--runs", type=int, default=7, help="how often each statement is run")
    parser.add_argument("--pg-bin", type=Path, help="folder of other PostgreSQL programs")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the page and the plans go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="honua-scale-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer(Path(folder, "server"), bin_folder=options.pg_bin, settings=SETTINGS)
        try:
            with server:
                server.create_database()
                assert MigrationRunner(server.url()).apply_migrations().success
                uri = server.url().set(drivername="postgresql").render_as_string(hide_password=False)
                world = World(seed=1, anchor=datetime.now(UTC), volume=Volume.of_scale(options.scale))
                began = time.monotonic()
                rows = load(uri, world, scale=options.scale)
                filling = time.monotonic() - began
                with psycopg.connect(uri, autocommit=True) as connection:
                    connection.execute("LOAD 'auto_explain'")
                    connection.execute("SET auto_explain.log_nested_statements = on")
                    connection.execute("SET auto_explain.log_analyze = on")
                    connection.execute("SET auto_explain.log_timing = off")
                    connection.execute("SET auto_explain.log_buffers = on")
                    bench = Bench(connection, options.runs)
                    bench.values = {
                        "customer": bench.value(f"SELECT {BUSIEST}"),
                        "hash": bench.value(f"SELECT {ENTRY.format('manifest_hash')}"),
                        "entry": bench.value(f"SELECT {ENTRY.format('id')}"),
                        "license": bench.value("SELECT l.license_key_hash FROM licenses AS l LIMIT 1"),
                        "build": bench.value(
                            "SELECT b.id FROM build_queue AS b ORDER BY b.queued_at LIMIT 1"
                        ),
                        "digest": f"sha256:{64 * 'a'}",
                        "log": "\n".join(
                            f"#{n} compile module {n * 7919 % 1000} in {n}.4s" for n in range(200)
                        ),
                    }
                    page = report(bench, options.scale, filling, rows)
        finally:
            server.remove()
    if options.scale == 1:
        plans = f"\n\n{80 * '-'}\n".join(bench.plans)
        (options.out / "plans.txt").write_text(f"{plans}\n", encoding="utf-8")
        (options.out / "scale.md").write_text(page, encoding="utf-8")
    else:
        page = beside(page, (DOCS / "scale.md").read_text(encoding="utf-8"))
        (options.out / f"scale-{options.scale:g}.md").write_text(page, encoding="utf-8")
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
