"""How the SQL functions of the schema become typed Python functions.

Such a function takes a `Session`, a `Connection`, or the asynchronous form of either (then it is awaited),
and after it what the SQL function takes. It works in the transaction under way, which the caller commits.

Errors come as SQLAlchemy raises them. `error.orig.sqlstate` says which it is, and `error.orig.diag` has the
message, the hint and the constraint:

- `DataError` for a bad argument: 22023 for a value out of its range, 22004 for None where a value is needed,
  22001 for a text that is too long, 22003 for a number that is too large.
- `IntegrityError` for a broken rule: 23514 with the name of the limit or constraint, 23503 for an unknown id,
  23502 for None in a column that needs a value.
- `OperationalError` for what others do at the same time: 40001 and 40P01 (do the whole transaction again),
  55P03 (somebody has locked the tables for too long).
"""

from __future__ import annotations

import dataclasses
import functools
from numbers import Number
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from _typeshed import DataclassInstance
    from sqlalchemy import Connection, Result, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Record = TypeVar("Record", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call of an SQL function, not yet executed.

    Attributes:
        query: The query that calls it.
        arguments: The query's parameters.
        read: Makes the answer of the query's result.
    """

    query: TextClause
    arguments: dict[str, Any]
    read: Callable[[Result[Any]], Answer]

    def execute(self, target: Session | Connection) -> Answer:
        """Execute the call and return its answer."""
        return self.read(target.execute(self.query, self.arguments))


class SqlFunction(Generic[Parameters, Answer]):
    """A Python function that calls an SQL function, synchronously or asynchronously.

    Args:
        call: Returns the call for the given arguments.
    """

    def __init__(self, call: Callable[Parameters, Call[Answer]]) -> None:
        self.call = call
        functools.update_wrapper(self, call)

    @overload
    def __call__(
        self, target: Session | Connection, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer: ...

    @overload
    def __call__(
        self, target: AsyncSession | AsyncConnection, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Coroutine[Any, Any, Answer]: ...

    def __call__(self, target: Any, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
        """Call the SQL function on a session or connection; await the answer if that is asynchronous."""
        call = self.call(*args, **kwargs)
        run_sync = getattr(target, "run_sync", None)
        return run_sync(call.execute) if run_sync else call.execute(target)


def value(function: str, **arguments: Any) -> Call[Any]:
    """Call a function that returns one value.

    Args:
        function: Name of the SQL function.
        **arguments: Its arguments, by their names without the p_.
    """
    return _call(f"SELECT {function}", arguments, lambda result: result.scalar_one())


def records(
    function: str, record: type[Record], known: Mapping[str, Any] = MappingProxyType({}), **arguments: Any
) -> Call[list[Record]]:
    """Call a function that returns a table.

    Args:
        function: Name of the SQL function.
        record: A dataclass whose fields are columns of the table.
        known: Fields that are no columns, with their values.
        **arguments: The function's arguments, by their names without the p_.
    """
    # Not *: a later version of the function may return more.
    columns = ", ".join(field.name for field in dataclasses.fields(record) if field.name not in known)

    def read(result: Result[Any]) -> list[Record]:
        return [record(**row, **known) for row in result.mappings()]

    return _call(f"SELECT {columns} FROM {function}", arguments, read)  # noqa: S608 - names of this package


def one(call: Call[list[Record]]) -> Call[Record]:
    """Make a call answer with its record, which there always is."""

    def read(result: Result[Any]) -> Record:
        (record,) = call.read(result)
        return record

    return Call(call.query, call.arguments, read)


def first(call: Call[list[Record]]) -> Call[Record | None]:
    """Make a call answer with its first record, or None if there is none."""

    def read(result: Result[Any]) -> Record | None:
        return next(iter(call.read(result)), None)

    return Call(call.query, call.arguments, read)


def _call(function: str, arguments: dict[str, Any], read: Callable[[Result[Any]], Answer]) -> Call[Answer]:
    named = ", ".join(f"p_{name} => :{name}" for name in arguments)
    # A number has a type of its own, numeric when it is large, for which there may be no function.
    # As text it is what the parameter is, or too large for it.
    values = {name: str(value) if isinstance(value, Number) else value for name, value in arguments.items()}
    return Call(text(f"{function}({named})"), values, read)
