"""Whatever a function is given, it answers, or it refuses in a way that its comment documents."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, note
from hypothesis import strategies as some
from psycopg import sql

from builders import (
    add_build,
    add_cache_entry,
    add_conversation,
    add_customer,
    add_license,
    add_registry_credential,
)
from honua_schema import sqlfile

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]

FUNCTIONS = sorted(
    each.name
    for each in sqlfile.load_objects()
    if each.kind == "function" and " RETURNS trigger\n" not in each.text
)
CAN_HAPPEN_ANYWHERE = {"22001", "22003"}
"""A text too long for its column, or a number too large for it."""

KNOWN_ID = UUID(int=1)
OTHER_CUSTOMERS_ID = UUID(int=2)
TEXTS = [
    *(
        "",
        "'",
        "%s",
        "\u00e9\U0001f5fa",
        "x" * 101,
        "y" * 256,
        "atlas",
        "other",
        "system",
        "nobody",
        "worker",
    ),
    *("amd64", "core", "cache_hit", "cache_miss", "build_created", "build_events", "audit_log"),
]
WHOLE_NUMBERS = [-(2**31), -1, 0, 1, 2, 100, 101, 36500, 36501, 2**31 - 1]
LARGE_NUMBERS = [-(2**63), *WHOLE_NUMBERS, 2**31, 2**63 - 1]
NUMERICS = [Decimal(text) for text in ("-1", "-0.001", "0", "1.005", "99999999.99", "1e20", "1e130000")]
NOT_NUMBERS = [Decimal(text) for text in ("NaN", "Infinity", "-Infinity")]
INTERVALS = ["0", "-1 second", "1 hour", "1 year", "367 days", "100000000 years", "-100000000 years"]

VALUES: dict[str, some.SearchStrategy[Any]] = {
    "boolean": some.booleans(),
    "integer": some.sampled_from(WHOLE_NUMBERS) | some.integers(-(2**31), 2**31 - 1),
    "bigint": some.sampled_from(LARGE_NUMBERS) | some.integers(-(2**63), 2**63 - 1),
    "numeric": some.sampled_from(NUMERICS + NOT_NUMBERS)
    | some.decimals(allow_nan=False, allow_infinity=False),
    "uuid": some.sampled_from([KNOWN_ID, OTHER_CUSTOMERS_ID]) | some.uuids(),
    "character varying": some.sampled_from(TEXTS)
    | some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    "text[]": some.lists(some.none() | some.sampled_from(TEXTS), max_size=3),
    "integer[]": some.lists(some.none() | some.integers(-1, 1000), max_size=3),
    "interval": some.sampled_from(INTERVALS),
    "inet": some.sampled_from(["10.0.0.1", "::1", "0.0.0.0/0"]),
    "jsonb": some.sampled_from(["{}", "[]", "null", "1", '{"modules": ["stac"]}']),
    "date": some.dates(),
    "timestamp with time zone": some.datetimes(timezones=some.just(datetime.UTC)),
    "bytea": some.binary(max_size=5),
    "licenses": some.just("other"),
}
VALUES["text"] = VALUES["character varying"]
VALUES["character varying[]"] = VALUES["text[]"]
AS_ARGUMENT = {"licenses": "(SELECT l FROM licenses AS l WHERE l.customer_id = %s)"}


@pytest.fixture
def furnished(connection: Connection) -> Connection:
    """A database where both customers have builds in several states, and all that an id may name."""
    for customer_id, key in (("atlas", KNOWN_ID), ("other", OTHER_CUSTOMERS_ID)):
        add_customer(connection, customer_id)
        add_license(connection, customer_id, max_concurrent_builds=2)
        add_cache_entry(connection, id=key)
        add_conversation(connection, customer_id, id=key)
        add_registry_credential(connection, customer_id, id=key)
        add_build(connection, customer_id, id=key)
        add_build(connection, customer_id)
        add_build(connection, customer_id, status="failed", completed_at=datetime.datetime.now(datetime.UTC))
    connection.execute("SELECT get_next_build_for_worker('worker', 'host', NULL, 2)")
    connection.autocommit = False
    return connection


def call(
    connection: Connection, function: str, arguments: dict[str, tuple[str, Any]]
) -> psycopg.errors.Error | None:
    """Call a function, undo what it did, and return how it refused, if it did."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.SQL(AS_ARGUMENT.get(kind, f"%s::{kind}")))
        for name, (kind, _) in arguments.items()
    )
    query = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(function), named)
    try:
        # Not fetched: a date after the year 9999 is a right answer that Python can't read.
        connection.execute(query, [value for _, value in arguments.values()])
    except psycopg.Error as error:
        return error
    finally:
        connection.rollback()
    return None


def signature(connection: Connection, function: str) -> tuple[list[tuple[str, str]], int, set[str]]:
    """Return a function's arguments (name and type), how many of them are required, and its SQLSTATEs."""
    [row] = connection.execute(
        "SELECT p.proargnames[1:p.pronargs] AS names, p.pronargs - p.pronargdefaults AS required,"
        " ARRAY(SELECT format_type(t.type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, n)"
        " ORDER BY t.n) AS types, obj_description(p.oid, 'pg_proc') AS comment"
        " FROM pg_proc AS p WHERE p.proname = %s AND p.pronamespace = 'public'::regnamespace",
        [function],
    ).fetchall()
    _, _, errors = row.comment.partition("Errors: ")
    return (
        list(zip(row.names or [], row.types, strict=True)),
        row.required,
        set(re.findall(r"\b\d\w{4}\b", errors)),
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments_are_answered_or_refused_as_documented(furnished: Connection, function: str) -> None:
    arguments, required, documented = signature(furnished, function)
    furnished.rollback()

    @given(some.data())
    def check(data: some.DataObject) -> None:
        count = data.draw(some.integers(required, len(arguments)), "number of arguments")
        given_arguments = {
            name: (kind, data.draw(some.none() | VALUES[kind], name)) for name, kind in arguments[:count]
        }
        error = call(furnished, function, given_arguments)
        if error is not None:
            note(f"{error.sqlstate}: {error}")
            assert error.sqlstate in documented | CAN_HAPPEN_ANYWHERE

    run: Callable[[], None] = check
    run()
