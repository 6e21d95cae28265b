"""${message}

Before this revision is merged, check:

- Locks: which does each statement take, and who waits behind it? Adding a column without a volatile default, and a
  constraint as NOT VALID, is quick; validating it later lets writers go on.
- Online: does the application of the previous release still work once this is applied? Build an index on a table in
  use with CREATE INDEX CONCURRENTLY, in an autocommit_block, in a revision of its own.
- Data: does upgrade() or downgrade() lose any? Say so here.
- SQL objects: frozen copies below sql/${up_revision}/, run with sqlfile, never with op.execute("...").

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from honua_schema import sqlfile
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
