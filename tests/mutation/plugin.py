"""A pytest plugin that damages the databases under test, for mutate.py.

The environment says how. HONUA_MUTATION is SQL that the template of all databases gets after its upgrade.
With HONUA_MUTATION_EACH, a test with a parameter `name` runs without the constraint or index of this name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

DROP = """
    DO $$
    BEGIN
        IF EXISTS (SELECT FROM pg_constraint AS c WHERE c.conname = '{0}') THEN
            EXECUTE (
                SELECT format('ALTER TABLE %s DROP CONSTRAINT {0} CASCADE', c.conrelid::regclass)
                FROM pg_constraint AS c
                WHERE c.conname = '{0}' AND c.conparentid = 0 AND c.coninhcount = 0
            );
        ELSE
            EXECUTE 'DROP INDEX {0}';
        END IF;
    END;
    $$
"""


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Damage the template once it is there, or one test's database."""
    made = yield
    mutation = os.environ.get("HONUA_MUTATION")
    if mutation and fixturedef.argname == "postgresql_noproc":
        with psycopg.connect(
            host=made.host, port=made.port, user=made.user, dbname=made.template_dbname, autocommit=True
        ) as connection:
            connection.execute(mutation.encode())
    if "HONUA_MUTATION_EACH" in os.environ and fixturedef.argname == "connection":
        parameters = getattr(request.node, "callspec", None)
        if parameters and "name" in parameters.params:
            made.execute(DROP.format(parameters.params["name"]).encode())
    return made
