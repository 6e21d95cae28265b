"""How a new revision looks, and when none is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from honua_schema import sqlfile
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from tests.autogenerate.conftest import ProjectCopy

CUSTOMER = "models/core.py"
PRIVILEGES = "sql/system/privileges.toml"
CHECKS = '        one_of("subscription_status", SubscriptionStatus),\n'
NEW_INDEX = '        index("ix_customers_name", text("lower(contact_name)"), serves="a test"),\n'


def alembic_in_vain(project: ProjectCopy, *arguments: str) -> str:
    before = project.revisions()
    finished = project.run("-m", "alembic", *arguments)
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr
    assert project.revisions() == before
    return finished.stdout + finished.stderr


def test_nothing_to_do_writes_nothing_and_says_so(project: ProjectCopy) -> None:
    before = project.revisions()
    output = project.alembic("revision", "--autogenerate", "-m", "nothing")
    assert "no revision is written" in output
    assert project.revisions() == before


def test_a_difference_that_no_operation_does_away_with_is_named(project: ProjectCopy) -> None:
    comment = "Name of the person to write to"
    line = f'    contact_name: Mapped[String255 | None] = mapped_column(comment="{comment}")\n'
    project.replace(CUSTOMER, line, "")
    project.insert(
        CUSTOMER, '    license: Mapped[License | None] = relationship(back_populates="customer"', line
    )
    before = project.revisions()
    output = project.alembic("revision", "--autogenerate", "-m", "nothing")
    assert "The database is what the models" not in output
    assert "No revision is written: there is no operation" in output
    assert "table customers: order of columns" in output
    assert project.revisions() == before


def test_a_database_that_is_not_at_the_newest_revision_is_refused(project: ProjectCopy) -> None:
    project.alembic("downgrade", "-1")
    output = alembic_in_vain(project, "revision", "--autogenerate", "-m", "new")
    assert "Target database is not up to date" in output
    assert "First run: honua-schema upgrade" in output


def test_a_revision_without_a_name_is_refused(project: ProjectCopy) -> None:
    project.insert(CUSTOMER, CHECKS, NEW_INDEX)
    assert "The revision has no name" in alembic_in_vain(project, "revision", "--autogenerate")


def test_an_sql_file_that_postgresql_refuses_is_named(project: ProjectCopy) -> None:
    project.write(
        "sql/core/wrong.sql", "CREATE OR REPLACE VIEW wrong AS SELECT c.nothing FROM customers AS c;\n"
    )
    project.insert(PRIVILEGES, "conversation_performance_summary = [", "wrong = []\n")
    output = alembic_in_vain(project, "revision", "--autogenerate", "-m", "new")
    assert "PostgreSQL refuses sql/core/wrong.sql: column c.nothing does not exist" in output


@pytest.mark.parametrize("kind", ["function", "view"])
def test_an_object_that_the_manifest_does_not_list_is_refused(project: ProjectCopy, kind: str) -> None:
    name = {"function": "tier_rank", "view": "active_builds"}[kind]
    manifest = project.package / PRIVILEGES
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    project.write(PRIVILEGES, "".join(line for line in lines if not line.startswith(f"{name} = ")))
    for command in ("alembic check", "alembic revision --autogenerate -m new", "honua_schema verify"):
        finished = project.run("-m", *command.split())
        assert finished.returncode != 0
        output = finished.stdout + finished.stderr
        assert "Traceback" not in output
        assert f"privileges.toml does not list the {kind} {name}" in output
        assert f"Add it to [{kind}s]" in output


def test_two_files_that_declare_the_same_are_refused(project: ProjectCopy) -> None:
    text = (project.package / "sql" / "core" / "tier_rank.sql").read_text(encoding="utf-8")
    project.write("sql/intake/tier_rank.sql", text)
    output = alembic_in_vain(project, "check")
    assert "sql/core/tier_rank.sql and sql/intake/tier_rank.sql declare the same function" in output
    assert "Keep one" in output


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE FUNCTION wrong() RETURNS integer LANGUAGE sql RETURN 1;",
        "create or replace function wrong() RETURNS integer LANGUAGE sql RETURN 1;",
        "CREATE OR REPLACE PROCEDURE wrong() LANGUAGE sql AS 'SELECT 1';",
        "CREATE MATERIALIZED VIEW wrong AS SELECT 1 AS number;",
        "CREATE CONSTRAINT TRIGGER wrong AFTER INSERT ON customers FOR EACH ROW EXECUTE FUNCTION suppress();",
    ],
)
def test_a_file_that_makes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "wrong.sql").write_text(f"-- requires: customers\n{statement}\n")
    frozen = sqlfile.load_objects(tmp_path)
    assert [each.kind for each in frozen] == ["script"]

    monkeypatch.setattr(sqlfile, "CURRENT", tmp_path)
    with pytest.raises(SchemaError, match=r"(?i)sql/core/wrong\.sql cannot .* CREATE") as raised:
        sqlfile.load_objects(tmp_path)
    assert "CREATE OR REPLACE FUNCTION" in raised.value.remedy


def test_check_names_what_is_missing(project: ProjectCopy) -> None:
    project.insert(CUSTOMER, CHECKS, NEW_INDEX)
    project.replace("sql/core/tier_rank.sql", "'asp'], p_tier::text)", "'asp', 'best'], p_tier::text)")
    output = alembic_in_vain(project, "check")
    assert "ix_customers_name" in output
    assert "('replace_function', 'tier_rank')" in output


def test_a_revision_answers_the_checklist_and_passes_the_linter(project: ProjectCopy) -> None:
    project.insert(CUSTOMER, CHECKS, NEW_INDEX)
    project.replace(CUSTOMER, "contact_name: Mapped[String255 | None]", "contact_name: Mapped[str | None]")
    project.replace("sql/core/tier_rank.sql", "'asp'], p_tier::text)", "'asp', 'best'], p_tier::text)")

    text = project.revise("find customers by name")

    assert text.startswith('"""Find customers by name.\n\n- Locks: ')
    assert "SHARE on customers while the index ix_customers_name is built" in text
    assert "- Online: not on a big table or with the previous release: Writers of customers wait" in text
    assert "- Data: upgrade() loses none. downgrade() loses none." in text
    assert "    # Writers of customers wait while this index is built.\n" in text
    assert "online.create_index('ix_customers_name', 'customers', " in text
    assert "please adjust" not in text
    file = project.revisions()[-1]
    assert file.name.endswith("_find_customers_by_name.py")
    for command in (["check"], ["format", "--check"]):
        ruff = [Path(sys.executable).with_name("ruff"), *command, file]
        linted = subprocess.run(ruff, cwd=project.folder, capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_only_changed_files_are_frozen(project: ProjectCopy) -> None:
    project.replace("sql/core/tier_rank.sql", "'asp'], p_tier::text)", "'asp', 'best'], p_tier::text)")
    project.revise("rank another tier")
    revision = project.revisions()[-1].name[:3]
    assert project.frozen(revision) == {"core/tier_rank.sql"}


def test_a_table_or_function_of_an_application_is_left_alone(project: ProjectCopy) -> None:
    create = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", "")) as connection:
    connection.execute("CREATE TABLE invoices (id integer)")
    connection.execute("CREATE FUNCTION total() RETURNS integer LANGUAGE sql RETURN 1")
"""
    assert project.run("-c", create).returncode == 0
    assert "No new upgrade operations detected" in project.alembic("check")


def test_a_revision_by_hand_asks_the_questions(project: ProjectCopy) -> None:
    project.alembic("revision", "-m", "fill something")
    text = project.revisions()[-1].read_text()
    assert text.startswith('"""Fill something.\n\n- Locks: which does each statement take')
    assert "from alembic import op\n" in text
    assert "from honua_schema import sqlfile\n" in text
