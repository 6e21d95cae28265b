"""customer_scope() and actor(): in force for a block and a transaction, and never for anybody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import builders
from honua_schema.errors import SchemaError
from honua_schema.models import AuditLog, BuildCacheRegistry, BuildQueue, Customer, RegistryCredential
from honua_schema.security import actor, customer_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from sqlalchemy import URL

MEMBER = "member_of_honua_app"


@pytest.fixture
def customers(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    first, second = (builders.add_customer(connection) for _ in range(2))
    for customer in (first, second, second):
        builders.add_build(connection, customer)
    builders.add_registry_credential(connection, first)
    return first, second


@pytest.fixture
def application(connection: psycopg.Connection[Any], database: URL) -> Iterator[URL]:
    connection.execute(f"CREATE ROLE {MEMBER} LOGIN IN ROLE honua_app".encode())
    yield database.set(username=MEMBER)
    connection.execute(f"DROP ROLE {MEMBER}".encode())


@pytest.fixture
def app_engine(application: URL) -> Iterator[Engine]:
    """An engine with one connection, which everybody gets in turn."""
    engine = sqlalchemy.create_engine(application, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def builds(target: Session | Connection) -> int:
    found = target.scalar(select(func.count()).select_from(BuildQueue))
    assert found is not None
    return found


def test_a_connection_sees_its_customers_rows_in_the_scope_and_none_outside(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with app_engine.begin() as connection:
        assert builds(connection) == 0
        with customer_scope(connection, customers[0]):
            assert builds(connection) == 1
        assert builds(connection) == 0
        with customer_scope(connection, customers[1]):
            assert builds(connection) == 2


def test_a_session_writes_and_commits_what_was_made_in_the_scope(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with Session(app_engine) as session, session.begin():
        with customer_scope(session, customers[0]):
            session.add(
                BuildQueue(
                    customer_id=customers[0], manifest_path="m", manifest_hash="h", manifest_json={"a": 1}
                )
            )
        assert builds(session) == 0
    with Session(app_engine) as session, customer_scope(session, customers[0]):
        assert builds(session) == 2


def test_a_session_forgets_the_objects_of_the_scope_but_they_keep_their_values(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with Session(app_engine) as session:
        with customer_scope(session, customers[0]):
            credential = session.scalars(select(RegistryCredential)).one()
        with customer_scope(session, customers[1]):
            assert session.get(RegistryCredential, credential.id) is None
        assert credential.registry_name == "GitHub"


def test_the_models_load_as_they_are_for_the_application(
    app_engine: Engine, customers: tuple[str, str], connection: psycopg.Connection[Any]
) -> None:
    builders.add_cache_entry(connection)
    with Session(app_engine) as session, customer_scope(session, customers[0]):
        assert session.scalars(select(Customer)).one().customer_id == customers[0]
        assert session.scalars(select(BuildCacheRegistry)).one().tier == "core"


def test_scopes_do_not_nest(app_engine: Engine, customers: tuple[str, str]) -> None:
    with app_engine.begin() as connection, customer_scope(connection, customers[0]):
        with pytest.raises(SchemaError, match="set already"), customer_scope(connection, customers[1]):
            pytest.fail("the inner scope was entered")
        assert builds(connection) == 1


def test_a_setting_that_was_left_in_a_session_is_noticed(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with app_engine.connect() as connection:
        connection.execute(text("SELECT set_config('honua.customer_id', :it, false)"), {"it": customers[0]})
        connection.commit()
        with pytest.raises(SchemaError, match="set already"), customer_scope(connection, customers[1]):
            pytest.fail("the scope was entered")


def test_a_savepoint_whose_rollback_would_bring_the_scope_back_is_noticed(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with (
        app_engine.begin() as connection,
        pytest.raises(SchemaError, match="still open"),
        customer_scope(connection, customers[0]),
    ):
        connection.begin_nested()
    with app_engine.begin() as connection:
        outer = connection.begin_nested()
        with customer_scope(connection, customers[0]), connection.begin_nested():
            assert builds(connection) == 1
        outer.rollback()
        assert builds(connection) == 0


def test_autocommit_is_refused(app_engine: Engine, customers: tuple[str, str]) -> None:
    engine = app_engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, pytest.raises(SchemaError, match="autocommit"):
        customer_scope(connection, customers[0]).__enter__()


@pytest.mark.parametrize("customer", ["", None])
def test_a_scope_needs_a_customer(app_engine: Engine, customer: Any) -> None:
    with app_engine.connect() as connection, pytest.raises(ValueError, match="must not be empty"):
        customer_scope(connection, customer)


def test_a_commit_ends_the_scope(app_engine: Engine, customers: tuple[str, str]) -> None:
    with Session(app_engine) as session:
        with customer_scope(session, customers[0]):
            assert builds(session) == 1
            session.commit()
            assert builds(session) == 0
        assert session.in_transaction()
        session.rollback()
        assert not session.in_transaction()


def test_after_an_error_the_next_user_of_the_connection_is_in_no_scope(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with (
        pytest.raises(DBAPIError, match="division by zero"),
        Session(app_engine) as session,
        customer_scope(session, customers[0]),
    ):
        session.execute(text("SELECT 1 / 0"))
    with (
        pytest.raises(ZeroDivisionError),
        app_engine.begin() as connection,
        customer_scope(connection, customers[0]),
    ):
        1 / 0  # noqa: B018
    with app_engine.connect() as connection:
        assert builds(connection) == 0
        assert connection.scalar(text("SELECT current_setting('honua.customer_id', true)")) in (None, "")


def test_an_error_that_python_alone_knows_of_ends_the_scope_too(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with app_engine.begin() as connection:
        with pytest.raises(KeyError), customer_scope(connection, customers[0]):
            {}["missing"]
        assert builds(connection) == 0


def test_a_flush_that_fails_at_the_end_is_reported_and_ends_the_scope(
    app_engine: Engine, customers: tuple[str, str]
) -> None:
    with Session(app_engine) as session:
        with pytest.raises(IntegrityError), customer_scope(session, customers[0]):
            session.add(
                BuildQueue(
                    customer_id=customers[0], manifest_path="m", manifest_hash="h", manifest_json={},
                    priority=99,
                )
            )  # fmt: skip
        session.rollback()
        assert builds(session) == 0


def test_the_owner_sees_everything_with_and_without_a_scope(
    engine: Engine, customers: tuple[str, str]
) -> None:
    with engine.begin() as connection:
        assert builds(connection) == 3
        with customer_scope(connection, customers[0]):
            assert builds(connection) == 3


def test_an_actor_is_named_in_the_audit_log(engine: Engine, customers: tuple[str, str]) -> None:
    with Session(engine) as session, session.begin():
        with actor(session, "ada@example.com"):
            session.scalars(select(Customer).filter_by(customer_id=customers[0])).one().tier = "pro"
            session.flush()
        session.scalars(select(Customer).filter_by(customer_id=customers[0])).one().tier = "core"
    with Session(engine) as session:
        changes = select(AuditLog.actor, AuditLog.new_values).filter_by(operation="UPDATE").order_by("id")
        assert session.execute(changes).all() == [
            ("ada@example.com", {"tier": "pro"}),
            ("postgres", {"tier": "core"}),
        ]


def test_what_the_application_changes_in_a_scope_is_recorded_with_its_actor(
    app_engine: Engine, customers: tuple[str, str], connection: psycopg.Connection[Any]
) -> None:
    with (
        Session(app_engine) as session,
        session.begin(),
        customer_scope(session, customers[0]),
        actor(session, "ada@example.com"),
    ):
        session.scalars(select(RegistryCredential)).one().is_active = False
        session.flush()
    record = connection.execute("SELECT * FROM audit_log WHERE operation = 'UPDATE'").fetchall()
    assert [(each.table_name, each.actor) for each in record] == [("registry_credentials", "ada@example.com")]


def test_asynchronous_sessions_and_connections_have_scopes_too(
    application: URL, customers: tuple[str, str]
) -> None:
    async def run() -> list[Any]:
        engine = create_async_engine(application)
        count = select(func.count()).select_from(BuildQueue)
        seen = []
        async with AsyncSession(engine) as session, session.begin():
            async with customer_scope(session, customers[1]):
                seen.append(await session.scalar(count))
            seen.append(await session.scalar(count))
        async with engine.begin() as connection:
            async with customer_scope(connection, customers[0]), actor(connection, "ada"):
                seen.append(await connection.scalar(count))
            seen.append(await connection.scalar(count))
        await engine.dispose()
        return seen

    assert asyncio.run(run()) == [2, 0, 1, 0]
