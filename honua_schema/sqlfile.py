"""The only road from SQL text into a database, for revisions and for `create_all` alike.

SQL goes to the server, or into an offline script, verbatim: nothing in it is taken for a bind parameter.
"""

from __future__ import annotations

import graphlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from alembic import op

from honua_schema import privileges
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

PACKAGE = Path(__file__).parent
CURRENT = PACKAGE / "sql"
"""The current truth: one file per SQL object, by domain."""
MANIFEST = Path("system", "privileges.toml")
"""Where who may do what is, below the current files."""
FROZEN = PACKAGE / "versions" / "sql"
"""The copies that revisions install, by revision and domain. They never change once released."""

SUFFIXES = (".sql", ".toml")
KINDS = ("script", "function", "view", "trigger", "privileges")
"""The kinds of SQL object, in the order in which an empty database can take them."""

_CREATE = re.compile(r"^CREATE OR REPLACE (FUNCTION|VIEW|TRIGGER) (?:public\.)?(\w+)", re.MULTILINE)
# What is not written like that, or is something else, would be left behind by a downgrade.
_OTHER_CREATE = re.compile(
    r"^\s*CREATE\s+(?:\w+\s+)*?(?:FUNCTION|PROCEDURE|AGGREGATE|VIEW|TRIGGER|RULE)\b",
    re.IGNORECASE | re.MULTILINE,
)
_ON_TABLE = re.compile(r"\bON (?:public\.)?(\w+)")
_REQUIRES = re.compile(r"^-- requires: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class SqlObject:
    """One function, view or trigger, or all privileges, as a file declares them.

    Attributes:
        kind: One of `KINDS`. A script is a statement that may be repeated and leaves nothing to drop.
        name: The object's name, which is the file's too.
        table: The table of a trigger, otherwise None.
        domain: The folder of the file: core, build_queue, intake or system.
        text: The file's text.
        requires: Names of objects that must be there first, beyond the order of the kinds.
    """

    kind: str
    name: str
    table: str | None
    domain: str
    text: str
    requires: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What no two objects have in common: kind, table and name."""
        return self.kind, self.table, self.name

    @property
    def path(self) -> str:
        """The file's place below each versions/sql/NNN/; below sql/, privileges are a .toml."""
        return f"{self.domain}/{self.name}.sql"

    @property
    def drop_statement(self) -> str:
        """The statement that removes the object. Names are not overloaded, so no arguments are needed."""
        if self.kind == "script":
            message = f"{self.path} is a script: it makes no object that could be dropped"
            raise ValueError(message)
        if self.kind == "privileges":
            return privileges.remove_statement(self.text)
        on_table = f" ON {self.table}" if self.table else ""
        return f"DROP {self.kind.upper()} {self.name}{on_table};\n"


def load(file: Path) -> SqlObject:
    """Read one SQL file.

    Args:
        file: A .sql file in the folder of its domain, or the manifest of privileges.

    Raises:
        ValueError: The file makes an object of another name than its own, or the manifest makes no sense.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        text = privileges.render(privileges.parse(text))
    kind, table = "script", None
    if text.startswith(privileges.HEADER):
        kind = "privileges"
    if match := _CREATE.search(text):
        kind = match[1].lower()
        if match[2] != file.stem:
            message = f"{file} creates {match[2]}: a file is named after its object"
            raise ValueError(message)
        if kind == "trigger" and (on_table := _ON_TABLE.search(text, match.end())):
            table = on_table[1]
    requires = tuple(name for line in _REQUIRES.findall(text) for name in line.split(", "))
    return SqlObject(kind, file.stem, table, file.parent.name, text, requires)


def load_objects(folder: Path = CURRENT) -> list[SqlObject]:
    """Read all SQL files below a folder, in an order in which an empty database can take them.

    Raises:
        SchemaError: One of the current files declares what cannot be declared, or what the manifest of
            privileges does not list, or two declare the same.
    """
    objects = [load(file) for file in sorted(folder.glob("*/*")) if file.suffix in SUFFIXES]
    if folder == CURRENT:  # frozen copies cannot be corrected
        _refuse_other_statements(objects)
        _refuse_duplicates(objects)
        _refuse_unlisted(objects, folder / MANIFEST)
    return in_order(objects)


def _refuse_other_statements(objects: Iterable[SqlObject]) -> None:
    for each in objects:
        if each.kind == "script" and (match := _OTHER_CREATE.search(each.text)):
            raise SchemaError(
                f"sql/{each.path} cannot declare anything by {' '.join(match[0].split())}.",
                "Write CREATE OR REPLACE FUNCTION, VIEW or TRIGGER at the beginning of a line; "
                "what is made otherwise needs a revision by hand.",
            )


def _refuse_duplicates(objects: Iterable[SqlObject]) -> None:
    paths: dict[tuple[str, str | None, str], str] = {}
    for each in objects:
        if each.key in paths:
            raise SchemaError(
                f"sql/{paths[each.key]} and sql/{each.path} declare the same {each.kind}.",
                "Keep one of the two files.",
            )
        paths[each.key] = each.path


def _refuse_unlisted(objects: Iterable[SqlObject], manifest: Path) -> None:
    """Refuse what the manifest forgets: unless it takes that right away, everybody may call a function."""
    if not manifest.exists():  # in the project of somebody else
        return
    declared = privileges.parse(manifest.read_text(encoding="utf-8"))
    listed = {"function": declared.functions, "view": declared.views}
    for each in objects:
        if each.name not in listed.get(each.kind, (each.name,)):
            raise SchemaError(
                f"privileges.toml does not list the {each.kind} {each.name}.",
                f"Add it to [{each.kind}s], with the roles that may use it: with [] only its owner may.",
            )


def in_order(objects: Iterable[SqlObject]) -> list[SqlObject]:
    """Sort objects by kind and by what they require, otherwise by name."""
    by_key = {
        each.key: each for each in sorted(objects, key=lambda each: (KINDS.index(each.kind), each.path))
    }
    graph = graphlib.TopologicalSorter(
        {key: [other for other in by_key if other[2] in each.requires] for key, each in by_key.items()}
    )
    rank = {key: position for position, key in enumerate(graph.static_order())}
    return sorted(by_key.values(), key=lambda each: (KINDS.index(each.kind), rank[each.key]))


def keep_for_owner(*paths: str) -> None:
    """Let nobody but the owner call functions: by itself PostgreSQL lets everybody.

    Args:
        paths: Frozen copies of functions, as for `create`.
    """
    names = ", ".join(PurePosixPath(path).stem for path in paths)
    execute(f"REVOKE EXECUTE ON FUNCTION {names} FROM PUBLIC;")


def execute_on(connection: Connection, sql: str) -> None:
    """Send SQL to the server verbatim.

    Args:
        connection: An SQLAlchemy connection; its transaction is the caller's.
        sql: One or several statements.
    """
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def execute(sql: str) -> None:
    """Run SQL within a revision, or write it into the script when Alembic runs offline.

    Args:
        sql: One or several statements, each ended by a semicolon.
    """
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(sql.strip())
    else:
        execute_on(op.get_bind(), sql)


def create(*paths: str) -> None:
    """Create or replace the objects of frozen files, in the order given.

    Args:
        *paths: Files below versions/sql/, such as `005/core/find_cached_build.sql`.
    """
    for path in paths:
        execute(load(FROZEN / path).text)


def drop(*paths: str) -> None:
    """Drop the objects of frozen files, in the order given.

    Args:
        *paths: Files below versions/sql/, such as `005/core/find_cached_build.sql`.
    """
    for path in paths:
        execute(load(FROZEN / path).drop_statement)
