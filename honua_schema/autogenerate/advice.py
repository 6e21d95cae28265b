"""What each operation means for a database in use: locks, the previous release, data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic.operations import ops
from sqlalchemy import Identity, String, Text

from honua_schema.autogenerate.operations import (
    CreateSqlObjectOp,
    DropSqlObjectOp,
    ExecuteStatementsOp,
    SqlObjectOp,
)
from honua_schema.models.base import domains

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Column

    from honua_schema.autogenerate.operations import FrozenCopy

VOLATILE_DEFAULTS = ("random", "clock_timestamp", "nextval", "uuid")


@dataclass(frozen=True)
class Advice:
    """What there is to know about an operation.

    Attributes:
        lock: The lock it takes, and for how long; empty if nobody will notice.
        break_of_service: Why the application cannot go on while it runs or after it; empty if it can.
        loss: The data that upgrade() loses; empty if none.
        loss_in_downgrade: The data that downgrade() loses; empty if none.
        safe_form: How to do the same on a big table that is in use, one line for each step.
    """

    lock: str = ""
    break_of_service: str = ""
    loss: str = ""
    loss_in_downgrade: str = ""
    safe_form: tuple[str, ...] = ()

    @property
    def comment(self) -> list[str]:
        """The lines that stand before the operation in the revision; none if it is harmless."""
        reasons = [reason for reason in (self.break_of_service, self.loss) if reason]
        return [f"{'. '.join(reasons)}.", *self.safe_form] if reasons else []


def advise_all(operations: Collection[Any]) -> list[Advice]:
    """Return what there is to know about each operation of upgrade().

    Args:
        operations: All of them: a table that they create is empty, and what they create again is not gone.
    """
    new_tables = {each.table_name for each in operations if isinstance(each, ops.CreateTableOp)}
    created = {each.copy.object.key: each.copy for each in operations if isinstance(each, CreateSqlObjectOp)}
    advice = []
    for operation in operations:
        table = getattr(operation, "table_name", None) or getattr(operation, "source_table", None)
        if isinstance(operation, SqlObjectOp):
            advice.append(_advise_sql_object(operation, created.get(operation.copy.object.key)))
        elif table in new_tables and not isinstance(operation, ops.CreateTableOp):
            advice.append(Advice())
        else:
            advice.append(_advise(operation, table))
    return advice


def _advise(operation: Any, table: str | None) -> Advice:
    match operation:
        case ops.CreateTableOp():
            return Advice(loss_in_downgrade=f"the table {table}")
        case ops.DropTableOp():
            return Advice(
                lock=f"ACCESS EXCLUSIVE on {table} for a moment",
                break_of_service=f"The previous release may still use {table}",
                loss=f"{table} is lost with all that is in it",
                safe_form=("Drop it one release after the last use of it.",),
            )
        case ops.AddColumnOp():
            return _advise_new_column(str(table), operation.column)
        case ops.DropColumnOp():
            return Advice(
                lock=f"ACCESS EXCLUSIVE on {table} for a moment",
                break_of_service=f"The previous release may still use {table}.{operation.column_name}",
                loss=f"{table}.{operation.column_name} is lost with all that is in it",
                safe_form=("Drop it one release after the last use of it.",),
            )
        case ops.AlterColumnOp():
            return _advise_altered_column(str(table), operation)
        case ops.CreateIndexOp():
            columns = ", ".join(repr(str(column)) for column in operation.columns)
            return Advice(
                lock=f"SHARE on {table} while the index {operation.index_name} is built",
                break_of_service=f"Writers of {table} wait while this index is built",
                safe_form=(
                    "On a big table that is in use, in a revision of its own:",
                    f"online.create_index({operation.index_name!r}, {table!r}, [{columns}])",
                ),
            )
        case ops.DropIndexOp():
            return Advice(
                lock=f"ACCESS EXCLUSIVE on {table} for a moment",
                break_of_service=f"Whoever uses {table} waits until those before have finished",
                safe_form=(
                    "On a table that is in use, in a revision of its own:",
                    f"online.drop_index({operation.index_name!r})",
                ),
            )
        case ops.CreateUniqueConstraintOp() | ops.CreatePrimaryKeyOp():
            return Advice(
                lock=f"ACCESS EXCLUSIVE on {table} while its index is built",
                break_of_service=f"Nobody can use {table} while the index of this constraint is built",
                safe_form=(
                    "On a big table that is in use, build the index first, in a revision of its own:",
                    f"online.create_index({operation.constraint_name!r}, {table!r}, [...], unique=True)",
                    "and then add the constraint with USING INDEX.",
                ),
            )
        case ops.AddConstraintOp():
            return _advise_checked_constraint(operation)
        case ops.DropConstraintOp():
            return Advice(lock=f"ACCESS EXCLUSIVE on {table} for a moment")
        case ExecuteStatementsOp():
            return _advise_statements(operation)
    return Advice()


def _advise_new_column(table: str, column: Column[Any]) -> Advice:
    moment = f"ACCESS EXCLUSIVE on {table} for a moment"
    loss = f"the column {table}.{column.name}"
    default = str(getattr(column.server_default, "arg", "")) if column.server_default is not None else ""
    if isinstance(column.server_default, Identity) or any(name in default for name in VOLATILE_DEFAULTS):
        return Advice(
            lock=f"ACCESS EXCLUSIVE on {table} while it is rewritten",
            break_of_service=f"Nobody can use {table} while each row gets a value of its own",
            loss_in_downgrade=loss,
            safe_form=(
                "On a big table, add the column without a default, set the default, and then:",
                f"online.backfill({table!r}, {column.name + ' = ...'!r}, where={column.name + ' IS NULL'!r})",
            ),
        )
    if not column.nullable and column.server_default is None:
        return Advice(
            lock=moment,
            break_of_service=f"This fails when {table} has rows, and the previous release cannot insert",
            loss_in_downgrade=loss,
            safe_form=(
                "Give the column a default, or add it as NULL, fill it, and then:",
                f"online.set_not_null({table!r}, {column.name!r})",
            ),
        )
    return Advice(lock=moment, loss_in_downgrade=loss)


def _advise_altered_column(table: str, operation: ops.AlterColumnOp) -> Advice:
    moment = f"ACCESS EXCLUSIVE on {table} for a moment"
    if operation.modify_type is not None and not _is_widening(operation):
        return Advice(
            lock=f"ACCESS EXCLUSIVE on {table} while it is rewritten",
            break_of_service=f"Nobody can use {table} while it is rewritten with all its indexes",
            safe_form=(
                "On a big table, add a column of the new type, and write both; then fill the new one with",
                f"online.backfill({table!r}, ...), read from it, and drop the old one a release later.",
            ),
        )
    if operation.modify_nullable is False:
        return Advice(
            lock=f"ACCESS EXCLUSIVE on {table} while it is read",
            break_of_service=f"Nobody can use {table} while all its rows are checked; a NULL makes this fail",
            safe_form=(
                "On a big table, in a revision of its own:",
                f"online.set_not_null({table!r}, {operation.column_name!r})",
            ),
        )
    is_description = operation.modify_comment is not False and operation.modify_type is None
    return Advice(lock="" if is_description else moment)


def _is_widening(operation: ops.AlterColumnOp) -> bool:
    """Return whether the new type holds all values of the old one as they are: then nothing is rewritten."""
    before, after = operation.existing_type, operation.modify_type
    if not isinstance(before, String) or not isinstance(after, String):
        return False
    return (
        after.length is None or isinstance(after, Text) or (before.length or after.length + 1) <= after.length
    )


def _advise_checked_constraint(operation: ops.AddConstraintOp) -> Advice:
    constraint = operation.to_constraint()
    table = str(getattr(operation, "table_name", None) or getattr(operation, "source_table", None))
    if isinstance(operation, ops.CreateForeignKeyOp):
        held = f"SHARE ROW EXCLUSIVE on {table} and {operation.referent_table}"
        reason = f"Writers of {table} and {operation.referent_table} wait while all rows are checked"
    else:
        held = f"ACCESS EXCLUSIVE on {table}"
        reason = f"Nobody can use {table} while all its rows are checked"
    return Advice(
        lock=f"{held} while its rows are checked",
        break_of_service=reason,
        safe_form=(
            "On a big table that is in use, in a revision of its own:",
            f"online.add_constraint({str(constraint.name)!r}, {table!r}, '...')",
        ),
    )


def _advise_statements(operation: ExecuteStatementsOp) -> Advice:
    identity = operation.identity
    column = domains().get(identity.table or identity.name)
    if column is not None:
        return _advise_domain(operation, column.table.name)
    table = identity.name if identity.kind == "table" and not identity.is_partition else identity.table
    match operation.aspect:
        case "grants" | "comment":
            return Advice()
        case "storage options" | "TOAST storage options":
            return Advice(lock=f"SHARE UPDATE EXCLUSIVE on {table} for a moment")
        case "persistence":
            return Advice(
                lock=f"ACCESS EXCLUSIVE on {table} while it is rewritten",
                break_of_service=f"Nobody can use {table} while it is rewritten",
            )
    return Advice(lock=f"ACCESS EXCLUSIVE on {table} for a moment")


def _advise_domain(operation: ExecuteStatementsOp, table: str) -> Advice:
    identity = operation.identity
    if identity.kind == "constraint" and "ADD CONSTRAINT" in operation.forward:
        return Advice(
            lock=f"SHARE on {table} while its rows are checked",
            break_of_service=f"Writers of {table} wait while all its rows are checked",
        )
    if identity.kind == "type" and operation.aspect == "definition":
        return Advice(
            lock=f"ACCESS EXCLUSIVE on {table} while it is rewritten",
            break_of_service=f"Nobody can use {table} while it is rewritten with all its indexes",
        )
    return Advice()


def _advise_sql_object(operation: SqlObjectOp, created: FrozenCopy | None) -> Advice:
    declared = operation.copy.object
    is_drop = isinstance(operation, DropSqlObjectOp)
    lock = ""
    if declared.kind == "trigger":
        mode = "ACCESS EXCLUSIVE" if is_drop else "SHARE ROW EXCLUSIVE"
        lock = f"{mode} on {declared.table} for a moment"
    elif declared.kind == "view" and not isinstance(operation, CreateSqlObjectOp):
        lock = f"ACCESS EXCLUSIVE on the view {declared.name} for a moment"
    if not is_drop or declared.kind not in {"function", "view"}:
        return Advice(lock=lock)
    if created is None:
        return Advice(lock=lock, break_of_service=f"The previous release may still use {declared.name}")
    if created.object.text == declared.text:
        return Advice(lock=lock)
    return Advice(lock=lock, break_of_service=f"The previous release may count on {declared.name} as it was")


@dataclass(frozen=True)
class Checklist:
    """The answers that the docstring of a revision gives.

    Attributes:
        locks: Which locks the statements take.
        online: Whether the application can go on.
        data: Which data is lost.
    """

    locks: str
    online: str
    data: str


# For a revision that a person writes.
QUESTIONS = Checklist(
    locks="which does each statement take, for how long, and who waits behind it?",
    online="can the previous release of the application go on while this runs, and after it?",
    data="does upgrade() or downgrade() lose any?",
)


def fill_in(advice: Iterable[Advice]) -> Checklist:
    """Answer the checklist for a revision.

    Args:
        advice: What there is to know about each operation of upgrade().
    """
    all_advice = list(advice)

    def together(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(value for value in values if value))

    lost = together(each.loss for each in all_advice)
    lost_in_downgrade = together(each.loss_in_downgrade for each in all_advice)
    breaks = together(each.break_of_service for each in all_advice)
    return Checklist(
        locks=f"{together(each.lock for each in all_advice) or 'none that anybody will notice'}.",
        online=f"not on a big table or with the previous release: {breaks}." if breaks else "yes.",
        data=" ".join(
            (
                f"{lost}." if lost else "upgrade() loses none.",
                f"downgrade() drops {lost_in_downgrade}." if lost_in_downgrade else "downgrade() loses none.",
            )
        ),
    )
