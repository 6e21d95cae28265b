"""One upgrade at a time, none that holds everybody up, and none that stays half done."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.rows import tuple_row

from honua_schema import environment
from honua_schema.cli import main
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

HISTORY = "SELECT version FROM schema_migrations ORDER BY version"
UPGRADES_UNDER_WAY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'honua-schema' AND datname = current_database()
"""
SHORT = timedelta(milliseconds=50)


@pytest.fixture
def start_upgrade(empty_database: URL, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BaseProcess]:
    """Start `honua-schema upgrade` in processes that need not import everything once more."""
    url = empty_database.render_as_string(hide_password=False)
    monkeypatch.setattr(sys, "argv", ["honua-schema", "upgrade", "--yes", "--url", url])
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["honua_schema.runner", "psycopg", "sqlalchemy.dialects.postgresql"])

    def start() -> BaseProcess:
        process = processes.Process(target=main)
        process.start()
        return process

    return start


@pytest.fixture
def watcher(empty_database: URL, connect: Callable[..., Connection]) -> Connection:
    return connect(empty_database)


def rows(connection: Connection, query: str) -> list[Any]:
    return connection.cursor(row_factory=tuple_row).execute(query).fetchall()


def test_eight_upgrades_at_once_apply_each_revision_once(
    empty_database: URL, start_upgrade: Callable[[], BaseProcess], watcher: Connection
) -> None:
    upgrades = [start_upgrade() for _ in range(8)]
    for upgrade in upgrades:
        upgrade.join(timeout=120)
    assert [upgrade.exitcode for upgrade in upgrades] == [0] * 8
    available = MigrationRunner(empty_database).get_available_migrations()
    assert [version for (version,) in rows(watcher, HISTORY)] == [each.version for each in available]


def test_an_upgrade_killed_at_any_moment_leaves_whole_revisions_only(
    empty_database: URL, start_upgrade: Callable[[], BaseProcess], watcher: Connection
) -> None:
    runner = MigrationRunner(empty_database)
    available = [each.version for each in runner.get_available_migrations()]
    for _ in range(10):
        upgrade = start_upgrade()
        while upgrade.is_alive() and rows(watcher, UPGRADES_UNDER_WAY) == [(0,)]:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.5))
        upgrade.kill()
        upgrade.join()
        while rows(watcher, UPGRADES_UNDER_WAY) != [(0,)]:
            time.sleep(0.002)
        current = runner.get_current_version()
        applied = [each.version for each in runner.get_applied_migrations()]
        assert applied == available[: len(applied)]
        assert current == (applied[-1] if applied else None)
        if current == available[-1]:
            assert runner.rollback("base").success
    result = runner.apply_migrations()
    assert result.success, result.errors
    assert runner.get_status().is_good


def test_no_lock_is_left_behind(empty_database: URL, revisions: Any, watcher: Connection) -> None:
    assert MigrationRunner(empty_database, versions=revisions.folder).apply_migrations().success
    assert rows(watcher, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == []


class TestTableInUse:
    @pytest.fixture(autouse=True)
    def _retry_quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "RETRY_PAUSE", 0.02)

    @pytest.fixture
    def user_of_customers(
        self, empty_database: URL, revisions: Any, connect: Callable[..., Connection]
    ) -> Connection:
        """A session that has read customers in a transaction it doesn't end."""
        assert MigrationRunner(empty_database, versions=revisions.folder).apply_migrations().success
        revisions.add_table("fourth")
        revisions.add(
            "fifth",
            'op.create_table("left_over", sa.Column("id", sa.Integer))\n'
            'op.execute("ALTER TABLE customers ADD COLUMN note text")',
        )
        revisions.add_table("sixth")
        session = connect(empty_database, autocommit=False)
        session.execute("SELECT count(*) FROM customers")
        return session

    def test_the_revision_is_tried_again_until_the_table_is_free(
        self, empty_database: URL, revisions: Any, user_of_customers: Connection, watcher: Connection
    ) -> None:
        reports: list[Any] = []

        def follow(report: Any) -> None:
            reports.append(report)
            if report.phase == "retrying" and len(reports) > 4:
                user_of_customers.rollback()

        runner = MigrationRunner(
            empty_database, versions=revisions.folder, lock_timeout=SHORT, progress=follow
        )
        result = runner.apply_migrations()
        assert result.success, result.errors
        assert [each.version for each in result.applied_migrations] == ["004", "005", "006"]
        retries = [report for report in reports if report.phase == "retrying"]
        assert len(retries) == 2
        assert "attempt 2 of 5" in retries[0].message
        assert rows(watcher, HISTORY)[-1] == ("006",)

    def test_a_step_of_one_revision_stays_one_revision_when_it_is_tried_again(
        self, empty_database: URL, revisions: Any, user_of_customers: Connection
    ) -> None:
        def follow(report: Any) -> None:
            if report.phase == "retrying":
                user_of_customers.rollback()

        runner = MigrationRunner(
            empty_database, versions=revisions.folder, lock_timeout=SHORT, progress=follow
        )
        assert runner.apply_migrations("+2").success
        assert runner.get_current_version() == "005"

    def test_when_all_attempts_fail_the_message_names_statement_and_session(
        self, empty_database: URL, revisions: Any, user_of_customers: Connection, watcher: Connection
    ) -> None:
        runner = MigrationRunner(empty_database, versions=revisions.folder, lock_timeout=SHORT, attempts=3)
        result = runner.apply_migrations()
        assert not result.success
        [message] = result.errors
        assert "Revision 005 fifth did not get a lock" in message
        assert "in 3 attempts" in message
        assert "ALTER TABLE customers ADD COLUMN note text" in message
        assert f"customers is in use by pid {user_of_customers.info.backend_pid}" in message
        assert "idle in transaction" in message
        assert "still at 004" in message
        assert rows(watcher, "SELECT to_regclass('left_over')") == [(None,)]
        assert rows(watcher, HISTORY)[-1] == ("004",)

    def test_others_wait_no_longer_than_the_timeout(
        self,
        empty_database: URL,
        revisions: Any,
        user_of_customers: Connection,
        connect: Callable[..., Connection],
    ) -> None:
        reader = connect(empty_database)
        runner = MigrationRunner(
            empty_database, versions=revisions.folder, lock_timeout=timedelta(seconds=0.3), attempts=1
        )
        upgrade = Thread(target=runner.apply_migrations)
        upgrade.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'customers'::regclass AND NOT granted"
        while rows(reader, waiting) == [(0,)]:
            time.sleep(0.01)
        began = time.monotonic()
        reader.execute("SELECT count(*) FROM customers")
        assert time.monotonic() - began < 1
        upgrade.join()


