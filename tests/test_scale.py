"""What is slow says why, and the pages of what things cost can be compared."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.scale import beside

DOCS = Path(__file__).parents[1] / "docs"
LIMIT = 50
"""Milliseconds at scale 1."""


def test_the_guide_gives_the_reason_for_all_that_is_slow() -> None:
    page = (DOCS / "explain/scale.md").read_text()
    measured, _, _ = page.partition("## Size")
    costs = re.findall(r"^\| `(\w+)`(?:, .*?)? \| ([\d,.]+) \|", measured, re.MULTILINE)
    slow = {name for name, milliseconds in costs if float(milliseconds.replace(",", "")) > LIMIT}
    reports = (DOCS / "guides/scale.md").read_text().partition("## Reports")[2].partition("\n## ")[0]

    assert len(costs) > 20
    assert slow
    assert slow <= set(re.findall(r"`(\w+)(?:\(\))?`", reports))


def test_what_it_took_at_scale_1_stands_beside_what_it_takes() -> None:
    table = (
        "## Views\n\n| What | ms | pages | rows |\n| --- | ---: | ---: | ---: |\n"
        "| `active_builds` | {} | 4 | 5 |\n"
    )

    assert beside(table.format("1,050.0"), table.format("3.0")).splitlines()[2:] == [
        "| What | ms | pages | rows | ms at scale 1 | times |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| `active_builds` | 1,050.0 | 4 | 5 | 3.0 | 350.0 |",
    ]


def test_a_table_that_scale_1_does_not_have_stays_as_it_is() -> None:
    table = "## Size\n\n| Index | MB |\n| --- | ---: |\n| `pk_build_queue` | 2.2 |\n"

    assert beside(table, table) == table
