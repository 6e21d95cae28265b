"""Act as one of the roles, without being able to leave anything behind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from psycopg import sql

from honua_schema import privileges, sqlfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import psycopg

    Connection = psycopg.Connection[Any]


class Acting(Protocol):
    """Acts as a role for a block, then rolls back."""

    def __call__(self, role: str, customer: str = "") -> AbstractContextManager[None]:
        """Return the context manager; with a customer, it is in the customer's scope."""


@pytest.fixture(scope="session")
def manifest() -> privileges.Manifest:
    """What sql/system/privileges.toml says."""
    return privileges.parse((sqlfile.CURRENT / "system/privileges.toml").read_text())


@pytest.fixture
def acting(connection: Connection) -> Acting:
    """Act as a role on ``connection``."""

    @contextmanager
    def act(role: str, customer: str = "") -> Iterator[None]:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            connection.execute("SELECT set_config('honua.customer_id', %s, true)", [customer])
            yield

    return act
