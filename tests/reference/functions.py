"""A page for the functions of each domain, and the example calls on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from reference.markdown import CODE_WIDTH, bullets, code, fence, join, section, table
from reference.tables import callers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference.markdown import Links
    from reference.schema import Argument, Function, Schema

DOES_WITH = {"select": "reads", "insert": "inserts into", "update": "updates", "delete": "deletes from"}
EXAMPLES = Path(__file__).with_name("examples.sql")


def examples() -> dict[str, str]:
    """Return the example calls by the names of their functions."""
    parts = re.split(r"^-- (\w+)\n", EXAMPLES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


def page(schema: Schema, links: Links, domain: str) -> str:
    """Return the page of a domain's functions."""
    own = [each for each in schema.functions.values() if each.domain == domain]
    calls = examples()
    return join(
        f"# Functions: {domain}",
        "Arguments may be given by name, as in `p_days => 7`; those with a default may be left out.",
        *(
            section(each.name, _function(schema, links, each, calls.get(each.name)))
            for each in own
            if not each.is_trigger
        ),
        section(
            "Functions of triggers",
            *(
                section(each.name, _function(schema, links, each, None), level=3)
                for each in own
                if each.is_trigger
            ),
        ),
    )


def _function(schema: Schema, links: Links, subject: Function, example: str | None) -> str:
    meaning, _, errors = subject.comment.partition(" Errors: ")
    return join(
        links.errors(meaning),
        f"**Errors:** {links.errors(errors)}" if errors else "",
        "" if subject.is_trigger else fence("text", signature(subject)),
        table(
            ("Argument", "Type", "Default", "Meaning"),
            [
                (
                    code(each.name),
                    code(each.type),
                    code(each.default) if each.default else "",
                    _argument(schema, links, subject, each),
                )
                for each in subject.arguments
            ],
        ),
        table(
            ("Result", "Type", "Meaning"),
            [
                (code(each.name), code(each.type), links.prose(subject.meanings.get(each.name, "")))
                for each in subject.columns
            ],
        ),
        bullets(_facts(schema, links, subject)),
        fence("sql", example) if example else "",
    )


def signature(subject: Function) -> str:
    """Return how a function is called, and what it returns."""
    result = "TABLE (...)" if subject.returns.startswith("TABLE") else subject.returns
    arguments = [
        f"{each.name} {each.type}" + (f" DEFAULT {each.default}" if each.default else "")
        for each in subject.arguments
    ]
    line = f"{subject.name}({', '.join(arguments)}) RETURNS {result}"
    if len(line) <= CODE_WIDTH:
        return line
    listed = ",\n".join(f"    {argument}" for argument in arguments)
    return f"{subject.name}(\n{listed}\n) RETURNS {result}"


def _argument(schema: Schema, links: Links, subject: Function, argument: Argument) -> str:
    """Return what an argument means: as the Python call says, else the column of that name that it is for."""
    if meaning := subject.meanings.get(argument.name):
        return links.prose(meaning)
    name = argument.name.removeprefix("p_")
    tables = [schema.tables[relation] for relation in subject.uses if relation in schema.tables]
    tables.sort(key=lambda each: "insert" not in subject.uses[each.name])
    for each in tables:
        for column in each.columns:
            if column.name == name:
                return f"{code(f'{each.name}.{name}')}: {links.prose(column.comment)}"
    return ""


def _facts(schema: Schema, links: Links, subject: Function) -> Iterator[str]:
    rights = "its owner" if subject.is_definer else "who calls it"
    kind = f"{subject.volatility}, parallel {subject.parallel}".lower()
    yield f"Runs with the rights of {rights}; {kind}" + (", strict." if subject.is_strict else ".")
    if who := list(callers(schema, links, subject)):
        yield f"Called by {', '.join(who)}."
    elif subject.is_trigger:
        yield "Called by no trigger."
    else:
        yield "Called by the owner."
    for relation, verbs in subject.uses.items():
        yield f"{' and '.join(DOES_WITH[verb] for verb in verbs).capitalize()} {links.to(relation)}."
    if subject.settings:
        yield f"Settings while it runs: {', '.join(map(code, subject.settings))}."
    if subject.python:
        yield f"In Python: {code(subject.python + '()')}."
    yield f"Source: {code(f'honua_schema/sql/{subject.domain}/{subject.name}.sql')}."
