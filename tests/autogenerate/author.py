"""Run by tests in a copy of the project: generate a revision, apply it, verify, perhaps revert it."""

from __future__ import annotations

import sys

from alembic import command
from alembic.config import Config

from honua_schema import MigrationRunner

if __name__ == "__main__":
    message, *options = sys.argv[1:]
    config = Config("alembic.ini", stdout=sys.stdout)
    command.revision(config, message, autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)
    differences = MigrationRunner().get_differences()
    if differences:
        sys.exit("\n".join(map(str, differences)))
    if "--revert" in options:
        command.downgrade(config, "-1")
