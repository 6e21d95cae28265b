"""What can be taken away: each constraint, each trigger, each condition in a WHERE clause of a function."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from honua_schema import sqlfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

KINDS = ("constraint", "trigger", "condition")
WORD = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\w+|[(),;]|[^\w\s]", re.ASCII)
ENDS = {"GROUP", "ORDER", "LIMIT", "RETURNING", "FOR", "UNION", "HAVING", "LOOP", "ON", ";", ")", ","}
"""What ends a WHERE clause when it stands outside of parentheses."""
LENGTH = 100
"""How many characters of a condition are shown."""

CONSTRAINTS = """
    SELECT c.conname::text AS name,
        format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', c.conrelid::regclass, c.conname)
    FROM pg_constraint AS c
    WHERE c.connamespace = 'public'::regnamespace
      AND c.contype IN ('c', 'f', 'p', 'u')
      AND c.conrelid NOT IN (0, 'alembic_version'::regclass)
      AND c.conparentid = 0
      AND c.coninhcount = 0
    UNION
    SELECT c.conname::text, format('ALTER DOMAIN %s DROP CONSTRAINT %I', c.contypid::regtype, c.conname)
    FROM pg_constraint AS c
    WHERE c.connamespace = 'public'::regnamespace AND c.contypid <> 0 AND c.contype = 'c'
    UNION
    SELECT i.indexrelid::regclass::text, format('DROP INDEX %s', i.indexrelid::regclass)
    FROM pg_index AS i
    JOIN pg_class AS r ON r.oid = i.indexrelid
    WHERE r.relnamespace = 'public'::regnamespace
      AND i.indisunique
      AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
    ORDER BY name
"""
"""Names of all constraints, of tables and of domains, and of the unique indexes; and what removes each."""


@dataclass(frozen=True)
class Mutant:
    """A database without one of its protections.

    Attributes:
        kind: One of `KINDS`.
        what: What is taken away, for people; no two of a kind are the same.
        clues: Names by which the tests that should notice can be found, the best first.
        sql: What takes it away.
    """

    kind: str
    what: str
    clues: tuple[str, ...]
    sql: str


def mutants(connection: psycopg.Connection[Any]) -> list[Mutant]:
    """Return every mutant, in the same order each time.

    Args:
        connection: A connection to an unharmed database.
    """
    return [
        *(
            Mutant("constraint", name, (name,), statement)
            for name, statement in connection.execute(CONSTRAINTS.encode())
        ),
        *triggers(),
        *conditions(),
    ]


def triggers() -> Iterator[Mutant]:
    """Yield a mutant without each trigger."""
    for each in sqlfile.load_objects():
        if each.kind == "trigger":
            function = re.search(r"EXECUTE FUNCTION (?:public\.)?(\w+)", each.text)
            assert function
            yield Mutant("trigger", each.name, (each.name, function[1], str(each.table)), each.drop_statement)


def conditions() -> Iterator[Mutant]:
    """Yield a mutant with `true` in the place of each condition of each function."""
    for each in sqlfile.load_objects():
        if each.kind == "function":
            seen: Counter[str] = Counter()
            for start, end in terms(each.text):
                condition = textwrap.shorten(each.text[start:end], LENGTH, placeholder=" ...")
                seen[condition] += 1
                number = f" ({seen[condition]})" if seen[condition] > 1 else ""
                mutant = f"{each.text[:start]}true{each.text[end:]}"
                yield Mutant(
                    "condition", f"{each.name}: {condition}{number}", (each.name, each.domain), mutant
                )


def terms(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each condition of each WHERE clause begins and ends: the parts between its ANDs."""
    words = [word for word in WORD.finditer(text) if not word[0].startswith("--")]
    for number, word in enumerate(words):
        if word[0] == "WHERE" and word.start() > text.index("AS $$"):
            yield from _terms_of_clause(words[number + 1 :])


def _terms_of_clause(words: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    depth, start, end, between = 0, words[0].start(), words[0].end(), False
    for word in words:
        if depth == 0 and word[0] in ENDS:
            break
        if depth == 0 and word[0] == "AND" and not between:
            yield start, end
            start = -1
            continue
        if start < 0:
            start = word.start()
        depth += (word[0] in ("(", "CASE")) - (word[0] in (")", "END"))
        if depth == 0 and word[0] in ("BETWEEN", "AND"):
            between = word[0] == "BETWEEN"
        end = word.end()
    yield start, end
