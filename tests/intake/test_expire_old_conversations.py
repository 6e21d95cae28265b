"""expire_old_conversations(): active conversations that fell silent are abandoned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_conversation, add_message
from queries import row, rows, value

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

NOW = datetime.now(UTC)


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def expire(connection: Connection, *hours: int | None) -> list[Any]:
    placeholder = "%s" if hours else ""
    return rows(connection, f"SELECT * FROM expire_old_conversations({placeholder})", *hours)


def test_a_conversation_silent_for_a_day_is_abandoned_once(connection: Connection) -> None:
    conversation = add_conversation(connection, customer_email="maps@example.com", started_at=hours_ago(48))
    add_message(connection, conversation, created_at=hours_ago(25))

    (expired,) = expire(connection)

    assert (expired.conversation_id, expired.customer_email) == (conversation, "maps@example.com")
    now = row(connection, "SELECT status, abandoned_at, updated_at FROM conversations")
    assert now == ("abandoned", expired.abandoned_at, expired.abandoned_at)
    assert expire(connection) == []


def test_one_without_messages_counts_from_its_start(connection: Connection) -> None:
    old = add_conversation(connection, started_at=hours_ago(25))
    add_conversation(connection, started_at=hours_ago(23))

    assert [each.conversation_id for each in expire(connection)] == [old]


def test_a_recent_message_keeps_it_active(connection: Connection) -> None:
    conversation = add_conversation(connection, started_at=hours_ago(48))
    add_message(connection, conversation, created_at=hours_ago(23))

    assert expire(connection) == []


def test_none_was_silent_before_it_began(connection: Connection) -> None:
    conversation = add_conversation(connection, started_at=hours_ago(23))
    add_message(connection, conversation, created_at=hours_ago(48))

    assert expire(connection) == []


@pytest.mark.parametrize("status", ["completed", "abandoned", "error"])
def test_one_that_has_ended_stays_as_it_is(connection: Connection, status: str) -> None:
    add_conversation(connection, status=status, started_at=hours_ago(48))

    assert expire(connection) == []
    assert row(connection, "SELECT status, abandoned_at FROM conversations") == (status, None)


def test_the_hours_can_be_chosen(connection: Connection) -> None:
    add_conversation(connection, started_at=hours_ago(2.5))

    assert [len(expire(connection, hours)) for hours in (3, 2)] == [0, 1]


def test_one_that_is_getting_a_message_is_not_waited_for(connection: Connection, connect: Connect) -> None:
    conversation = add_conversation(connection, started_at=hours_ago(48))
    talking = connect(autocommit=False)
    add_message(talking, conversation)
    connection.execute("SET lock_timeout = '1s'")

    assert expire(connection) == []
    talking.commit()
    assert expire(connection) == []
    assert value(connection, "SELECT status FROM conversations") == "active"


@pytest.mark.parametrize("hours", [None, 0, -1, 876001])
def test_hours_that_make_no_sense_are_refused(connection: Connection, hours: int | None) -> None:
    add_conversation(connection, started_at=hours_ago(48))

    with pytest.raises(errors.InvalidParameterValue) as refusal:
        expire(connection, hours)

    shown = "NULL" if hours is None else hours
    assert refusal.value.diag.message_primary == f"p_inactive_hours must be between 1 and 876000, not {shown}"
    assert refusal.value.diag.message_hint
    assert value(connection, "SELECT status FROM conversations") == "active"
