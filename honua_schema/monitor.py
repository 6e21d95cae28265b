"""What there is to see of a running database: the queries of ``honua-schema top`` and of postgres_exporter.

Each reads what goes on and not what is past: builds that are queued or running, what ended in a quarter of an
hour, the newest look-ups. So it costs the same however long the history has grown; and a member of
honua_readonly may run it. ``python -m honua_schema.monitor`` prints them in the form of postgres_exporter.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A column of a query.

    Attributes:
        name: Its name; behind the name of the query, it names the metric.
        usage: Whether it is a measured value or says of what.
        description: What it means, with the unit.
    """

    name: str
    usage: Literal["GAUGE", "LABEL"]
    description: str


@dataclass(frozen=True)
class Query:
    """A query whose rows are metrics.

    Attributes:
        name: Its name, with which the names of its metrics begin.
        sql: The query.
        columns: All columns of its result, in their order.
        cache_seconds: For how long postgres_exporter may give the same answer again.
    """

    name: str
    sql: str
    columns: tuple[Column, ...]
    cache_seconds: int = 0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(f"{self.name}_{each.name}" for each in self.columns if each.usage == "GAUGE")


QUEUE = Query(
    "honua_queue",
    # Counted before they are joined: a million queued builds take half a second so, and several otherwise.
    """\
    SELECT s.state, p.priority, coalesce(b.builds, 0) AS builds,
        coalesce(extract(epoch FROM now() - b.since), 0)::float8 AS oldest_seconds
    FROM unnest(ARRAY['ready', 'waiting', 'delayed', 'building']) AS s (state)
    CROSS JOIN generate_series(1, 10) AS p (priority)
    LEFT JOIN (
        SELECT 'ready' AS state, r.priority, count(*) AS builds, min(r.queued_at) AS since
        FROM build_queue AS r WHERE r.status = 'queued' AND r.admission = 'ready' GROUP BY r.priority
        UNION ALL
        SELECT 'waiting', w.priority, count(*), min(w.queued_at)
        FROM build_queue AS w WHERE w.status = 'queued' AND w.admission = 'waiting' GROUP BY w.priority
        UNION ALL
        SELECT 'delayed', d.priority, count(*), min(d.queued_at)
        FROM build_queue AS d WHERE d.status = 'queued' AND d.admission = 'delayed' GROUP BY d.priority
        UNION ALL
        SELECT 'building', g.priority, count(*), min(g.started_at)
        FROM build_queue AS g WHERE g.status = 'building' GROUP BY g.priority
    ) AS b ON b.state = s.state AND b.priority = p.priority
    """,
    (
        Column("state", "LABEL", "ready, waiting (customer at its limit), delayed (not due yet) or building"),
        Column("priority", "LABEL", "From 1 to 10; higher is claimed first"),
        Column("builds", "GAUGE", "Builds in this state"),
        Column(
            "oldest_seconds",
            "GAUGE",
            "Seconds since the first of them was queued or, if building, started; 0 without any. Negative if "
            "delayed: seconds until the first is due",
        ),
    ),
)

ENDED = Query(
    "honua_ended",
    """\
    SELECT s.status,
        count(*) FILTER (WHERE b.completed_at >= now() - INTERVAL '1 minute') AS last_1m,
        count(*) FILTER (WHERE b.completed_at >= now() - INTERVAL '5 minutes') AS last_5m,
        count(b.completed_at) AS last_15m
    FROM unnest(ARRAY['success', 'failed', 'timeout', 'cancelled']) AS s (status)
    LEFT JOIN build_queue AS b ON b.status = s.status AND b.completed_at >= now() - INTERVAL '15 minutes'
    GROUP BY s.status
    """,
    (
        Column("status", "LABEL", "success, failed, timeout or cancelled"),
        Column("last_1m", "GAUGE", "Builds that ended so in the last minute"),
        Column("last_5m", "GAUGE", "Builds that ended so in the last 5 minutes"),
        Column("last_15m", "GAUGE", "Builds that ended so in the last 15 minutes"),
    ),
)

