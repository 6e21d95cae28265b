"""Each constraint accepts a row that keeps its rule, and refuses one that does not, by its name."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import CheckConstraint, Enum, Numeric, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

import builders
from honua_schema.models import Base
from honua_schema.models.base import Domain, domains

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]

NAMES = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
CONSTRAINTS: dict[str, tuple[Table, Any]] = {
    name: (table, constraint)
    for table in Base.metadata.sorted_tables
    for name, constraint in sorted(
        (str(NAMES.format_constraint(constraint)), constraint) for constraint in table.constraints
    )
}
UNIQUE_INDEXES = {
    str(index.name): (table, index)
    for table in Base.metadata.sorted_tables
    for index in table.indexes
    if index.unique
}
DOMAINS: dict[str, tuple[Table, Any]] = {
    column.type.rule: (column.table, column.type) for column in domains().values()
}
CHECKS = DOMAINS | {
    name: found for name, found in CONSTRAINTS.items() if isinstance(found[1], CheckConstraint)
}
KEYS = {
    name: found
    for name, found in CONSTRAINTS.items()
    if isinstance(found[1], PrimaryKeyConstraint | UniqueConstraint)
}
REFERENCES = {name: found for name, found in CONSTRAINTS.items() if name not in CHECKS | KEYS}

BUILDERS: dict[str, Callable[..., object]] = {
    "build_artifacts": builders.add_artifact,
    "build_cache_registry": builders.add_cache_entry,
    "build_events": builders.add_event,
    "build_manifests": builders.add_manifest,
    "build_metrics": builders.add_metric,
    "build_queue": builders.add_build,
    "build_results": builders.add_result,
    "conversation_intents": builders.add_intent,
    "conversation_messages": builders.add_message,
    "conversations": builders.add_conversation,
    "customers": builders.add_customer,
    "licenses": builders.add_license,
    "audit_log": lambda connection, **columns: builders._insert(
        connection,
        "audit_log",
        {"table_name": "customers", "operation": "INSERT", "row_id": uuid.uuid4(), "actor": "clerk"}
        | {"transaction_id": 1, "new_values": {}}
        | columns,
        int,
    ),
    "build_access_log": lambda connection, **columns: builders.add_cache_access(
        connection, **({"build_cache_id": builders.add_cache_entry(connection)} | columns)
    ),
    "registry_credentials": builders.add_registry_credential,
    "requirement_extractions": builders.add_extraction,
    "schema_migrations": lambda connection, **columns: builders._insert(
        connection,
        "schema_migrations",
        {"version": uuid.uuid4().hex, "name": "n", "checksum": "c" * 64, "execution_time_ms": 1} | columns,
        str,
        key="version",
    ),
}

RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "max_duration_seconds": ([1, 2**31 - 1], [0, -1]),
    "priority": ([1, 10], [0, 11]),
    "progress_percent": ([0, 100], [-1, 101]),
    "confidence_score": ([0, 1], ["-0.01", "1.01", "NaN"]),
    "intent_confidence": ([0, 1], ["-0.01", "1.01", "NaN"]),
    "extraction_confidence": ([0, 1], ["-0.01", "1.01", "NaN"]),
    "user_satisfaction_score": ([1, 5], [0, 6]),
}
"""Columns with other limits than at least zero: values that are accepted, and values that are refused."""

RULES: dict[str, tuple[list[str], list[str]]] = {
    "ck_licenses_expires_after_issue": (
        ["expires_at = issued_at + interval '1 microsecond'"],
        ["expires_at = issued_at", "expires_at = issued_at - interval '1 day'"],
    ),
    "ck_licenses_trial_expires_after_issue": (
        ["trial_expires_at = NULL", "trial_expires_at = issued_at + interval '1 microsecond'"],
        ["trial_expires_at = issued_at"],
    ),
    "ck_conversations_completed_after_start": (
        ["completed_at = NULL", "completed_at = started_at"],
        ["completed_at = started_at - interval '1 microsecond'"],
    ),
    "ck_build_cache_registry_modules_length": (
        ["modules = '{}'", "modules = ARRAY[repeat('ä', 999), 'xy']"],
        ["modules = ARRAY[repeat('ä', 999), 'xyz']"],
    ),
    "ck_build_access_log_only_a_miss_has_no_entry": (
        ["access_type = 'build_created'", "access_type = 'cache_miss', build_cache_id = NULL"],
        [
            "access_type = 'cache_hit', build_cache_id = NULL",
            "access_type = 'build_created', build_cache_id = NULL",
        ],
    ),
}
"""Checks that compare columns: changes of a valid row that are accepted, and changes that are refused."""

OUTSIDE: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "uq_registry_credentials_live_default": (
        {"is_default": True},
        [{"is_default": False}, {"revoked_at": "now"}],
    ),
    "uq_build_cache_registry_live_entry": ({}, [{"deleted_at": "now"}]),
    "uq_build_queue_idempotency_key": ({"idempotency_key": "key"}, [{"idempotency_key": None}]),
}
"""Of each unique index the columns of a row in it, and of rows with the same key that are not in it."""


def test_every_named_constraint_is_tested(connection: Connection) -> None:
    found = connection.execute(
        "SELECT c.conname AS name FROM pg_constraint AS c"
        " WHERE c.connamespace = 'public'::regnamespace AND c.contype NOT IN ('n', 't')"
        " AND c.conrelid <> 'alembic_version'::regclass AND c.conparentid = 0"
        " UNION SELECT r.relname FROM pg_index AS i JOIN pg_class AS r ON r.oid = i.indexrelid"
        " WHERE r.relnamespace = 'public'::regnamespace AND i.indisunique"
        " AND i.indrelid <> 'alembic_version'::regclass"
    ).fetchall()
    assert {row.name for row in found} == CONSTRAINTS.keys() | DOMAINS.keys() | UNIQUE_INDEXES.keys()
    assert UNIQUE_INDEXES.keys() == OUTSIDE.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_accepts_what_keeps_it_and_refuses_what_does_not(connection: Connection, name: str) -> None:
    table, _ = CHECKS[name]
    accepted, refused = RULES[name] if name in RULES else values_of(name, table)
    add_row(connection, table)
    for change in accepted:
        assert refusal(connection, change_rows, table, change) is None, change
    for change in refused:
        assert refusal(connection, change_rows, table, change) == name, change


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_accepts_a_row_that_is_there_and_no_other(connection: Connection, name: str) -> None:
    table, constraint = REFERENCES[name]
    target = constraint.referred_table
    add_row(connection, target)
    add_row(connection, table)
    references = {element.parent.name: element.column.name for element in constraint.elements}
    if "customer_id" in table.columns and "customer_id" in target.columns:
        references["customer_id"] = "customer_id"  # what it refers to has to be the same customer's
    there = dict(zip(references, first_row(connection, target, list(references.values())), strict=True))
    *customer, last = [element.parent.name for element in constraint.elements]
    unknown = {uuid.UUID: uuid.uuid4(), str: "nobody", int: 2**62}[type(there[last])]
    cleared = {column: None for column in there if table.columns[column].nullable}
    nowhere = there | {customer[0]: "system"} if customer else cleared | {last: unknown}
    assert refusal(connection, change_rows, table, there) is None
    assert refusal(connection, change_rows, table, nowhere) == name


@pytest.mark.parametrize("name", KEYS)
def test_a_key_accepts_another_row_and_refuses_the_same_one_twice(connection: Connection, name: str) -> None:
    table, constraint = KEYS[name]
    if table.primary_key is not constraint and set(table.primary_key.columns) <= set(constraint.columns):
        connection.execute(f"ALTER TABLE {table.name} DROP CONSTRAINT pk_{table.name} CASCADE".encode())
    add_row(connection, table)
    key = first_row(connection, table, [column.name for column in constraint.columns])._asdict()
    assert refusal(connection, add_row, table) is None
    assert refusal(connection, add_row, table, **key) == name


@pytest.mark.parametrize("name", UNIQUE_INDEXES)
def test_a_unique_index_is_about_some_rows_only(connection: Connection, name: str) -> None:
    table, index = UNIQUE_INDEXES[name]
    inside, outside = OUTSIDE[name]
    add_row(connection, table, **inside)
    key = inside | first_row(connection, table, [column.name for column in index.columns])._asdict()
    for change in outside:
        assert refusal(connection, add_row, table, **(key | change)) is None
    assert refusal(connection, add_row, table, **key) == name


def values_of(name: str, table: Table) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return values of a check's column that it accepts, and values that it refuses."""
    column_name, _, rule = name.removeprefix(f"ck_{table.name}_").rpartition("_")
    data_type = table.columns[column_name].type
    if isinstance(data_type, Domain):
        data_type = data_type.data_type
    accepted: list[Any]
    refused: list[Any]
    if rule == "allowed":
        assert isinstance(data_type, Enum)
        accepted, refused = list(data_type.enums), ["other", ""]
    elif rule == "object":
        accepted, refused = [Jsonb({}), Jsonb({"a": 1})], [Jsonb([]), Jsonb("text"), Jsonb(None)]
    else:
        assert rule == "range"
        accepted, refused = [0, 1], [-1]
        if isinstance(data_type, Numeric):
            smallest = Decimal(1).scaleb(-(data_type.scale or 0))
            accepted, refused = [0, smallest], [-smallest, "NaN"]
        accepted, refused = RANGES.get(column_name, (accepted, refused))
    return [{column_name: value} for value in accepted], [{column_name: value} for value in refused]


