"""The command line says what it does, asks before it changes anything, and ends with the right exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from builders import add_build, add_customer, add_license, add_registry_credential
from honua_schema import __version__, cli
from honua_schema.locking import LOCK_ID
from honua_schema.runner import MigrationRunner
from terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

COMMANDS = [
    *("upgrade", "downgrade", "stamp", "current", "history", "status", "verify", "check"),
    *("sql", "demo", "doctor", "top", "roles", "quotas", "partitions", "rotate-keys"),
]
KEYS = "key-1:" + "A" * 43 + "="
HEAD = MigrationRunner("postgresql://").get_available_migrations()[-1].version


class Ended(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    output: str
    errors: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run `honua-schema` with arguments, on a database if one is given; nobody answers questions."""

    def run_command(*arguments: str, on: URL | None = None) -> Ended:
        if on is not None:
            monkeypatch.setenv("DATABASE_URL", on.render_as_string(hide_password=False))
        monkeypatch.setattr(sys, "argv", ["honua-schema", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        assert "Traceback" not in errors
        return Ended(int(ended.value.code or 0), output, errors)

    return run_command


@contextmanager
def member(connection: Connection, role: str) -> Iterator[str]:
    """Make a login that is a member of a role, and yield its name."""
    name = f"{connection.info.dbname}_{role}"
    connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {role}".encode())
    try:
        yield name
    finally:
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(run: Callable[..., Ended], command: str) -> None:
    ended = run(command, "--help")
    assert ended.code == 0
    assert f"Example: honua-schema {command}" in ended.output


def test_help_lists_every_command(run: Callable[..., Ended]) -> None:
    ended = run("--help")
    assert ended.code == 0
    assert all(f" {command} " in ended.output for command in COMMANDS)


def test_without_a_command_the_help_is_shown_as_wrong_usage(run: Callable[..., Ended]) -> None:
    assert run().code == 2


def test_the_version(run: Callable[..., Ended]) -> None:
    assert run("--version") == (0, f"honua-schema {__version__}\n", "")


def test_the_module_is_the_program() -> None:
    command = [sys.executable, "-m", "honua_schema", "--version"]
    assert subprocess.check_output(command, text=True) == f"honua-schema {__version__}\n"


def test_help_needs_no_heavy_imports() -> None:
    script = (
        "import sys; from honua_schema.cli import app; app(['--help'], standalone_mode=False);"
        "print([name for name in ('alembic', 'sqlalchemy', 'psycopg') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()[-1] == "[]"


class TestUpgrade:
    def test_it_prints_each_revision_and_where_the_database_is(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        ended = run("upgrade", "--yes", on=empty_database)
        assert ended.code == 0, ended.errors
        lines = ended.output.splitlines()
        finished = [line.split()[:2] for line in lines if line.endswith(" ms")]
        available = MigrationRunner(empty_database).get_available_migrations()
        assert finished == [[each.version, each.name] for each in available]
        assert lines[-1].startswith(f"{empty_database.database} on ")
        assert lines[-1].endswith(f" is at {HEAD}.")

    def test_where_nobody_can_answer_it_needs_yes(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        ended = run("upgrade", on=empty_database)
        assert ended.code == 2
        assert "add --yes" in ended.errors
        assert MigrationRunner(empty_database).get_current_version() is None

    def test_with_nothing_to_do_it_does_not_ask(self, run: Callable[..., Ended], database: URL) -> None:
        assert run("upgrade", on=database).code == 0

    def test_it_lists_what_it_will_apply_and_no_more(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        for arguments, versions in (
            (("002",), ["001", "002"]),
            (("+1",), ["001"]),
            (("002+1",), ["001", "002", "003"]),
        ):
            ended = run("upgrade", *arguments, on=empty_database)
            assert ended.code == 2  # for want of an answer
            assert [line.split("\t")[0] for line in ended.output.splitlines()] == versions

    def test_verify_only_goes_as_far_as_the_target(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        MigrationRunner(empty_database).apply_migrations("001")
        ended = run("upgrade", "003", "--verify-only", on=empty_database)
        assert [line.split("\t") for line in ended.output.splitlines()[:-1]] == [
            ["001", "initial_schema", "applied"],
            ["002", "build_queue", "pending"],
            ["003", "intake_system", "pending"],
        ]

    @pytest.mark.parametrize("option", ["--yes", "--verify-only"])
    def test_a_target_that_is_passed_already_is_said_to_be_and_nothing_is_listed(
        self, run: Callable[..., Ended], empty_database: URL, option: str
    ) -> None:
        MigrationRunner(empty_database).apply_migrations("002")
        ended = run("upgrade", "001", option, on=empty_database)
        assert ended.code == 0
        first, *_, last = ended.output.splitlines()
        assert first == "Already past 001. To go back: honua-schema downgrade 001"
        assert "pending" not in ended.output
        assert last.endswith(" is at 002.")
        assert "Already" not in run("upgrade", "002", option, on=empty_database).output

    def test_more_steps_than_there_are_revisions_are_refused_before_anybody_is_asked(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        ended = run("upgrade", "+99", on=empty_database)
        assert (ended.code, ended.output) == (1, "")
        assert "There is no way to revision '+99'" in ended.errors

    @pytest.mark.parametrize("option", ["-v", "--verify-only"])
    def test_verify_only_shows_what_is_pending_and_does_nothing(
        self, run: Callable[..., Ended], empty_database: URL, option: str
    ) -> None:
        ended = run("upgrade", option, on=empty_database)
        assert ended.code == 0
        assert "001\tinitial_schema\tpending\n" in ended.output
        assert MigrationRunner(empty_database).get_current_version() is None

    def test_the_options_of_the_older_script_name_the_database(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        query = empty_database.query
        options = ("-h", query["host"], "-p", query["port"], "-d", empty_database.database, "-u", "postgres")
        assert run("upgrade", "001", "-y", *map(str, options)).code == 0
        assert MigrationRunner(empty_database).get_current_version() == "001"

    def test_an_option_replaces_its_part_of_the_url(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        database = str(empty_database.database)
        elsewhere = empty_database.set(database="elsewhere")
        assert run("upgrade", "001", "-y", "-d", database, on=elsewhere).code == 0
        assert MigrationRunner(empty_database).get_current_version() == "001"

    def test_a_lock_that_is_not_free_in_time_is_an_error(
        self, run: Callable[..., Ended], empty_database: URL, connect: Callable[..., Connection]
    ) -> None:
        connect(empty_database).execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        ended = run("upgrade", "--yes", "--lock-wait", "100ms", on=empty_database)
        assert ended.code == 1
        assert "Waiting for another upgrade" in ended.errors
        assert "did not finish within" in ended.errors


class TestDowngrade:
    def test_it_says_that_data_is_lost_and_needs_yes(self, run: Callable[..., Ended], database: URL) -> None:
        ended = run("downgrade", "001", on=database)
        assert ended.code == 2
        assert "lost, with all data" in ended.errors
        assert MigrationRunner(database).get_current_version() == HEAD

    def test_it_takes_revisions_back(self, run: Callable[..., Ended], database: URL) -> None:
        ended = run("downgrade", "base", "--yes", on=database)
        assert ended.code == 0, ended.errors
        assert ended.output.endswith(" is at base.\n")
        assert MigrationRunner(database).get_applied_migrations() == []

    @pytest.mark.parametrize("arguments", [("-2", "--yes"), ("--yes", "-2"), ("--yes", "--", "-2")])
    def test_it_goes_back_a_number_of_steps(
        self, run: Callable[..., Ended], database: URL, arguments: tuple[str, ...]
    ) -> None:
        earlier = MigrationRunner(database).get_available_migrations()[-3].version
        assert run("downgrade", *arguments, on=database).output.endswith(f" is at {earlier}.\n")

    def test_it_needs_a_target(self, run: Callable[..., Ended], database: URL) -> None:
        assert run("downgrade", "--yes", on=database).code == 2


class TestQuestion:
    """On a terminal, a person is asked."""

    def on_terminal(self, answer: str, *arguments: str, on: URL) -> tuple[int, str]:
        keyboard, terminal = pty.openpty()
        os.write(keyboard, f"{answer}\n".encode())
        environment = {
            **os.environ,
            "DATABASE_URL": on.render_as_string(hide_password=False),
            "TERM": "xterm",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "honua_schema", *arguments],
            stdin=terminal, stdout=terminal, stderr=terminal, env=environment,
        )  # fmt: skip
        os.close(terminal)
        output = b""
        while True:
            try:
                output += os.read(keyboard, 4096)
            except OSError:  # on Linux, this is how the end of a terminal shows
                break
        os.close(keyboard)
        return process.wait(), output.decode()

    def test_no_leaves_the_database_as_it_is(self, empty_database: URL) -> None:
        code, output = self.on_terminal("n", "upgrade", on=empty_database)
        assert code == 1
        assert "from base to head? [y/N]" in " ".join(output.split())
        assert "Nothing was changed." in output
        assert "initial_schema" in output
        assert MigrationRunner(empty_database).get_current_version() is None

    def test_yes_goes_ahead(self, empty_database: URL) -> None:
        code, _ = self.on_terminal("y", "upgrade", "001", on=empty_database)
        assert code == 0
        assert MigrationRunner(empty_database).get_current_version() == "001"

    def on_narrow_terminal(self, columns: int, *arguments: str, on: URL) -> str:
        known = {"DATABASE_URL": on.render_as_string(hide_password=False), "TERM": "xterm-256color"}
        with terminal(*arguments, environment=os.environ | known, columns=columns) as shown:
            shown.end()
        return re.sub(r"\x1b\[[\d;?]*\w|\r", "", shown.output.decode())

    @pytest.mark.parametrize("columns", [20, 80, 250])
    def test_nothing_that_names_a_row_is_cut_however_narrow_the_terminal(
        self, database: URL, connection: Connection, columns: int
    ) -> None:
        customer = add_customer(connection, "a-customer-with-quite-a-long-name")
        add_license(connection, customer, max_builds_per_month=1_234_567_890)
        sealed = connection.execute("SELECT sha256 FROM seal_audit_log()").fetchall()
        partition = "honua_partitions.build_access_log_default"
        applied = MigrationRunner(database).get_applied_migrations()
        times = [each.applied_at.isoformat(timespec="seconds") for each in applied]
        for arguments, whole in (
            (("quotas",), [customer, "1234567890"]),
            (("partitions",), [partition]),
            (("history",), [*times, *(each.checksum for each in applied)]),
            (("audit", "verify"), [sha256 for (sha256,) in sealed]),
            (("doctor",), ["partitions", "connection"]),
        ):
            output = self.on_narrow_terminal(columns, *arguments, on=database)
            assert whole
            assert [each for each in whole if each not in output] == []
            assert "…" not in output

    def test_a_table_that_has_room_has_borders_and_breaks_only_between_words(self, database: URL) -> None:
        output = self.on_narrow_terminal(80, "doctor", on=database)
        lines = [line for line in output.splitlines() if line.startswith("│")]
        assert {len(line) for line in lines} == {80}
        assert "│ ok      │ revisions" in output

    def test_tables_have_borders(self, database: URL) -> None:
        code, output = self.on_terminal("", "status", on=database)
        assert code == 0
        assert "│ initial_schema" in output


class TestOutputThatCannotBePrinted:
    """It never ends a command halfway, and is never a traceback."""

    def run(self, line: str, on: URL, **variables: str) -> Ended:
        known = {"DATABASE_URL": on.render_as_string(hide_password=False)}
        line = line.replace("honua-schema", f"{sys.executable} -m honua_schema")
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=os.environ | known | variables, capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        errors = ended.stderr.decode()
        assert "Traceback" not in errors
        return Ended(ended.returncode, ended.stdout.decode("latin-1"), errors)

    @pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", ">&- 2>&- <&-"])
    def test_a_closed_stream_is_as_good_as_dev_null(self, empty_database: URL, streams: str) -> None:
        assert self.run(f"honua-schema upgrade --yes {streams}", empty_database) == (0, "", "")
        assert MigrationRunner(empty_database).get_status().is_good
        assert self.run(f"honua-schema status {streams}", empty_database) == (0, "", "")

    def test_a_question_with_a_closed_keyboard_needs_yes(self, empty_database: URL) -> None:
        ended = self.run("honua-schema upgrade <&-", empty_database)
        assert ended.code == 2
        assert "add --yes" in ended.errors

    @pytest.mark.parametrize("command", ["status", "status --json", "sql", "verify", "top --once"])
    def test_a_full_disk_is_one_message(self, database: URL, command: str) -> None:
        ended = self.run(f"honua-schema {command} >/dev/full", database)
        assert ended.code == 1
        assert ended.errors == (
            "Error: The output can't be written: No space left on device.\n"
            "The command went on to its end without it.\n"
        )

    def test_an_upgrade_goes_on_to_its_end_and_says_where_that_is(
        self, new_database: Callable[..., URL]
    ) -> None:
        for reader, code in ((">/dev/full", 1), ("| head -2", 0)):
            database = new_database(empty=True)
            ended = self.run(f"honua-schema upgrade --yes {reader}", database)
            assert MigrationRunner(database).get_status().is_good
            assert f"{database.database} on " in ended.errors
            assert f" is at {HEAD}.\n" in ended.errors
            assert ended.code == code

    def test_a_reader_that_has_seen_enough_is_no_error(self, database: URL) -> None:
        ended = self.run("honua-schema roles | head -1", database)
        assert (ended.code, ended.errors) == (0, "")

    @pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
    def test_what_an_encoding_does_not_have_is_replaced(
        self, database: URL, connection: Connection, encoding: str
    ) -> None:
        ended = self.run("honua-schema demo --url $DATABASE_URL", database, PYTHONIOENCODING=encoding)
        assert (ended.code, ended.errors) == (0, "")
        assert "How have conversations gone lately?" in ended.output
        assert re.search(r"\w\?  ", ended.output)  # an ellipsis


class TestReports:
    def test_current(self, run: Callable[..., Ended], database: URL, empty_database: URL) -> None:
        assert run("current", on=database).output == f"{HEAD} (head)\n"
        assert run("current", on=empty_database).output == "base\n"
        assert json.loads(run("current", "--json", on=database).output) == {"current": HEAD, "head": HEAD}

    def test_history(self, run: Callable[..., Ended], database: URL) -> None:
        recorded = MigrationRunner(database).get_applied_migrations()
        ended = run("history", on=database)
        assert [line.split("\t")[0] for line in ended.output.splitlines()] == [
            each.version for each in recorded
        ]
        assert all(each.checksum in ended.output for each in recorded)
        rows = json.loads(run("history", "--json", on=database).output)
        assert [(row["version"], row["checksum"]) for row in rows] == [
            (each.version, each.checksum) for each in recorded
        ]

    def test_status_is_good_even_when_revisions_are_pending(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        MigrationRunner(empty_database).apply_migrations("001")
        ended = run("status", on=empty_database)
        assert ended.code == 0
        assert "001\tinitial_schema\tapplied\n" in ended.output
        assert "002\tbuild_queue\tpending\n" in ended.output
        found = json.loads(run("status", "--json", on=empty_database).output)
        assert found["current_version"] == "001"
        assert found["pending"][0]["name"] == "build_queue"

    def test_verify_is_good_at_the_newest_revision(self, run: Callable[..., Ended], database: URL) -> None:
        ended = run("verify", on=database)
        assert (ended.code, ended.output.splitlines()[-1]) == (0, "All is as it should be.")
        assert json.loads(run("verify", "--json", on=database).output)["is_good"] is True

    def test_verify_and_check_end_with_3_when_revisions_are_pending(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        assert run("verify", on=empty_database).code == 3
        ended = run("check", on=empty_database)
        assert ended.code == 3
        assert "honua-schema upgrade" in ended.errors

    def test_verify_and_check_end_with_3_when_the_tables_differ(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("ALTER TABLE customers ADD COLUMN by_hand integer")
        ended = run("verify", on=database)
        assert ended.code == 3
        assert "different: column customers.by_hand is not declared\n" in ended.output
        assert run("check", on=database).code == 3
        (difference,) = json.loads(run("check", "--json", on=database).output)
        assert (difference["name"], difference["declared"], difference["found"]) == (
            "by_hand",
            None,
            "integer",
        )
        assert run("check", "--ignore", "column customers.by_*", on=database).code == 0

    def test_check_is_good_when_the_tables_are_as_declared(
        self, run: Callable[..., Ended], database: URL
    ) -> None:
        assert run("check", on=database).code == 0

    def test_a_revision_of_a_newer_package_shows(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("UPDATE alembic_version SET version_num = '099'")
        ended = run("status", on=database)
        assert ended.code == 0
        assert "099\t\tunknown\n" in ended.output
        upgrade = run("upgrade", "--yes", on=database)
        assert upgrade.code == 1
        assert "pip install --upgrade honua-schema" in upgrade.errors

    @pytest.mark.parametrize(
        ("revision", "remedy"),
        [
            ("099", "pip install --upgrade honua-schema"),
            *((other, "Use another database.") for other in ("abc1", "000", "0099", "99", "20240101")),
        ],
    )
    def test_check_upgrade_and_doctor_say_the_same_of_a_revision_that_they_do_not_know(
        self, run: Callable[..., Ended], database: URL, connection: Connection, revision: str, remedy: str
    ) -> None:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])
        check = run("check", on=database)
        assert (check.code, check.output) == (1, "")
        assert revision in check.errors
        assert remedy in check.errors
        assert run("upgrade", "--yes", on=database).errors == check.errors
        doctor = run("doctor", on=database)
        assert doctor.code == 1
        [finding] = [line for line in doctor.output.splitlines() if "\trevisions\t" in line]
        assert finding.split("\t")[2:] == check.errors.removeprefix("Error: ").splitlines()

    def test_several_revisions_are_refused_until_one_is_stamped(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("INSERT INTO alembic_version VALUES ('003')")
        commands = ("current", "status", "verify", "check", "upgrade", ("downgrade", "003", "--yes"))
        for command in commands:
            ended = run(*([command] if isinstance(command, str) else command), on=database)
            assert ended.code == 1, command
            assert f"alembic_version holds several revisions: 003, {HEAD}." in ended.errors
            assert f"honua-schema stamp {HEAD}" in ended.errors
        findings = [line.split("\t") for line in run("doctor", on=database).output.splitlines()]
        assert [state for state, subject, *_ in findings if subject == "revisions"] == ["problem"]
        assert run("stamp", HEAD, "--yes", on=database).code == 0
        assert run("verify", on=database).code == 0

    @pytest.mark.parametrize(
        ("second", "remedy"),
        [
            ("abc123", f"If the tables are those of {HEAD}: honua-schema stamp {HEAD}."),
            ("099", "Install that newer version: pip install --upgrade honua-schema"),
        ],
    )
    def test_of_several_revisions_only_one_of_ours_is_to_be_stamped(
        self, run: Callable[..., Ended], database: URL, connection: Connection, second: str, remedy: str
    ) -> None:
        connection.execute("INSERT INTO alembic_version VALUES (%s)", [second])
        for command in ("current", "check", "upgrade"):
            ended = run(command, on=database)
            assert ended.code == 1
            assert remedy in ended.errors
        assert remedy in run("doctor", on=database).output

    def test_several_revisions_of_another_project_are_not_to_be_stamped(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("UPDATE alembic_version SET version_num = 'abc123'")
        connection.execute("INSERT INTO alembic_version VALUES ('def456')")
        ended = run("status", on=database)
        assert ended.code == 1
        assert ended.errors.endswith(
            "another project that uses Alembic has this database.\nUse another database.\n"
        )

    def test_a_missing_row_of_the_history_shows_and_a_stamp_puts_it_back(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("DELETE FROM schema_migrations WHERE version = '002'")
        assert "002\tbuild_queue\tnot recorded\n" in run("status", on=database).output
        assert run("stamp", HEAD, "--yes", on=database).code == 0
        assert run("verify", on=database).code == 0


class TestSql:
    def test_it_prints_nothing_but_sql(self, run: Callable[..., Ended]) -> None:
        ended = run("sql")
        assert ended.code == 0
        assert ended.output.startswith("BEGIN;")
        assert ended.output.rstrip().endswith("COMMIT;")
        assert ended.errors == ""

    def test_it_goes_up_and_down(self, run: Callable[..., Ended]) -> None:
        assert "CREATE TABLE build_queue" in run("sql", "002", "--from", "001").output
        assert "DROP TABLE build_queue" in run("sql", "001", "--from", "002").output

    def test_an_unknown_revision_is_an_error(self, run: Callable[..., Ended]) -> None:
        ended = run("sql", "077")
        assert ended.code == 2
        assert "There is no revision 077" in ended.errors


class TestDoctor:
    def states(self, ended: Ended) -> dict[str, str]:
        return {line.split("\t")[1]: line.split("\t")[0] for line in ended.output.splitlines()}

    def test_a_good_database_has_no_problem(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("SELECT ensure_log_partitions()")
        ended = run("doctor", on=database)
        assert ended.code == 0
        states = self.states(ended)
        states.pop("extensions")  # not every server offers them
        subjects = ("connection", "server", "upgrade", "partitions", "roles", "revisions")
        assert states == dict.fromkeys(subjects, "ok")

    def test_no_server_is_a_problem(self, run: Callable[..., Ended]) -> None:
        ended = run("doctor", "-h", "localhost", "-p", "1")
        assert ended.code == 1
        assert self.states(ended) == {"connection": "problem"}

    def test_pending_revisions_are_a_warning(self, run: Callable[..., Ended], empty_database: URL) -> None:
        ended = run("doctor", on=empty_database)
        assert ended.code == 0
        assert self.states(ended)["revisions"] == "warning"
        assert "honua-schema upgrade" in ended.output

    @pytest.mark.parametrize(
        "foreign", ["TABLE customers (id int)", "TABLE schema_migrations (version varchar)"]
    )
    def test_objects_of_our_names_are_a_problem(
        self,
        run: Callable[..., Ended],
        empty_database: URL,
        connect: Callable[..., Connection],
        foreign: str,
    ) -> None:
        connect(empty_database).execute(f"CREATE {foreign}".encode())
        ended = run("doctor", on=empty_database)
        assert (ended.code, self.states(ended)["revisions"]) == (1, "problem")
        assert f"table public.{foreign.split()[1]}" in ended.output
        assert "honua-schema upgrade" not in ended.output
        assert run("upgrade", "--yes", on=empty_database).code == 1

    def test_a_lost_revision_is_a_problem_that_a_stamp_solves(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("DELETE FROM alembic_version")
        ended = run("doctor", on=database)
        assert (ended.code, self.states(ended)["revisions"]) == (1, "problem")
        assert f"honua-schema stamp {HEAD}" in ended.output
        assert run("stamp", HEAD, "--yes", on=database).code == 0
        assert self.states(run("doctor", on=database))["revisions"] == "ok"

    def test_at_an_earlier_revision_what_we_made_is_no_problem(
        self, run: Callable[..., Ended], empty_database: URL, connect: Callable[..., Connection]
    ) -> None:
        MigrationRunner(empty_database).apply_migrations("005")
        ended = run("doctor", on=empty_database)
        assert (ended.code, self.states(ended)["revisions"]) == (0, "warning")
        connect(empty_database).execute("CREATE FUNCTION record_audit() RETURNS integer RETURN 1")
        ended = run("doctor", on=empty_database)
        assert (ended.code, self.states(ended)["revisions"]) == (1, "problem")
        assert "function public.record_audit()" in ended.output

    @pytest.mark.parametrize("role", ["honua_app", "honua_maintenance", "honua_readonly", "honua_worker"])
    def test_who_may_not_look_into_the_default_partitions_is_told_so(
        self, run: Callable[..., Ended], database: URL, connection: Connection, role: str
    ) -> None:
        connection.execute("SELECT ensure_log_partitions()")
        with member(connection, role) as name:
            ended = run("doctor", on=database.set(username=name))
        assert self.states(ended)["partitions"] == "warning"
        assert "build_events_default, build_metrics_default is not readable by this role." in ended.output
        assert "no row is in a default one" not in ended.output

    def test_a_newer_package_is_a_problem(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("UPDATE alembic_version SET version_num = '099'")
        ended = run("doctor", on=database)
        assert (ended.code, self.states(ended)["revisions"]) == (1, "problem")

    def test_rows_in_a_default_partition_and_missing_months_are_warnings(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute(
            "INSERT INTO build_access_log (customer_id, access_type, accessed_at)"
            " VALUES ('system', 'cache_miss', '2001-01-01')"
        )
        connection.execute("DROP SCHEMA IF EXISTS nothing")
        ended = run("doctor", on=database)
        assert self.states(ended)["partitions"] == "warning"
        assert "build_access_log_default" in ended.output
        assert "ensure_log_partitions" in ended.output

    def test_an_upgrade_under_way_is_a_warning(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        ended = run("doctor", on=database)
        assert self.states(ended)["upgrade"] == "warning"
        assert f"pid {connection.info.backend_pid}" in ended.output

    def test_a_missing_privilege_is_a_problem(
        self, run: Callable[..., Ended], empty_database: URL, connect: Callable[..., Connection]
    ) -> None:
        administrator = connect(empty_database)
        administrator.execute("CREATE ROLE doctor_tester LOGIN")
        ended = run("doctor", on=empty_database.set(username="doctor_tester"))
        administrator.execute("DROP ROLE doctor_tester")
        assert (ended.code, self.states(ended)["server"]) == (1, "problem")
        assert "GRANT CREATE ON SCHEMA public" in ended.output

    def test_json(self, run: Callable[..., Ended], database: URL) -> None:
        findings = json.loads(run("doctor", "--json", on=database).output)
        assert {"subject", "level", "message", "remedy"} == set(findings[0])


class TestNeverUpgraded:
    @pytest.mark.parametrize(
        "command",
        [
            "quotas",
            "rotate-keys --yes",
            "audit seal",
            "audit verify",
            "maintenance run",
            "partitions",
            "top --once",
        ],
    )
    def test_every_command_that_needs_the_schema_says_what_to_run_first(
        self,
        run: Callable[..., Ended],
        empty_database: URL,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
    ) -> None:
        monkeypatch.setenv("HONUA_ENCRYPTION_KEYS", KEYS)
        ended = run(*command.split(), on=empty_database)
        assert ended.code == 1
        remedy = "Is this the right database? If so, first run: honua-schema upgrade\n"
        assert ended.errors.endswith(remedy)
        assert ended.errors.count(remedy) == 1


class TestRoleWithoutRights:
    @pytest.fixture
    def stranger(self, database: URL, connection: Connection) -> Iterator[URL]:
        """A database at head, for a role that may do nothing in it."""
        connection.execute("CREATE ROLE stranger LOGIN")
        yield database.set(username="stranger")
        connection.execute("DROP ROLE stranger")

    def test_every_command_that_reads_the_revisions_says_whose_rights_it_needs(
        self, run: Callable[..., Ended], stranger: URL
    ) -> None:
        message = (
            "Error: The tables belong to role postgres, whose rights role stranger does not have.\n"
            'Connect as postgres, or an administrator runs: GRANT "postgres" TO "stranger"\n'
        )
        for command in ("current", "history", "status", "verify", "check", "upgrade"):
            assert run(command, on=stranger) == (1, "", message)
        assert run("downgrade", "003", "--yes", on=stranger) == (1, "", message)
        doctor = run("doctor", on=stranger).output.splitlines()
        [revisions] = [line for line in doctor if "\trevisions\t" in line]
        assert revisions.startswith("problem")
        assert 'GRANT "postgres" TO "stranger"' in revisions

    @pytest.mark.parametrize("role", ["honua_app", "honua_maintenance", "honua_readonly", "honua_worker"])
    def test_a_member_of_one_of_our_roles_is_not_to_be_given_those_of_the_owner(
        self, run: Callable[..., Ended], database: URL, connection: Connection, role: str
    ) -> None:
        with member(connection, role) as name:
            for command in ("current", "status", "verify", "upgrade"):
                ended = run(command, on=database.set(username=name))
                assert (ended.code, ended.output) == (1, "")
                assert ended.errors.endswith(
                    f"whose rights role {name} does not have.\nConnect as postgres.\n"
                )
            doctor = run("doctor", on=database.set(username=name))
        assert doctor.output.count("Connect as postgres.\n") == 2
        assert "GRANT" not in doctor.output

    def test_maintenance_says_as_whom_to_connect(self, run: Callable[..., Ended], stranger: URL) -> None:
        ended = run("maintenance", "run", "daily", on=stranger)
        assert ended.code == 1
        assert ended.output.count("permission denied for function ") == 2
        remedy = "Connect as the owner of the tables, or as a member of honua_maintenance."
        assert ended.errors == f"{remedy}\n"
        outcomes = json.loads(run("maintenance", "run", "daily", "--json", on=stranger).output)
        assert [outcome["remedy"] for outcome in outcomes] == [remedy, remedy]

    def test_who_may_not_encrypt_anew_is_told_as_whom_to_connect(
        self, run: Callable[..., Ended], stranger: URL, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HONUA_ENCRYPTION_KEYS", KEYS)
        ended = run("rotate-keys", "--yes", on=stranger)
        assert ended.code == 1
        assert "permission denied for table registry_credentials\nConnect as the owner" in ended.errors

    def test_what_else_is_denied_has_a_remedy(self, run: Callable[..., Ended], stranger: URL) -> None:
        ended = run("audit", "verify", on=stranger)
        assert ended.code == 1
        assert "permission denied for function verify_audit_log\nConnect as the owner" in ended.errors


class TestUnusualSettings:
    """Names, strings and dates mean the same, whatever the role, the database or the URL says."""

    @pytest.fixture(params=["url", "database"])
    def elsewhere(self, request: pytest.FixtureRequest, empty_database: URL, connect: Any) -> URL:
        settings = (
            "search_path=app",
            "DateStyle=German",
            "standard_conforming_strings=off",
            "quote_all_identifiers=on",
        )
        if request.param == "url":
            options = " ".join(f"-c{setting}" for setting in settings)
            return empty_database.update_query_dict({"options": options})
        administrator = connect(empty_database)
        for setting in settings:
            administrator.execute(f"ALTER DATABASE {empty_database.database} SET {setting}")
        return empty_database

    def test_every_command_finds_the_tables(self, run: Callable[..., Ended], elsewhere: URL) -> None:
        upgrade = run("upgrade", "--yes", on=elsewhere)
        assert upgrade.output.endswith(f" is at {HEAD}.\n")
        assert run("current", on=elsewhere).output == f"{HEAD} (head)\n"
        assert run("history", on=elsewhere).output.startswith("001\t")
        for command in (
            ("status",),
            ("verify",),
            ("check",),
            ("top", "--once"),
            ("audit", "seal"),
            ("audit", "verify"),
            ("maintenance", "run"),
            ("roles",),
            ("doctor",),
        ):
            ended = run(*command, on=elsewhere)
            assert (ended.code, ended.errors) == (0, ""), command
        assert run("downgrade", "base", "--yes", on=elsewhere).output.endswith(" is at base.\n")


class TestQuotas:
    def test_each_customer_with_a_licence_has_a_line(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        add_customer(connection, "without-licence")
        add_license(connection, add_customer(connection, "limited"), max_builds_per_month=8)
        no_limits = dict.fromkeys(("max_builds_per_month", "max_registries", "max_concurrent_builds"))
        add_license(connection, add_customer(connection, "unlimited"), **no_limits)
        for customer in ("limited", "limited", "unlimited"):
            add_build(connection, customer)
        connection.execute("SELECT get_next_build_for_worker('worker-1', 'host', 'amd64')")
        add_registry_credential(connection, "limited")

        ended = run("quotas", on=database)
        assert (ended.code, ended.errors) == (0, "")
        assert ended.output.splitlines() == [
            "limited\t2\t8\t6\t25.00\t1\t1\t1\t3",
            "unlimited\t1\tunlimited\tunlimited\t\t0\tunlimited\t0\tunlimited",
        ]
        found = json.loads(run("quotas", "--json", on=database).output)
        assert [(each["customer_id"], each["remaining_builds"]) for each in found] == [
            ("limited", 6),
            ("unlimited", None),
        ]

    def test_one_customer_may_be_named(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        for customer in ("customer-a", "customer-b"):
            add_license(connection, add_customer(connection, customer))
        ended = run("quotas", "customer-b", on=database)
        assert (ended.code, ended.output) == (0, "customer-b\t0\t100\t100\t0.00\t0\t1\t0\t3\n")

    @pytest.mark.parametrize("customer", ["nobody", "without-licence", "", "customer-%", "' OR true --"])
    def test_an_unknown_customer_is_an_error(
        self, run: Callable[..., Ended], database: URL, connection: Connection, customer: str
    ) -> None:
        add_customer(connection, "without-licence")
        add_license(connection, add_customer(connection, "customer-a"))
        ended = run("quotas", customer, on=database)
        assert (ended.code, ended.output) == (1, "")
        assert ended.errors.startswith(f"Error: There is no customer {customer} with a licence.\n")

    def test_without_licences_there_is_nothing_to_print(
        self, run: Callable[..., Ended], database: URL
    ) -> None:
        assert run("quotas", on=database) == (0, "", "")
        assert run("quotas", "--json", on=database).output == "[]\n"

    @pytest.mark.parametrize(
        ("role", "code", "output"),
        [("honua_readonly", 0, "customer-a\t"), ("honua_app", 1, ""), ("honua_worker", 1, "")],
    )
    def test_who_may_not_see_all_licences_is_told_so(
        self,
        run: Callable[..., Ended],
        database: URL,
        connection: Connection,
        role: str,
        code: int,
        output: str,
    ) -> None:
        add_license(connection, add_customer(connection, "customer-a"))
        with member(connection, role) as name:
            ended = run("quotas", on=database.set(username=name))
        assert ended.code == code
        assert ended.output.startswith(output)
        assert ("Row security hides licences from this role." in ended.errors) == bool(code)


class TestPartitions:
    def lines(self, ended: Ended) -> dict[str, list[str]]:
        assert (ended.code, ended.errors) == (0, "")
        lines = [line.split("\t") for line in ended.output.splitlines()]
        return {partition: [table, *rest] for table, partition, *rest in lines}

    def test_each_partition_of_the_log_tables_has_a_line(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("SELECT ensure_log_partitions(2)")
        connection.execute("CREATE TABLE of_others (at date) PARTITION BY RANGE (at)")
        connection.execute("CREATE TABLE of_others_default PARTITION OF of_others DEFAULT")
        found = self.lines(run("partitions", on=database))
        expected = connection.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'honua_partitions'::regnamespace"
        ).fetchall()
        assert set(found) == {name for (name,) in expected}
        for partition, (table, month, _, size, default) in found.items():
            assert partition.startswith(f"honua_partitions.{table}_")
            assert size.endswith((" bytes", " kB"))
            if partition.endswith("_default"):
                assert (month, default) == ("", "empty")
            else:
                assert partition.endswith(f"_y{month[:4]}m{month[5:7]}")
                assert (month[7:], default) == ("-01", "")

    def test_rows_are_estimated_and_those_in_a_default_partition_show(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        connection.execute("SELECT ensure_log_partitions(0)")
        connection.execute(
            "INSERT INTO build_access_log (customer_id, access_type, accessed_at)"
            " SELECT 'system', 'cache_miss', at FROM unnest(ARRAY[now(), now(), '2001-01-01']) AS at"
        )
        default = "honua_partitions.build_access_log_default"
        _, _, estimated, _, state = self.lines(run("partitions", on=database))[default]
        assert (estimated, state) == ("", "holds rows")
        connection.execute("ANALYZE build_access_log")
        found = json.loads(run("partitions", "--json", on=database).output)
        of_log = [each for each in found if each["table_name"] == "build_access_log"]
        assert [(each["estimated_rows"], each["has_rows"]) for each in of_log] == [(2, None), (1, True)]
        assert all(each["bytes"] > 0 for each in of_log)

    def test_it_changes_nothing(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        names = "SELECT array_agg(oid ORDER BY oid) FROM pg_class"
        before = connection.execute(names).fetchall()
        self.lines(run("partitions", on=database))
        assert connection.execute(names).fetchall() == before

    def test_who_may_not_look_into_the_default_partitions_is_told_so(
        self, run: Callable[..., Ended], database: URL, connection: Connection
    ) -> None:
        with member(connection, "honua_readonly") as name:
            found = self.lines(run("partitions", on=database.set(username=name)))
        assert found["honua_partitions.build_events_default"][-1] == "not readable"

    def test_a_database_without_the_tables_is_an_error(
        self, run: Callable[..., Ended], empty_database: URL
    ) -> None:
        ended = run("partitions", on=empty_database)
        assert (ended.code, ended.output) == (1, "")
        assert ended.errors.startswith("Error: There are no log tables in this database.\n")


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("upgrade", "--nonsense"), "No such option"),
            (("nonsense",), "No such command"),
            (("upgrade", "--port", "70000"), "65535"),
            (("upgrade", "--lock-timeout", "soon"), "not a duration"),
            (("upgrade", "--url", "postgresql://h/d", "--host", "h"), "leave out --host"),
            (("status", "--embedded", "--host", "h"), "--embedded is a server of its own"),
            (("status", "--folder", "x"), "add --embedded"),
            (("quotas", "customer-a", "customer-b"), "unexpected extra argument"),
            (("partitions", "build_events"), "unexpected extra argument"),
            (("sql", "999"), "There is no revision 999. Choose one of base, 001"),
            (("sql", "--from", "999"), "There is no revision 999."),
            (("upgrade", "999"), "There is no revision 999."),
            (("downgrade", "nowhere", "--yes"), "There is no revision nowhere."),
            (("stamp", "999", "--yes"), "There is no revision 999."),
            (("maintenance", "run", "nosuch"), "There is no task nosuch."),
            (("demo", "--scale", "0"), "The scale 0 is not between"),
            (("demo", "--url", "postgresql://h/d", "--folder", "x"), "Leave out --folder"),
            (("status", "--url", "nonsense"), "cannot be read as a database URL"),
            (("status", "--url", "mysql://h/d"), "names a mysql database"),
            (("status", "--url", "postgresql:///d?host=h&port=abc"), "hosts or ports that cannot be read"),
        ],
    )
    def test_it_ends_with_2(
        self, run: Callable[..., Ended], arguments: tuple[str, ...], message: str
    ) -> None:
        ended = run(*arguments)
        assert ended.code == 2
        assert message in " ".join(ended.errors.split())

    @pytest.mark.parametrize(
        "command", ["upgrade", "current", "history", "status", "verify", "check", "quotas", "partitions"]
    )
    def test_no_server_is_one_message(self, run: Callable[..., Ended], command: str) -> None:
        ended = run(command, "--url", "postgresql://u:hunter2@localhost:1/honua")
        assert ended.code == 1
        assert ended.errors.startswith(
            "Error: Cannot connect to PostgreSQL at localhost:1: Connection refused\n"
        )
        assert "hunter2" not in ended.errors
        assert ended.output == ""

    def test_an_interrupted_command_ends_with_130(
        self, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(MigrationRunner, "get_current_version", interrupt)
        assert run("current", "--url", "postgresql://localhost:1/honua").code == 130


def test_the_embedded_server_may_be_used(
    run: Callable[..., Ended], server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from honua_schema.embedded import EmbeddedServer

    folder = server_folder / "server"
    try:
        assert run("upgrade", "--yes", "--embedded", "--folder", str(folder)).code == 0
        assert run("current", "--embedded", "--folder", str(folder)).output == f"{HEAD} (head)\n"
    finally:
        EmbeddedServer(folder).remove()
