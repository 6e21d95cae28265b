"""The pages below docs/reference are those of `make reference`; their links lead somewhere, examples run."""

from __future__ import annotations

import functools
import posixpath
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from builders import (
    add_build,
    add_cache_access,
    add_cache_entry,
    add_conversation,
    add_customer,
    add_license,
    add_metric,
    add_registry_credential,
    add_result,
)
from honua_schema.crypto import hash_license_key
from honua_schema.models import Base
from reference import pages
from reference.functions import examples
from reference.markdown import Links, table
from reference.schema import Schema, read, readable, uses, without_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg
    from sqlalchemy import Engine

    Connection = psycopg.Connection[Any]

RUNNING, FAILED = "5d2f7c1e-8a34-4b6f-9c0d-3e1a7b9f2c48", "9b8e6a40-2c7d-4f15-8e3b-6d0a4c5f1e72"
PAGES = pages.read_pages()
MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.fixture
def schema(engine: Engine) -> Iterator[Schema]:
    """What the test's database consists of."""
    with engine.connect() as connection:
        yield read(connection)


def generated(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return pages.generate(connection)


def test_each_page_is_what_make_reference_writes_and_there_is_no_other(engine: Engine) -> None:
    expected = generated(engine)
    assert sorted(PAGES) == sorted(expected), "run: make reference"
    stale = [path for path, text in expected.items() if PAGES[path] != text]
    assert stale == [], "run: make reference"


def test_a_change_of_the_database_makes_pages_stale(engine: Engine, connection: Connection) -> None:
    connection.execute("ALTER TABLE customers ADD COLUMN nickname text")
    connection.execute("COMMENT ON FUNCTION tier_rank IS 'Something else.'")
    connection.execute("CREATE INDEX ix_licenses_issued_at ON licenses (issued_at)")
    changed = generated(engine)
    stale = {path for path, text in changed.items() if PAGES[path] != text}
    assert stale == {"tables/customers.md", "tables/licenses.md", "functions/core.md", "index.md"}
    assert "| `nickname` | `text` |  | yes |  |" in changed["tables/customers.md"]
    assert "`ix_licenses_issued_at`" in changed["tables/licenses.md"]


def test_a_rule_that_the_type_of_a_column_brings_is_a_rule_of_its_table(
    engine: Engine, connection: Connection
) -> None:
    connection.execute(
        "CREATE DOMAIN percentage AS integer DEFAULT 7 NOT NULL"
        " CONSTRAINT percentage_range CHECK (VALUE <= 100)"
    )
    connection.execute("COMMENT ON DOMAIN percentage IS 'How much of a whole'")
    connection.execute("ALTER TABLE licenses ADD COLUMN share percentage UNIQUE")
    changed = generated(engine)
    page = changed["tables/licenses.md"]
    assert "| `share` | [`percentage`](../types.md#percentage) | `7` |  |  |" in page
    assert (
        "- `percentage_range` of `share`, by its type [`percentage`](../types.md#percentage):"
        " `CHECK (VALUE <= 100)`\n" in page
    )
    assert "        integer share UK\n" in changed["diagrams.md"]
    assert "Columns: [`licenses`](tables/licenses.md).`share`" in changed["types.md"]
    assert "[Types](types.md)" in changed["index.md"]


def test_writing_adds_changes_and_removes_pages_and_leaves_the_others(tmp_path: Path) -> None:
    assert pages.write({"a.md": "a\n", "folder/b.md": "b\n"}, tmp_path) == ["a.md", "folder/b.md"]
    before = (tmp_path / "a.md").stat().st_mtime_ns
    assert pages.write({"a.md": "a\n", "c.md": "c\n"}, tmp_path) == ["c.md", "folder/b.md"]
    assert pages.read_pages(tmp_path) == {"a.md": "a\n", "c.md": "c\n"}
    assert (tmp_path / "a.md").stat().st_mtime_ns == before


@functools.cache
def headings(text: str) -> list[tuple[str, str]]:
    """Return the headings of a page: h1, h2 ..., and the text."""
    tokens = MARKDOWN.parse(text)
    return [
        (token.tag, tokens[number + 1].content)
        for number, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


@functools.cache
def anchors(text: str) -> set[str]:
    """Return the anchors of a page as code hosts and site generators name them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(text)}


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_plain_markdown_below_one_title(path: str) -> None:
    text = PAGES[path]
    assert [tag for tag, _ in headings(text)].count("h1") == 1
    assert text.startswith("# ")
    tokens = [each for token in MARKDOWN.parse(text) for each in [token, *(token.children or [])]]
    assert [each.content for each in tokens if each.type in {"html_block", "html_inline"}] == []
    assert len(headings(text)) == len(anchors(text)), "two headings have the same anchor"
    for line in text.splitlines():
        assert line == line.rstrip()


@pytest.mark.parametrize("path", PAGES)
def test_the_links_of_each_page_lead_to_pages_and_headings_that_exist(path: str) -> None:
    tokens = [each for token in MARKDOWN.parse(PAGES[path]) for each in token.children or []]
    targets = [str(each.attrs["href"]) for each in tokens if each.type == "link_open"]
    for target in targets:
        page, _, heading = target.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(path), page)) if page else path
        file = pages.FOLDER / found
        assert file.is_file(), target
        if heading:
            assert heading in anchors(file.read_text(encoding="utf-8")), target


def test_a_page_leads_to_each_table_view_function_trigger_and_role(schema: Schema) -> None:
    assert set(schema.tables) == set(Base.metadata.tables)
    assert len(schema.views) == 8
    for name, (page, heading) in pages.places(schema).items():
        assert name in (anchors(PAGES[page]) if heading else PAGES[page]), name
    linked = PAGES["index.md"]
    for page in PAGES:
        assert page == "index.md" or f"({page}" in linked, page


def test_each_function_that_can_be_called_has_an_example_and_no_other_has(schema: Schema) -> None:
    callable_ones = {each.name for each in schema.functions.values() if not each.is_trigger}
    assert set(examples()) == callable_ones
    for name, call in examples().items():
        assert f"{name}(" in call
        assert len(call.splitlines()) < 12


def fill(connection: Connection) -> None:
    """Make what the examples ask about."""
    now = datetime.now(UTC)
    add_customer(connection, "atlas", tier="pro")
    add_license(connection, "atlas", license_key_hash=hash_license_key("the licence key"), tier="pro",
                max_concurrent_builds=10)  # fmt: skip
    add_registry_credential(connection, "atlas", is_default=True)
    entry = add_cache_entry(connection, manifest_hash="0f343b0931126a20f133d67c2b018a3b", tier="pro")
    add_cache_access(connection, entry, "atlas")
    running = {"status": "building", "worker_id": "worker-1", "started_at": now, "worker_assigned_at": now}
    add_build(
        connection, "atlas", id=RUNNING, **running, heartbeat_at=now, timeout_at=now + timedelta(hours=1)
    )
    add_build(connection, "atlas", **running, timeout_at=now - timedelta(minutes=1))
    add_build(connection, "atlas", id=FAILED, status="failed", completed_at=now)
    add_build(connection, "atlas")
    waiting = add_build(connection, "atlas")
    connection.execute("UPDATE build_queue SET admission = 'waiting' WHERE id = %s", [waiting])
    delayed = add_build(connection, "atlas", queued_at=now + timedelta(hours=1))
    connection.execute("SET session_replication_role = replica")  # time passes
    due = "UPDATE build_queue SET queued_at = now() - INTERVAL '1 second' WHERE id = %s"
    connection.execute(due, [delayed])
    connection.execute("RESET session_replication_role")
    add_result(connection, stdout_log="compiled", created_at=now - timedelta(days=100))
    add_metric(connection, metric_timestamp=now - timedelta(days=800))
    add_license(connection, issued_at=now - timedelta(days=400), expires_at=now - timedelta(days=1))
    failed_at = now - timedelta(days=60)
    add_registry_credential(connection, validation_status="invalid", last_validated_at=failed_at)
    add_conversation(connection, started_at=now - timedelta(days=10), customer_email="ada@atlas.example")
    add_customer(connection, "left", deleted_at=now - timedelta(days=100))
    connection.execute("SELECT seal_audit_log()")
    add_customer(connection, "unsealed")


def test_each_example_answers(connect: Any) -> None:
    fill(connect())
    connection = connect(autocommit=False)
    for name, call in examples().items():
        rows = connection.execute(call.encode()).fetchall()
        connection.rollback()
        assert rows, name
        assert any(rows[0]), f"{name}: {rows[0]}"


def test_the_examples_on_the_pages_are_those_of_the_file() -> None:
    shown = "".join(text for path, text in PAGES.items() if path.startswith("functions/"))
    for call in examples().values():
        assert f"```sql\n{call}\n```\n" in shown


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CHECK (status::text = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[]))",
         "CHECK (status IN ('a', 'b'))"),
        ("'{}'::jsonb", "'{}'::jsonb"),
        ("NULL::integer", "NULL"),
        ("NULL::timestamp with time zone", "NULL"),
        ("nextval('a_id_seq'::regclass)", "nextval('a_id_seq'::regclass)"),
        ("tags = ANY (members)", "tags = ANY (members)"),
        ("share >= 0::numeric", "share >= 0"),
    ],
)  # fmt: skip
def test_an_expression_is_shown_without_the_casts_that_postgresql_adds(sql: str, expected: str) -> None:
    assert readable(sql) == expected


def test_a_function_uses_the_tables_that_its_statements_name_and_not_those_in_texts() -> None:
    body = """
        -- DELETE FROM customers
        RAISE EXCEPTION 'call UPDATE licenses' USING HINT = 'it''s FROM build_events';
        INSERT INTO build_events (id) SELECT b.id FROM build_queue AS b FOR UPDATE;
        UPDATE build_queue AS b SET status = 'queued';
        DELETE FROM build_queue_old;
    """
    tables = ["build_events", "build_queue", "customers", "licenses"]
    assert uses(without_texts(body), tables) == {
        "build_events": ("insert",),
        "build_queue": ("select", "update"),
    }


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("see tier_rank()", "see [`tier_rank()`](functions/core.md#tier_rank)"),
        ("into audit_log.", "into [`audit_log`](tables/audit_log.md)."),
        ("the customers who", "the customers who"),
        ("by customers.customer_id", "by `customers.customer_id`"),
        ("the setting honua.actor", "the setting `honua.actor`"),
        ("a *star* and <b> and [x]", r"a \*star\* and &lt;b> and \[x]"),
        ("core < pro", "core < pro"),
        ("say `tier_rank()`", "say `tier_rank()`"),
        ("with 23514", "with 23514 (`check_violation`)"),
        ("from 1 to 36500", "from 1 to 36500"),
        ("see docs.example.com/tier_rank", "see docs.example.com/tier_rank"),
    ],
)
def test_a_comment_becomes_markdown_with_links(comment: str, expected: str) -> None:
    places = {
        "tier_rank": ("functions/core.md", "tier_rank"),
        "audit_log": ("tables/audit_log.md", ""),
        "customers": ("tables/customers.md", ""),
    }
    assert Links("views.md", places).errors(comment) == expected


def test_a_table_leaves_out_empty_columns_and_keeps_bars_in_its_cells() -> None:
    assert table(("A", "B", "C"), [("x", "", "a|b"), ("y", "", "")]) == (
        "| A | C |\n| --- | --- |\n| x | a\\|b |\n| y |  |\n"
    )
    assert table(("A",), []) == ""
