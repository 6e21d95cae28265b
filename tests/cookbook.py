"""Read the cookbook's recipes, and answer them on demo data whose clock stands still.

``make reference`` writes the answers into the page anew, after a query or the demo's data has changed.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from honua_schema.demo.command import SEED
from honua_schema.demo.load import load
from honua_schema.demo.world import SMALL, World
from honua_schema.embedded import EmbeddedServer
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg.rows import TupleRow

    Connection = psycopg.Connection[TupleRow]

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"
NOW = datetime(2025, 10, 29, 12, tzinfo=UTC)
MOST_ROWS, WIDEST_CELL = 8, 40
ANY = "~"
"""Stands in an answer for what is different on each machine."""

RECIPE = re.compile(
    r"```sql\n(?P<sql>.*?)```\n\n"
    r"(?:<!-- differs: (?P<differs>[\w, ]+) -->\n)?"
    r"```text\n(?P<answer>.*?)```\n\n"
    r"Index: (?P<index>.*?)(?=\n\n|\n?\Z)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Recipe:
    """A question with its query.

    Attributes:
        title: The question.
        sql: The query.
        answer: What it answers on the demo's data, as the page shows it.
        differs: Columns whose values are different on each machine.
        index: The page's sentence on the index that serves it.
    """

    title: str
    sql: str
    answer: str
    differs: frozenset[str]
    index: str

    @property
    def indexes(self) -> set[str]:
        """The indexes that serve the query; none when the page says why it needs none."""
        return set() if self.index.startswith("none") else set(re.findall(r"`(\w+)`", self.index))

    @property
    def is_transactional(self) -> bool:
        """Whether the query may run inside a transaction."""
        return not self.sql.startswith("VACUUM")


@dataclass(frozen=True)
class Outcome:
    """What became of a query.

    Attributes:
        answer: Its rows as a table.
        plans: How they were found, one plan per statement: those inside functions too.
        milliseconds: How long it took.
    """

    answer: str
    plans: list[dict[str, Any]]
    milliseconds: float = 0.0

    @property
    def indexes(self) -> set[str]:
        """The indexes that were read; of a partition's index, its own name."""
        return {name for plan in self.plans for name in _index_names(plan)}


def recipes(page: str | None = None) -> list[Recipe]:
    """Return the recipes of the page.

    Args:
        page: Its text, by default that of the file.
    """
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    found = []
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        match = RECIPE.search(rest)
        if match is None:
            raise ValueError(f"{title}: no query, no answer, or no line on the index")
        differs = frozenset(re.findall(r"\w+", match["differs"] or ""))
        found.append(Recipe(title, match["sql"], match["answer"], differs, match["index"]))
    return found


@contextmanager
def demo(bin_folder: Path | None = None) -> Iterator[Connection]:
    """Fill a server of its own with the demo's data, and stop its clock.

    Args:
        bin_folder: The PostgreSQL programs; None for the embedded ones.

    Yields:
        A connection, on which ``now()`` is ``NOW``.
    """
    folder = Path(tempfile.mkdtemp(prefix="honua-cookbook-"))
    # Without fsync: what is lost with the machine is made again. Without autovacuum: it would change plans.
    settings = {
        "shared_preload_libraries": "auto_explain, pg_stat_statements",
        "autovacuum": "off", "fsync": "off", "jit": "off",
    }  # fmt: skip
    server = EmbeddedServer(folder, bin_folder=bin_folder, settings=settings)
    try:
        server.start()
        server.create_database()
        result = MigrationRunner(server.url()).apply_migrations()
        if not result.success:
            raise RuntimeError("\n".join(result.errors))
        conninfo = server.url().set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            stop_the_clock(connection)
            load(conninfo, World(seed=SEED, anchor=NOW, volume=SMALL), processes=1)
            connection.execute("ANALYZE")  # the tables too that the load did not fill itself
            connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA stopped")
            connection.execute("SET search_path = stopped, pg_catalog, public")
            connection.execute("SET timezone = 'UTC'")
            yield connection
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def stop_the_clock(connection: Connection) -> None:
    """Let everything in the database that asks for the time be told ``NOW``.

    Args:
        connection: A connection to a database at head.
    """
    connection.execute(
        "CREATE SCHEMA stopped;"
        " CREATE FUNCTION stopped.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE"
        f" RETURN timestamptz '{NOW.isoformat()}';"
    )
    definitions = connection.execute(
        """
        SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
        UNION ALL
        SELECT format(
            'CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS %s', c.oid::regclass,
            pg_get_viewdef(c.oid)
        )
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
        UNION ALL
        SELECT format(
            'ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', d.adrelid::regclass, a.attname,
            pg_get_expr(d.adbin, d.adrelid)
        )
        FROM pg_attrdef AS d
        JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE a.attgenerated = ''
        """
    ).fetchall()
    for (definition,) in definitions:
        stopped, times = re.subn(r"\b(now|clock_timestamp)\(\)", "stopped.now()", definition)
        if times:
            connection.execute(stopped)