WAIT = Query(
    "honua_wait",
    # Started less than 15 minutes ago means: still building, or ended less than 15 minutes ago.
    """\
    SELECT count(*) AS builds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY b.seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY b.seconds) AS p95_seconds,
        max(b.seconds) AS max_seconds
    FROM (
        SELECT extract(epoch FROM g.started_at - g.queued_at)::float8 AS seconds
        FROM build_queue AS g
        WHERE g.status = 'building' AND g.retry_count = 0 AND g.started_at >= now() - INTERVAL '15 minutes'
        UNION ALL
        SELECT extract(epoch FROM e.started_at - e.queued_at)::float8
        FROM build_queue AS e
        WHERE e.completed_at >= now() - INTERVAL '15 minutes' AND e.retry_count = 0
          AND e.started_at >= now() - INTERVAL '15 minutes'
    ) AS b
    """,
    (
        Column("builds", "GAUGE", "Builds that were claimed for the first time in the last 15 minutes"),
        Column("p50_seconds", "GAUGE", "Seconds that half of them had waited at most; NULL without any"),
        Column("p95_seconds", "GAUGE", "Seconds that 95 of 100 had waited at most; NULL without any"),
        Column("max_seconds", "GAUGE", "Seconds that the last of them had waited; NULL without any"),
    ),
)

RUNNING = Query(
    "honua_running",
    """\
    SELECT count(DISTINCT b.worker_id) AS workers, count(*) AS builds,
        count(*) FILTER (WHERE b.timeout_at < now()) AS overdue,
        coalesce(extract(epoch FROM now() - min(b.heartbeat_at)), 0)::float8 AS longest_silence_seconds
    FROM build_queue AS b
    WHERE b.status = 'building'
    """,
    (
        Column("workers", "GAUGE", "Workers that hold a build"),
        Column("builds", "GAUGE", "Builds that they hold"),
        Column("overdue", "GAUGE", "Builds past their timeout: more than a few mean that no timeouts run"),
        Column("longest_silence_seconds", "GAUGE", "Seconds since the most silent worker reported"),
    ),
)

CACHE = Query(
    "honua_cache",
    # The inner condition is true of whole partitions, so that the newest rows are read by their number and
    # nothing has to be skipped.
    """\
    SELECT count(*) FILTER (WHERE a.access_type = 'cache_hit') AS hits,
        count(*) FILTER (WHERE a.access_type = 'cache_miss') AS misses,
        (count(*) FILTER (WHERE a.access_type = 'cache_hit'))::float8
            / nullif(count(*) FILTER (WHERE a.access_type IN ('cache_hit', 'cache_miss')), 0) AS hit_ratio
    FROM (
        SELECT n.access_type, n.accessed_at
        FROM build_access_log AS n
        WHERE n.accessed_at >= date_trunc('month', now() - INTERVAL '15 minutes', 'UTC')
        ORDER BY n.id DESC
        LIMIT 5000
    ) AS a
    WHERE a.accessed_at >= now() - INTERVAL '15 minutes'
    """,
    (
        Column("hits", "GAUGE", "Look-ups of the last 15 minutes, the newest 5,000 at most, that were hits"),
        Column("misses", "GAUGE", "Those that were misses"),
        Column("hit_ratio", "GAUGE", "Share of the hits, from 0 to 1; NULL without look-ups"),
    ),
)

