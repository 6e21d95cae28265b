"""Time and plan of every query of the cookbook, on a database of any size.

Run it as ``PYTHONPATH=tests python -m benchmarks.explain_cookbook URL`` on a database at head, as a
superuser, whom PostgreSQL lets load auto_explain: it shows the statements inside functions too. What a query
changes is taken back; statements that can't be, such as VACUUM, are left out. ``--summary`` prints no plans.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import psycopg

import cookbook

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines_of(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Return a plan as indented lines."""
    on = node.get("Index Name") or node.get("Relation Name") or node.get("Function Name") or ""
    actual = f"{node.get('Actual Rows', 0):g} rows x {node.get('Actual Loops', 0):g}"
    pages = node.get("Shared Hit Blocks", 0) + node.get("Shared Read Blocks", 0)
    yield f"{'  ' * depth}{node['Node Type']} {on} ({actual}, {pages} pages)".replace("  (", " (")
    for child in node.get("Plans", ()):
        yield from lines_of(child, depth + 1)


def main() -> None:
    """Run the queries of the page, and print what each took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="the database, as libpq reads it")
    parser.add_argument("--summary", action="store_true", help="leave out the plans")
    options = parser.parse_args()
    with psycopg.connect(options.url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        declared = cookbook.declared_indexes(connection)
        for recipe in cookbook.recipes():
            if not recipe.is_transactional:
                continue
            try:
                cookbook.answer(connection, recipe)  # so that the second run finds what it reads in memory
                outcome = cookbook.answer(connection, recipe, analyze=True)
            except psycopg.Error as error:
                print(f"{'failed':>12}  {recipe.title}: {error.diag.message_primary}")  # noqa: T201
                continue
            used = {declared[name] for name in outcome.indexes}
            unused = f" (without {', '.join(sorted(recipe.indexes - used))})" if recipe.indexes - used else ""
            print(f"{outcome.milliseconds:9.1f} ms  {recipe.title}{unused}")  # noqa: T201
            for plan in () if options.summary else outcome.plans:
                for line in lines_of(plan["Plan"]):
                    print(f"{'':14}{line}")  # noqa: T201


if __name__ == "__main__":
    main()
