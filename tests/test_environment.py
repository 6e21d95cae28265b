"""Where the database is, what a failed connection says, and the plain `alembic` command in a checkout."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from honua_schema.database import connect as connect_engine
from honua_schema.database import create_engine, resolve_url
from honua_schema.errors import SchemaError
from honua_schema.locking import parse_duration
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer

PROJECT = Path(__file__).parents[1]


def resolved(environment: dict[str, str], **arguments: Any) -> str:
    return resolve_url(environment=environment, **arguments).render_as_string(hide_password=False)


class TestUrl:
    def test_defaults(self) -> None:
        assert resolved({}) == "postgresql+psycopg://postgres@localhost:5432/honua"

    def test_each_part_may_come_from_the_environment(self) -> None:
        environment = {
            "PG_HOST": "db",
            "PG_PORT": "6000",
            "PG_DATABASE": "builds",
            "PG_USER": "me",
            "PG_PASSWORD": "p@:/%s",
        }
        url = resolve_url(environment=environment)
        assert (url.host, url.port, url.database, url.username, url.password) == (
            "db",
            6000,
            "builds",
            "me",
            "p@:/%s",
        )

    def test_what_is_missing_comes_from_the_variables_of_libpq(self) -> None:
        environment = {
            "PG_HOST": "ours",
            "PGHOST": "theirs",
            "PGPORT": "6000",
            "PGDATABASE": "builds",
            "PGUSER": "me",
        }
        assert resolved(environment) == "postgresql+psycopg://me@ours:6000/builds"

    def test_an_empty_variable_counts_as_missing(self) -> None:
        assert resolved({"PG_HOST": "", "DATABASE_URL": "", "PGHOST": "db"}).endswith("@db:5432/honua")

    def test_a_service_file_is_not_overridden_by_defaults(self) -> None:
        assert resolved({"PGSERVICE": "builds"}) == "postgresql+psycopg://"

    def test_the_url_counts_more_than_the_parts(self) -> None:
        environment = {"DATABASE_URL": "postgresql://u:p@db/honua", "PG_HOST": "other"}
        assert resolved(environment) == "postgresql+psycopg://u:p@db/honua"

    def test_an_argument_counts_more_than_the_environment(self) -> None:
        environment = {"DATABASE_URL": "postgresql://u:p@db/honua"}
        assert resolved(environment, url="postgresql://x/y") == "postgresql+psycopg://x/y"
        assert resolved(environment, host="h", port=6000, database="d", user="v") == (
            "postgresql+psycopg://v:p@h:6000/d"
        )

    def test_the_folder_of_a_socket_may_be_a_host(self) -> None:
        url = resolve_url("postgresql:///honua?host=/run/one", environment={}, host="/run/two")
        assert (url.host, dict(url.query)) == ("/run/two", {})

    @pytest.mark.parametrize(
        "url",
        [
            "postgres://u:p@h/d",
            "postgresql://u:p@h/d",
            "postgresql+psycopg2://u:p@h/d",
            "postgresql+asyncpg://u:p@h/d",
        ],
    )
    def test_every_spelling_of_postgresql_is_understood(self, url: str) -> None:
        assert resolved({}, url=url) == "postgresql+psycopg://u:p@h/d"
        assert resolved({"DATABASE_URL": url}) == "postgresql+psycopg://u:p@h/d"

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            ({"DATABASE_URL": "mysql://u:hunter2@h/d"}, "DATABASE_URL names a mysql database.*PostgreSQL"),
            ({"DATABASE_URL": "sqlite:///hunter2.db"}, "sqlite"),
            ({"DATABASE_URL": "hunter2"}, "DATABASE_URL cannot be read.*postgresql://user:password@"),
            ({"DATABASE_URL": "postgresql://u:hunter2@h:port/d"}, "DATABASE_URL cannot be read"),
            ({"PG_PORT": "five"}, "PG_PORT is 'five', which is not a port number"),
            ({"PGPORT": "70000"}, "PGPORT is '70000'"),
            ({"PG_PORT": "-1"}, "PG_PORT is '-1'"),
        ],
    )
    def test_what_cannot_be_read_is_refused_without_showing_a_password(
        self, environment: dict[str, str], message: str
    ) -> None:
        with pytest.raises(SchemaError, match=f"(?s){message}") as raised:
            resolve_url(environment=environment)
        assert "hunter2" not in str(raised.value)
        assert raised.value.__cause__ is None


class TestFailedConnection:
    def message(self, url: str | URL) -> str:
        with pytest.raises(SchemaError) as raised, connect_engine(create_engine(url)):
            pass
        assert "hunter2" not in str(raised.value)
        return str(raised.value)

    def test_no_server(self) -> None:
        message = self.message("postgresql://u:hunter2@localhost:1/honua")
        assert message.startswith(
            "Cannot connect to PostgreSQL at localhost:1: Connection refused\nStart the server"
        )

    def test_no_server_in_a_folder(self, tmp_path: Path) -> None:
        message = self.message(f"postgresql://u:hunter2@/honua?host={tmp_path}")
        assert str(tmp_path) in message
        assert "No such file" in message

    def test_no_such_host(self) -> None:
        assert "host.invalid" in self.message("postgresql://u:hunter2@host.invalid/honua")

    def test_no_such_database(self, empty_database: URL) -> None:
        message = self.message(empty_database.set(database="nowhere"))
        assert "There is no database nowhere" in message
        assert f"createdb -h {empty_database.query['host']} -p 5432 -U postgres nowhere" in message

    def test_no_such_role(self, empty_database: URL) -> None:
        message = self.message(empty_database.set(username="nobody"))
        assert "There is no role nobody" in message

    def test_a_wrong_password(self, private_server: Callable[[], EmbeddedServer]) -> None:
        server = private_server()
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        url = server.url("postgres")
        with psycopg.connect(
            **url.query, user=url.username, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
            connection.execute("SELECT pg_reload_conf()")
        guarded = url.set(username="guarded")
        for message in (self.message(guarded.set(password="hunter2")), self.message(guarded)):
            assert "refused the password of guarded" in message
            assert "PG_PASSWORD" in message
        with connect_engine(create_engine(guarded.set(password="right"))):
            pass

    def test_an_option_that_postgresql_does_not_know(self, empty_database: URL) -> None:
        message = self.message(empty_database.update_query_dict({"colour": "blue"}))
        assert "colour" in message
        assert "Remove it" in message

    def test_an_option_of_psycopg(self, empty_database: URL) -> None:
        message = self.message(empty_database.update_query_dict({"prepare_threshold": "5"}))
        assert "does not know: prepare_threshold" in message
        assert "Remove it" in message

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ({"sslmode": "bogus"}, 'invalid sslmode value: "bogus"'),
            ({"connect_timeout": "abc"}, "bad value for connect_timeout: 'abc'"),
            ({"port": "99999"}, 'invalid port number: "99999"'),
            ({"service": "nosuch"}, 'definition of service "nosuch" not found'),
            ({"options": "-c nope=1"}, 'unrecognized configuration parameter "nope"'),
        ],
    )
    def test_a_wrong_setting_is_named_once_and_nobody_is_sent_to_start_the_server(
        self, empty_database: URL, query: dict[str, str], reason: str
    ) -> None:
        first, remedy = self.message(empty_database.update_query_dict(query)).splitlines()
        assert first.startswith("A setting of the connection to PostgreSQL at ")
        assert first.endswith(f" is wrong: {reason}")
        assert remedy.startswith("Correct it")

    def test_encryption_that_the_server_does_not_offer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            monkeypatch.setenv("PGSSLMODE", "require")

            def refuse_encryption() -> None:
                client, _ = server.accept()
                client.recv(8)
                client.sendall(b"N")
                client.close()

            thread = threading.Thread(target=refuse_encryption)
            thread.start()
            message = self.message(f"postgresql://u:hunter2@127.0.0.1:{port}/honua")
            thread.join()
        assert "does not encrypt connections" in message
        assert "Start the server" not in message

    def test_what_else_keeps_from_connecting_has_no_wrong_remedy(self, empty_database: URL) -> None:
        message = self.message(empty_database.update_query_dict({"target_session_attrs": "standby"}))
        assert message.startswith("Cannot connect to PostgreSQL at ")
        assert message.endswith(": server is not in hot standby mode")

    def test_ports_that_are_no_numbers(self) -> None:
        message = self.message("postgresql:///honua?host=localhost&port=abc")
        assert message.startswith("The database URL has hosts or ports that cannot be read: ")

    def test_another_database(self) -> None:
        message = MigrationRunner(connection=sqlalchemy.create_engine("sqlite://")).apply_migrations().errors
        assert "The connection is to a sqlite database; this schema needs PostgreSQL." in message[0]

    def test_a_server_without_a_free_connection(self, private_server: Callable[..., EmbeddedServer]) -> None:
        server = private_server({"max_connections": "5", "superuser_reserved_connections": "0"})
        url = server.url("postgres")
        with ExitStack() as taken:
            for _ in range(5):
                taken.enter_context(psycopg.connect(**url.query, user=url.username, dbname="postgres"))
            assert "no free connection" in self.message(url)


def test_connections_are_named_and_leave_nothing_prepared_behind(empty_database: URL) -> None:
    with connect_engine(create_engine(empty_database)) as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "honua-schema"
        for _ in range(10):
            connection.exec_driver_sql("SELECT 1")
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar() == 0


def test_text_is_text_whatever_the_encoding_of_clients(empty_database: URL) -> None:
    with connect_engine(create_engine(empty_database)) as connection:
        connection.exec_driver_sql(
            f"ALTER DATABASE {empty_database.database} SET client_encoding = SQL_ASCII"
        )
        connection.commit()
    with connect_engine(create_engine(empty_database)) as connection:
        assert connection.exec_driver_sql("SELECT 'Łódź'").scalar() == "Łódź"


def test_an_option_in_the_url_counts_more_than_ours(empty_database: URL) -> None:
    url = empty_database.update_query_dict({"application_name": "mine"})
    with connect_engine(create_engine(url)) as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "mine"


class TestAlembicInACheckout:
    def alembic(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        completed = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in completed.stderr
        return completed

    def test_the_url_may_be_an_argument_with_percent_signs(self, empty_database: URL) -> None:
        url = empty_database.set(password="100%(here)s")
        upgrade = self.alembic("-x", f"url={url.render_as_string(hide_password=False)}", "upgrade", "head")
        assert upgrade.returncode == 0, upgrade.stdout + upgrade.stderr
        assert MigrationRunner(url).get_status().is_good

    def test_an_error_is_one_message(self) -> None:
        upgrade = self.alembic("upgrade", "head", DATABASE_URL="postgresql://u:hunter2@localhost:1/honua")
        assert upgrade.returncode != 0
        assert upgrade.stdout.startswith("FAILED: Cannot connect to PostgreSQL at localhost:1")
        assert "hunter2" not in upgrade.stdout + upgrade.stderr

    def test_an_option_may_be_an_argument(self, empty_database: URL) -> None:
        url = empty_database.render_as_string(hide_password=False)
        upgrade = self.alembic("-x", f"url={url}", "-x", "lock_timeout=soon", "upgrade", "head")
        assert "lock_timeout is 'soon', which is not a duration" in upgrade.stdout
        assert MigrationRunner(empty_database).get_current_version() is None

    def test_where_a_database_is_can_be_asked_at_any_revision(
        self, empty_database: URL, connect: Callable[..., psycopg.Connection[Any]]
    ) -> None:
        url = empty_database.render_as_string(hide_password=False)
        questions = (("current",), ("history", "--indicate-current"), ("show", "current"))

        def ask() -> list[str]:
            answers = [self.alembic("-x", f"url={url}", *question) for question in questions]
            assert [answer.returncode for answer in answers] == [0, 0, 0], answers
            return [answer.stdout for answer in answers]

        current, _, shown = ask()
        assert (current, shown) == ("", "")
        made = connect(empty_database).execute("SELECT to_regclass('public.alembic_version')").fetchone()
        assert made == (None,)
        MigrationRunner(empty_database).apply_migrations("002")
        current, listed, shown = ask()
        assert current == "002\n"
        assert "001 -> 002 (current)" in listed
        assert shown.startswith("Rev: 002\n")

    def test_only_a_comparison_needs_the_newest_revision(self, empty_database: URL) -> None:
        MigrationRunner(empty_database).apply_migrations("002")
        check = self.alembic("-x", f"url={empty_database.render_as_string(hide_password=False)}", "check")
        assert check.returncode != 0
        assert "Target database is not up to date: it is at 002" in check.stdout


@pytest.mark.parametrize("option", ["lock_timeout", "lock_wait"])
def test_an_option_may_come_from_the_environment(
    empty_database: URL, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv(f"HONUA_{option.upper()}", "soon")
    result = MigrationRunner(empty_database).apply_migrations()
    assert result.errors[0].startswith(f"{option} is 'soon', which is not a duration")
    given = {option: timedelta(seconds=9)}
    assert MigrationRunner(empty_database, **given).apply_migrations("001").success


class TestNewRevision:
    @pytest.fixture
    def config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
        """The configuration of the checkout, with another folder of revisions and no database."""
        monkeypatch.setenv("DATABASE_URL", "postgresql://localhost:1/nowhere")
        config = Config(PROJECT / "alembic.ini")
        config.set_main_option("version_locations", str(tmp_path))
        config.set_main_option("path_separator", "newline")
        config.config_file_name = None  # it has been read; logging stays as the tests have it
        return config

    def test_the_next_number_is_picked_and_no_database_is_needed(
        self, config: Config, tmp_path: Path
    ) -> None:
        for message in ("First things", "then: others"):
            command.revision(config, message=message)
        assert sorted(file.name for file in tmp_path.glob("*.py")) == [
            "001_first_things.py",
            "002_then_others.py",
        ]
        assert 'down_revision = "001"' in (tmp_path / "002_then_others.py").read_text().replace("'", '"')

    def test_a_number_may_be_chosen(self, config: Config, tmp_path: Path) -> None:
        command.revision(config, message="seven", rev_id="007")
        command.revision(config, message="eight")
        assert sorted(file.name for file in tmp_path.glob("*.py")) == ["007_seven.py", "008_eight.py"]

    def test_it_says_what_to_think_of_and_passes_the_checks(self, config: Config, tmp_path: Path) -> None:
        command.revision(config, message="new")
        file = tmp_path / "001_new.py"
        for word in ("Locks:", "Online:", "Data:"):
            assert word in file.read_text()
        compile(file.read_text(), file, "exec")


@pytest.mark.parametrize(
    ("given", "seconds"), [("0", 0), ("500ms", 0.5), ("5s", 5), ("10 min", 600), ("1h", 3600)]
)
def test_durations_have_units(given: str, seconds: float) -> None:
    assert parse_duration(given, "lock_timeout").total_seconds() == seconds


@pytest.mark.parametrize("given", ["", "5", "-5s", "5 weeks", "s", "1e9s"])
def test_other_durations_are_refused(given: str) -> None:
    with pytest.raises(SchemaError, match="which is not a duration"):
        parse_duration(given, "lock_timeout")
