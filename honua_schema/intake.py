"""Conversations of the AI intake.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from honua_schema.calls import Call, SqlFunction, records

if TYPE_CHECKING:
    import datetime
    import uuid


@dataclass(frozen=True)
class AbandonedConversation:
    """A conversation that was set to abandoned.

    Attributes:
        conversation_id: The conversation.
        customer_email: Whom to write to.
        abandoned_at: When it was set.
    """

    conversation_id: uuid.UUID
    customer_email: str | None
    abandoned_at: datetime.datetime


@SqlFunction
def expire_old_conversations(
    inactive_hours: int = 24, limit: int | None = None
) -> Call[list[AbandonedConversation]]:
    """Set active conversations in which nobody says anything any more to abandoned.

    Args:
        inactive_hours: For how many hours a conversation may be silent.
        limit: How many conversations at most; all if None.
    """
    return records(
        "expire_old_conversations", AbandonedConversation, inactive_hours=inactive_hours, limit=limit
    )
