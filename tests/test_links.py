"""Links between the files of the project lead somewhere, on a code host as in the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def links(page: Path) -> list[str]:
    return LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_link_leads_to_a_file(page: Path) -> None:
    # Not to a folder: the site has no page for one.
    assert [link for link in links(page) if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_a_page_of_the_site_links_to_nothing_outside_it(page: Path) -> None:
    outside = [
        link
        for link in links(page)
        if not (page.parent / link).resolve().is_relative_to((PROJECT / "docs").resolve())
    ]
    assert outside == []


def test_links_are_found() -> None:
    assert "docs/quickstart.md" in links(PROJECT / "README.md")
