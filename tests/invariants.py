"""What always holds of the build queue and of the counters, as queries that return what breaks it.

The names and their meaning are those of docs/explain/build-queue.md. Invariants of the second group compare
the database with a journal of what its clients were told, kept outside of it: see `load_journal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    Connection = psycopg.Connection[Any]

ATTEMPTS = """
    SELECT b.id AS build_id, b.customer_id, b.retry_count, b.worker_id, b.status, b.completed_at
    FROM build_queue AS b
    UNION ALL
    SELECT e.build_queue_id, b.customer_id, (e.event_data ->> 'retry_count')::integer,
        e.event_data ->> 'worker_id', e.event_data ->> 'status',
        (e.event_data ->> 'completed_at')::timestamptz
    FROM build_events AS e
    JOIN build_queue AS b ON b.id = e.build_queue_id
    WHERE e.event_type = 'build_retried'
"""
"""Every attempt at every build: the last one is in the queue, the ones before in the events."""

OF_THE_DATABASE = {
    "one_state": """
        SELECT b.id, b.status
        FROM build_queue AS b
        WHERE CASE b.status
            WHEN 'queued' THEN num_nonnulls(b.worker_id, b.started_at, b.timeout_at, b.completed_at) > 0
            WHEN 'building' THEN num_nulls(b.worker_id, b.started_at, b.heartbeat_at) > 0
                OR b.completed_at IS NOT NULL
            ELSE b.completed_at IS NULL
        END
    """,
    "ends_are_final": """
        SELECT e.build_queue_id, e.event_data ->> 'status' AS status
        FROM build_events AS e
        WHERE e.event_type = 'build_retried' AND e.event_data ->> 'status' NOT IN ('failed', 'timeout')
    """,
    "attempts_are_numbered": f"""
        SELECT b.id, b.retry_count, array_agg(a.retry_count ORDER BY a.retry_count) AS attempts
        FROM build_queue AS b
        JOIN ({ATTEMPTS}) AS a ON a.build_id = b.id
        GROUP BY b.id
        HAVING array_agg(a.retry_count ORDER BY a.retry_count)
            <> ARRAY(SELECT generate_series(0, b.retry_count))
    """,
    "one_result": """
        SELECT b.id, b.status, array_agg(r.success) AS outcomes
        FROM build_queue AS b
        LEFT JOIN build_results AS r ON r.build_queue_id = b.id
        GROUP BY b.id
        HAVING count(r.id) > 1
            OR b.status IN ('success', 'failed') AND count(r.id) = 0
            OR bool_or(r.success) <> (b.status = 'success')
    """,
    "one_customer": """
        SELECT b.id, b.customer_id, c.table_name, c.customer_id AS customer_of_row
        FROM (
            SELECT 'build_results' AS table_name, r.build_queue_id, r.customer_id FROM build_results AS r
            UNION ALL
            SELECT 'build_events', e.build_queue_id, e.customer_id FROM build_events AS e
            UNION ALL
            SELECT 'build_metrics', m.build_queue_id, m.customer_id FROM build_metrics AS m
        ) AS c
        JOIN build_queue AS b ON b.id = c.build_queue_id
        WHERE c.customer_id <> b.customer_id
    """,
    "retry_limit": """
        SELECT b.id, b.retry_count, b.max_retries FROM build_queue AS b WHERE b.retry_count > b.max_retries
    """,
    "concurrency_limit": """
        SELECT l.customer_id, l.max_concurrent_builds, count(*) AS building
        FROM licenses AS l
        JOIN build_queue AS b ON b.customer_id = l.customer_id AND b.status = 'building'
        GROUP BY l.id
        HAVING count(*) > l.max_concurrent_builds
    """,
    "no_idle_slot": """
        SELECT w.customer_id, l.max_concurrent_builds
        FROM (
            SELECT DISTINCT b.customer_id
            FROM build_queue AS b
            WHERE b.status = 'queued' AND b.admission = 'waiting'
        ) AS w
        LEFT JOIN licenses AS l ON l.customer_id = w.customer_id
        WHERE l.max_concurrent_builds IS NULL
           OR l.max_concurrent_builds > (
               SELECT count(*)
               FROM build_queue AS b
               WHERE b.customer_id = w.customer_id
                 AND b.status IN ('queued', 'building')
                 AND b.admission = 'ready'
           )
    """,
    "admission_in_order": """
        SELECT w.id, r.id AS ready_before_it
        FROM build_queue AS w
        JOIN build_queue AS r
            ON r.customer_id = w.customer_id AND r.status = 'queued' AND r.admission = 'ready'
        WHERE w.status = 'queued'
          AND w.admission = 'waiting'
          AND (w.priority > r.priority OR w.priority = r.priority AND w.queued_at < r.queued_at)
    """,
    "monthly_quota": """
        SELECT l.customer_id, l.max_builds_per_month, m.month, count(*) AS builds
        FROM licenses AS l
        JOIN build_queue AS b ON b.customer_id = l.customer_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN b.retry_count = 0 THEN b.queued_at ELSE b.created_at END
        ) AS counted (at)
        CROSS JOIN LATERAL (SELECT date_trunc('month', counted.at, 'UTC')) AS m (month)
        GROUP BY l.id, m.month
        HAVING count(*) > l.max_builds_per_month
    """,
    "registry_limit": """
        SELECT l.customer_id, l.max_registries, count(*) AS active
        FROM licenses AS l
        JOIN registry_credentials AS r
            ON r.customer_id = l.customer_id AND r.is_active AND r.revoked_at IS NULL
        GROUP BY l.id
        HAVING count(*) > l.max_registries
    """,
    "cache_counters": """
        SELECT e.id, e.cache_hit_count, e.total_customers_served, recount.hits, recount.customers
        FROM build_cache_registry AS e
        CROSS JOIN LATERAL (
            SELECT
                count(*) FILTER (WHERE a.access_type = 'cache_hit') AS hits,
                count(DISTINCT a.customer_id) FILTER (WHERE a.access_type <> 'cache_miss') AS customers
            FROM build_access_log AS a
            WHERE a.build_cache_id = e.id
        ) AS recount
        WHERE e.cache_hit_count <> recount.hits
           OR e.total_customers_served <> greatest(1, recount.customers)
    """,
    "conversation_counters": """
        SELECT c.id, c.total_messages, c.total_tokens_used, recount.messages, recount.tokens
        FROM conversations AS c
        CROSS JOIN LATERAL (
            SELECT
                count(*) AS messages,
                coalesce(sum(coalesce(
                    m.total_tokens, coalesce(m.prompt_tokens, 0)::bigint + coalesce(m.completion_tokens, 0)
                )), 0) AS tokens
            FROM conversation_messages AS m
            WHERE m.conversation_id = c.id
        ) AS recount
        WHERE c.total_messages <> recount.messages OR c.total_tokens_used <> recount.tokens
    """,
    "conversation_customer": """
        SELECT c.id, c.customer_id, m.id AS message_id, m.customer_id AS customer_of_message
        FROM conversations AS c
        JOIN conversation_messages AS m ON m.conversation_id = c.id
        WHERE m.customer_id IS DISTINCT FROM c.customer_id
    """,
}
"""Invariants of the database alone, which hold in every snapshot."""

OF_THE_JOURNAL = {
    "no_order_lost": """
        SELECT j.build_id
        FROM journal AS j
        WHERE j.kind = 'ordered' AND NOT EXISTS (SELECT FROM build_queue AS b WHERE b.id = j.build_id)
    """,
    "one_claim_per_attempt": """
        SELECT j.build_id, j.retry_count, array_agg(j.worker_id) AS workers
        FROM journal AS j
        WHERE j.kind = 'claimed'
        GROUP BY j.build_id, j.retry_count
        HAVING count(*) > 1
    """,
    "one_completion_per_attempt": """
        SELECT j.build_id, j.retry_count, array_agg(j.worker_id) AS workers, array_agg(j.outcome) AS outcomes
        FROM journal AS j
        WHERE j.kind = 'completed'
        GROUP BY j.build_id, j.retry_count
        HAVING count(*) > 1
    """,
    "acknowledged_is_kept": f"""
        SELECT j.build_id, j.retry_count, j.worker_id, j.outcome
        FROM journal AS j
        LEFT JOIN ({ATTEMPTS}) AS a
            ON a.build_id = j.build_id AND a.retry_count = j.retry_count
            AND a.worker_id = j.worker_id AND a.status = j.outcome
        WHERE j.kind = 'completed' AND a.build_id IS NULL
    """,
    "late_workers_are_refused": """
        SELECT late.build_id, late.retry_count, late.worker_id, next.worker_id AS next_worker_id
        FROM journal AS late
        JOIN journal AS next ON next.build_id = late.build_id AND next.retry_count > late.retry_count
        WHERE late.kind = 'completed' AND next.kind = 'claimed' AND next.answered_at < late.asked_at
    """,
    # From the answer to a claim until the moment of its end, an attempt was certainly building.
    "concurrency_limit_over_time": f"""
        WITH changes AS (
            SELECT a.customer_id, j.answered_at AS moment, 1 AS change
            FROM journal AS j
            JOIN ({ATTEMPTS}) AS a ON a.build_id = j.build_id AND a.retry_count = j.retry_count
            WHERE j.kind = 'claimed' AND j.answered_at < a.completed_at
            UNION ALL
            SELECT a.customer_id, a.completed_at, -1
            FROM journal AS j
            JOIN ({ATTEMPTS}) AS a ON a.build_id = j.build_id AND a.retry_count = j.retry_count
            WHERE j.kind = 'claimed' AND j.answered_at < a.completed_at
        ), building AS (
            SELECT c.customer_id, c.moment,
                sum(c.change) OVER (PARTITION BY c.customer_id ORDER BY c.moment, c.change) AS builds
            FROM changes AS c
        )
        SELECT l.customer_id, l.max_concurrent_builds, max(b.builds) AS building
        FROM building AS b
        JOIN licenses AS l ON l.customer_id = b.customer_id
        GROUP BY l.id
        HAVING max(b.builds) > l.max_concurrent_builds
    """,
}
"""Invariants of the database together with the journal of its clients."""


def violations(connection: Connection, invariants: Iterable[str] = OF_THE_DATABASE) -> dict[str, list[Any]]:
    """Return what breaks the invariants: the rows of each one that does not hold.

    Args:
        connection: A connection to the database.
        invariants: Names of invariants. Those of the journal need `load_journal` first.
    """
    every = OF_THE_DATABASE | OF_THE_JOURNAL
    found = {name: connection.execute(every[name].encode()).fetchall() for name in invariants}
    return {name: rows for name, rows in found.items() if rows}


def load_journal(connection: Connection, lines: Iterable[str]) -> None:
    """Put a journal of acknowledgements into the temporary table `journal`.

    Args:
        connection: A connection to the database; the table is gone when it ends.
        lines: One acknowledgement each, of seven fields with tabs between them: kind (ordered, claimed or
            completed), build_id, retry_count, worker_id, outcome (success or failed), and when the client
            asked and was answered, in seconds since 1970. A field that does not apply is empty.
    """
    connection.execute(
        "CREATE TEMPORARY TABLE journal (kind text, build_id uuid, retry_count integer, worker_id text,"
        " outcome text, asked_epoch float8, answered_epoch float8,"
        " asked_at timestamptz GENERATED ALWAYS AS (to_timestamp(asked_epoch)) STORED,"
        " answered_at timestamptz GENERATED ALWAYS AS (to_timestamp(answered_epoch)) STORED)"
    )
    columns = "kind, build_id, retry_count, worker_id, outcome, asked_epoch, answered_epoch"
    with connection.cursor().copy(f"COPY journal ({columns}) FROM STDIN (NULL '')".encode()) as copy:
        for line in lines:
            copy.write(line)
    connection.execute("CREATE INDEX ON journal (build_id)")
    connection.execute("ANALYZE journal")
