"""How a new revision comes about: its number, its frozen SQL files, its checklist, its looks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.operations.ops import ModifyTableOps, OpContainer
from alembic.script import write_hooks

from honua_schema import sqlfile
from honua_schema.autogenerate.advice import QUESTIONS, advise_all, fill_in
from honua_schema.autogenerate.comparison import compare
from honua_schema.autogenerate.operations import AdvisedOp, SqlObjectOp, flatten
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext

HOOK = "honua_schema"

# As PostgreSQL writes down IN ('a', 'b') on a varchar; what it makes of that is spelled otherwise again.
LIST_OF_VALUES = re.compile(
    r"(\(\w+\)|\b\w+)::text (= ANY|<> ALL) "
    r"\(\(?ARRAY\[((?:'[^'\\]*'::character varying(?:, )?)+)\]\)?::text\[\]\)"
)


def process_directives(context: MigrationContext, _: object, directives: list[MigrationScript]) -> None:
    """Complete a revision that Alembic drafts, or drop the draft if there is nothing to revise.

    Args:
        context: The context of the command.
        directives: The draft.

    Raises:
        SchemaError: The revision has no message.
    """
    revision_context = context.opts["revision_context"]
    scripts = revision_context.script_directory
    arguments = revision_context.command_args
    draft = directives[0]
    if not arguments["rev_id"]:
        numbers = [int(each.revision) for each in scripts.walk_revisions() if each.revision.isdigit()]
        draft.rev_id = f"{max(numbers, default=0) + 1:03}"
    if arguments["message"] is None:
        if hasattr(revision_context.config.cmd_opts, "autogenerate"):
            raise SchemaError("The revision has no name.", 'Say what it does: alembic revision -m "..."')
        return  # `alembic check` writes nothing
    checklist = QUESTIONS
    if arguments["autogenerate"]:
        operations = flatten(draft.upgrade_ops_list[0])
        if not operations:
            revision_context.config.print_stdout("%s", _why_none_is_written(context))
            directives.clear()
            return
        advice = advise_all(operations)
        checklist = fill_in(advice)
        comments = {id(operation): each.comment for operation, each in zip(operations, advice, strict=True)}
        _comment(draft.upgrade_ops_list[0], comments)
    revision_context.template_args.update(asdict(checklist), by_hand=not arguments["autogenerate"])

    def finish(path: str, _: object) -> None:
        _freeze(draft)
        _tidy_up(Path(path))

    write_hooks.register(HOOK)(finish)
    scripts.hooks = [*scripts.hooks, {"type": HOOK, "_hook_name": HOOK}]


def _why_none_is_written(context: MigrationContext) -> str:
    if context.connection is None:
        raise TypeError("the comparison needs a database")
    remaining = [
        str(each)
        for each in compare(context.connection).differences
        # An application may have tables of its own.
        if each.aspect != "existence" or each.declared is not None
    ]
    if not remaining:
        return "The database is what the models and the SQL files declare: no revision is written."
    reason = "No revision is written: there is no operation that does away with these differences."
    return "\n".join([reason, *remaining, "Undo the change, or write a revision by hand."])


def _comment(container: OpContainer, comments: Mapping[int, list[str]]) -> None:
    """Put a comment before each operation that is risky on a database in use."""
    commented: list[Any] = []
    for operation in container.ops:
        if isinstance(operation, ModifyTableOps):
            _comment(operation, comments)
            commented.append(operation)
        else:
            comment = comments[id(operation)]
            commented.append(AdvisedOp(operation, comment) if comment else operation)
    container.ops = commented


def _freeze(draft: MigrationScript) -> None:
    """Copy the SQL files that the revision runs and that no earlier revision has a copy of."""
    operations: Iterable[Any] = [*flatten(draft.upgrade_ops_list[0]), *flatten(draft.downgrade_ops_list[0])]
    for operation in operations:
        if isinstance(operation, SqlObjectOp):
            for copy in operation.copies:
                if copy.revision is None:
                    target = sqlfile.FROZEN / copy.path(str(draft.rev_id))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(copy.object.text, encoding="utf-8")


def _tidy_up(file: Path) -> None:
    """Make a generated file read as if a person had written it."""
    text = re.sub(r"^ *# ### .*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    file.write_text(LIST_OF_VALUES.sub(_as_people_write, text), encoding="utf-8")
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff:  # otherwise the file is right, if not pretty
        subprocess.run([ruff, "format", "--quiet", str(file)], check=True)


def _as_people_write(match: re.Match[str]) -> str:
    column, operator, values = match.groups()
    verb = "IN" if operator == "= ANY" else "NOT IN"
    return f"{column.strip('()')} {verb} ({values.replace('::character varying', '')})"
