"""A project with tables of its own beside ours: two environments of Alembic in one database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import builders
from queries import value, values

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from sqlalchemy import URL

PROJECT = Path(__file__).parents[1]
EXAMPLE = PROJECT / "docs" / "examples" / "own-tables"


class Projects:
    """Theirs and ours, on one database."""

    def __init__(self, url: URL, theirs: Path) -> None:
        self.url, self.theirs = url, theirs
        self.variables = os.environ | {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "PYTHONPATH": os.pathsep.join([str(theirs), str(PROJECT)]),
        }

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder, env=self.variables, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def alembic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.theirs, "alembic", *arguments)

    def our_alembic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(PROJECT, "alembic", *arguments)

    def honua_schema(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.theirs, "honua_schema", *arguments)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A copy of the other project, to edit."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own-tables", ignore=ignored))


@pytest.fixture
def projects(empty_database: URL, theirs: Path) -> Projects:
    return Projects(empty_database, theirs)


@pytest.fixture
def projects_with_ours(database: URL, theirs: Path) -> Projects:
    return Projects(database, theirs)


def succeeded(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
def test_both_upgrade_in_either_order_and_neither_sees_the_others_tables(
    projects: Projects, connect: Callable[..., psycopg.Connection[Any]], ours_first: bool
) -> None:
    upgrades = [projects.our_alembic, projects.alembic]
    for alembic in upgrades if ours_first else reversed(upgrades):
        succeeded(alembic("upgrade", "head"))

    assert "No new upgrade operations" in succeeded(projects.alembic("check"))
    assert "No new upgrade operations" in succeeded(projects.our_alembic("check"))
    succeeded(projects.honua_schema("verify"))
    connection = connect(projects.url)
    assert values(connection, "SELECT version_num FROM shop.alembic_version") == ["0001"]
    assert value(connection, "SELECT count(*) FROM schema_migrations") >= 7
    customer = builders.add_customer(connection)
    build = builders.add_build(connection, customer)
    connection.execute(
        "INSERT INTO shop.invoices (customer_id, build_id, amount) VALUES (%s, %s, 9.5)", [customer, build]
    )
    connection.execute("DELETE FROM build_queue")
    assert values(connection, "SELECT build_id FROM shop.invoices") == [None]


def test_a_change_of_their_models_is_noticed_and_becomes_a_revision_about_it_alone(
    projects_with_ours: Projects,
) -> None:
    succeeded(projects_with_ours.alembic("upgrade", "head"))
    models = projects_with_ours.theirs / "shop" / "models.py"
    models.write_text(models.read_text().replace("    issued_at:", "    paid: Mapped[bool]\n    issued_at:"))

    check = projects_with_ours.alembic("check")
    assert check.returncode != 0
    assert "add_column" in check.stderr + check.stdout
    succeeded(projects_with_ours.alembic("revision", "--autogenerate", "-m", "paid", "--rev-id", "0002"))
    (revision,) = projects_with_ours.theirs.glob("shop/migrations/versions/0002_*.py")
    operations = [line.strip() for line in revision.read_text().splitlines() if "op." in line]
    assert len(operations) == 2
    assert operations[0].startswith("op.add_column('invoices', sa.Column('paid'")
    assert operations[1].startswith("op.drop_column('invoices', 'paid'")


def test_a_table_that_they_drop_from_their_models_is_noticed(projects_with_ours: Projects) -> None:
    succeeded(projects_with_ours.alembic("upgrade", "head"))
    models = projects_with_ours.theirs / "shop" / "models.py"
    models.write_text(models.read_text().partition("class Invoice")[0])

    check = projects_with_ours.alembic("check")
    assert check.returncode != 0
    assert "remove_table" in check.stderr + check.stdout
    assert "build_queue" not in check.stdout.partition("remove_table")[0]


def test_ours_go_only_after_theirs(projects_with_ours: Projects) -> None:
    succeeded(projects_with_ours.alembic("upgrade", "head"))

    refused = projects_with_ours.honua_schema("downgrade", "base", "--yes")
    assert (refused.returncode, "other objects depend on it" in refused.stderr) == (1, True)
    succeeded(projects_with_ours.honua_schema("upgrade", "--yes"))
    succeeded(projects_with_ours.alembic("downgrade", "base"))
    succeeded(projects_with_ours.honua_schema("downgrade", "base", "--yes"))


def test_replicas_of_both_may_start_at_once(
    projects: Projects, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=projects.theirs, env=projects.variables,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )
        for command in [["alembic", "upgrade", "head"], ["honua_schema", "upgrade", "--yes"]] * 2
    ]  # fmt: skip
    outcomes = [(each.communicate()[1], each.returncode) for each in running]

    assert [code for _, code in outcomes] == [0] * 4, outcomes
    assert values(connect(projects.url), "SELECT version_num FROM shop.alembic_version") == ["0001"]


def test_the_example_works_with_this_version() -> None:
    text = (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    from honua_schema import __version__

    major, minor, _ = __version__.split(".")
    assert f"honua-schema>={major}.{minor},<{major}.{int(minor) + 1}" in text
