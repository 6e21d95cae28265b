"""The plugin for Alembic: `alembic check` and `revision --autogenerate` see all that can be declared."""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB
from sqlalchemy.types import UserDefinedType

from honua_schema import sqlfile
from honua_schema.autogenerate import expressions, planning
from honua_schema.autogenerate.comparison import compare
from honua_schema.autogenerate.operations import FrozenCopy, flatten
from honua_schema.models import Base
from honua_schema.models.base import Address, Domain, Json

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import UpgradeOps
    from alembic.script import ScriptDirectory

    from honua_schema.autogenerate.catalog import Key

# SQLAlchemy 2.1 omits this, and warns when it reflects an index in descending order on such a column.
DOMAIN.operator_classes = UserDefinedType.operator_classes

NAME = "honua_schema.autogenerate"
"""The plugin's name, for the option autogenerate_plugins."""

CREATED_TABLE = re.compile(r"op\.create_table\(\s*[\"'](\w+)[\"']")


@cache
def register() -> str:
    """Make the plugin known to Alembic, once, and return its name."""
    Plugin.setup_plugin_from_module(sys.modules[__name__], NAME)
    return NAME


def setup(plugin: Plugin) -> None:
    """Add the comparison to those that Alembic makes; it comes last, for it needs to know what they found.

    Args:
        plugin: The plugin under registration.
    """
    plugin.add_autogenerate_comparator(_compare, "autogenerate", priority=DispatchPriority.LAST)


def _compare(context: AutogenContext, upgrade: UpgradeOps) -> PriorityDispatchResult:
    connection = context.connection
    if connection is None:
        raise TypeError("the comparison needs a database")

    @cache
    def reflect(table: str) -> sa.Table:
        return sa.Table(table, sa.MetaData(), autoload_with=connection)

    before, after = planning.plan(
        compare(connection),
        sqlfile.load_objects(),
        frozen_copies(context.migration_context.script),
        flatten(upgrade),
        reflect,
    )
    upgrade.ops = [*before, *upgrade.ops, *after]
    # Alembic's own writes SQL as the driver takes it, with each % doubled.
    implementation: Any = context.migration_context.impl
    implementation.render_ddl_sql_expr = expressions.write_down
    return PriorityDispatchResult.CONTINUE


def frozen_copies(scripts: ScriptDirectory | None) -> dict[Key, FrozenCopy]:
    """Return the newest frozen copy of each SQL object that a revision has ever made.

    Args:
        scripts: The revisions; without them, the folders count in the order of their names.
    """
    if scripts is None:
        revisions = sorted(folder.name for folder in sqlfile.FROZEN.iterdir())
    else:
        revisions = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    return {
        each.key: FrozenCopy(each, revision)
        for revision in revisions
        for each in sqlfile.load_objects(sqlfile.FROZEN / revision)
    }


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write down a type of this package as what it is to the database, and a domain as one that is there.

    Args:
        kind: What is to be written down.
        item: A type, if `kind` says so.
        context: The revision's.
    """
    if kind != "type" or not isinstance(item, Address | Json | Domain | DOMAIN):
        return False
    context.imports.add("from sqlalchemy.dialects import postgresql")
    if isinstance(item, Address | Json):
        return f"postgresql.{item.__visit_name__}()"
    match item.data_type:
        case sa.Enum(length=length):
            data_type = f"sa.String(length={length})"
        case JSONB():
            data_type = "postgresql.JSONB()"
        case other:
            data_type = f"sa.{other!r}"
    return f"postgresql.DOMAIN({item.name!r}, {data_type}, create_type=False)"


def include_name(name: str | None, type_: str, _: Any) -> bool:
    """Let Alembic compare the tables of this schema only: an application may have others beside them.

    Args:
        name: Name of what Alembic found in the database.
        type_: What it is.
    """
    return type_ != "table" or name in Base.metadata.tables or name in _created_tables()


@cache
def _created_tables() -> frozenset[str]:
    files = sqlfile.FROZEN.parent.glob("*.py")
    return frozenset(
        name for file in files for name in CREATED_TABLE.findall(file.read_text(encoding="utf-8"))
    )