class TestTransactionSettings:
    REMEMBER = 'op.execute("INSERT INTO seen TABLE current_settings")'

    @pytest.fixture
    def seen(self, revisions: Any, watcher: Connection) -> Callable[[], list[Any]]:
        watcher.execute(
            "CREATE VIEW current_settings AS"
            " SELECT current_setting('lock_timeout') AS timeout, current_setting('search_path') AS path"
        )
        watcher.execute("CREATE TABLE seen (lock_timeout text, search_path text)")
        return lambda: rows(watcher, "SELECT DISTINCT * FROM seen")

    def test_each_revision_has_them(
        self, empty_database: URL, revisions: Any, seen: Callable[[], list[Any]]
    ) -> None:
        revisions.add("fourth", self.REMEMBER)
        revisions.add("fifth", self.REMEMBER)
        runner = MigrationRunner(empty_database, versions=revisions.folder, lock_timeout=timedelta(seconds=7))
        assert runner.apply_migrations().success
        assert seen() == [("7s", "public")]

    def test_a_revision_has_them_again_after_an_autocommit_block(
        self, empty_database: URL, revisions: Any, seen: Callable[[], list[Any]]
    ) -> None:
        revisions.add(
            "fourth",
            f"""
            with op.get_context().autocommit_block():
                op.execute("CREATE INDEX CONCURRENTLY customers_by_id ON customers (id)")
            {self.REMEMBER}
            """,
        )
        runner = MigrationRunner(empty_database, versions=revisions.folder)
        result = runner.apply_migrations()
        assert result.success, result.errors
        assert seen() == [("5s", "public")]

    def test_tables_go_to_public_whatever_the_search_path_of_the_role(
        self, empty_database: URL, revisions: Any, watcher: Connection
    ) -> None:
        watcher.execute("CREATE SCHEMA postgres")
        assert rows(watcher, "SELECT current_schema()") == [("postgres",)]
        runner = MigrationRunner(empty_database, versions=revisions.folder)
        assert runner.apply_migrations().success
        assert rows(
            watcher, "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname ~ '^(postgres|public)$'"
        ) == [("public",)]
        assert runner.get_current_version() == "003"
        assert runner.apply_migrations().success

    def test_a_limit_on_idle_transactions_does_not_end_the_lock(
        self, empty_database: URL, revisions: Any, watcher: Connection, server_version: int
    ) -> None:
        limits = ["idle_in_transaction_session_timeout"]
        if server_version >= 170000:
            limits.append("transaction_timeout")
        for limit in limits:
            watcher.execute(f"ALTER DATABASE \"{empty_database.database}\" SET {limit} = '400ms'")
        for name in ("fourth", "fifth", "sixth"):
            revisions.add(name, 'op.execute("SELECT pg_sleep(0.2)")')
        revisions.add(
            "holds_the_lock",
            """
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert op.get_bind().scalar(sa.text(locks)) == 1
            """,
        )
        result = MigrationRunner(empty_database, versions=revisions.folder).apply_migrations()
        assert result.success, result.errors
