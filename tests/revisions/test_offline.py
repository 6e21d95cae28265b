"""`alembic upgrade head --sql` writes a script that does what `alembic upgrade head` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.rows import namedtuple_row

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from sqlalchemy import URL

    DumpSchema = Callable[[URL], str]
    Connect = Callable[..., psycopg.Connection[Any]]

PROJECT = Path(__file__).parents[2]


def alembic(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=PROJECT, capture_output=True, text=True, check=check,
    )  # fmt: skip


def run_script(script: str, database: URL, programs: Path) -> None:
    subprocess.run(
        [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", database.query["host"],
         "-U", database.username, "-d", database.database],
        input=script, text=True, check=True, capture_output=True,
    )  # fmt: skip


def history(connection: psycopg.Connection[Any]) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(
            "SELECT version, name, checksum, applied_by FROM schema_migrations ORDER BY version"
        ).fetchall()


def test_the_script_makes_what_the_upgrade_makes(
    new_database: Callable[..., URL], connect: Connect, dump_schema: DumpSchema, programs: Path
) -> None:
    online, offline = new_database(), new_database(empty=True)
    run_script(alembic("upgrade", "head", "--sql").stdout, offline, programs)
    assert dump_schema(offline) == dump_schema(online)
    assert history(connect(offline)) == history(connect(online))


def test_the_script_for_the_way_back_leaves_nothing(
    new_database: Callable[..., URL], connect: Connect, programs: Path
) -> None:
    database = new_database()
    head = connect(database).execute("SELECT version_num FROM alembic_version").fetchone()
    assert head is not None
    run_script(alembic("downgrade", f"{head[0]}:base", "--sql").stdout, database, programs)
    left = connect(database).execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert left == [("alembic_version",)]


def test_colons_and_percent_signs_reach_the_script_verbatim() -> None:
    script = alembic("upgrade", "head", "--sql").stdout
    assert """'{"ai_intake": true, "sla_guarantee": false""" in script
    assert "quota of % builds" in script
    assert "'%%s'" not in script
