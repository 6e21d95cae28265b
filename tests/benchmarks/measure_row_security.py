"""What row security costs: ten queries of a tenant, with it and with an explicit condition instead.

Run it as ``python tests/benchmarks/measure_row_security.py URL [rows]`` on a database at head, as a
superuser. It fills the database with a million rows per table on first use, which takes some minutes, and
prints for each query the interleaved medians, their ratio, and whether the index of the tenant is used.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import dataclass

import psycopg

CUSTOMERS = 1000
ROUNDS = 1000
FILL = """
SET session_replication_role = replica;
INSERT INTO customers (customer_id, organization_name, contact_email, tier)
    SELECT 'c' || i, 'Organisation ' || i, 'c' || i || '@example.com', 'pro'
    FROM generate_series(1, {customers}) AS i;
INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at)
    SELECT 'c' || i, 'k', 'h' || i, 'pro', now() + interval '1 year'
    FROM generate_series(1, {customers}) AS i;
INSERT INTO build_cache_registry (manifest_hash, tier, registry_url, image_tag, full_image_url, modules,
        architecture, cloud_provider, cloud_compute, deployment_mode, build_duration_seconds, manifest_json)
    SELECT 'h' || i, (ARRAY['core', 'pro', 'enterprise', 'asp'])[1 + i % 4], 'r', 't', 'f', '{{m}}', 'amd64',
        'aws', 'c', 'standalone', 60, '{{}}'
    FROM generate_series(1, {rows} / 100) AS i;
INSERT INTO build_queue (id, customer_id, manifest_path, manifest_hash, manifest_json, status, admission,
        queued_at, completed_at, idempotency_key)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'c' || 1 + i % {customers}, 'm',
        'h' || i, '{{"modules": ["a"]}}', CASE WHEN i % 100 = 0 THEN 'building' ELSE 'success' END, 'ready',
        now() - i * interval '10 s', CASE WHEN i % 100 > 0 THEN now() - i * interval '9 s' END, 'k' || i
    FROM generate_series(1, {rows}) AS i;
INSERT INTO build_results (id, build_queue_id, success, actual_duration_seconds, customer_id)
    SELECT b.id, b.id, true, 60, b.customer_id FROM build_queue AS b;
INSERT INTO build_events (build_queue_id, event_type, event_timestamp, customer_id)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(1 + i / 10), 12, '0'))::uuid, 'step',
        now() - i * interval '1 s', 'c' || 1 + (1 + i / 10) % {customers}
    FROM generate_series(1, {rows}) AS i;
INSERT INTO build_access_log (customer_id, access_type, accessed_at)
    SELECT 'c' || 1 + i % {customers}, 'cache_miss', now() - i * interval '10 s'
    FROM generate_series(1, {rows}) AS i;
INSERT INTO conversations (id, customer_id, started_at)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'c' || 1 + i % {customers},
        now() - i * interval '100 s'
    FROM generate_series(1, {rows} / 10) AS i;
INSERT INTO conversation_messages (conversation_id, role, content, sequence_number, customer_id)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(1 + i / 10), 12, '0'))::uuid, 'user', 'hello', i % 10,
        'c' || 1 + (1 + i / 10) % {customers}
    FROM generate_series(10, {rows}) AS i;
SET session_replication_role = origin;
VACUUM ANALYZE;
"""


@dataclass(frozen=True)
class Query:
    """A tenant's query under row security, and the condition that somebody else would add to it."""

    name: str
    sql: str
    condition: str
    index: str


