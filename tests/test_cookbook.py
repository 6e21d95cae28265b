"""Each query of the cookbook answers what the page says, and reads the index that the page names."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cookbook
import test_documents
from honua_schema.demo.questions import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES = cookbook.recipes()


@pytest.fixture(scope="module")
def demo(bin_folder: Path | None) -> Iterator[cookbook.Connection]:
    """A connection to the demo's data, whose clock stands still."""
    with cookbook.demo(bin_folder) as connection:
        yield connection


def test_every_query_answers_what_the_page_says(demo: cookbook.Connection) -> None:
    wrong = {}
    for recipe in RECIPES:
        found = cookbook.answer(demo, recipe).answer
        if found != recipe.answer:
            wrong[recipe.title] = found
    assert not wrong, "\n".join(f"{title}\n{found}" for title, found in wrong.items())


def test_every_query_reads_the_indexes_that_the_page_names(demo: cookbook.Connection) -> None:
    declared = cookbook.declared_indexes(demo)
    demo.execute("SET enable_seqscan = off")  # the demo's tables are so small that a scan is cheaper
    wrong = {}
    for recipe in RECIPES:
        assert recipe.indexes <= set(declared.values()), recipe.title
        used = {declared[name] for name in cookbook.answer(demo, recipe).indexes}
        if missing := recipe.indexes - used:
            wrong[recipe.title] = f"{sorted(missing)}, but it reads {sorted(used)}"
    demo.execute("RESET enable_seqscan")
    assert not wrong


def test_a_recipe_changes_nothing(demo: cookbook.Connection) -> None:
    def builds() -> list[tuple[object, ...]]:
        return demo.execute("SELECT id, status, updated_at FROM public.build_queue ORDER BY id").fetchall()

    before = builds()
    for recipe in RECIPES:
        cookbook.answer(demo, recipe)
    assert builds() == before


def test_every_recipe_names_an_index_or_says_why_it_needs_none() -> None:
    assert len(RECIPES) >= 30
    for recipe in RECIPES:
        reason = recipe.index.removeprefix("none: ")
        assert recipe.indexes or (reason != recipe.index and reason), recipe.title


def test_every_title_is_a_question_and_none_is_asked_twice() -> None:
    titles = [recipe.title for recipe in RECIPES]
    assert len(titles) == len(set(titles))
    assert [title for title in titles if not title.endswith("?")] == []


def test_the_demo_asks_questions_of_the_page() -> None:
    queries = {recipe.title: words_of(recipe.sql) for recipe in RECIPES}
    assert {question.title: words_of(question.sql) for question in QUESTIONS}.items() <= queries.items()


def test_the_page_has_every_query_of_the_products_documents() -> None:
    queries = {words_of(recipe.sql) for recipe in RECIPES}
    source = inspect.getsource(test_documents)
    named = [
        value for name, value in vars(test_documents).items() if name.isupper() and isinstance(value, str)
    ]
    called = re.findall(r'"(SELECT \* FROM \w+\([^"]*;)"', source)
    assert len(named) >= 8
    assert len(called) >= 8
    assert {words_of(query) for query in [*named, *called]} - queries == set()


@pytest.mark.parametrize("missing", ["```sql", "```text", "Index:"])
def test_a_section_that_lacks_something_is_no_recipe(missing: str) -> None:
    section = "### What?\n\n```sql\nSELECT 1;\n```\n\n```text\n1\n```\n\nIndex: none: one row.\n"
    assert [recipe.title for recipe in cookbook.recipes(section)] == ["What?"]
    with pytest.raises(ValueError, match=re.escape("What?: no query")):
        cookbook.recipes(section.replace(missing, "lost"))


def words_of(sql: str) -> str:
    """Return a query whose white space does not matter."""
    return " ".join(sql.split())


def test_the_benchmark_explains_every_query(demo: cookbook.Connection) -> None:
    uri = f"host={demo.info.host} port={demo.info.port} user={demo.info.user} dbname={demo.info.dbname}"
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.explain_cookbook", uri],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for recipe in RECIPES:
        assert not recipe.is_transactional or f"  {recipe.title}" in finished.stdout
    assert re.search(r"Index (Only )?Scan ix_\w+ \(\d+ rows x \d+, \d+ pages\)", finished.stdout)
