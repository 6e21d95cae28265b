"""Alembic runs this file for each command; everything it does is in `honua_schema.environment`."""

from __future__ import annotations

from logging.config import fileConfig

from alembic import context

from honua_schema import environment

if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

environment.run()