TABLE = Query(
    "honua_table",
    """\
    SELECT t.relname::text AS table_name, sum(greatest(p.reltuples, 0))::bigint AS estimated_rows,
        sum(pg_table_size(p.oid))::bigint AS bytes, sum(pg_indexes_size(p.oid))::bigint AS index_bytes
    FROM pg_class AS t
    LEFT JOIN pg_inherits AS i ON i.inhparent = t.oid AND t.relkind = 'p'
    JOIN pg_class AS p ON p.oid = coalesce(i.inhrelid, t.oid)
    WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
    GROUP BY t.relname
    """,
    (
        Column("table_name", "LABEL", "The table, with all its partitions"),
        Column("estimated_rows", "GAUGE", "Rows, as of the last VACUUM or ANALYZE"),
        Column("bytes", "GAUGE", "Bytes on disk without the indexes"),
        Column("index_bytes", "GAUGE", "Bytes of the indexes on disk"),
    ),
    cache_seconds=300,
)

LOG_PARTITIONS = Query(
    "honua_log_partitions",
    """\
    SELECT t.relname::text AS table_name,
        count(*) FILTER (
            WHERE right(p.relname::text, 8) COLLATE "C" > to_char(now() AT TIME ZONE 'UTC', '"y"YYYY"m"MM')
              AND p.relname LIKE '%\\_y____m__'
        ) AS months_ahead,
        coalesce(sum(pg_stat_get_live_tuples(p.oid)) FILTER (
            WHERE pg_get_expr(p.relpartbound, p.oid) = 'DEFAULT'
        ), 0)::bigint AS default_rows
    FROM pg_class AS t
    JOIN pg_inherits AS i ON i.inhparent = t.oid
    JOIN pg_class AS p ON p.oid = i.inhrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'p'
    GROUP BY t.relname
    """,
    (
        Column("table_name", "LABEL", "The log table"),
        Column("months_ahead", "GAUGE", "Months after this one (UTC) that have a partition"),
        Column("default_rows", "GAUGE", "Rows in its default partition, by the server's statistics"),
    ),
    cache_seconds=300,
)

QUERIES = (QUEUE, ENDED, WAIT, RUNNING, CACHE, TABLE, LOG_PARTITIONS)
"""All queries whose rows are metrics."""

OLDEST = """\
    SELECT b.id, b.customer_id, b.priority, b.architecture,
        extract(epoch FROM now() - b.queued_at)::float8 AS seconds
    FROM unnest(ARRAY['amd64', 'arm64']) AS a (architecture)
    CROSS JOIN generate_series(1, 10) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT q.id, q.customer_id, q.priority, q.architecture, q.queued_at
        FROM build_queue AS q
        WHERE q.architecture = a.architecture AND q.priority = p.priority
          AND q.status = 'queued' AND q.admission = 'ready'
        ORDER BY q.queued_at
        LIMIT 1
    ) AS b
    ORDER BY b.queued_at
    LIMIT 1
"""
"""The build that has waited longest of those that may be claimed; for a person, who can look into it."""

HELD = """\
    SELECT b.worker_id, b.id, b.customer_id, b.priority, b.retry_count, b.current_step, b.progress_percent,
        extract(epoch FROM now() - b.started_at)::float8 AS elapsed_seconds,
        extract(epoch FROM b.timeout_at - now())::float8 AS remaining_seconds,
        extract(epoch FROM now() - b.heartbeat_at)::float8 AS silent_seconds
    FROM build_queue AS b
    WHERE b.status = 'building'
    ORDER BY b.worker_id, b.started_at
    LIMIT 200
"""
"""Workers and what they hold; not a metric, for the names of workers would be labels without end."""


def exporter_queries() -> str:
    """Return the queries as a file for the option ``--extend.query-path`` of postgres_exporter."""
    lines = ["# Made by: python -m honua_schema.monitor > queries.yaml"]
    for query in QUERIES:
        lines += ["", f"{query.name}:", "  query: |", indent(dedent(query.sql).rstrip(), 4 * " ")]
        if query.cache_seconds:
            lines.append(f"  cache_seconds: {query.cache_seconds}")
        lines.append("  metrics:")
        for column in query.columns:
            description = column.description.replace('"', '\\"')
            lines += [
                f"    - {column.name}:",
                f"        usage: {column.usage}",
                f'        description: "{description}"',
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(exporter_queries())
