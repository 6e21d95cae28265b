"""Work within the scope of one customer, or in the name of an actor, for as long as a block lasts.

Both are settings of the transaction: they end with it, whatever happens, and so never reach whoever gets the
connection next from a pool or from PgBouncer.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Session

from honua_schema import locking
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from sqlalchemy import NestedTransaction, RootTransaction
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    Target = Session | Connection | AsyncSession | AsyncConnection

SET_UNLESS_SET = text("""
    SELECT set_config(:name, :value, true)
    WHERE coalesce(current_setting(:name, true), '') = ''
""")
CLEAR = text("SELECT set_config(:name, '', true)")


def customer_scope(target: Target, customer_id: str) -> TransactionSetting:
    """Let a block see and change the rows of one customer only; use it with `with` or `async with`.

    It binds members of the role honua_app, who see no row outside a scope. The owner of the tables, and roles
    that bypass row security, see all rows inside it too.

    The scope belongs to the transaction under way, which begins if need be: a commit or rollback inside the
    block ends it, and then no rows are seen. At its end a session is flushed and emptied, so that no object
    of this customer is found in the scope of another; objects that were loaded keep their values.

    Args:
        target: A session or connection, of SQLAlchemy's synchronous or asynchronous kind.
        customer_id: The customer. One that does not exist sees nothing.

    Raises:
        ValueError: ``customer_id`` is empty.
        SchemaError: On entering, when the transaction is in a scope already, or in autocommit mode. On
            leaving, when a savepoint that was made inside the block is still open.
    """
    return TransactionSetting(target, "honua.customer_id", customer_id, empties_session=True)


def actor(target: Target, name: str) -> TransactionSetting:
    """Let the audit log name an actor for the changes made in a block; use it with `with` or `async with`.

    Without one, the log names the database role. Like a scope, it belongs to the transaction under way.

    Args:
        target: A session or connection, of SQLAlchemy's synchronous or asynchronous kind.
        name: Who makes the changes, such as an e-mail address; the log keeps 255 characters.

    Raises:
        ValueError: ``name`` is empty.
        SchemaError: On entering, when the transaction has an actor already, or in autocommit mode. On
            leaving, when a savepoint that was made inside the block is still open.
    """
    return TransactionSetting(target, "honua.actor", name, empties_session=False)


class TransactionSetting:
    """A setting of the transaction under way, for as long as a block lasts.

    Args:
        target: Where the transaction is.
        name: The setting.
        value: Its value; not empty.
        empties_session: Whether a session is flushed and emptied at the end.
    """

    def __init__(self, target: Target, name: str, value: str, *, empties_session: bool) -> None:
        if not value:
            message = f"{name} must not be empty"
            raise ValueError(message)
        self._target: Any = target
        self._parameters = {"name": name, "value": value}
        self._empties_session = empties_session
        self._connection: Connection
        self._transaction: RootTransaction | None = None
        self._savepoint: NestedTransaction | None = None

    def __enter__(self) -> Self:
        self._set(self._target)
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._clear(self._target, error)

    async def __aenter__(self) -> Self:
        await self._target.run_sync(self._set)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        await self._target.run_sync(self._clear, error)

    def _set(self, target: Session | Connection) -> None:
        connection = target.connection() if isinstance(target, Session) else target
        name = self._parameters["name"]
        if locking.is_autocommit(connection):
            raise SchemaError(
                f"The connection is in autocommit mode, in which {name} would last for no statement.",
                "Use a connection without AUTOCOMMIT, or an engine's begin().",
            )
        if connection.execute(SET_UNLESS_SET, self._parameters).first() is None:
            raise SchemaError(
                f"{name} is set already: such blocks don't nest.", "End the block around this one first."
            )
        self._connection, self._transaction = connection, connection.get_transaction()
        self._savepoint = connection.get_nested_transaction()

    def _clear(self, target: Session | Connection, error: BaseException | None) -> None:
        session = target if isinstance(target, Session) and self._empties_session else None
        with _emptied_afterwards(session) if session else nullcontext():
            if not self._is_under_way():
                return
            try:
                if session and error is None:
                    session.flush()
            finally:
                self._reset(error)

    def _is_under_way(self) -> bool:
        if self._connection.closed or self._transaction is None:
            return False
        return self._connection.get_transaction() is self._transaction and self._transaction.is_active

    def _reset(self, error: BaseException | None) -> None:
        try:
            if self._is_under_way():
                self._connection.execute(CLEAR, {"name": self._parameters["name"]})
                if error is None:
                    self._refuse_open_savepoint()
        except (DBAPIError, InvalidRequestError):
            # Where the block has failed, so has its transaction, and its rollback ends the setting.
            if error is None:
                raise

    def _refuse_open_savepoint(self) -> None:
        savepoint = self._connection.get_nested_transaction()
        if savepoint is self._savepoint or (self._savepoint and not self._savepoint.is_active):
            return
        name = self._parameters["name"]
        raise SchemaError(
            f"A savepoint made in the block of {name} is still open: its rollback would set {name} again.",
            "End begin_nested() inside the block, or begin it before the block.",
        )


@contextmanager
def _emptied_afterwards(session: Session) -> Iterator[None]:
    try:
        yield
    finally:
        session.expunge_all()
