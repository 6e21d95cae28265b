"""The runner applies, takes back, records and verifies revisions."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from psycopg.rows import tuple_row
from sqlalchemy import text

from honua_schema.database import create_engine
from honua_schema.errors import SchemaError
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg
    from sqlalchemy import URL

    from honua_schema.environment import Progress

    Connection = psycopg.Connection[Any]


SETTINGS = """
    SELECT
        current_setting('lock_timeout'), current_setting('search_path'), current_setting('DateStyle'),
        current_setting('standard_conforming_strings'), current_setting('quote_all_identifiers')
"""


@pytest.fixture
def runner(empty_database: URL, revisions: Any) -> MigrationRunner:
    return MigrationRunner(empty_database, versions=revisions.folder)


@pytest.fixture
def rows(empty_database: URL, connect: Callable[..., Connection]) -> Callable[[str], list[Any]]:
    """Ask the database that the runner works on."""
    connection = connect(empty_database)
    return lambda query: connection.cursor(row_factory=tuple_row).execute(query).fetchall()


def test_an_upgrade_records_each_revision_with_its_checksum(empty_database: URL, rows: Any) -> None:
    runner = MigrationRunner(empty_database)
    result = runner.apply_migrations()
    assert result.success, result.errors
    available = runner.get_available_migrations()
    assert [each.version for each in result.applied_migrations] == [each.version for each in available]
    recorded = rows(
        "SELECT version, name, checksum, applied_by, execution_time_ms >= 0,"
        " applied_at > now() - interval '1 hour'"
        " FROM schema_migrations ORDER BY version"
    )
    assert recorded == [
        (each.version, each.name, each.checksum, "postgres", True, True) for each in available
    ]
    assert available[0].name == "initial_schema"
    assert all(re.fullmatch("[0-9a-f]{64}", each.checksum) for each in available)
    assert rows("SELECT version FROM schema_migrations ORDER BY version DESC LIMIT 1") == rows(
        "SELECT version_num FROM alembic_version"
    )


def test_a_second_upgrade_does_nothing(runner: MigrationRunner, rows: Any) -> None:
    runner.apply_migrations()
    before = rows("TABLE schema_migrations")
    result = runner.apply_migrations()
    assert (result.success, result.applied_migrations) == (True, [])
    assert rows("TABLE schema_migrations") == before


def test_an_empty_database_has_no_version_and_no_history(runner: MigrationRunner) -> None:
    assert runner.validate_connection()
    assert runner.get_current_version() is None
    assert runner.get_applied_migrations() == []
    assert not runner.is_migration_applied("001")
    assert [each.version for each in runner.get_status().pending] == ["001", "002", "003"]


def test_targets_may_be_numbers_or_steps(runner: MigrationRunner) -> None:
    for go, expected in (
        (lambda: runner.apply_migrations("002"), "002"),
        (lambda: runner.apply_migrations("+1"), "003"),
        (lambda: runner.rollback("-2"), "001"),
        (lambda: runner.apply_migrations("head"), "003"),
        (lambda: runner.rollback("002"), "002"),
    ):
        assert go().success
        assert runner.get_current_version() == expected
        assert [each.version for each in runner.get_applied_migrations()][-1] == expected
    assert runner.is_migration_applied("002")
    assert not runner.is_migration_applied("003")


def test_taking_back_the_first_revision_takes_the_history_with_it(runner: MigrationRunner, rows: Any) -> None:
    runner.apply_migrations()
    result = runner.rollback("base")
    assert [each.version for each in result.applied_migrations] == ["003", "002", "001"]
    assert runner.get_current_version() is None
    assert runner.get_applied_migrations() == []
    assert rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ) == [("alembic_version",)]


def test_a_failing_revision_leaves_the_ones_before_it(
    runner: MigrationRunner, revisions: Any, rows: Any
) -> None:
    revisions.add(
        "broken", 'op.create_table("left_over", sa.Column("id", sa.Integer)); op.execute("SELECT 1 / 0")'
    )
    revisions.add_table("never_reached")
    result = runner.apply_migrations()
    assert not result.success
    assert [(each.version, each.success) for each in result.applied_migrations] == [
        ("001", True), ("002", True), ("003", True), ("004", False),
    ]  # fmt: skip
    [error] = result.errors
    assert error == result.applied_migrations[-1].error
    assert "Revision 004 broken failed: division by zero" in error
    assert "SELECT 1 / 0" in error
    assert "still at 003" in error
    assert runner.get_current_version() == "003"
    assert rows(
        "SELECT to_regclass('left_over'), to_regclass('never_reached'), to_regclass('third') IS NOT NULL"
    ) == [(None, None, True)]
    assert rows("SELECT max(version) FROM schema_migrations") == [("003",)]


def test_progress_is_reported_before_and_after_each_revision(empty_database: URL, revisions: Any) -> None:
    reports: list[Progress] = []
    MigrationRunner(empty_database, versions=revisions.folder, progress=reports.append).apply_migrations(
        "002"
    )
    assert [(each.phase, each.version, each.name) for each in reports] == [
        ("started", "001", "initial_schema"),
        ("finished", "001", "initial_schema"),
        ("started", "002", "second"),
        ("finished", "002", "second"),
    ]
    assert [each.execution_time_ms is not None for each in reports] == [False, True, False, True]


def test_the_execution_time_is_that_of_one_revision(
    runner: MigrationRunner, revisions: Any, rows: Any
) -> None:
    revisions.add("slow", 'op.execute("SELECT pg_sleep(0.3)")')
    revisions.add_table("quick")
    runner.apply_migrations()
    [(slow,), (quick,)] = rows(
        "SELECT execution_time_ms FROM schema_migrations WHERE version IN ('004', '005') ORDER BY version"
    )
    assert slow >= 300 > quick


def test_an_unreachable_database_is_reported_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    runner = MigrationRunner("postgresql://someone:hunter2@localhost:1/honua")
    assert not runner.validate_connection()
    assert "localhost:1" in caplog.text
    result = runner.apply_migrations()
    assert not result.success
    assert "localhost:1" in result.errors[0]
    with pytest.raises(SchemaError, match="localhost:1"):
        runner.get_current_version()
    assert "hunter2" not in caplog.text + result.errors[0]


def test_stamping_records_every_revision_up_to_the_stamped_one(runner: MigrationRunner, rows: Any) -> None:
    runner.apply_migrations()
    applied = rows("SELECT version, applied_at FROM schema_migrations ORDER BY version")
    assert runner.stamp("001").success
    assert rows("SELECT version, applied_at FROM schema_migrations ORDER BY version") == applied[:1]
    assert runner.get_current_version() == "001"
    assert runner.stamp("head").success
    recorded = runner.get_applied_migrations()
    assert [(each.version, each.execution_time_ms) for each in recorded[1:]] == [("002", 0), ("003", 0)]
    assert [each.checksum for each in recorded] == [
        each.checksum for each in runner.get_available_migrations()
    ]
    assert runner.get_current_version() == "003"
    assert runner.stamp("base").success
    assert runner.get_applied_migrations() == []
    assert runner.get_current_version() is None


def test_stamping_the_current_revision_records_what_is_missing(runner: MigrationRunner, rows: Any) -> None:
    runner.apply_migrations()
    rows("DELETE FROM schema_migrations WHERE version = '002' RETURNING version")
    assert [each.version for each in runner.get_status().unrecorded] == ["002"]
    assert runner.stamp("003").success
    assert runner.get_status().is_good


class TestVerification:
    def test_a_database_at_the_newest_revision_is_good(self, database: URL) -> None:
        found = MigrationRunner(database).verify()
        assert found.is_good
        assert (found.pending, found.edited, found.unrecorded, found.unknown, found.differences) == ([],) * 5
        assert found.current_version == found.applied[-1].version

    def test_pending_revisions_show(self, runner: MigrationRunner) -> None:
        runner.apply_migrations("001")
        found = runner.verify()
        assert not found.is_good
        assert [each.version for each in found.pending] == ["002", "003"]

    def test_an_edited_revision_shows(self, runner: MigrationRunner, revisions: Any) -> None:
        file = revisions.add_table("fourth")
        runner.apply_migrations()
        file.write_text(file.read_text() + "\n# edited\n")
        found = runner.verify()
        assert not found.is_good
        assert [(each.version, each.name) for each in found.edited] == [("004", "fourth")]

    def test_a_revision_of_a_newer_package_shows(self, runner: MigrationRunner, rows: Any) -> None:
        runner.apply_migrations()
        rows("UPDATE alembic_version SET version_num = '099' RETURNING 1")
        found = runner.verify()
        assert not found.is_good
        assert (found.current_version, found.unknown, found.pending) == ("099", ["099"], [])

    def test_a_column_made_by_hand_shows(self, database: URL, connection: Connection) -> None:
        connection.execute("ALTER TABLE customers ADD COLUMN by_hand integer")
        found = MigrationRunner(database).verify()
        assert not found.is_good
        assert [str(each) for each in found.differences] == ["column customers.by_hand is not declared"]

    def test_a_changed_column_shows(self, database: URL, connection: Connection) -> None:
        connection.execute("ALTER TABLE customers ALTER COLUMN contact_email DROP NOT NULL")
        connection.execute("ALTER TABLE build_queue ALTER COLUMN priority SET DEFAULT 9")
        connection.execute("DROP INDEX ix_licenses_expires_at")
        found = {str(each) for each in MigrationRunner(database).verify().differences}
        assert {
            "index licenses.ix_licenses_expires_at is missing",
            "column build_queue.priority: default is 9, declared is 5",
            "column customers.contact_email: null is NULL, declared is NOT NULL",
        } <= found

    def test_differences_are_looked_for_at_the_newest_revision_only(self, runner: MigrationRunner) -> None:
        runner.apply_migrations("001")
        with pytest.raises(SchemaError, match=r"not up to date: 002, 003 pending\.\nUpgrade it first"):
            runner.get_differences()

    def test_what_is_wrong_can_be_told_by_a_program(self, database: URL, connection: Connection) -> None:
        connection.execute("ALTER TABLE build_queue ALTER COLUMN priority SET DEFAULT 9")
        assert [asdict(each) for each in MigrationRunner(database).verify().differences] == [
            {
                "kind": "column",
                "table": "build_queue",
                "name": "priority",
                "aspect": "default",
                "declared": "5",
                "found": "9",
            }
        ]

    def test_objects_of_others_are_left_out_by_name(self, database: URL, connection: Connection) -> None:
        connection.execute("CREATE TABLE invoices (id integer PRIMARY KEY, total numeric)")
        connection.execute("CREATE FUNCTION invoice_total() RETURNS integer LANGUAGE sql RETURN 1")
        runner = MigrationRunner(database)
        assert [str(each) for each in runner.get_differences()] == [
            "function invoice_total() is not declared",
            "table invoices is not declared",
        ]
        assert runner.get_differences(ignore=["table invoices", "function invoice_*"]) == []


class TestChecksum:
    def checksum(self, revisions: Any) -> str:
        runner = MigrationRunner("postgresql://", versions=revisions.folder)
        return runner.get_available_migrations()[-1].checksum

    def test_line_endings_do_not_count(self, revisions: Any) -> None:
        file = revisions.add_table("fourth")
        before = self.checksum(revisions)
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        assert self.checksum(revisions) == before

    def test_content_name_and_number_of_the_frozen_sql_count(self, revisions: Any) -> None:
        revisions.add_table("fourth")
        seen = {self.checksum(revisions)}
        frozen: Path = revisions.folder / "sql" / "004" / "core"
        frozen.mkdir(parents=True)
        sql = frozen / "a.sql"
        for change in (
            lambda: sql.write_text("SELECT 1;\n"),
            lambda: sql.write_text("SELECT 2;\n"),
            lambda: sql.rename(frozen / "b.sql"),
            lambda: (frozen / "c.sql").write_text(""),
        ):
            change()
            seen.add(self.checksum(revisions))
        assert len(seen) == 5

    def test_the_sql_of_other_revisions_and_other_files_do_not_count(self, revisions: Any) -> None:
        revisions.add_table("fourth")
        before = self.checksum(revisions)
        (revisions.folder / "sql" / "003").mkdir(parents=True)
        (revisions.folder / "sql" / "003" / "a.sql").write_text("SELECT 1;")
        (revisions.folder / "sql" / "004").mkdir()
        (revisions.folder / "sql" / "004" / "a.sql~").write_text("SELECT 1;")
        assert self.checksum(revisions) == before


class TestConnectionOfTheCaller:
    @pytest.fixture
    def engine(self, empty_database: URL) -> Any:
        engine = sqlalchemy.create_engine(empty_database)
        yield engine
        engine.dispose()

    def test_an_engine_may_be_passed_in(self, engine: Any, revisions: Any) -> None:
        runner = MigrationRunner(connection=engine, versions=revisions.folder)
        assert runner.apply_migrations().success
        assert runner.get_current_version() == "003"

    def test_the_caller_commits_the_transaction_that_the_caller_began(
        self, engine: Any, revisions: Any, rows: Any
    ) -> None:
        with engine.connect() as connection, connection.begin() as transaction:
            assert (
                MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations().success
            )
            assert connection.scalar(text("SELECT count(*) FROM schema_migrations")) == 3
            transaction.rollback()
        assert rows("SELECT to_regclass('alembic_version')") == [(None,)]
        with engine.begin() as connection:
            assert (
                MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations().success
            )
        assert rows("SELECT count(*) FROM schema_migrations") == [(3,)]

    def test_the_settings_of_the_callers_transaction_stay_as_they_were(
        self, engine: Any, revisions: Any
    ) -> None:
        settings = text(SETTINGS)
        with engine.begin() as connection:
            for setting in (
                "lock_timeout = '42s'",
                "DateStyle = German",
                "standard_conforming_strings = off",
                "quote_all_identifiers = on",
            ):
                connection.execute(text(f"SET LOCAL {setting}"))
            before = connection.execute(settings).one()
            assert (
                MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations().success
            )
            assert connection.execute(settings).one() == before

    def test_a_connection_without_a_transaction_is_committed_after_each_revision(
        self, engine: Any, revisions: Any, rows: Any
    ) -> None:
        with engine.connect() as connection:
            runner = MigrationRunner(connection=connection, versions=revisions.folder)
            assert runner.get_current_version() is None
            assert runner.apply_migrations().success
            assert not connection.in_transaction()
        assert rows("SELECT count(*) FROM schema_migrations") == [(3,)]

    def test_a_refusal_leaves_the_settings_of_the_callers_transaction_as_they_were(
        self, engine: Any, revisions: Any
    ) -> None:
        settings = text(SETTINGS)
        with engine.begin() as connection:
            before = connection.execute(settings).one()
            runner = MigrationRunner(connection=connection, versions=revisions.folder)
            assert not runner.apply_migrations("999").success
            assert connection.execute(settings).one() == before

    def test_the_tables_are_found_whatever_the_search_path_and_it_stays_as_it_was(
        self, database: URL
    ) -> None:
        elsewhere = sqlalchemy.create_engine(database.update_query_dict({"options": "-csearch_path=app"}))
        search_path = text("SELECT current_setting('search_path')")
        with elsewhere.connect() as connection:
            assert MigrationRunner(connection=connection).verify().is_good
            assert connection.scalar(search_path) == "app"  # and a transaction has begun
            assert MigrationRunner(connection=connection).verify().is_good
            assert connection.scalar(search_path) == "app"
        committing = elsewhere.execution_options(isolation_level="AUTOCOMMIT")
        assert MigrationRunner(connection=committing).verify().is_good
        with elsewhere.connect() as connection:
            assert connection.scalar(search_path) == "app"
        elsewhere.dispose()

    def test_a_revision_that_fails_in_the_callers_transaction_is_reported_as_what_it_is(
        self, engine: Any, revisions: Any
    ) -> None:
        revisions.add("broken", 'op.execute("SELECT 1 / 0")')
        with engine.connect() as connection, connection.begin():
            result = MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations()
        assert "Revision 004 broken failed: division by zero" in result.errors[0]

    def test_an_upgrade_after_a_refused_one_is_committed(
        self, engine: Any, revisions: Any, rows: Any
    ) -> None:
        with engine.connect() as connection:
            runner = MigrationRunner(connection=connection, versions=revisions.folder)
            assert not runner.apply_migrations("999").success
            assert not connection.in_transaction()
            assert runner.apply_migrations().success
        assert rows("SELECT count(*) FROM schema_migrations") == [(3,)]

    def test_a_question_that_fails_leaves_no_transaction_open(self, engine: Any) -> None:
        with engine.connect() as connection:
            runner = MigrationRunner(connection=connection)
            with pytest.raises(SchemaError, match="division by zero"), runner.connect() as connected:
                connected.execute(text("SELECT 1 / 0"))
            assert not connection.in_transaction()

    def test_a_connection_that_is_closed_is_refused(self, engine: Any) -> None:
        connection = engine.connect()
        connection.close()
        runner = MigrationRunner(connection=connection)
        assert "The connection is closed." in runner.apply_migrations().errors[0]
        with pytest.raises(SchemaError, match="The connection is closed"):
            runner.get_status()

    def test_a_connection_that_commits_each_statement_is_refused(self, engine: Any, revisions: Any) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            result = MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations()
        assert "autocommit" in result.errors[0]

    def test_an_engine_that_commits_each_statement_upgrades_in_transactions_all_the_same(
        self, empty_database: URL, revisions: Any, rows: Any
    ) -> None:
        revisions.add("broken", 'op.create_table("left_over"); op.execute("SELECT 1 / 0")')
        engine = sqlalchemy.create_engine(empty_database, isolation_level="AUTOCOMMIT")
        assert not MigrationRunner(connection=engine, versions=revisions.folder).apply_migrations().success
        engine.dispose()
        assert rows("SELECT to_regclass('left_over'), max(version) FROM schema_migrations") == [(None, "003")]


class TestOfflineSql:
    def test_the_sql_goes_from_one_revision_to_another(self, runner: MigrationRunner) -> None:
        assert "CREATE TABLE third" in runner.sql()
        assert "CREATE TABLE third" not in runner.sql("002")
        upgrade = runner.sql(start="002")
        assert ("CREATE TABLE third" in upgrade, "CREATE TABLE second" in upgrade) == (True, False)
        downgrade = runner.sql("001", start="head")
        assert ("DROP TABLE third" in downgrade, "DROP TABLE customers" in downgrade) == (True, False)

    def test_each_transaction_limits_how_long_it_waits_for_a_lock(
        self, empty_database: URL, revisions: Any
    ) -> None:
        runner = MigrationRunner(empty_database, versions=revisions.folder, lock_timeout=timedelta(seconds=7))
        script = runner.sql()
        assert script.count("BEGIN;") == script.count("SET LOCAL lock_timeout = 7000;") == 3

    def test_an_unknown_revision_is_an_error(self, runner: MigrationRunner) -> None:
        with pytest.raises(SchemaError, match="no revision 077"):
            runner.sql("077")
        with pytest.raises(SchemaError, match="no revision x"):
            runner.sql(start="x")

    def test_the_script_does_what_the_upgrade_does(
        self, runner: MigrationRunner, empty_database: URL
    ) -> None:
        engine = create_engine(empty_database)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(runner.sql("002"))
            connection.exec_driver_sql(runner.sql(start="002"))
            assert [each.checksum for each in runner.get_applied_migrations()] == [
                each.checksum for each in runner.get_available_migrations()
            ]
            assert all(each.execution_time_ms >= 0 for each in runner.get_applied_migrations())
            connection.exec_driver_sql(runner.sql("001", start="003"))
            assert [each.version for each in runner.get_applied_migrations()] == ["001"]
            connection.exec_driver_sql(runner.sql("base", start="001"))
        assert runner.get_current_version() is None
