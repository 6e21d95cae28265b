"""Each revision goes up, down and up again, and leaves exactly what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection

    DumpSchema = Callable[[URL], str]


def configuration(**attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", "honua_schema:")
    config.attributes.update(attributes)
    return config


REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory.from_config(configuration()).walk_revisions()))
]


@pytest.fixture
def config(empty_database: URL) -> Iterator[Config]:
    engine = create_engine(empty_database)
    yield configuration(connection=engine)
    engine.dispose()


def test_the_revisions_are_numbered_without_gaps() -> None:
    assert [f"{number:03}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_leaves_what_it_found_when_taken_back(
    config: Config, empty_database: URL, dump_schema: DumpSchema, revision: str
) -> None:
    before = REVISIONS[REVISIONS.index(revision) - 1] if revision != REVISIONS[0] else "base"
    command.upgrade(config, before)
    at_start = dump_schema(empty_database)
    command.upgrade(config, revision)
    first_time = dump_schema(empty_database)
    command.downgrade(config, before)
    at_end = dump_schema(empty_database)
    command.upgrade(config, revision)
    second_time = dump_schema(empty_database)

    assert first_time == second_time
    if before != "base":
        assert at_start == at_end
        assert at_start != first_time


def tables(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' ORDER BY 1"
    )
    return [row[0] for row in rows]


def test_nothing_is_left_after_the_way_back_to_base(config: Config, empty_database: URL) -> None:
    engine = create_engine(empty_database)
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    with engine.connect() as connection:
        assert tables(connection) == ["public.alembic_version", "public.alembic_version_pkc"]
        left = connection.exec_driver_sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'"
            " UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'honua_partitions'"
            " UNION ALL SELECT version_num FROM alembic_version"
        ).all()
        assert left == []
    engine.dispose()


def test_nothing_is_left_whatever_the_data(config: Config, empty_database: URL) -> None:
    engine = create_engine(empty_database)
    command.upgrade(config, "head")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO customers (customer_id, organization_name, contact_email) VALUES ('c', 'o', 'e')"
        )
        connection.exec_driver_sql(
            "INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)"
            " VALUES ('c', '/m', 'h', '{}')"
        )
        connection.exec_driver_sql("SELECT * FROM get_next_build_for_worker('w', 'h')")
        connection.exec_driver_sql(
            "INSERT INTO build_events (build_queue_id, event_type) SELECT id, 'started' FROM build_queue"
        )
        connection.exec_driver_sql("SELECT * FROM ensure_log_partitions(2)")
    command.downgrade(config, "base")
    with engine.connect() as connection:
        assert tables(connection) == ["public.alembic_version", "public.alembic_version_pkc"]
    engine.dispose()


@pytest.mark.parametrize("before_head", [revision for revision in REVISIONS if revision < "007"])
def test_nobody_but_the_owner_calls_a_function_while_there_are_no_roles(
    config: Config, empty_database: URL, before_head: str
) -> None:
    callable_by_all = (
        "SELECT p.proname FROM pg_proc AS p"
        " CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS item"
        " WHERE p.pronamespace = 'public'::regnamespace AND item.grantee = 0 AND NOT EXISTS"
        " (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')"
    )
    engine = create_engine(empty_database)
    command.upgrade(config, before_head)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(callable_by_all).all() == []
    command.upgrade(config, "head")
    command.downgrade(config, before_head)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(callable_by_all).all() == []
    engine.dispose()


def test_what_others_have_put_beside_the_partitions_stays(config: Config, empty_database: URL) -> None:
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA honua_partitions")
        connection.exec_driver_sql("CREATE TABLE honua_partitions.notes AS SELECT 'kept' AS note")
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT note FROM honua_partitions.notes").all() == [("kept",)]
    engine.dispose()


def test_the_extensions_that_were_there_before_stay(config: Config, empty_database: URL) -> None:
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        offered = connection.exec_driver_sql(
            "SELECT name FROM pg_available_extensions WHERE name IN ('pgcrypto', 'uuid-ossp') ORDER BY name"
        ).all()
        for (name,) in offered:
            connection.exec_driver_sql(f'CREATE EXTENSION "{name}"')
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    with engine.connect() as connection:
        installed = connection.exec_driver_sql(
            "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname"
        ).all()
        assert installed == offered
    engine.dispose()
