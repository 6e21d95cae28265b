"""All pages, by their paths below docs/reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reference import diagrams, functions, other, tables
from reference.markdown import Links
from reference.schema import DOMAINS, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from reference.schema import Schema

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def places(schema: Schema) -> dict[str, tuple[str, str]]:
    """Return where each object is described: a page, and the heading on it if it is not the whole page."""
    return (
        {name: (f"functions/{each.domain}.md", name) for name, each in schema.functions.items()}
        | {name: ("triggers.md", name) for name in schema.triggers}
        | {name: ("views.md", name) for name in schema.views}
        | {name: ("types.md", name) for name in schema.types}
        | dict.fromkeys(schema.roles, ("roles.md", ""))
        | {name: (f"tables/{name}.md", "") for name in schema.tables}
    )


def generate(connection: Connection) -> dict[str, str]:
    """Return all pages by their paths.

    Args:
        connection: A database at head.
    """
    with connection.begin():
        schema = read(connection)
        connection.rollback()
    where = places(schema)

    def links(page: str) -> Links:
        return Links(page, where)

    pages = {f"tables/{name}.md": tables.page(schema, links(f"tables/{name}.md"), each)
             for name, each in schema.tables.items()}  # fmt: skip
    for domain in DOMAINS:
        page = f"functions/{domain}.md"
        pages[page] = functions.page(schema, links(page), domain)
    if schema.types:
        pages["types.md"] = other.types(schema, links("types.md"))
    return pages | {
        "index.md": other.index(schema, links("index.md")),
        "diagrams.md": diagrams.page(schema, links("diagrams.md")),
        "views.md": other.views(schema, links("views.md")),
        "triggers.md": other.triggers(schema, links("triggers.md")),
        "roles.md": other.roles(schema, links("roles.md")),
        "revisions.md": other.revisions(links("revisions.md")),
        "command-line.md": other.command_line(links("command-line.md")),
    }


MEASURED = {"performance"}
"""What `make bench` writes: a machine's figures, which no catalog has."""


def read_pages(folder: Path = FOLDER) -> dict[str, str]:
    """Return the pages below a folder by their paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stem not in MEASURED
    }


def write(pages: Mapping[str, str], folder: Path = FOLDER) -> list[str]:
    """Write the pages that are new or changed, remove those that there should not be, and return both.

    Args:
        pages: All pages by their paths.
        folder: Where to write them.
    """
    before = read_pages(folder)
    changed = [path for path in before.keys() | pages.keys() if before.get(path) != pages.get(path)]
    for path in changed:
        file = folder / path
        if path in pages:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pages[path].encode())
        else:
            file.unlink()
    return sorted(changed)
