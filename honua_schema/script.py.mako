<%
    title = message[:1].upper() + message[1:].rstrip(".")
    body = f"{upgrades or ''} {downgrades or ''}"
%>\
"""${title}.

- Locks: ${locks}
- Online: ${online}
- Data: ${data}

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from __future__ import annotations

% if by_hand or "sa." in body:
import sqlalchemy as sa
% endif
% if by_hand or "op." in body:
from alembic import op
% endif
% if imports:
${imports}
% endif
% if by_hand or "sqlfile." in body:

from honua_schema import sqlfile
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """${title}."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take it back."""
    ${downgrades if downgrades else "pass"}
