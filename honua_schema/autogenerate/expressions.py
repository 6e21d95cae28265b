"""SQL expressions of the models, as a revision writes them down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.expression import ColumnClause

if TYPE_CHECKING:
    from sqlalchemy import ClauseElement

# What text() takes for a parameter.
PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?!:))")


def new_dialect() -> PGDialect_psycopg:
    """Return a dialect that writes SQL as people do: that of a connection doubles each %."""
    return PGDialect_psycopg(paramstyle="named")  # type: ignore[no-untyped-call]


def write_down(expression: ClauseElement, *, is_index: bool = False, **_: Any) -> str:
    """Return an expression as text from which the revision makes the same expression.

    Args:
        expression: A default, the condition of a constraint, or what an index is on.
        is_index: Whether it is what an index is on: the revision has it in `literal_column`, which knows no
            parameters, and otherwise in `text`.
    """
    if isinstance(expression, TextClause) and not is_index:
        # What is reflected has colons that text() took for parameters: here they are none.
        return PARAMETER.sub(r"\\:", expression.text)
    if is_index and not isinstance(expression, ColumnClause):
        expression = expression.self_group()
    options = {"literal_binds": True, "include_table": False}
    sql = str(expression.compile(dialect=new_dialect(), compile_kwargs=options))
    return sql if is_index else PARAMETER.sub(r"\\:", sql)
