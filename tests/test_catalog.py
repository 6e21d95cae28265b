"""What holds for every object of the schema, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from honua_schema.models import Base

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

OURS = "n.nspname IN ('public', 'honua_partitions') AND c.relname <> 'alembic_version'"
BOUNDED = {"uuid", "int4", "int8", "int2", "bool", "timestamptz", "date", "numeric", "inet"}


def rows(connection: Connection, query: str) -> list[Any]:
    return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def test_every_table_and_view_has_a_comment(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE {OURS} AND n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v')"
            " AND obj_description(c.oid, 'pg_class') IS NULL",
        )
        == []
    )


def test_every_column_of_a_table_has_a_comment(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            f" WHERE {OURS} AND n.nspname = 'public' AND c.relkind IN ('r', 'p')"
            " AND col_description(c.oid, a.attnum) IS NULL",
        )
        == []
    )


@pytest.mark.parametrize(
    ("catalog", "condition"),
    [
        ("pg_proc", "x.pronamespace = 'public'::regnamespace"),
        ("pg_trigger", "NOT x.tgisinternal AND x.tgparentid = 0"),
    ],
)
def test_every_function_and_trigger_has_a_comment(
    connection: Connection, catalog: str, condition: str
) -> None:
    assert (
        rows(
            connection,
            f"SELECT x.oid FROM {catalog} x WHERE {condition} AND obj_description(x.oid, '{catalog}') IS NULL"
            f" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass"
            " AND d.objid = x.oid AND d.deptype = 'e')",
        )
        == []
    )


def test_every_constraint_is_named_for_its_table_and_rule(connection: Connection) -> None:
    prefixes = {"p": "pk", "u": "uq", "f": "fk", "c": "ck"}
    for row in rows(
        connection,
        "SELECT con.conname, con.contype, c.relname FROM pg_constraint con"
        " JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE {OURS} AND n.nspname = 'public' AND con.contype IN ('p', 'u', 'f', 'c')",
    ):
        assert row.conname.startswith(f"{prefixes[row.contype]}_{row.relname}"), row


def test_every_foreign_key_is_indexed_by_its_leading_columns(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT con.conname FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid"
            f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND con.contype = 'f'"
            " AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = con.conrelid"
            "   AND (i.indkey::int2[])[0:cardinality(con.conkey) - 1] @> con.conkey"
            "   AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) LIKE '%IS NOT NULL%'))",
        )
        == []
    )


def test_no_index_is_the_duplicate_or_the_prefix_of_another(connection: Connection) -> None:
    assert (
        rows(
            connection,
            """
        SELECT narrow.indexrelid::regclass AS narrow, wide.indexrelid::regclass AS wide
        FROM pg_index narrow
        JOIN pg_index wide ON wide.indrelid = narrow.indrelid AND wide.indexrelid <> narrow.indexrelid
        JOIN pg_class n ON n.oid = narrow.indexrelid
        JOIN pg_class w ON w.oid = wide.indexrelid AND w.relam = n.relam
        JOIN pg_am am ON am.oid = n.relam AND am.amname = 'btree'
        WHERE n.relnamespace = 'public'::regnamespace
          AND NOT narrow.indisunique
          AND narrow.indexprs IS NULL AND wide.indexprs IS NULL
          AND pg_get_expr(narrow.indpred, narrow.indrelid) IS NOT DISTINCT FROM
              pg_get_expr(wide.indpred, wide.indrelid)
          AND (wide.indkey::int2[])[0:narrow.indnatts - 1] = narrow.indkey::int2[]
          AND (wide.indoption::int2[])[0:narrow.indnkeyatts - 1] = narrow.indoption::int2[]
        """,
        )
        == []
    )


def test_no_unbounded_column_is_in_the_key_of_a_btree_or_carried_along(connection: Connection) -> None:
    found = rows(
        connection,
        "SELECT i.indexrelid::regclass AS index, a.attname, b.typname,"
        " CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam AND am.amname <> 'gin'"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " JOIN pg_type t ON t.oid = a.atttypid"
        " JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END"
        " WHERE c.relnamespace = 'public'::regnamespace"
        " AND i.indrelid <> 'alembic_version'::regclass",
    )
    assert found
    for row in found:
        assert row.typname in BOUNDED or (row.typname == "varchar" and 0 < row.typmod <= 259), row


def test_no_index_has_a_column_that_progress_reports_change(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT i.indexrelid::regclass, a.attname FROM pg_index i"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
            " WHERE i.indrelid = 'build_queue'::regclass AND a.attname IN"
            " ('progress_percent', 'current_step', 'steps_completed', 'heartbeat_at', 'updated_at')",
        )
        == []
    )


def test_each_index_of_a_model_says_which_query_it_serves() -> None:
    indexes = [index for table in Base.metadata.tables.values() for index in table.indexes]
    assert len(indexes) > 50
    assert [index.name for index in indexes if not index.info.get("serves")] == []


def test_conversation_messages_are_searched_in_full_text(connection: Connection) -> None:
    definition = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_conversation_messages_content_search'"
    ).fetchone()
    assert definition is not None
    assert "USING gin (to_tsvector('english'::regconfig" in definition.indexdef


@pytest.mark.parametrize("table", ["build_access_log", "build_events", "build_metrics", "audit_log"])
def test_a_log_is_partitioned_by_month_and_keeps_what_fits_no_month(
    connection: Connection, table: str
) -> None:
    row = connection.execute(
        "SELECT pg_get_partkeydef(%(table)s::regclass) AS key, partdefid::regclass::text AS default_partition"
        " FROM pg_partitioned_table WHERE partrelid = %(table)s::regclass",
        {"table": table},
    ).fetchone()
    assert row is not None
    assert row.key.startswith("RANGE (")
    assert row.default_partition == f"honua_partitions.{table}_default"


def test_every_function_pins_its_search_path_and_declares_its_parallel_safety(
    connection: Connection,
) -> None:
    for row in rows(
        connection,
        "SELECT p.proname, p.proconfig, p.provolatile, p.proparallel,"
        " p.prosqlbody IS NOT NULL AS is_bound FROM pg_proc p"
        " WHERE p.pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d"
        " WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
    ):
        is_bound = (
            row.is_bound and row.proconfig is None
        )  # its names mean what they meant when it was created
        assert is_bound or "search_path=public, pg_temp" in (row.proconfig or []), row
        assert (row.proparallel == "u") == (row.provolatile == "v"), row


def test_no_function_name_is_overloaded(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass"
            " AND d.objid = p.oid AND d.deptype = 'e')"
            " GROUP BY p.proname HAVING count(*) > 1",
        )
        == []
    )


def test_every_view_runs_with_the_rights_of_who_asks(connection: Connection) -> None:
    for row in rows(
        connection,
        "SELECT c.relname, c.reloptions FROM pg_class c"
        " WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace",
    ):
        assert row.reloptions == ["security_invoker=true"], row


def test_the_metadata_has_exactly_the_seventeen_tables(connection: Connection) -> None:
    tables = rows(connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {row.tablename for row in tables} - {"alembic_version"} == set(Base.metadata.tables)
    assert len(Base.metadata.tables) == 17
