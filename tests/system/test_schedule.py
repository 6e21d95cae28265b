"""`honua-schema maintenance`: each task does what is due, once, in batches, whoever else is at it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import sqlalchemy
from sqlalchemy import URL, Engine, event, text

from builders import add_cache_access
from honua_schema import cli, schedule
from honua_schema.errors import SchemaError
from honua_schema.schedule import Outcome, Task
from queries import value, values
from system.due import WORK, let_licences_end, let_logins_fail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from sqlalchemy import Connection as AlchemyConnection

    Connection = psycopg.Connection[Any]

TABLES_TO_VACUUM = {"build_queue", "build_cache_registry", "conversations", "conversation_messages"}
FOUR_AT_ONCE = """
import sys
from sqlalchemy import text
from honua_schema import cli, database, schedule

schedule.BATCH = 3
with database.create_engine().connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock_shared(1)"))
sys.argv = ["honua-schema", "maintenance", "run", "--json"]
cli.main()
"""
IN_BATCHES = [task for task in WORK if task != "admission"]


def run(engine: Engine, *names: str) -> dict[str, Outcome]:
    """Run tasks, all without names, and return what came of each."""
    return {outcome.task: outcome for outcome in schedule.run(engine, schedule.select_tasks(names))}


def changed(outcomes: dict[str, Outcome]) -> dict[str, int]:
    assert {outcome.status for outcome in outcomes.values()} == {"done"}, outcomes
    return {name: outcome.changed for name, outcome in outcomes.items()}


def vacuumed(connection: Connection) -> set[str]:
    """The tables that VACUUM and ANALYZE have been at."""
    return set(
        values(
            connection,
            "SELECT relname::text FROM pg_stat_user_tables"
            " WHERE last_vacuum IS NOT NULL AND last_analyze IS NOT NULL",
        )
    )


class TestTasks:
    @pytest.mark.parametrize("task", list(WORK))
    def test_a_task_does_what_is_due_once_and_says_how_much_it_was(
        self, engine: Engine, connection: Connection, task: str
    ) -> None:
        WORK[task].let_it_come(connection, 3)
        assert value(connection, WORK[task].left) == 3

        assert changed(run(engine, task)) == {task: 3}
        assert value(connection, WORK[task].left) == 0
        assert changed(run(engine, task)) == {task: 0}

    def test_all_tasks_run_one_after_the_other_and_then_nothing_is_due(
        self, engine: Engine, connection: Connection
    ) -> None:
        for work in WORK.values():
            work.let_it_come(connection, 2)

        first = changed(run(engine))

        assert list(first) == [task.name for task in schedule.TASKS]
        assert {name: first[name] for name in WORK} == dict.fromkeys(WORK, 2)
        assert [value(connection, work.left) for work in WORK.values()] == [0] * len(WORK)
        second = changed(run(engine))
        del second["vacuum"]  # the server counts a partition's new rows a while later: then it is due
        assert set(second.values()) == {0}

    @pytest.mark.parametrize("task", IN_BATCHES)
    def test_a_backlog_is_worked_off_in_several_transactions(
        self, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch, task: str
    ) -> None:
        WORK[task].let_it_come(connection, 5)
        left: list[int] = []
        event.listen(engine, "commit", lambda _: left.append(value(connection, WORK[task].left)))
        monkeypatch.setattr(schedule, "BATCH", 2)

        assert changed(run(engine, task)) == {task: 5}

        # The event comes before the commit: what is seen then are the batches before.
        assert left == [5, 3, 1]
        assert value(connection, WORK[task].left) == 0

    def test_partitions_that_are_missing_are_made(self, engine: Engine, connection: Connection) -> None:
        run(engine, "partitions")
        months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'build_events'::regclass"
        before = value(connection, months)
        for name in values(
            connection,
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'build_events'::regclass ORDER BY 1 DESC LIMIT 2",
        ):
            connection.execute(f"DROP TABLE {name}".encode())

        assert changed(run(engine, "partitions")) == {"partitions": 2}
        assert value(connection, months) == before
        assert changed(run(engine, "partitions")) == {"partitions": 0}


class TestVacuum:
    def test_busy_tables_are_vacuumed_and_analysed_unless_they_were(
        self, engine: Engine, connection: Connection
    ) -> None:
        assert changed(run(engine, "vacuum")) == {"vacuum": 4}
        assert vacuumed(connection) == TABLES_TO_VACUUM
        assert changed(run(engine, "vacuum")) == {"vacuum": 0}

    def test_they_are_again_once_that_is_long_enough_ago(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(engine, "vacuum")
        query = schedule.VACUUM_DUE.text
        assert "'7 days'" in query
        monkeypatch.setattr(schedule, "VACUUM_DUE", text(query.replace("'7 days'", "'0 days'")))

        assert changed(run(engine, "vacuum")) == {"vacuum": 4}

    def test_so_are_the_partitions_to_which_rows_were_added(
        self, engine: Engine, connection: Connection
    ) -> None:
        add_cache_access(connection, None)
        partition = value(connection, "SELECT tableoid::regclass::text FROM build_access_log")
        connection.execute("SELECT pg_stat_force_next_flush()")

        run(engine, "vacuum")

        assert partition.removeprefix("honua_partitions.") in vacuumed(connection)

    def test_a_table_that_is_in_use_by_another_vacuum_is_left_alone(
        self, engine: Engine, connection: Connection, connect: Callable[..., Connection]
    ) -> None:
        somebody = connect(autocommit=False)
        somebody.execute("LOCK TABLE conversations IN SHARE UPDATE EXCLUSIVE MODE")

        assert changed(run(engine, "vacuum")) == {"vacuum": 3}
        assert vacuumed(connection) == TABLES_TO_VACUUM - {"conversations"}

        somebody.rollback()
        assert changed(run(engine, "vacuum")) == {"vacuum": 1}

    @pytest.mark.parametrize("due", [schedule.VACUUM_DUE.text, "SELECT 'no_such_table'"])
    def test_nobody_listens_to_the_connection_afterwards(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, due: str
    ) -> None:
        def listeners() -> list[object]:
            with engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                return list(driver._notice_handlers)

        before = listeners()
        monkeypatch.setattr(schedule, "VACUUM_DUE", text(due))
        run(engine, "vacuum")

        assert listeners() == before


class TestOthers:
    def test_a_task_that_another_machine_is_at_is_left_to_it(self, engine: Engine) -> None:
        meanwhile: list[Outcome] = []

        def step(_: AlchemyConnection) -> int:
            meanwhile.extend(schedule.run(engine, [same, other]))
            return 1

        same = Task("same", "daily", "Run again while it runs", step)
        other = replace(same, name="other", step=lambda _: 2)

        (outcome,) = schedule.run(engine, [same])

        assert (outcome.status, outcome.changed) == ("done", 1)
        assert [(each.status, each.changed) for each in meanwhile] == [("elsewhere", 0), ("done", 2)]

    def test_nothing_holds_a_task_after_its_run(self, engine: Engine, connection: Connection) -> None:
        run(engine)
        assert value(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0

    def test_four_at_once_do_everything_once(
        self, database: URL, connection: Connection, connect: Callable[..., Connection]
    ) -> None:
        for work in WORK.values():
            work.let_it_come(connection, 20)
        starter = connect()
        starter.execute("SELECT pg_advisory_lock(1)")
        environment = {"DATABASE_URL": database.render_as_string(hide_password=False)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", FOUR_AT_ONCE],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while value(connection, waiting) < 4:
            assert all(process.poll() is None for process in processes)
            connection.execute("SELECT pg_sleep(0.02)")
        starter.execute("SELECT pg_advisory_unlock(1)")

        total = Counter[str]()
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
            for outcome in json.loads(output):
                assert outcome["status"] in {"done", "elsewhere"}, outcome
                total[outcome["task"]] += outcome["changed"]
        # Two may come to a table one after the other: vacuuming twice does no harm.
        assert {name: total[name] for name in WORK} == dict.fromkeys(WORK, 20)
        assert [value(connection, work.left) for work in WORK.values()] == [0] * len(WORK)
        assert vacuumed(connection) >= TABLES_TO_VACUUM


class TestFailures:
    def test_a_task_that_fails_says_why_and_the_others_run(
        self, engine: Engine, connection: Connection
    ) -> None:
        for work in WORK.values():
            work.let_it_come(connection, 1)
        connection.execute("DROP FUNCTION expire_old_conversations")

        outcomes = run(engine)

        failed = outcomes.pop("conversations")
        assert (failed.status, failed.changed) == ("failed", 0)
        assert failed.error is not None
        assert failed.error.startswith("function expire_old_conversations(")
        assert failed.error.endswith("does not exist")
        done = changed(outcomes)
        assert all(done[name] == 1 for name in WORK if name in done)

    def test_batches_before_the_failure_are_kept(self, engine: Engine, connection: Connection) -> None:
        connection.execute("CREATE TABLE batches (number integer CHECK (number < 3))")

        def step(alchemy: AlchemyConnection) -> int:
            alchemy.execute(text("INSERT INTO batches SELECT count(*) + 1 FROM batches"))
            return schedule.BATCH

        (outcome,) = schedule.run(engine, [Task("third", "daily", "Fails in its third batch", step)])

        assert (outcome.status, outcome.changed) == ("failed", 2 * schedule.BATCH)
        assert "violates check constraint" in str(outcome.error)
        assert value(connection, "SELECT count(*) FROM batches") == 2

    def test_a_member_of_honua_maintenance_may_do_all_but_vacuum(
        self, maintainer: Engine, connection: Connection
    ) -> None:
        for work in WORK.values():
            work.let_it_come(connection, 1)

        outcomes = run(maintainer)

        failed = outcomes.pop("vacuum")
        assert (failed.status, failed.changed) == ("failed", 0)
        assert "leave them to autovacuum" in str(failed.remedy)
        done = changed(outcomes)
        assert all(done[name] == 1 for name in WORK)

    def test_a_server_that_cannot_be_reached_is_one_message(self, database: URL) -> None:
        elsewhere = sqlalchemy.create_engine(database.update_query_dict({"port": "1"}))
        with pytest.raises(SchemaError, match="Cannot connect to PostgreSQL"):
            run(elsewhere)


@pytest.fixture
def maintainer(database: URL, connection: Connection) -> Iterator[Engine]:
    """An engine that connects as a member of honua_maintenance and of nothing else."""
    connection.execute("CREATE ROLE maintainer LOGIN IN ROLE honua_maintenance")
    engine = sqlalchemy.create_engine(database.set(username="maintainer"))
    yield engine
    engine.dispose()
    connection.execute("DROP ROLE maintainer")


class Ended(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    output: str
    errors: str


class TestCommands:
    @pytest.fixture
    def maintenance(
        self, database: URL, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Ended]:
        """Call `honua-schema maintenance` with arguments."""
        monkeypatch.setenv("DATABASE_URL", database.render_as_string(hide_password=False))

        def call(*arguments: str) -> Ended:
            monkeypatch.setattr(sys, "argv", ["honua-schema", "maintenance", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            return Ended(int(ended.value.code or 0), *capsys.readouterr())

        return call

    def test_run_prints_a_line_for_each_task(
        self, maintenance: Callable[..., Ended], connection: Connection
    ) -> None:
        let_licences_end(connection, 3)

        ended = maintenance("run")

        assert (ended.code, ended.errors) == (0, "")
        lines = {line.split()[0]: line.split()[1:3] for line in ended.output.splitlines()}
        assert list(lines) == [task.name for task in schedule.TASKS]
        assert lines["licenses"] == ["done", "3"]
        assert lines["logs"] == ["done", "0"]

    def test_run_prints_json(self, maintenance: Callable[..., Ended], connection: Connection) -> None:
        let_logins_fail(connection, 2)

        ended = maintenance("run", "licenses", "credentials", "--json")

        assert ended.code == 0
        outcomes = json.loads(ended.output)
        assert all(outcome.pop("elapsed_ms") >= 0 for outcome in outcomes)
        assert outcomes == [
            {"task": "credentials", "status": "done", "changed": 2, "error": None, "remedy": None},
            {"task": "licenses", "status": "done", "changed": 0, "error": None, "remedy": None},
        ]

    def test_an_interval_stands_for_all_its_tasks(self, maintenance: Callable[..., Ended]) -> None:
        ended = maintenance("run", "daily", "timeouts", "--json")

        assert [each["task"] for each in json.loads(ended.output)] == ["timeouts", "credentials", "licenses"]

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_run_fails_when_a_task_does(
        self, maintenance: Callable[..., Ended], connection: Connection, options: tuple[str, ...]
    ) -> None:
        connection.execute("DROP FUNCTION expire_licenses")

        ended = maintenance("run", "credentials", "licenses", "logs", *options)

        assert ended.code == 1
        assert "function expire_licenses(" in ended.output
        assert "logs" in ended.output
        assert "Traceback" not in ended.output + ended.errors

    def test_a_task_that_does_not_exist_is_an_error_that_names_those_that_do(
        self, maintenance: Callable[..., Ended], connection: Connection
    ) -> None:
        let_licences_end(connection, 1)

        ended = maintenance("run", "licenses", "sweep")

        assert ended.code == 2
        assert ended.output == ""
        assert "There is no task sweep." in ended.errors
        assert "timeouts, admission, conversations" in ended.errors
        assert value(connection, WORK["licenses"].left) == 1

    def test_list_shows_every_task_and_how_often_it_should_run(
        self, maintenance: Callable[..., Ended]
    ) -> None:
        ended = maintenance("list")

        assert ended.code == 0
        assert [line.split("\t") for line in ended.output.splitlines()] == [
            [task.name, task.interval, task.cron, task.purpose] for task in schedule.TASKS
        ]

    def test_list_prints_json(self, maintenance: Callable[..., Ended]) -> None:
        listed = json.loads(maintenance("list", "--json").output)

        assert listed[0] == {
            "name": "timeouts",
            "interval": "minutely",
            "cron": "* * * * *",
            "purpose": "End builds whose time is up",
        }
        assert len(listed) == len(schedule.TASKS)


def test_every_task_explains_what_it_does_and_has_a_name_of_its_own() -> None:
    assert len({task.name for task in schedule.TASKS}) == len(schedule.TASKS)
    assert not {task.name for task in schedule.TASKS} & schedule.INTERVALS.keys()
    assert {task.interval for task in schedule.TASKS} == schedule.INTERVALS.keys()
    assert all(task.purpose for task in schedule.TASKS)
