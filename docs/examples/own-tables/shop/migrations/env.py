"""Upgrades the shop's tables; those of honua-schema, which they refer to, are installed first if need be."""

from __future__ import annotations

import os
import subprocess
import sys
from logging.config import fileConfig
from typing import Any

from alembic import context
from sqlalchemy import text

from honua_schema import MigrationRunner
from honua_schema.database import create_engine, resolve_url
from shop.models import SCHEMA, Base


def include_name(name: str | None, type_: str, _: Any) -> bool:
    """Compare the shop's own PostgreSQL schema, and no other."""
    return type_ != "schema" or name == SCHEMA


def run() -> None:
    """Run the Alembic command under way."""
    url = resolve_url(context.get_x_argument(as_dictionary=True).get("url"))
    runner = MigrationRunner(url)
    # Not whether anything is there: another replica may have come half the way.
    if not runner.is_migration_applied(runner.get_available_migrations()[-1].version):
        # In a process of its own: two commands of Alembic don't run within each other.
        install = [sys.executable, "-m", "honua_schema", "upgrade", "--yes"]
        subprocess.run(install, env=os.environ | {"DATABASE_URL": url.render_as_string(False)}, check=True)
    with create_engine(url).begin() as connection:
        # Replicas that start together upgrade one after the other.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('shop.alembic_version'))"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_name=include_name,
        )
        context.run_migrations()


if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
run()
