"""What stands in the way of distributing the tables by customer_id, as Citus would: read from the catalog.

Citus wants the distribution column in every primary key and unique index of a distributed table, and in every
foreign key between two of them; and it refuses triggers on distributed tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from sqlalchemy import URL

COLUMN = "customer_id"
REFERENCE_TABLES = {"build_cache_registry", "schema_migrations"}
"""Copied to every node: what belongs to no customer."""

QUERY = """
    WITH tables AS (
        SELECT
            c.oid, c.relname AS name,
            (
                SELECT a.attnum FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped
            ) AS distributed_by
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND c.relname <> 'alembic_version'
    )
    SELECT
        t.name, t.distributed_by IS NOT NULL AS has_column,
        ARRAY(
            SELECT i.relname::text
            FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
            WHERE x.indrelid = t.oid AND x.indisunique
              AND NOT coalesce(t.distributed_by = ANY (x.indkey::smallint[]), false)
            ORDER BY i.relname
        ) AS unique_indexes,
        ARRAY(
            SELECT k.conname::text
            FROM pg_constraint AS k JOIN tables AS other ON other.oid = k.confrelid
            WHERE k.conrelid = t.oid AND k.contype = 'f' AND other.name <> ALL (%s)
              AND NOT coalesce(
                EXISTS (
                    SELECT FROM unnest(k.conkey, k.confkey) AS pair (ours, theirs)
                    WHERE pair.ours = t.distributed_by AND pair.theirs = other.distributed_by
                ), false
              )
            ORDER BY k.conname
        ) AS foreign_keys,
        (
            SELECT count(*) FROM pg_trigger AS g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal
        ) AS triggers
    FROM tables AS t
    ORDER BY t.name
"""


def obstacles(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Return what would have to change, by table.

    Args:
        connection: A database at head.
    """
    found = {}
    parameters = (COLUMN, sorted(REFERENCE_TABLES))
    for name, has_column, unique, foreign, triggers in connection.execute(QUERY, parameters).fetchall():
        table = found[name] = []
        if name not in REFERENCE_TABLES:
            if not has_column:
                table.append(f"no {COLUMN}")
            table += [f"unique {index}" for index in unique]
            table += [f"foreign key {constraint}" for constraint in foreign]
        if triggers:
            table.append(f"{triggers} trigger{'s' if triggers > 1 else ''}")
    return found


def write(url: URL) -> str:
    """Return the list as a table of the page.

    Args:
        url: A database at head.
    """
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(uri) as connection:
        found = obstacles(connection)
    lines = ["| Table | In the way |", "|---|---|"]
    for name, each in found.items():
        kind = " (reference)" if name in REFERENCE_TABLES else ""
        lines.append(f"| `{name}`{kind} | {', '.join(each) or 'nothing'} |")
    return "\n".join(lines) + "\n"
