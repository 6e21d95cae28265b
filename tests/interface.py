"""Write down what docs/stable-interface.md promises, and what docs/explain/beyond-one-machine.md found.

``python -m interface`` writes these parts of both pages anew.
"""

from __future__ import annotations

import enum
import inspect
import re
import shutil
import tempfile
import tomllib
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import typer

import citus
import honua_schema
from honua_schema import cli, models, sqlfile
from honua_schema.calls import SqlFunction
from honua_schema.embedded import EmbeddedServer
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sqlalchemy import URL

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "stable-interface.md"
BEYOND_ONE_MACHINE = DOCS / "explain" / "beyond-one-machine.md"
BEGIN, END = "<!-- written by tests/interface.py -->\n", "<!-- end of what is written -->\n"
CALLS = ("queue", "cache", "licenses", "intake")
OTHERS = {  # what else programs import, beside honua_schema itself, its calls and its models
    "honua_schema.crypto": ("Keyring", "hash_license_key", "new_key"),
    "honua_schema.database": ("resolve_url",),
    "honua_schema.embedded": ("EmbeddedServer", "open_server"),
}
HELPERS = {"admit_builds", "admitted_tiers", "license_ends_at", "release_delayed_builds", "tier_rank"}
"""Functions that a role may call only because others do so in its name."""

FUNCTIONS = """
    SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
    FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)
    ORDER BY p.proname
"""
COLUMNS = """
    SELECT c.relkind = 'v', c.relname, array_agg(a.attname ORDER BY a.attnum)
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND c.relname <> 'alembic_version'
    GROUP BY c.oid
    ORDER BY c.relname
"""


def write(url: URL) -> str:
    """Return the part of the page that is generated.

    Args:
        url: A database at head.
    """
    lines = [*python(), *commands(), *of_database(url)]
    return "\n".join(lines) + "\n"


def python() -> Iterator[str]:
    yield "## Python\n"
    yield "### `honua_schema`\n"
    for name in honua_schema.__all__:
        yield from describe(name, getattr(honua_schema, name))
    for module in CALLS:
        loaded = import_module(f"honua_schema.{module}")
        yield f"\n### `honua_schema.{module}`\n"
        yield "Each function takes a session or connection first.\n"
        for name, item in own(loaded):
            yield from describe(name, item)
    for module, names in OTHERS.items():
        yield f"\n### `{module}`\n"
        for name in names:
            yield from describe(name, getattr(import_module(module), name))
    yield "\n### `honua_schema.models`\n"
    yield "A class for each table, with an attribute for each of its columns and for each relationship:\n"
    for name in models.__all__:
        item = getattr(models, name)
        if hasattr(item, "__mapper__"):
            related = sorted(each.key for each in item.__mapper__.relationships)
            yield f"- `{name}`: {item.__tablename__}" + (f"; {', '.join(related)}" if related else "")
    yield "\nAnd the values of their columns:\n"
    for name in models.__all__:
        item = getattr(models, name)
        if isinstance(item, type) and issubclass(item, enum.Enum):
            yield f"- `{name}`: {', '.join(str(each.value) for each in item)}"


def own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes that a module defines, in its order."""
    for name, item in vars(module).items():
        is_ours = isinstance(item, SqlFunction) or (
            inspect.isclass(item) and item.__module__ == module.__name__
        )
        if is_ours and not name.startswith("_"):
            yield name, item


def describe(name: str, item: Any) -> Iterator[str]:
    """Yield a function with its arguments, or a class with its fields or methods."""
    if isinstance(item, SqlFunction):
        result = re.sub(r"^Call\[(.*)\]$", r"\1", str(inspect.signature(item.call).return_annotation))
        yield f"- `{name}({arguments(item.call)}) -> {result}`"
    elif is_dataclass(item):
        yield f"- `{name}`: {', '.join(each.name for each in fields(item))}"
    elif inspect.isclass(item) and item.__annotations__ and dict in item.__mro__:
        yield f"- `{name}`: {', '.join(item.__annotations__)}"
    elif inspect.isclass(item) and issubclass(item, Exception):
        yield f"- `{name}({arguments(item)})`"
    elif inspect.isclass(item):
        yield f"- `{name}({arguments(item)})`"
        for method, function in vars(item).items():
            if method.startswith("_"):
                continue
            if isinstance(function, classmethod):
                yield f"    - `{method}({arguments(function.__func__)})`, of the class"
            elif inspect.isfunction(function):
                yield f"    - `{method}({arguments(function)})`"
    elif callable(item):
        yield f"- `{name}({arguments(item)})`"
    else:
        yield f"- `{name}`"


def arguments(function: Any) -> str:
    """Return the arguments of a function, without self and without types."""
    told = []
    star = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            told.append("*")
            star = True
        default = "" if parameter.default is parameter.empty else "=..."
        prefix = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
        told.append(f"{prefix}{parameter.name}{default}")
    return ", ".join(told)


def commands() -> Iterator[str]:
    yield "\n## Commands\n"
    yield "Exit codes: 0 good, 1 failed, 2 wrong usage, 3 a revision is pending or the schema has drifted.\n"
    group = typer.main.get_command(cli.app)
    for name, command in sorted(walk(group)):
        told = [*told_parameters(command)]
        yield f"- `honua-schema {' '.join([name, *told])}`"


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def told_parameters(command: Any) -> Iterator[str]:
    """Yield what a command takes; options that name the database are told once, in the page."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield f"[{parameter.name.upper()}]" if not parameter.required else parameter.name.upper()
        elif parameter.name not in {*cli.DATABASE_OPTIONS, "help"}:
            yield f"[{parameter.opts[0]}]"


def of_database(url: URL) -> Iterator[str]:
    """Yield what SQL may rely on."""
    privileges = tomllib.loads((sqlfile.CURRENT / "system/privileges.toml").read_text(encoding="utf-8"))
    public = [name for name, roles in privileges["functions"].items() if roles and name not in HELPERS]
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(uri) as connection:
        functions = connection.execute(FUNCTIONS, [public]).fetchall()
        relations = connection.execute(COLUMNS).fetchall()
    yield "\n## SQL functions\n"
    yield "All others are for triggers and each other, and may change at any time.\n"
    for name, taken, result in functions:
        yield f"- `{name}({taken}) RETURNS {result}`"
    for title, are_views in (("Views", True), ("Tables", False)):
        yield f"\n## {title}\n"
        for is_view, name, columns in relations:
            if is_view is are_views:
                yield f"- `{name}`: {', '.join(columns)}"


def written_part(page: Path) -> str:
    """Return the generated part of a page.

    Args:
        page: The page.
    """
    text = page.read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def replace(text: str, written: str) -> str:
    """Return a page with its generated part replaced.

    Args:
        text: The page.
        written: The new part.
    """
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="honua-interface-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "server", settings={"fsync": "off"})
    try:
        with server:
            server.create_database()
            url = server.url("honua")
            result = MigrationRunner(url).apply_migrations()
            assert result.success, result.errors
            for page, written in ((PAGE, write(url)), (BEYOND_ONE_MACHINE, citus.write(url))):
                page.write_text(replace(page.read_text(encoding="utf-8"), written), encoding="utf-8")
    finally:
        server.remove()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