def add_row(connection: Connection, table: Table, **columns: Any) -> None:
    """Add a valid row but for the columns that are given."""
    if table.name == "audit_log":
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")  # it would be append-only
    BUILDERS[table.name](connection, **columns)


def change_rows(connection: Connection, table: Table, change: str | dict[str, Any]) -> None:
    """Set columns of all rows of a table, by an SQL clause or to values."""
    values = {} if isinstance(change, str) else change
    clause = change if isinstance(change, str) else ", ".join(f"{column} = %({column})s" for column in change)
    connection.execute(f"UPDATE {table.name} SET {clause}".encode(), values)


def first_row(connection: Connection, table: Table, columns: list[str]) -> Any:
    """Return columns of some row of a table."""
    query = f"SELECT {', '.join(columns)} FROM {table.name} LIMIT 1"
    return connection.execute(query.encode()).fetchone()


def refusal(
    connection: Connection, act: Callable[..., object], *arguments: Any, **columns: Any
) -> str | None:
    """Do something, and return the name of the constraint that refused it, None if none did."""
    try:
        act(connection, *arguments, **columns)
    except psycopg.errors.IntegrityError as error:
        name = error.diag.constraint_name
        # A partition's part of an index has a name of its own.
        whole = connection.execute(
            "SELECT i.inhparent::regclass::text AS name FROM pg_inherits AS i"
            " WHERE i.inhrelid = to_regclass(%s)",
            [f"{error.diag.schema_name}.{name}"],
        ).fetchone()
        return whole.name if whole else name
    return None