QUERIES = (
    Query(
        "newest builds",
        "SELECT b.id, b.status, b.queued_at FROM build_queue b WHERE true {condition}"
        " ORDER BY b.queued_at DESC LIMIT 20",
        "AND b.customer_id = %(customer)s",
        "ix_build_queue_customer_id",
    ),
    Query(
        "running builds",
        "SELECT b.id, b.progress_percent FROM build_queue b"
        " WHERE b.status IN ('queued', 'building') AND b.admission = 'ready' {condition}",
        "AND b.customer_id = %(customer)s",
        "ix_build_queue_slots",
    ),
    Query(
        "builds of the month",
        "SELECT count(*) FROM build_queue b WHERE b.queued_at >= now() - interval '30 days' {condition}",
        "AND b.customer_id = %(customer)s",
        "ix_build_queue_customer_id",
    ),
    Query(
        "one build",
        "SELECT b.* FROM build_queue b WHERE b.id = %(build)s {condition}",
        "AND b.customer_id = %(customer)s",
        "pk_build_queue",
    ),
    Query(
        "build by idempotency key",
        "SELECT b.id FROM build_queue b WHERE b.idempotency_key = %(key)s {condition}",
        "AND b.customer_id = %(customer)s",
        "uq_build_queue_idempotency_key",
    ),
    Query(
        "newest results",
        "SELECT b.id, r.success, r.actual_duration_seconds FROM build_queue b"
        " JOIN build_results r ON r.build_queue_id = b.id WHERE b.queued_at >= now() - interval '30 days'"
        " {condition} ORDER BY b.queued_at DESC LIMIT 20",
        "AND b.customer_id = %(customer)s",
        "ix_build_queue_customer_id",
    ),
    Query(
        "events of a build",
        "SELECT e.event_type, e.event_timestamp FROM build_events e"
        " WHERE e.build_queue_id = %(build)s {condition} ORDER BY e.event_timestamp",
        "AND EXISTS (SELECT FROM build_queue b"
        " WHERE b.id = e.build_queue_id AND b.customer_id = %(customer)s)",
        "build_queue_id",
    ),
    Query(
        "cache accesses of a week",
        "SELECT a.access_type, count(*) FROM build_access_log a"
        " WHERE a.accessed_at >= now() - interval '7 days' {condition} GROUP BY 1",
        "AND a.customer_id = %(customer)s",
        "customer_id",
    ),
    Query(
        "newest conversations",
        "SELECT c.id, c.status FROM conversations c WHERE true {condition}"
        " ORDER BY c.started_at DESC LIMIT 20",
        "AND c.customer_id = %(customer)s",
        "ix_conversations_customer_id",
    ),
    Query(
        "messages of a conversation",
        "SELECT m.role, m.content FROM conversation_messages m"
        " WHERE m.conversation_id = %(conversation)s {condition} ORDER BY m.sequence_number",
        "AND EXISTS (SELECT FROM conversations c"
        " WHERE c.id = m.conversation_id AND c.customer_id = %(customer)s)",
        "uq_conversation_messages_conversation_id",
    ),
)


def keys(rows: int) -> dict[str, str]:
    """Keys of a random customer."""
    number = random.randrange(CUSTOMERS)
    build = number + CUSTOMERS * random.randrange(1, rows // CUSTOMERS // 10)
    conversation = number + CUSTOMERS * random.randrange(1, rows // CUSTOMERS // 10 - 1)
    return {
        "customer": f"c{1 + number}",
        "build": f"00000000-0000-4000-8000-{build:012x}",
        "conversation": f"00000000-0000-4000-8000-{conversation:012x}",
        "key": f"k{build}",
    }


def timed(connection: psycopg.Connection, query: str, values: dict[str, str]) -> tuple[float, list[tuple]]:
    started = time.perf_counter()
    found = connection.execute(query, values, prepare=True).fetchall()
    return 1000 * (time.perf_counter() - started), found


def main() -> None:
    url, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with (
        psycopg.connect(url, autocommit=True) as owner,
        psycopg.connect(url, autocommit=True) as tenant,
    ):
        if not owner.execute("SELECT EXISTS (SELECT FROM build_queue)").fetchone()[0]:
            for statement in FILL.format(customers=CUSTOMERS, rows=rows).split(";\n"):
                if statement.strip():
                    owner.execute(statement)
        tenant.execute("SET ROLE honua_app")
        sys.stdout.write(f"{'query':<28}{'WHERE':>10}{'row security':>14}{'ratio':>8}  index\n")
        for query in QUERIES:
            explicit = query.sql.format(condition=query.condition)
            implicit = query.sql.format(condition="")
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS):
                values = keys(rows)
                with tenant.transaction():
                    tenant.execute(
                        "SELECT set_config('honua.customer_id', %s, true)", [values["customer"]], prepare=True
                    )
                    pair = [
                        timed(*each, values)
                        for each in ((owner, explicit), (tenant, implicit))[:: 1 if number % 2 else -1]
                    ][:: 1 if number % 2 else -1]
                assert pair[0][1] == pair[1][1] or sorted(pair[0][1]) == sorted(pair[1][1]), query.name
                for series, (elapsed, _) in zip(times, pair, strict=True):
                    series.append(elapsed)
            with tenant.transaction():
                tenant.execute("SELECT set_config('honua.customer_id', %s, true)", [values["customer"]])
                plan = "\n".join(row[0] for row in tenant.execute("EXPLAIN " + implicit, values))
            first, second = map(statistics.median, times)
            used = "used" if query.index in plan and "Seq Scan" not in plan else f"NOT USED:\n{plan}"
            sys.stdout.write(
                f"{query.name:<28}{first:>7.3f} ms{second:>11.3f} ms{second / first:>8.2f}  {used}\n"
            )


if __name__ == "__main__":
    main()
