"""Revisions to try the runner on: smaller than the real ones, and able to fail, wait or do odd things."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FIRST_UPGRADE = """
    op.create_table(
        "schema_migrations",
        sa.Column("version", sa.String(50), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("applied_by", sa.String(100), server_default=sa.text("CURRENT_USER"), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("execution_time_ms", sa.Integer, nullable=False),
    )
    op.create_table("customers", sa.Column("id", sa.Integer))
"""
FIRST_DOWNGRADE = """
    op.drop_table("customers")
    op.drop_table("schema_migrations")
"""
FILE = '''
"""A revision to try the runner on."""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = None
depends_on = None


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''


class Revisions:
    """A folder of revisions; the first one creates schema_migrations and customers.

    Args:
        folder: Where to write them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self.add("initial_schema", FIRST_UPGRADE, FIRST_DOWNGRADE)

    def add(self, name: str, upgrade: str = "pass", downgrade: str = "pass") -> Path:
        """Write the next revision, given the Python code of its two functions, and return its file."""
        self._count += 1
        revision = f"{self._count:03}"
        file = self.folder / f"{revision}_{name}.py"
        text = FILE.format(
            revision=revision,
            down_revision=f"{self._count - 1:03}" if self._count > 1 else None,
            upgrade=indent(dedent(upgrade).strip(), "    "),
            downgrade=indent(dedent(downgrade).strip(), "    "),
        )
        file.write_text(text.lstrip())
        return file

    def add_table(self, name: str) -> Path:
        """Write a revision that creates one table."""
        return self.add(
            name, f'op.create_table("{name}", sa.Column("id", sa.Integer))', f'op.drop_table("{name}")'
        )


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """Revisions 001 to 003; tests add their own."""
    revisions = Revisions(tmp_path)
    revisions.add_table("second")
    revisions.add_table("third")
    return revisions
