"""The declarations and the revisions lead to the same schema, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy

import honua_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from tests.conftest import NewDatabase


def test_declarations_and_revisions_make_the_same_schema(
    new_database: NewDatabase, dump_schema: Callable[[URL], str]
) -> None:
    upgraded, declared = new_database(), new_database(empty=True)
    engine = sqlalchemy.create_engine(declared)
    with engine.begin() as connection:
        honua_schema.create_all(connection)
    engine.dispose()
    assert dump_schema(declared) == dump_schema(upgraded)
