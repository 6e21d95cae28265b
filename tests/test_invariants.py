"""The invariants are those that the documentation states, and their queries find what breaks them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariants import OF_THE_DATABASE, OF_THE_JOURNAL, load_journal, violations

if TYPE_CHECKING:
    import psycopg

PAGE = Path(__file__).parents[1] / "docs/explain/build-queue.md"


def test_the_documentation_states_each_invariant_once() -> None:
    stated = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert stated == [*OF_THE_DATABASE, *OF_THE_JOURNAL]


def test_all_invariants_hold_of_an_empty_database(connection: psycopg.Connection[Any]) -> None:
    load_journal(connection, [])
    assert violations(connection, [*OF_THE_DATABASE, *OF_THE_JOURNAL]) == {}
