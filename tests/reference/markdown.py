"""Plain Markdown: tables, lists, code, and links between the pages."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_WORD = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?<![\w./])(?:(?P<name>{_WORD}(?:\.{_WORD})?)(?P<call>\(\))?|[A-Z]+(?:_[A-Z]+)+)(?![\w(/\\]|\.\w)"
)
_SQLSTATE = re.compile(r"\b(\d{2}[0-9A-Z]{3})\b")
CODE_WIDTH = 100  # characters


def code(text: str) -> str:
    """Return a text as code within a line."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def codes(names: Iterable[str]) -> str:
    """Return names as code, with commas between them."""
    return ", ".join(map(code, names))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table without the columns that are empty in every row; nothing if there are no rows."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    kept = [number for number in range(len(titles)) if number == 0 or any(row[number] for row in cells)]
    lines = [[titles[number] for number in kept], ["---"] * len(kept)]
    lines += [[row[number] for number in kept] for row in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) if cells else ""


def bullets(items: Iterable[str]) -> str:
    """Return a list."""
    return "".join(f"- {item}\n" for item in items)


def fence(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip()}\n```\n"


def join(*blocks: str) -> str:
    """Return blocks with an empty line between them; those that are empty are left out."""
    return "\n".join(block.rstrip("\n") + "\n" for block in blocks if block.strip())


def section(title: str, *blocks: str, level: int = 2) -> str:
    """Return a heading with what belongs below it; nothing where nothing does."""
    content = join(*blocks)
    return join(f"{'#' * level} {title}", content) if content else ""


@dataclass(frozen=True)
class Links:
    """The links of one page.

    Attributes:
        page: The page that the links are on, below docs/reference.
        places: Where each object is described: a page, and the heading on it if it is not the whole page.
    """

    page: str
    places: Mapping[str, tuple[str, str]]

    def to(self, name: str, text: str | None = None) -> str:
        """Return a link to an object.

        Args:
            name: The object.
            text: What to show instead of its name.
        """
        page, heading = self.places[name]
        path = "" if heading and page == self.page else self.path(page)
        return f"[{text or code(name)}]({path}{'#' + heading if heading else ''})"

    def call(self, name: str) -> str:
        """Return a link to a function."""
        return self.to(name, code(f"{name}()"))

    def path(self, page: str) -> str:
        """Return the way from this page to another one below docs/reference, or above it."""
        return posixpath.relpath(page, posixpath.dirname(self.page) or ".")

    def prose(self, comment: str) -> str:
        """Return a comment with its names as code, as links where a page is about them.

        Args:
            comment: Plain text, with code between backticks at most. The rest is escaped.
        """

        def linked(match: re.Match[str]) -> str:
            name, call = match["name"] or match[0], match["call"] or ""
            if name in self.places and (call or "_" in name):
                return self.to(name, code(name + call))
            relation, _, column = name.partition(".")
            if call or (column and (relation in self.places or relation == "honua")):
                return code(name + call)
            return code(name) if "_" in name else name

        def spelled(part: str) -> str:
            if part.startswith("`"):  # code already
                return part
            escaped = re.sub(r"<(?=[\w/!?])", "&lt;", part).replace("*", r"\*").replace("[", r"\[")
            return _NAME.sub(linked, escaped)

        return "".join(map(spelled, re.split(r"(`[^`]*`)", comment)))

    def errors(self, comment: str) -> str:
        """Return a comment as `prose` does, with the name of each SQLSTATE after it."""

        def named(match: re.Match[str]) -> str:
            try:
                error = psycopg.errors.lookup(match[1])
            except KeyError:
                return match[1]
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).lower()
            return f"{match[1]} ({name})"

        return self.prose(_SQLSTATE.sub(named, comment))
