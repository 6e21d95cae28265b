"""The comparison of a database with the declarations: what it tells, needs and leaves alone."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy import text

from honua_schema.autogenerate import Difference, compare, comparison, shadow
from honua_schema.errors import SchemaError
from honua_schema.sqlfile import SqlObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg
    from sqlalchemy import URL, Engine

    from tests.conftest import NewDatabase

    Connection = psycopg.Connection[Any]

LOCKS = """
    SELECT DISTINCT l.mode
    FROM pg_locks AS l
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'honua_partitions') AND l.pid = pg_backend_pid()
"""


def drift(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [str(difference) for difference in compare(connection).differences]


def test_nothing_is_left_behind(engine: Engine, database: URL, dump_schema: Callable[[URL], str]) -> None:
    before = dump_schema(database)
    with engine.connect() as connection:
        compare(connection)
        assert not connection.in_transaction()
        assert connection.scalar(text("SHOW search_path")) == '"$user", public'
    assert dump_schema(database) == before


def test_a_transaction_of_the_caller_goes_on(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("CREATE TABLE extra (id integer)"))
        assert [str(each) for each in compare(connection).differences] == ["table extra is not declared"]
        assert transaction.is_active
        assert connection.scalar(text("SELECT count(*) FROM extra")) == 0


def test_nobody_waits_for_it(engine: Engine) -> None:
    with engine.connect() as connection, shadow.made(connection) as schemas:
        comparison.compare_with(connection, schemas)
        assert set(connection.scalars(text(LOCKS))) <= {"AccessShareLock"}
        connection.rollback()


def test_it_does_not_wait_for_long(
    engine: Engine, connect: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "LIMIT_WAITING", text("SET LOCAL lock_timeout = '100ms'"))
    with connect(autocommit=False) as other:
        other.execute("LOCK TABLE active_builds IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="lock timeout"):
            drift(engine)
    assert drift(engine) == []


def test_a_role_that_may_not_create_schemas_is_told_what_it_needs(
    connection: Connection, database: URL, server_version: int
) -> None:
    connection.execute("CREATE ROLE looker LOGIN")
    connection.execute("CREATE ROLE keeper LOGIN")
    try:
        connection.execute(f'GRANT CREATE ON DATABASE "{database.database}" TO keeper')
        looker, keeper = (
            sqlalchemy.create_engine(database.set(username=name)) for name in ("looker", "keeper")
        )
        with pytest.raises(SchemaError, match=f'GRANT CREATE ON DATABASE "{database.database}" TO "looker"'):
            drift(looker)
        assert drift(keeper) == []
        looker.dispose()
        keeper.dispose()
    finally:
        connection.execute("DROP OWNED BY looker, keeper")
        connection.execute("DROP ROLE looker, keeper")


def test_autocommit_is_refused(engine: Engine) -> None:
    with (
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
        pytest.raises(SchemaError, match="nothing is rolled back"),
    ):
        compare(connection)


def test_a_restored_dump_has_no_drift(
    engine: Engine, database: URL, new_database: NewDatabase, programs: Path
) -> None:
    # PostgreSQL spells some expressions otherwise once it has read what it wrote.
    for _ in range(2):
        restored = new_database(empty=True)
        where = ["-h", str(database.query["host"]), "-U", str(database.username)]
        dump = subprocess.run(
            [programs / "pg_dump", *where, str(database.database)], capture_output=True, check=True
        )
        subprocess.run(
            [programs / "psql", "-X", "-q", *where, str(restored.database)],
            input=dump.stdout, capture_output=True, check=True,
        )  # fmt: skip
        database = restored
        restored_engine = sqlalchemy.create_engine(restored)
        assert drift(restored_engine) == []
        restored_engine.dispose()


def test_monthly_partitions_are_no_drift(engine: Engine, connection: Connection) -> None:
    connection.execute("SELECT ensure_log_partitions(14)")
    assert drift(engine) == []


def test_default_privileges_of_the_role_change_nothing(engine: Engine, connection: Connection) -> None:
    connection.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    connection.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    assert drift(engine) == []


def test_another_owner_of_everything_is_no_drift(connection: Connection, engine: Engine) -> None:
    connection.execute("CREATE ROLE keeper")
    try:
        connection.execute(
            """
            DO $$
            DECLARE
                v_statement text;
            BEGIN
                FOR v_statement IN
                    SELECT format('ALTER TABLE %s OWNER TO keeper', c.oid::regclass)
                    FROM pg_class AS c
                    WHERE c.relnamespace IN ('public'::regnamespace, 'honua_partitions'::regnamespace)
                      AND c.relkind IN ('r', 'p', 'v', 'S')
                      -- A sequence that numbers rows follows its table.
                      AND NOT EXISTS (
                        SELECT FROM pg_depend AS d
                        WHERE c.relkind = 'S' AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                      )
                    UNION ALL
                    SELECT format('ALTER FUNCTION %s OWNER TO keeper', p.oid::regprocedure)
                    FROM pg_proc AS p
                    WHERE p.pronamespace = 'public'::regnamespace AND p.prolang <> 13
                    UNION ALL
                    SELECT format('ALTER DOMAIN %s OWNER TO keeper', t.oid::regtype)
                    FROM pg_type AS t
                    WHERE t.typnamespace = 'public'::regnamespace AND t.typtype = 'd'
                LOOP
                    EXECUTE v_statement;
                END LOOP;
                ALTER SCHEMA honua_partitions OWNER TO keeper;
            END;
            $$
            """
        )
        assert drift(engine) == []
    finally:
        connection.execute("REASSIGN OWNED BY keeper TO CURRENT_USER")
        connection.execute("DROP OWNED BY keeper")
        connection.execute("DROP ROLE keeper")


@pytest.mark.parametrize("is_in_a_file", [True, False])
def test_a_declaration_that_postgresql_refuses_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, *, is_in_a_file: bool
) -> None:
    wrong = "CREATE OR REPLACE VIEW wrong AS SELECT b.nothing FROM build_queue AS b"
    statements = (*shadow.declared_statements(), wrong)
    monkeypatch.setattr(shadow, "declared_statements", lambda: statements)
    if is_in_a_file:
        file = SqlObject("view", "wrong", None, "core", wrong, ())
        monkeypatch.setattr(shadow.sqlfile, "load_objects", lambda: [file])
    name = "sql/core/wrong.sql" if is_in_a_file else wrong
    with pytest.raises(SchemaError, match=f"PostgreSQL refuses {name}: column b.nothing does not exist"):
        drift(engine)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (("table", None, "t", "existence", "", None), "table t is missing"),
        (("index", "t", "i", "existence", None, "x"), "index t.i is not declared"),
        (("column", "t", "c", "null", "NOT NULL", "NULL"), "column t.c: null is NULL, declared is NOT NULL"),
        (("column", "t", "c", "default", "5", None), "column t.c: default is nothing, declared is 5"),
        (
            ("view", None, "v", "comment", "a" * 40, "b" * 40),
            f"view v: comment\n    declared: {'a' * 40}\n    found:    {'b' * 40}",
        ),
        (
            ("function", None, "f()", "body", "one\ntwo\nthree", "one\n2\nthree"),
            "\n    ".join(
                (
                    "function f(): body is not as declared",
                    "--- declared",
                    "+++ found",
                    "@@ -1,3 +1,3 @@",
                    " one",
                    "-two",
                    "+2",
                    " three",
                )
            ),
        ),
    ],
)
def test_a_difference_in_words(difference: tuple[Any, ...], words: str) -> None:
    assert str(Difference(*difference)) == words
