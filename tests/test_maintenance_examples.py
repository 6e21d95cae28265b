"""The ready-made texts that run maintenance: they keep the schedule, call what there is, and work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from typer.testing import CliRunner

from honua_schema import MigrationRunner, cli, schedule
from queries import rows, value, values
from system.due import WORK

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
UNITS = EXAMPLES / "systemd"
GUIDE = EXAMPLES.parent / "guides" / "operate.md"
PG_CRON = EXAMPLES / "pg_cron.sql"
CRON = re.compile(r"(?P<minute>\S+) (?P<hour>\S+) (?P<day>\S+) \* (?P<weekday>\S+)")
OFFERED = "SELECT count(*) FROM pg_available_extensions AS a WHERE a.name = 'pg_cron'"
PG_CRON_SETTINGS = {
    "shared_preload_libraries": "pg_cron",
    "cron.database_name": "honua",
    "cron.use_background_workers": "on",
    "max_worker_processes": "24",  # the test starts all jobs in the same moment
    "autovacuum": "off",
    "fsync": "off",
}


@dataclass(frozen=True)
class CronJob:
    """A job of Kubernetes: what is said of it, of each of its runs, and of the pod that does it."""

    name: str
    spec: dict[str, Any]
    run: dict[str, Any]
    pod: dict[str, Any]

    @property
    def command(self) -> list[str]:
        (container,) = self.pod["containers"]
        command: list[str] = container["command"]
        return command


def cronjobs() -> list[CronJob]:
    jobs = []
    for job in yaml.safe_load_all((EXAMPLES / "cronjob.yaml").read_text(encoding="utf-8")):
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
        run = job["spec"]["jobTemplate"]["spec"]
        jobs.append(CronJob(job["metadata"]["name"], job["spec"], run, run["template"]["spec"]))
    return jobs


def unit(file: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read_string(file.read_text(encoding="utf-8"))
    return parser


def calendar(cron: str) -> str:
    """Translate a cron expression of the schedule into a calendar event of systemd."""
    fields = CRON.fullmatch(cron)
    assert fields, cron

    def two_digits(field: str) -> str:
        return re.sub(r"\d+", lambda digits: digits[0].zfill(2), field)

    hour = "00/6" if fields["hour"] == "*/6" else two_digits(fields["hour"])
    weekday = {"*": "", "0": "Sun "}[fields["weekday"]]
    return f"{weekday}*-*-{two_digits(fields['day'])} {hour}:{two_digits(fields['minute'])}:00 UTC"


def refuse_unknown_command(command: list[str]) -> None:
    """Fail unless the command line knows a command, and its tasks or interval."""
    program, group, action, *names = command
    assert (Path(program).name, group, action) == ("honua-schema", "maintenance", "run")
    assert CliRunner().invoke(cli.app, [group, action, "--help"]).exit_code == 0
    assert schedule.select_tasks(names)


class TestCronJobs:
    def test_each_interval_has_a_job_at_its_time(self) -> None:
        assert {job.command[-1]: job.spec["schedule"] for job in cronjobs()} == schedule.INTERVALS

    def test_jobs_run_in_utc_one_at_a_time_and_give_up_in_the_end(self) -> None:
        for job in cronjobs():
            assert job.spec["timeZone"] == "Etc/UTC"
            assert job.spec["concurrencyPolicy"] == "Forbid"
            assert job.run["activeDeadlineSeconds"] == 3600
            assert job.pod["restartPolicy"] == "Never"

    def test_jobs_run_commands_that_exist_and_are_named_after_them(self) -> None:
        for job in cronjobs():
            refuse_unknown_command(job.command)
            assert job.name == f"honua-maintenance-{job.command[-1]}"
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", job.name)
            assert [each["name"] for each in job.pod["containers"][0]["env"]] == ["DATABASE_URL"]


class TestSystemd:
    def test_each_interval_has_a_timer_at_its_time(self) -> None:
        timers = {file.name: unit(file)["Timer"]["OnCalendar"] for file in UNITS.glob("*.timer")}

        assert timers == {
            f"honua-maintenance@{interval}.timer": calendar(cron)
            for interval, cron in schedule.INTERVALS.items()
        }

    def test_the_service_runs_the_tasks_of_the_timer_that_starts_it(self) -> None:
        service = unit(UNITS / "honua-maintenance@.service")["Service"]

        assert service["Type"] == "oneshot"
        for interval in schedule.INTERVALS:
            refuse_unknown_command(shlex.split(service["ExecStart"].replace("%i", interval)))

    def test_systemd_finds_nothing_wrong_with_them(self, tmp_path: Path) -> None:
        program = shutil.which("systemd-analyze")
        # Where there is no systemd, the other tests still read the files.
        if program:
            for file in UNITS.iterdir():
                text = file.read_text(encoding="utf-8").replace("/opt/honua/bin/honua-schema", "/bin/true")
                (tmp_path / file.name).write_text(text, encoding="utf-8")
            timers = sorted(tmp_path.glob("*.timer"))
            assert len(timers) == len(schedule.INTERVALS)
            checked = subprocess.run(
                [program, "verify", "--man=no", *timers], capture_output=True, text=True, check=False
            )
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


class TestPgCron:
    def test_each_task_has_a_job_at_its_time(self) -> None:
        scheduled = dict(re.findall(r"cron\.schedule\('honua-([a-z-]+)', '([^']+)'", PG_CRON.read_text()))

        assert scheduled.pop("job-history") == schedule.INTERVALS["daily"]
        assert scheduled == {task.name: task.cron for task in schedule.TASKS}

    def test_batches_are_as_large_as_those_of_the_command(self) -> None:
        assert set(re.findall(r"p_limit => (\d+)", PG_CRON.read_text())) == {str(schedule.BATCH)}

    def test_pg_cron_does_the_work(
        self,
        connection: Connection,
        connect: Callable[..., Connection],
        server_version: int,
        private_server: Callable[..., EmbeddedServer],
        programs: Path,
    ) -> None:
        offered = value(connection, OFFERED)
        # The embedded server can't offer it; the pipeline installs it next to PostgreSQL 15.
        assert offered or server_version >= 160000 or "CI" not in os.environ
        if not offered:
            return
        server = private_server(PG_CRON_SETTINGS)
        server.create_database("honua")
        url = server.url("honua")
        assert MigrationRunner(url).apply_migrations().success
        database = connect(url)
        for _ in range(2):
            run_psql(programs, url, PG_CRON)
        jobs = dict(rows(database, "SELECT j.jobname, j.schedule FROM cron.job AS j"))
        assert jobs == {f"honua-{task.name}": task.cron for task in schedule.TASKS} | {
            "honua-job-history": schedule.INTERVALS["daily"]
        }
        for work in WORK.values():
            work.let_it_come(database, 3)
        add_old_logs(database, 2 * schedule.BATCH)
        # The shortest interval is a minute; what is to run when the server starts need not be waited for.
        database.execute("SELECT cron.alter_job(j.jobid, schedule => '@reboot') FROM cron.job AS j")
        server.stop()
        server.start()

        database = connect(url)
        assert wait_for_jobs(database, len(jobs)) == dict.fromkeys(jobs, "succeeded")
        assert [value(database, work.left) for work in WORK.values()] == [0] * len(WORK)
        assert value(database, "SELECT count(DISTINCT r.xmin::text) FROM build_results AS r") == 3  # batches
        vacuumed = "SELECT s.relname::text FROM pg_stat_user_tables AS s WHERE s.vacuum_count > 0"
        assert set(values(database, vacuumed)) == {
            "build_queue", "build_cache_registry", "conversations", "conversation_messages",
        }  # fmt: skip
        assert value(database, "SELECT missing_log_months('audit_log', 3)") == []


def run_psql(programs: Path, url: URL, file: Path) -> None:
    """Execute a file of SQL, and fail at its first error."""
    server = ["-h", url.query["host"], "-p", url.query["port"], "-U", url.username, "-d", url.database]
    command = [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *map(str, server), "-f", file]
    subprocess.run(command, capture_output=True, check=True)


def add_old_logs(database: Connection, count: int) -> None:
    """Add results whose logs are a year old."""
    database.execute(
        "WITH builds AS ("
        " INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)"
        " SELECT 'system', '/m', 'h', '{}' FROM generate_series(1, %s) RETURNING id"
        ") INSERT INTO build_results"
        " (build_queue_id, success, actual_duration_seconds, stdout_log, created_at)"
        " SELECT b.id, true, 480, 'out', now() - interval '1 year' FROM builds AS b",
        [count],
    )


def wait_for_jobs(database: Connection, count: int) -> dict[str, str]:
    """Wait until so many jobs have ended, and return how each did."""
    query = (
        "SELECT j.jobname, d.status FROM cron.job_run_details AS d JOIN cron.job AS j USING (jobid)"
        " WHERE d.status IN ('succeeded', 'failed')"
    )
    deadline = time.monotonic() + 60
    while len(ended := dict(rows(database, query))) < count and time.monotonic() < deadline:
        database.execute("SELECT pg_sleep(0.05)")
    return ended


def test_the_guide_links_the_texts_and_lists_every_task() -> None:
    guide = GUIDE.read_text(encoding="utf-8")

    for name in ("cronjob.yaml", "systemd", "pg_cron.sql"):
        assert f"](../examples/{name}" in guide
    for task in schedule.TASKS:
        assert f"| `{task.name}` | {task.interval} |" in guide
