"""The commands about roles, the audit log and keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from builders import add_customer, add_license, add_registry_credential
from honua_schema import crypto, roles
from honua_schema.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg
    from sqlalchemy import URL, Engine

    from honua_schema import privileges
    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]


@pytest.fixture
def run(database: URL, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("DATABASE_URL", database.render_as_string(hide_password=False))
    monkeypatch.delenv("HONUA_ENCRYPTION_KEYS", raising=False)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_roles_shows_what_the_manifest_says(run: Callable[..., Any], manifest: privileges.Manifest) -> None:
    shown = {
        (each["role"], each["name"]): each["verbs"] for each in json.loads(run("roles", "--json").stdout)
    }
    assert {name for role, name in shown if role == "honua_worker"} == {
        name
        for listed in (manifest.tables, manifest.sequences, manifest.functions)
        for name, by_role in listed.items()
        if "honua_worker" in by_role
    }
    assert shown["honua_app", "licenses"] == "SELECT"
    assert shown["honua_maintenance", "licenses"] == (
        "SELECT (customer_id, id, license_key); UPDATE (license_key)"
    )
    assert "honua_app\ttable\tlicenses\tSELECT\n" in run("roles").stdout


def test_the_audit_log_is_sealed_and_verified(run: Callable[..., Any], connection: Connection) -> None:
    add_customer(connection)
    assert "\tintact\n" in run("audit", "seal").stdout
    assert run("audit", "seal").stdout == ""
    verified = run("audit", "verify", "--json")
    assert (verified.exit_code, [each["state"] for each in json.loads(verified.stdout)]) == (0, ["intact"])

    connection.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
    connection.execute("UPDATE audit_log SET actor = 'somebody else' WHERE operation <> 'SEAL'")
    verified = run("audit", "verify")
    assert (verified.exit_code, verified.stdout.endswith("\tchanged\n")) == (1, True)


def test_keys_are_rotated(run: Callable[..., Any], connection: Connection, tmp_path: Path) -> None:
    add_license(connection)
    damaged = add_registry_credential(connection)
    file = tmp_path / "keys"
    file.write_text(f"key-9:{crypto.new_key()}")
    file.chmod(0o600)
    ended = run("rotate-keys", "--key-file", str(file), "--yes")
    assert (ended.exit_code, ended.stdout) == (1, "0 rows are now encrypted with key-9.\n")
    assert str(damaged) in ended.stderr


def test_roles_that_are_too_strong_are_problems(
    engine: Engine, private_server: Callable[..., EmbeddedServer]
) -> None:
    with engine.connect() as connected:
        assert list(roles.find_problems(connected)) == []
    server = private_server({"fsync": "off"})
    server.create_database("honua")
    elsewhere = create_engine(server.url())
    with elsewhere.begin() as connected:
        for statement in (
            "CREATE ROLE honua_app LOGIN BYPASSRLS",
            "CREATE ROLE strong LOGIN SUPERUSER IN ROLE honua_app",
            "CREATE ROLE owner",
            "CREATE TABLE customers ()",
            "ALTER TABLE customers OWNER TO owner",
            "CREATE ROLE team IN ROLE honua_app",
            "CREATE ROLE deputy LOGIN IN ROLE team, owner",
            "GRANT honua_app TO owner",
            "CREATE ROLE weak IN ROLE team",
            "GRANT CREATE ON SCHEMA public TO PUBLIC, weak",
            "SET LOCAL ROLE weak",
        ):
            connected.exec_driver_sql(statement)
        remedies = [remedy for _, remedy in roles.find_problems(connected)]
    elsewhere.dispose()
    assert remedies == [
        "An administrator runs: " + " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in roles.ROLES[1:]),
        "An administrator runs: ALTER ROLE honua_app NOLOGIN NOSUPERUSER NOBYPASSRLS;",
        "Connect the application as another role, or: REVOKE owner FROM deputy;",
        "Connect the application as another role, or: REVOKE honua_app FROM owner;",
        "Connect the application as another role, or: ALTER ROLE strong NOSUPERUSER NOBYPASSRLS;",
        "Its owner runs: REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        "Its owner runs: REVOKE CREATE ON SCHEMA public FROM weak;",
    ]
