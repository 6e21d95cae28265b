"""The roles belong to the server: made once, by whoever may, and removed only when nobody uses them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from honua_schema import sqlfile
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer

ROLES = ["honua_app", "honua_maintenance", "honua_readonly", "honua_worker"]


def connect(url: URL) -> psycopg.Connection[Any]:
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(uri, autocommit=True)


def existing_roles(server: EmbeddedServer) -> list[str]:
    with connect(server.url("postgres")) as connection:
        return [
            name
            for (name,) in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'honua%' ORDER BY rolname"
            )
        ]


@pytest.fixture
def server(private_server: Callable[..., EmbeddedServer]) -> EmbeddedServer:
    return private_server({"fsync": "off"})


def database_of_owner(server: EmbeddedServer, name: str, attributes: str = "") -> URL:
    with connect(server.url("postgres")) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN {attributes}")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    return server.url(name).set(username=name)


def test_an_owner_who_may_not_create_roles_is_told_what_an_administrator_must_run(
    server: EmbeddedServer,
) -> None:
    url = database_of_owner(server, "owner")
    runner = MigrationRunner(url)

    result = runner.apply_migrations()

    assert not result.success
    assert runner.get_current_version() == "006"
    (error,) = result.errors
    statements = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in ROLES)
    assert statements in error
    assert existing_roles(server) == []

    with connect(server.url("postgres")) as administrator:
        administrator.execute(statements)
    result = runner.apply_migrations()
    assert result.success, result.errors

    # Roles that somebody else made are nobody's to remove.
    assert runner.rollback("006").success
    assert existing_roles(server) == ROLES


def test_an_owner_who_may_create_roles_needs_nobody_and_cleans_up(server: EmbeddedServer) -> None:
    runner = MigrationRunner(database_of_owner(server, "owner", "CREATEROLE"))
    result = runner.apply_migrations()
    assert result.success, result.errors
    assert existing_roles(server) == ROLES

    assert runner.rollback("base").success
    assert existing_roles(server) == []


def test_a_role_stays_as_long_as_another_database_or_a_member_needs_it(server: EmbeddedServer) -> None:
    with connect(server.url("postgres")) as administrator:
        administrator.execute("CREATE DATABASE one")
        first = MigrationRunner(server.url("one"))
        assert first.apply_migrations().success
        administrator.execute("CREATE DATABASE two TEMPLATE one")
        second = MigrationRunner(server.url("two"))

        assert first.rollback("006").success
        assert existing_roles(server) == ROLES

        administrator.execute("CREATE ROLE atlas LOGIN IN ROLE honua_app")
        assert second.rollback("006").success
        assert existing_roles(server) == ["honua_app"]


def test_eight_databases_may_make_the_roles_at_once(server: EmbeddedServer) -> None:
    (script,) = (each.text for each in sqlfile.load_objects() if each.name == "roles")
    with connect(server.url("postgres")) as administrator:
        for number in range(8):
            administrator.execute(f"CREATE DATABASE d{number} STRATEGY file_copy")
    connections = [connect(server.url(f"d{number}")) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda connection: connection.execute(script.encode()), connections))
            assert existing_roles(server) == ROLES
            connections[0].execute("DROP ROLE honua_app, honua_maintenance, honua_readonly, honua_worker")
    for connection in connections:
        connection.close()
