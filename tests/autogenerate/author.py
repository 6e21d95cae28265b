"""Run by tests in a copy of the project: generate a revision, apply it, check, perhaps revert it."""

from __future__ import annotations

import sys

from alembic import command
from alembic.config import Config

if __name__ == "__main__":
    message, *options = sys.argv[1:]
    config = Config("alembic.ini", stdout=sys.stdout)
    command.revision(config, message, autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)
    if "--revert" in options:
        command.downgrade(config, "-1")
