"""Big tables change while others use them, and a change that was interrupted goes on where it ended."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from honua_schema import MigrationRunner, sqlfile
from squawk import warnings

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

REVISION = '''\
"""Try it."""

from alembic import op
import sqlalchemy as sa

from honua_schema import online

revision = "{number}"
down_revision = "{previous}"


def upgrade():
    {upgrade}


def downgrade():
    pass
'''


class Revisions:
    """The revisions of the package and one more."""

    def __init__(self, folder: Path, database: URL) -> None:
        shutil.copytree(sqlfile.FROZEN.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        self.database = database
        self.previous = max(file.name[:3] for file in folder.glob("*.py"))
        self.number = f"{int(self.previous) + 1:03}"

    def write(self, *statements: str) -> None:
        text = REVISION.format(number=self.number, previous=self.previous, upgrade="\n    ".join(statements))
        (self.folder / f"{self.number}_try.py").write_text(text)

    def runner(self, **options: Any) -> MigrationRunner:
        return MigrationRunner(self.database, versions=self.folder, **options)

    def apply(self, *statements: str) -> None:
        self.write(*statements)
        result = self.runner().apply_migrations()
        assert result.success, result.errors

    def apply_in_vain(self, *statements: str) -> str:
        self.write(*statements)
        result = self.runner().apply_migrations()
        assert not result.success
        return "\n".join(result.errors)


@pytest.fixture
def revisions(tmp_path: Path, database: URL) -> Revisions:
    return Revisions(tmp_path / "versions", database)


def one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def is_valid(connection: Connection, index: str) -> bool | None:
    value: bool | None = one(
        connection, f"SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass('{index}')"
    )
    return value


CREATE_INDEX = (
    'online.create_index("ix_try", "customers", ["contact_name"], postgresql_where=sa.text("tier = \'pro\'"))'
)
UNIQUE_INDEX = 'online.create_index("ix_try", "customers", ["contact_name"], unique=True)'


class TestIndexes:
    def test_writers_go_on_while_an_index_is_built(
        self, revisions: Revisions, connection: Connection, connect: Callable[..., Connection]
    ) -> None:
        revisions.write(CREATE_INDEX)
        writer = connect(autocommit=False)
        writer.execute("UPDATE customers SET contact_name = 'x'")
        process = multiprocessing.get_context("spawn").Process(
            target=apply, args=(str(revisions.folder), revisions.database.render_as_string())
        )
        process.start()
        # The index waits for the open transaction, and others write meanwhile.
        wait_until(
            connection, "SELECT count(*) > 0 FROM pg_index AS i WHERE i.indexrelid = to_regclass('ix_try')"
        )
        connection.execute("SET lock_timeout = '1s'")
        connection.execute(
            "INSERT INTO customers (customer_id, organization_name, contact_email) VALUES ('c', 'c', 'c')"
        )
        writer.commit()
        process.join(30)
        assert process.exitcode == 0
        assert is_valid(connection, "ix_try")

    def test_what_a_failed_attempt_left_is_removed(
        self, revisions: Revisions, connection: Connection
    ) -> None:
        for name in "ab":
            connection.execute(
                "INSERT INTO customers (customer_id, organization_name, contact_email, contact_name)"
                f" VALUES ('{name}', 'o', 'e', 'same')"
            )
        assert "could not create unique index" in revisions.apply_in_vain(UNIQUE_INDEX)
        assert is_valid(connection, "ix_try") is False
        connection.execute("UPDATE customers SET contact_name = customer_id")
        revisions.apply(UNIQUE_INDEX)
        assert is_valid(connection, "ix_try") is True

    def test_an_index_that_is_there_already_is_kept(
        self, revisions: Revisions, connection: Connection
    ) -> None:
        connection.execute("CREATE INDEX ix_try ON customers (contact_name) WHERE tier = 'pro'")
        before = one(connection, "SELECT 'ix_try'::regclass::oid")
        revisions.apply(CREATE_INDEX)
        assert one(connection, "SELECT 'ix_try'::regclass::oid") == before

    def test_each_partition_gets_its_index_by_itself(
        self, revisions: Revisions, connection: Connection
    ) -> None:
        connection.execute("SELECT ensure_log_partitions(1)")
        revisions.apply('online.create_index("ix_try", "build_events", ["source"], partitioned=True)')
        assert is_valid(connection, "ix_try")
        assert one(connection, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ix_try'::regclass") == 3
        connection.execute("SELECT ensure_log_partitions(2)")
        assert one(connection, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ix_try'::regclass") == 4

    def test_an_index_is_dropped(self, revisions: Revisions, connection: Connection) -> None:
        revisions.apply('online.drop_index("ix_customers_contact_email")')
        assert is_valid(connection, "ix_customers_contact_email") is None


ADD_CONSTRAINT = 'online.add_constraint("ck_try", "customers", "CHECK (contact_name <> \'\')")'
NOT_NULL = 'online.set_not_null("customers", "contact_name")'
VALIDATED = "SELECT convalidated FROM pg_constraint WHERE conname = 'ck_try'"


class TestConstraints:
    def test_a_constraint_is_added_and_validated(self, revisions: Revisions, connection: Connection) -> None:
        revisions.apply(ADD_CONSTRAINT)
        assert one(connection, VALIDATED) is True

    def test_rows_that_break_it_can_be_put_right(self, revisions: Revisions, connection: Connection) -> None:
        connection.execute("UPDATE customers SET contact_name = ''")
        assert 'constraint "ck_try" of relation "customers" is violated' in revisions.apply_in_vain(
            ADD_CONSTRAINT
        )
        assert one(connection, VALIDATED) is False
        connection.execute("UPDATE customers SET contact_name = 'x'")
        revisions.apply(ADD_CONSTRAINT)
        assert one(connection, VALIDATED) is True

    def test_a_value_becomes_required(self, revisions: Revisions, connection: Connection) -> None:
        assert "is violated by some row" in revisions.apply_in_vain(NOT_NULL)
        connection.execute("UPDATE customers SET contact_name = 'x'")
        revisions.apply(NOT_NULL)
        column = "attrelid = 'customers'::regclass AND attname = 'contact_name'"
        assert one(connection, f"SELECT attnotnull FROM pg_attribute WHERE {column}") is True
        assert one(connection, "SELECT count(*) FROM pg_constraint WHERE conname LIKE '%_is_given'") == 0


ROWS = 3000
BACKFILL = (
    'online.backfill("filled", "times = times + 1, label = \'100 %: \' || id", where="label IS NULL",'
    " batch_size=100, pause={pause})"
)


class TestBackfill:
    @pytest.fixture(autouse=True)
    def table(self, connection: Connection) -> None:
        connection.execute("CREATE TABLE filled (id uuid, day date, times integer DEFAULT 0, label text)")
        connection.execute("ALTER TABLE filled ADD PRIMARY KEY (day, id)")
        connection.execute(
            "INSERT INTO filled (id, day) SELECT gen_random_uuid(), date '2026-01-01' + n % 7"
            f" FROM generate_series(1, {ROWS}) AS n"
        )

    def test_each_row_is_filled_once(self, revisions: Revisions, connection: Connection) -> None:
        connection.execute("UPDATE filled SET label = 'kept' WHERE day = '2026-01-03'")
        revisions.apply(BACKFILL.format(pause=0))
        counts = connection.execute(
            "SELECT label = 'kept' AS kept, times, count(*) FROM filled GROUP BY 1, 2"
        )
        assert {(row[0], row[1]) for row in counts} == {(True, 0), (False, 1)}

    def test_progress_is_logged(self, revisions: Revisions, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "honua_schema")
        revisions.apply(BACKFILL.format(pause=0))
        assert f"public.filled: {ROWS} rows filled" in caplog.messages

    def test_it_goes_on_after_a_kill(self, revisions: Revisions, connection: Connection) -> None:
        revisions.write(BACKFILL.format(pause=0.05))
        url = revisions.database.render_as_string()
        process = multiprocessing.get_context("spawn").Process(
            target=apply, args=(str(revisions.folder), url)
        )
        process.start()
        wait_until(connection, "SELECT count(*) >= 500 FROM filled WHERE label IS NOT NULL")
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        wait_until(connection, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'DO $backfill$%'")
        filled = one(connection, "SELECT count(*) FROM filled WHERE label IS NOT NULL")
        assert 500 <= filled < ROWS

        revisions.apply(BACKFILL.format(pause=0))

        assert one(connection, "SELECT count(*) FROM filled WHERE times = 1 AND label IS NOT NULL") == ROWS


ALL = (
    CREATE_INDEX,
    'online.drop_index("ix_customers_contact_email")',
    ADD_CONSTRAINT,
    'online.backfill("customers", "contact_name = \'x\'", where="contact_name IS NULL")',
    NOT_NULL,
)


def test_in_a_transaction_of_the_caller_all_is_done_at_once(revisions: Revisions) -> None:
    revisions.write(*ALL)
    engine = sqlalchemy.create_engine(revisions.database)
    with engine.connect() as connection, connection.begin():
        result = MigrationRunner(connection=connection, versions=revisions.folder).apply_migrations()
        assert result.success, result.errors
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('ix_try') IS NOT NULL").scalar()
        assert connection.exec_driver_sql("SELECT to_regclass('ix_customers_contact_email') IS NULL").scalar()
    engine.dispose()


def test_the_script_does_what_the_upgrade_does(
    revisions: Revisions,
    new_database: Callable[[], URL],
    dump_schema: Callable[[URL], str],
    programs: Path,
) -> None:
    revisions.apply(*ALL)
    script = revisions.runner().sql(start=revisions.previous)
    other = new_database()
    subprocess.run(
        [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", other.query["host"],
         "-U", other.username, "-d", other.database],
        input=script, text=True, check=True, capture_output=True,
    )  # fmt: skip
    assert dump_schema(other) == dump_schema(revisions.database)


def test_squawk_finds_nothing_to_warn_of(revisions: Revisions) -> None:
    revisions.write(*ALL)
    assert warnings(revisions.runner().sql(start=revisions.previous)) == set()


def test_squawk_warns_of_the_usual_forms(revisions: Revisions) -> None:
    revisions.write(
        'op.create_index("ix_try", "customers", ["contact_name"])',
        'op.create_check_constraint("ck_try", "customers", "contact_name <> \'\'")',
        'op.alter_column("customers", "contact_name", nullable=False)',
    )
    assert warnings(revisions.runner().sql(start=revisions.previous)) == {
        "require-concurrent-index-creation",
        "constraint-missing-not-valid",
        "adding-not-nullable-field",
    }


def apply(folder: str, url: str) -> None:
    """Upgrade in a process of its own."""
    result = MigrationRunner(url, versions=Path(folder)).apply_migrations()
    sys.exit(0 if result.success else str(result.errors))


def wait_until(connection: Connection, query: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not one(connection, query):
        assert time.monotonic() < deadline, query
        time.sleep(0.02)
