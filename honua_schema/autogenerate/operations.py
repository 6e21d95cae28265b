"""What a revision does beyond Alembic's own operations, and how it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from alembic.autogenerate import render, renderers
from alembic.autogenerate.render import render_op
from alembic.operations.ops import AlterColumnOp, CreatePrimaryKeyOp, MigrateOperation, OpContainer
from sqlalchemy import Identity as GeneratedIdentity

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

    from honua_schema.autogenerate.catalog import Identity
    from honua_schema.sqlfile import SqlObject


@dataclass(frozen=True)
class FrozenCopy:
    """A copy of an SQL file that belongs to a revision.

    Attributes:
        object: What the file creates.
        revision: The revision; None for the one that is being generated.
    """

    object: SqlObject
    revision: str | None = None

    def path(self, new_revision: str) -> str:
        """Return the file's place below versions/sql/.

        Args:
            new_revision: Number of the revision that is being generated.
        """
        return f"{self.revision or new_revision}/{self.object.path}"


class SqlObjectOp(MigrateOperation):
    """An operation on a function, a view, a trigger or another object that an SQL file declares.

    Args:
        copy: The file that creates the object.
    """

    verb: str

    def __init__(self, copy: FrozenCopy) -> None:
        self.copy = copy

    @property
    def copies(self) -> tuple[FrozenCopy, ...]:
        """The files that upgrade() and downgrade() need."""
        return (self.copy,)

    def to_diff_tuple(self) -> tuple[str, ...]:
        """Return what `alembic check` reports."""
        return f"{self.verb}_{self.copy.object.kind}", self.copy.object.name


class CreateSqlObjectOp(SqlObjectOp):
    """Create an object that the database does not have."""

    verb = "create"

    def reverse(self) -> MigrateOperation:
        """Return the operation that takes this one back; a script leaves nothing to take back."""
        return OpContainer() if self.copy.object.kind == "script" else DropSqlObjectOp(self.copy)


class DropSqlObjectOp(SqlObjectOp):
    """Drop an object."""

    verb = "drop"

    def reverse(self) -> CreateSqlObjectOp:
        """Return the operation that takes this one back."""
        return CreateSqlObjectOp(self.copy)


class ReplaceSqlObjectOp(SqlObjectOp):
    """Put a new definition of an object in place of an earlier one.

    Args:
        copy: The file with the new definition.
        previous: The file with the earlier definition.
    """

    verb = "replace"

    def __init__(self, copy: FrozenCopy, previous: FrozenCopy) -> None:
        super().__init__(copy)
        self.previous = previous

    @property
    def copies(self) -> tuple[FrozenCopy, ...]:
        """The files that upgrade() and downgrade() need."""
        return self.copy, self.previous

    def reverse(self) -> ReplaceSqlObjectOp:
        """Return the operation that takes this one back."""
        return ReplaceSqlObjectOp(self.previous, self.copy)


class ExecuteStatementsOp(MigrateOperation):
    """Run SQL for what Alembic has no operation for.

    Args:
        identity: The object that changes.
        aspect: What of it changes.
        forward: Statements for upgrade(), each ended by a semicolon.
        backward: Statements for downgrade().
    """

    def __init__(self, identity: Identity, aspect: str, forward: str, backward: str) -> None:
        self.identity = identity
        self.aspect = aspect
        self.forward = forward
        self.backward = backward

    def reverse(self) -> ExecuteStatementsOp:
        """Return the operation that takes this one back."""
        return ExecuteStatementsOp(self.identity, self.aspect, self.backward, self.forward)

    def to_diff_tuple(self) -> tuple[str, ...]:
        """Return what `alembic check` reports."""
        return f"change_{self.aspect}".replace(" ", "_"), str(self.identity)


class AdvisedOp(OpContainer):
    """An operation with a comment before it in the revision.

    Args:
        operation: The operation.
        comment: What to know about it, one line for each item.
    """

    def __init__(self, operation: MigrateOperation, comment: list[str]) -> None:
        super().__init__([operation])
        self.comment = comment


def _path(context: AutogenContext, copy: FrozenCopy) -> str:
    revision = context.opts["revision_context"].generated_revisions[-1].rev_id
    return copy.path(cast("str", revision))


@renderers.dispatch_for(CreateSqlObjectOp)
@renderers.dispatch_for(ReplaceSqlObjectOp)
def _render_create(context: AutogenContext, operation: SqlObjectOp) -> str:
    return f"sqlfile.create({_path(context, operation.copy)!r})"


@renderers.dispatch_for(DropSqlObjectOp)
def _render_drop(context: AutogenContext, operation: SqlObjectOp) -> str:
    return f"sqlfile.drop({_path(context, operation.copy)!r})"


@renderers.dispatch_for(ExecuteStatementsOp)
def _render_statements(_: AutogenContext, operation: ExecuteStatementsOp) -> list[str]:
    lines = [repr(line) for line in operation.forward.splitlines(keepends=True)]
    return [f"sqlfile.execute({chr(10).join(lines)})"] if lines else []


@renderers.dispatch_for(CreatePrimaryKeyOp, replace=True)
def _render_primary_key(_: AutogenContext, operation: CreatePrimaryKeyOp) -> str:
    """Write down what Alembic has an operation for, but cannot write."""
    name, table, columns = operation.constraint_name, operation.table_name, list(operation.columns)
    return f"op.create_primary_key({name!r}, {table!r}, {columns!r})"


_render_altered_column = renderers.dispatch(AlterColumnOp)


@renderers.dispatch_for(AlterColumnOp, replace=True)
def _render_altered_identity(context: AutogenContext, operation: AlterColumnOp) -> str:
    """Add the identity that is there: Alembic cannot change or drop it without."""
    text: str = _render_altered_column(context, operation)
    existing = operation.existing_server_default
    if operation.modify_server_default is False or not isinstance(existing, GeneratedIdentity):
        return text
    rendered = render._render_server_default(existing, context)
    return f"{text.removesuffix(')')}, existing_server_default={rendered})"


@renderers.dispatch_for(OpContainer)
def _render_nothing(_: AutogenContext, __: OpContainer) -> list[str]:
    return []


@renderers.dispatch_for(AdvisedOp)
def _render_advised(context: AutogenContext, operation: AdvisedOp) -> list[str]:
    comment = [f"# {line}" for line in operation.comment]
    return [*comment, *(line for each in operation.ops for line in render_op(context, each))]


def flatten(container: OpContainer) -> list[Any]:
    """Return the operations in a container and in the containers within it, in order.

    Args:
        container: Such as `alembic.operations.ops.UpgradeOps`.
    """
    operations: list[Any] = []
    for operation in container.ops:
        operations += flatten(operation) if isinstance(operation, OpContainer) else [operation]
    return operations
