"""What an upgrade refuses, it refuses before anything is changed, with one message that says what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from psycopg.rows import tuple_row

from honua_schema import declared, preflight, sqlfile
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]

EVERYTHING = """
    SELECT pg_namespace.nspname, pg_class.relname
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
    WHERE pg_namespace.nspname NOT LIKE 'pg\\_%' AND pg_namespace.nspname <> 'information_schema'
    ORDER BY pg_namespace.nspname, pg_class.relname
"""


@pytest.fixture
def administrator(empty_database: URL, connect: Callable[..., Connection]) -> Connection:
    return connect(empty_database)


@pytest.fixture
def role(administrator: Connection) -> Iterator[str]:
    """A role with no privileges of its own."""
    name = "upgrade_tester"
    administrator.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    administrator.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    administrator.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def contents(connection: Connection) -> list[Any]:
    return connection.cursor(row_factory=tuple_row).execute(EVERYTHING).fetchall()


def refusal(runner: MigrationRunner, connection: Connection) -> str:
    """Upgrade, make sure that nothing has changed, and return what the upgrade says."""
    before = contents(connection)
    result = runner.apply_migrations()
    assert not result.success
    assert result.applied_migrations == []
    assert contents(connection) == before
    [message] = result.errors
    assert "Traceback" not in message
    return message


@pytest.fixture
def runner(empty_database: URL, revisions: Any) -> MigrationRunner:
    return MigrationRunner(empty_database, versions=revisions.folder)


def test_a_server_that_is_too_old(
    runner: MigrationRunner, administrator: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "MINIMUM_SERVER_VERSION", 99)
    message = refusal(runner, administrator)
    assert "needs 99 or later" in message
    assert "Upgrade the server" in message


def test_a_standby(
    private_server: Callable[[], EmbeddedServer], connect: Callable[..., Connection], revisions: Any
) -> None:
    server = private_server()
    server.stop()
    (server.folder / "data" / "standby.signal").touch()
    server.start()
    runner = MigrationRunner(server.url("postgres"), versions=revisions.folder)
    message = refusal(runner, connect(server.url("postgres")))
    assert "standby" in message
    assert "primary" in message


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_can_not_hold_every_text(
    administrator: Connection, connect: Callable[..., Connection], empty_database: URL, encoding: str
) -> None:
    url = empty_database.set(database=f"{empty_database.database}_{encoding.lower()}")
    name = sql.Identifier(str(url.database))
    administrator.execute(
        sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(name, encoding)
    )
    try:
        message = refusal(MigrationRunner(url), connect(url.update_query_dict({"client_encoding": "utf8"})))
        assert f"is encoded in {encoding}" in message
        assert "--encoding=UTF8" in message
    finally:
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_database_that_is_read_only(
    runner: MigrationRunner, administrator: Connection, empty_database: URL
) -> None:
    administrator.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            sql.Identifier(str(empty_database.database))
        )
    )
    message = refusal(runner, administrator)
    assert "read-only" in message
    assert "default_transaction_read_only" in message


def test_a_role_that_may_not_create_tables(
    empty_database: URL, revisions: Any, role: str, administrator: Connection
) -> None:
    runner = MigrationRunner(empty_database.set(username=role), versions=revisions.folder)
    message = refusal(runner, administrator)
    assert f'GRANT CREATE ON SCHEMA public TO "{role}"' in message


def test_a_role_that_may_not_create_the_schema_of_the_partitions(
    empty_database: URL, revisions: Any, role: str, administrator: Connection
) -> None:
    administrator.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
    runner = MigrationRunner(empty_database.set(username=role), versions=revisions.folder)
    message = refusal(runner, administrator)
    assert f'GRANT CREATE ON DATABASE "{empty_database.database}" TO "{role}"' in message


@pytest.mark.usefixtures("postgresql_noproc")  # whose upgrade has made the group roles
def test_a_role_with_just_the_privileges_that_the_messages_name_can_upgrade(
    empty_database: URL, role: str, administrator: Connection
) -> None:
    database = str(empty_database.database)
    for grant in ("CREATE ON SCHEMA public", f'CREATE ON DATABASE "{database}"'):
        administrator.execute(f'GRANT {grant} TO "{role}"')
    result = MigrationRunner(empty_database.set(username=role)).apply_migrations()
    assert result.success, result.errors


@pytest.mark.usefixtures("postgresql_noproc")  # whose upgrade has made the group roles
def test_a_role_can_upgrade_where_an_administrator_has_made_the_schema_of_the_partitions(
    empty_database: URL, role: str, administrator: Connection
) -> None:
    administrator.execute(f'GRANT CREATE ON SCHEMA public TO "{role}"')
    administrator.execute(f'CREATE SCHEMA honua_partitions AUTHORIZATION "{role}"')
    runner = MigrationRunner(empty_database.set(username=role))
    result = runner.apply_migrations()
    assert result.success, result.errors
    assert runner.rollback("base").success


def test_a_role_that_does_not_own_the_tables(
    empty_database: URL, revisions: Any, role: str, administrator: Connection, runner: MigrationRunner
) -> None:
    runner.apply_migrations("001")
    database = str(empty_database.database)
    for grant in ("CREATE ON SCHEMA public", f'CREATE ON DATABASE "{database}"'):
        administrator.execute(f'GRANT {grant} TO "{role}"')
    other = MigrationRunner(empty_database.set(username=role), versions=revisions.folder)
    message = refusal(other, administrator)
    assert "belong to role postgres" in message
    assert f'GRANT "postgres" TO "{role}"' in message


def test_a_database_that_a_newer_package_upgraded(runner: MigrationRunner, administrator: Connection) -> None:
    runner.apply_migrations()
    administrator.execute("UPDATE alembic_version SET version_num = '099'")
    message = refusal(runner, administrator)
    assert "revision 099" in message
    assert "newest is 003" in message
    assert "Install that newer version" in message


def test_a_database_of_another_project_that_uses_alembic(
    runner: MigrationRunner, administrator: Connection
) -> None:
    administrator.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    administrator.execute("INSERT INTO alembic_version VALUES ('1975ea83b712')")
    message = refusal(runner, administrator)
    assert "1975ea83b712" in message
    assert "another project" in message


def test_an_applied_revision_that_was_edited(
    runner: MigrationRunner, administrator: Connection, revisions: Any
) -> None:
    file = revisions.add_table("fourth")
    runner.apply_migrations()
    revisions.add_table("fifth")
    file.write_text(file.read_text().replace("sa.Integer", "sa.BigInteger"))
    message = refusal(runner, administrator)
    assert "004_fourth.py" in message
    assert "new revision" in message


def test_an_applied_revision_whose_sql_was_edited(
    runner: MigrationRunner, administrator: Connection, revisions: Any
) -> None:
    revisions.add_table("fourth")
    sql_file = revisions.folder / "sql" / "004" / "core" / "something.sql"
    sql_file.parent.mkdir(parents=True)
    sql_file.write_text("SELECT 1;\n")
    runner.apply_migrations()
    sql_file.write_text("SELECT 2;\n")
    assert "004_fourth.py" in refusal(runner, administrator)


def test_an_edited_revision_can_still_be_taken_back(runner: MigrationRunner, revisions: Any) -> None:
    file = revisions.add_table("fourth")
    runner.apply_migrations()
    file.write_text(file.read_text().replace("sa.Integer", "sa.BigInteger"))
    assert runner.rollback("003").success
    assert runner.apply_migrations().success


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ("TABLE build_queue (id integer)", "table public.build_queue"),
        ("TABLE schema_migrations (version varchar)", "table public.schema_migrations"),  # of Rails
        ("TABLE build_queue_status (id integer)", "table public.build_queue_status"),
        ("VIEW licenses AS SELECT 1 AS id", "view public.licenses"),
        ("VIEW active_builds AS SELECT 1 AS id", "view public.active_builds"),
        ("MATERIALIZED VIEW customers AS SELECT 1 AS id", "materialized view public.customers"),
        ("SEQUENCE claim_bounds_due_at", "sequence public.claim_bounds_due_at"),
        ("SEQUENCE build_events_id_seq", "sequence public.build_events_id_seq"),
        (
            "TABLE others (tags text); CREATE INDEX ix_customers_tags ON others (tags)",
            "index public.ix_customers_tags",
        ),
        ("TABLE others (id integer CONSTRAINT pk_customers PRIMARY KEY)", "index public.pk_customers"),
        ("TYPE build_queue_status AS ENUM ('new')", "type public.build_queue_status"),
        ("DOMAIN build_queue_priority AS integer", "type public.build_queue_priority"),
        ("TYPE customers AS (id integer)", "composite type public.customers"),
        (
            "FUNCTION lock_license(varchar) RETURNS text RETURN 'theirs'",
            "function public.lock_license(character varying)",
        ),
        (
            "FUNCTION lock_license(integer) RETURNS text RETURN 'theirs'",
            "function public.lock_license(integer)",
        ),
        ("PROCEDURE complete_build() LANGUAGE sql AS ''", "procedure public.complete_build()"),
    ],
)
def test_objects_of_our_names_that_somebody_else_made(
    runner: MigrationRunner, administrator: Connection, foreign: str, named: str
) -> None:
    administrator.execute(f"CREATE {foreign}")
    message = refusal(runner, administrator)
    assert f"has objects of our names that its revisions have not made: {named}" in message
    assert message.endswith(
        "Rename them, move them to another schema, or use another database for honua-schema."
    )


def test_many_objects_of_our_names_do_not_hide_what_to_do(
    runner: MigrationRunner, administrator: Connection
) -> None:
    for number in range(1, 11):
        administrator.execute(f"CREATE SEQUENCE claim_bound_amd64_{number}")
    administrator.execute("CREATE SEQUENCE claim_bounds_due_at")
    administrator.execute("CREATE TABLE customers (id integer)")
    message = refusal(runner, administrator)
    assert message.count("public.claim_bound_amd64_") == 10
    assert "claim_bound_amd64_9 and 2 more.\nRename them" in message


def test_a_function_of_our_name_still_does_what_its_owner_wants(
    empty_database: URL, administrator: Connection
) -> None:
    administrator.execute("CREATE TABLE notes (id integer, changes integer DEFAULT 0)")
    administrator.execute(
        "CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END'"
    )
    administrator.execute(
        "CREATE TRIGGER count BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()"
    )
    administrator.execute("INSERT INTO notes (id) VALUES (1)")
    message = refusal(MigrationRunner(empty_database), administrator)
    assert "function public.update_updated_at_column()" in message
    changed = administrator.execute("UPDATE notes SET id = 2 RETURNING changes").fetchone()
    assert changed == (1,)


@pytest.mark.parametrize(
    ("revision", "foreign"),
    [
        ("004", "FUNCTION record_audit() RETURNS text RETURN 'theirs'"),
        ("001", "VIEW active_builds AS SELECT 1 AS id"),
    ],
)
def test_what_a_later_revision_would_replace(
    empty_database: URL, administrator: Connection, revision: str, foreign: str
) -> None:
    runner = MigrationRunner(empty_database)
    assert runner.apply_migrations(revision).success
    administrator.execute(f"CREATE {foreign}")
    assert f"public.{foreign.split()[1]}" in refusal(runner, administrator)
    assert runner.get_current_version() == revision


def test_objects_of_other_names_do_not_matter(runner: MigrationRunner, administrator: Connection) -> None:
    administrator.execute("CREATE TABLE spatial_ref_sys (id integer)")
    administrator.execute("CREATE FUNCTION customers() RETURNS integer RETURN 1")
    administrator.execute("CREATE SCHEMA app CREATE TABLE customers (id integer)")
    assert runner.apply_migrations().success


@pytest.mark.usefixtures("postgresql_noproc")  # whose upgrade has made the group roles
def test_extensions_that_are_there_already_do_not_matter(
    empty_database: URL, administrator: Connection
) -> None:
    offered = administrator.execute(
        "SELECT name FROM pg_available_extensions WHERE name IN ('pgcrypto', 'uuid-ossp', 'pg_trgm')"
    ).fetchall()
    for (name,) in offered:
        administrator.execute(f'CREATE EXTENSION "{name}" SCHEMA public')
    result = MigrationRunner(empty_database).apply_migrations()
    assert result.success, result.errors


def test_every_name_that_the_revisions_give_is_known(database: URL) -> None:
    runner = MigrationRunner(database)
    with runner.connect() as connection:
        found = [
            (each.is_function, each.name)
            for each in connection.execute(preflight.OBJECTS)
            if each.name != "alembic_version_pkc"
        ]
        extensions = connection.exec_driver_sql(
            "SELECT p.proname FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'"
        ).scalars()
        of_extensions = set(extensions)
    functions = {each.name for each in sqlfile.load_objects() if each.kind == "function"}
    assert {name for is_function, name in found if is_function} - of_extensions == functions
    arrays = {name for _, name in found if name.startswith("_")}
    assert {name for is_function, name in found if not is_function} - arrays == declared.relation_names()


@pytest.mark.parametrize("lost", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_a_whole_schema_that_lost_its_revision_can_be_stamped(
    database: URL, connection: Connection, lost: str
) -> None:
    connection.execute(lost.encode())
    runner = MigrationRunner(database)
    message = refusal(runner, connection)
    newest = runner.get_available_migrations()[-1].version
    assert f"everything that revision {newest} has" in message
    assert f"only alembic_version was lost: honua-schema stamp {newest}." in message
    assert runner.stamp(newest).success
    assert runner.verify().is_good


def test_part_of_a_schema_is_not_to_be_stamped(database: URL, connection: Connection) -> None:
    connection.execute("DROP TABLE alembic_version")
    connection.execute("DROP FUNCTION expire_licenses")
    assert "stamp" not in refusal(MigrationRunner(database), connection)


def test_a_stamp_where_nothing_can_be_recorded(runner: MigrationRunner, administrator: Connection) -> None:
    result = runner.stamp("003")
    assert "schema_migrations" in result.errors[0]
    assert contents(administrator) == []


@pytest.mark.parametrize("target", ["077", "+9", "x"])
def test_a_target_that_does_not_exist(
    runner: MigrationRunner, administrator: Connection, target: str
) -> None:
    result = runner.apply_migrations(target)
    assert not result.success
    assert "the revisions are 001, 002, 003" in result.errors[0]
    assert contents(administrator) == []


@pytest.mark.parametrize("target", ["", "077"])
def test_no_command_goes_where_nothing_is(runner: MigrationRunner, target: str) -> None:
    runner.apply_migrations("002")
    for go in (runner.apply_migrations, runner.rollback, runner.stamp):
        [message] = go(target).errors
        assert message.startswith(f"There is no way to revision {target!r}: ")
        assert message.endswith("The database is at 002; the revisions are 001, 002, 003.")
    assert runner.get_current_version() == "002"


def test_a_downgrade_to_a_later_revision(runner: MigrationRunner) -> None:
    runner.apply_migrations("002")
    result = runner.rollback("003")
    assert not result.success
    assert "The database is at 002" in result.errors[0]
    assert runner.get_current_version() == "002"


def test_another_upgrade_that_does_not_finish(
    empty_database: URL, revisions: Any, administrator: Connection, connect: Callable[..., Connection]
) -> None:
    from honua_schema.locking import LOCK_ID

    holder = connect(empty_database)
    holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
    reports: list[Any] = []
    runner = MigrationRunner(
        empty_database,
        versions=revisions.folder,
        lock_wait=timedelta(seconds=0.3),
        progress=reports.append,
    )
    message = refusal(runner, administrator)
    assert f"pid {holder.info.backend_pid}" in message
    assert "pg_terminate_backend" in message
    assert [report.phase for report in reports] == ["waiting"]
    assert f"pid {holder.info.backend_pid}" in reports[0].message
