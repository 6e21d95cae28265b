"""Entity-relationship diagrams in Mermaid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reference.markdown import fence, join, section
from reference.schema import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference.markdown import Links
    from reference.schema import ForeignKey, Schema, Table


def page(schema: Schema, links: Links) -> str:
    """Return the page with all diagrams."""
    tables = schema.tables.values()
    return join(
        "# Diagrams",
        "A line is a foreign key. The end with two bars is the row that there must be, the one with a"
        " circle and a bar the row that there may be, and the crow's foot stands for any number of rows."
        " Tables without a line have no foreign key and none leads to them.",
        section("Overview", fence("mermaid", overview(tables))),
        *(
            section(
                domain,
                "The columns of keys: `PK` primary, `FK` foreign, `UK` unique. Tables of other domains are"
                " shown without.",
                fence("mermaid", of_domain(schema, domain)),
                "Tables: " + ", ".join(links.to(each.name) for each in tables if each.domain == domain) + ".",
            )
            for domain in DOMAINS
        ),
    )


def overview(tables: Iterable[Table]) -> str:
    """Return a diagram of all tables, with names alone."""
    lines = ["erDiagram", *(f"    {each.name}" for each in tables)]
    return "\n".join([*lines, *(_relation(key) for each in tables for key in each.foreign_keys)])


def of_domain(schema: Schema, domain: str) -> str:
    """Return a diagram of a domain's tables with their keys, and of those that they refer to."""
    tables = [each for each in schema.tables.values() if each.domain == domain]
    lines = ["erDiagram"]
    for each in tables:
        lines += [f"    {each.name} {{", *_key_columns(schema, each), "    }"]
    return "\n".join([*lines, *(_relation(key) for each in tables for key in each.foreign_keys)])


def _key_columns(schema: Schema, table: Table) -> Iterator[str]:
    unique = {column for key in table.unique_keys for column in key}
    foreign = {column for key in table.foreign_keys for column in key.columns}
    for column in table.columns:
        marks = [
            mark
            for mark, columns in (("PK", table.primary_key), ("FK", foreign), ("UK", unique))
            if column.name in columns
        ]
        if marks:
            # Mermaid takes neither spaces nor commas in a type; the name of one with rules says little.
            kind = schema.types[column.type].base if column.type in schema.types else column.type
            yield f"        {re.sub(r'[(].*?[)]', '', kind)} {column.name} {', '.join(marks)}"


def _relation(key: ForeignKey) -> str:
    one = "||" if key.is_required else "|o"
    many = "o|" if key.is_unique else "o{"
    label = ", ".join(key.columns)
    return f'    {key.referred_table} {one}--{many} {key.table} : "{label}"'