def answer(connection: Connection, recipe: Recipe, *, analyze: bool = False) -> Outcome:
    """Run a recipe, and take back what it changed.

    Args:
        connection: A connection of a superuser, whom PostgreSQL lets load auto_explain.
        recipe: The recipe.
        analyze: Whether the plans tell the rows and buffers of each node.
    """
    if not recipe.is_transactional:
        return Outcome(table(connection.execute(recipe.sql.encode())), [])
    plans: list[dict[str, Any]] = []

    def take(notice: psycopg.errors.Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found:
            plans.append(json.loads(plan))

    connection.execute("LOAD 'auto_explain'")
    connection.execute("DISCARD PLANS")  # those that functions keep were made under other settings
    with connection.transaction(force_rollback=True):
        for setting, value in {
            "log_min_duration": "0", "log_nested_statements": "on", "log_format": "json",
            "log_analyze": "on" if analyze else "off", "log_buffers": "on" if analyze else "off",
            "log_level": "notice",
        }.items():  # fmt: skip
            connection.execute(f"SET LOCAL auto_explain.{setting} = '{value}'")
        connection.add_notice_handler(take)
        began = time.perf_counter()
        try:
            cursor = connection.execute(recipe.sql.encode())
        finally:
            took = time.perf_counter() - began
            connection.remove_notice_handler(take)
    return Outcome(table(cursor, recipe.differs), plans, 1000 * took)


def table(cursor: psycopg.Cursor[Any], differs: frozenset[str] = frozenset()) -> str:
    """Return rows as psql prints them, though not all of them, and no cell in full length.

    Args:
        cursor: The cursor that has the rows.
        differs: Columns whose values are not shown.
    """
    result = cursor.pgresult
    if result is None or not cursor.description:
        return f"{cursor.statusmessage}\n"
    columns = [column.name for column in cursor.description]
    numeric = {psycopg.adapters.types[name].oid for name in ("int2", "int4", "int8", "float8", "numeric")}
    are_numbers = [column.type_code in numeric for column in cursor.description]
    rows = [
        [
            ANY if name in differs else _cell(result.get_value(row, column))
            for column, name in enumerate(columns)
        ]
        for row in range(min(result.ntuples, MOST_ROWS))
    ]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str], separator: str = " | ") -> str:
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(cells, widths, are_numbers, strict=True)
        )
        return separator.join(padded).rstrip()

    more = ["..."] if result.ntuples > MOST_ROWS else []
    count = f"({result.ntuples} row{'' if result.ntuples == 1 else 's'})"
    rule = "-+-".join("-" * width for width in widths)
    return "\n".join([line(columns), rule, *map(line, rows), *more, count]) + "\n"


def _cell(value: bytes | None) -> str:
    text = "" if value is None else re.sub(r"\s+", " ", value.decode())
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 3] + "..."


def _index_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "Index Name" in node:
            yield node["Index Name"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _index_names(each)


def declared_indexes(connection: Connection) -> dict[str, str]:
    """Return each index by name, with the index of the partitioned table that a partition's belongs to.

    Args:
        connection: A connection to a database at head.
    """
    rows = connection.execute(
        "SELECT c.relname, coalesce(pg_partition_root(c.oid), c.oid)::regclass::text"
        " FROM pg_class AS c WHERE c.relkind IN ('i', 'I')"
    )
    return {name: root.rpartition(".")[2] for name, root in rows}


def main() -> None:
    """Write the answers into the page."""
    bin_folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    page = PAGE.read_text(encoding="utf-8")
    with demo(bin_folder) as connection:
        for recipe in recipes(page):
            found = answer(connection, recipe).answer
            before = f"```sql\n{recipe.sql}```\n"
            start = page.index("```text\n", page.index(before)) + len("```text\n")
            page = page[:start] + found + page[page.index("```", start) :]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
