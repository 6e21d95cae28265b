"""update_conversation_stats(): a conversation's totals equal a recount of its messages, always."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from build_queue.driver import at_once
from builders import add_conversation, add_message
from queries import row, rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

RECOUNT = """
    SELECT
        c.id,
        (c.total_messages, c.total_tokens_used) IS NOT DISTINCT FROM (
            count(m.id)::integer,
            coalesce(sum(coalesce(m.total_tokens, 0)), 0)
            + coalesce(sum(m.prompt_tokens) FILTER (WHERE m.total_tokens IS NULL), 0)
            + coalesce(sum(m.completion_tokens) FILTER (WHERE m.total_tokens IS NULL), 0)
        ) AS exact
    FROM conversations AS c
    LEFT JOIN conversation_messages AS m ON m.conversation_id = c.id
    GROUP BY c.id
"""


def totals(connection: Connection, conversation: UUID) -> tuple[int, int]:
    found = row(connection, "SELECT * FROM conversations WHERE id = %s", conversation)
    return found.total_messages, found.total_tokens_used


def assert_exact(connection: Connection) -> None:
    """The totals of all conversations equal a recount."""
    assert [each for each in rows(connection, RECOUNT) if not each.exact] == []


@pytest.mark.parametrize(
    ("tokens", "counted"),
    [
        ({"total_tokens": 7}, 7),
        ({"prompt_tokens": 3, "completion_tokens": 4}, 7),
        ({"total_tokens": 7, "prompt_tokens": 1, "completion_tokens": 1}, 7),
        ({"total_tokens": 0, "prompt_tokens": 1}, 0),
        ({"completion_tokens": 4}, 4),
        ({}, 0),
        ({"prompt_tokens": 2**31 - 1, "completion_tokens": 2**31 - 1}, 2**32 - 2),
    ],
)
def test_a_message_counts_with_its_tokens(
    connection: Connection, tokens: dict[str, int], counted: int
) -> None:
    conversation = add_conversation(connection)

    add_message(connection, conversation, **tokens)

    assert totals(connection, conversation) == (1, counted)


def test_the_latest_message_gives_the_time(connection: Connection) -> None:
    conversation = add_conversation(connection)
    now = datetime.now(UTC)
    for hours in (2, 1, 3):
        add_message(connection, conversation, created_at=now - timedelta(hours=hours))

    assert value(connection, "SELECT last_message_at FROM conversations") == now - timedelta(hours=1)


def test_a_batch_counts_like_single_messages(connection: Connection) -> None:
    for _ in range(5):
        add_conversation(connection)

    connection.execute("""
        INSERT INTO conversation_messages (conversation_id, sequence_number, role, content, total_tokens)
        SELECT c.id, n, 'user', 'text', n FROM conversations AS c, generate_series(1, 100) AS n
    """)

    assert rows(connection, "SELECT DISTINCT total_messages, total_tokens_used FROM conversations") == [
        (100, 5050)
    ]
    assert_exact(connection)


def test_copied_messages_count(connection: Connection) -> None:
    conversation = add_conversation(connection)

    with connection.cursor().copy(
        "COPY conversation_messages (conversation_id, sequence_number, role, content, total_tokens)"
        " FROM STDIN"
    ) as copy:
        for number in range(500):
            copy.write_row((conversation, number, "user", "text", 2))

    assert totals(connection, conversation) == (500, 1000)


def test_deleted_messages_no_longer_count(connection: Connection) -> None:
    conversation = add_conversation(connection)
    for tokens in (10, 20, 30):
        add_message(connection, conversation, total_tokens=tokens)
    last_message_at = value(connection, "SELECT last_message_at FROM conversations")

    connection.execute("DELETE FROM conversation_messages WHERE total_tokens > 10")

    assert totals(connection, conversation) == (1, 10)
    assert value(connection, "SELECT last_message_at FROM conversations") == last_message_at


def test_changed_tokens_change_the_total(connection: Connection) -> None:
    conversation = add_conversation(connection)
    add_message(connection, conversation, prompt_tokens=5)
    add_message(connection, conversation)

    connection.execute("UPDATE conversation_messages SET completion_tokens = 2")
    assert totals(connection, conversation) == (2, 9)
    connection.execute("UPDATE conversation_messages SET total_tokens = 1")
    assert totals(connection, conversation) == (2, 2)


def test_a_message_moved_to_another_conversation_counts_there(connection: Connection) -> None:
    source, target = add_conversation(connection), add_conversation(connection)
    message = add_message(connection, source, total_tokens=5)

    connection.execute(
        "UPDATE conversation_messages SET conversation_id = %s WHERE id = %s", [target, message]
    )

    assert totals(connection, source) == (0, 0)
    assert totals(connection, target) == (1, 5)


def test_a_message_that_is_moved_or_gets_a_later_time_is_the_last_one(connection: Connection) -> None:
    source, target = add_conversation(connection), add_conversation(connection)
    now = datetime.now(UTC)
    message = add_message(connection, source, created_at=now)

    def last_message_at() -> datetime:
        time: datetime = value(connection, "SELECT last_message_at FROM conversations WHERE id = %s", target)
        return time

    connection.execute(
        "UPDATE conversation_messages SET conversation_id = %s WHERE id = %s", [target, message]
    )
    assert last_message_at() == now
    for hours in (1, -1):
        connection.execute("UPDATE conversation_messages SET created_at = %s", [now + timedelta(hours=hours)])
        assert last_message_at() == now + timedelta(hours=1)


def test_an_update_that_changes_no_total_writes_nothing(connection: Connection) -> None:
    add_message(connection, total_tokens=5)
    before = value(connection, "SELECT xmin::text FROM conversations")

    connection.execute("UPDATE conversation_messages SET content = 'other', prompt_tokens = 3")
    connection.execute("DELETE FROM conversation_messages WHERE content = 'no such message'")

    assert value(connection, "SELECT xmin::text FROM conversations") == before


def test_a_conversation_can_be_deleted_with_its_messages(connection: Connection) -> None:
    kept = add_conversation(connection)
    for conversation in (kept, add_conversation(connection)):
        add_message(connection, conversation, total_tokens=1)

    connection.execute("DELETE FROM conversations WHERE id <> %s", [kept])

    assert values(connection, "SELECT conversation_id FROM conversation_messages") == [kept]
    assert totals(connection, kept) == (1, 1)


def test_sixteen_clients_at_once_are_all_counted(connection: Connection, connect: Connect) -> None:
    conversations = [add_conversation(connection) for _ in range(4)]
    connections = [connect() for _ in range(16)]

    def talk(number: int) -> None:
        own = conversations[number % 4 :] + conversations[: number % 4]
        for step in range(5):
            connections[number].execute(
                "INSERT INTO conversation_messages"
                " (conversation_id, sequence_number, role, content, total_tokens)"
                " SELECT c, %s, 'user', 'text', 3 FROM unnest(%s::uuid[]) AS c",
                [number * 100 + step, own],
            )
            connections[number].execute(
                "UPDATE conversation_messages SET total_tokens = 4 WHERE sequence_number = %s",
                [number * 100 + step],
            )
        connections[number].execute(
            "DELETE FROM conversation_messages WHERE sequence_number = %s", [number * 100]
        )

    at_once(16, talk)

    assert {totals(connection, conversation) for conversation in conversations} == {(64, 256)}
    assert_exact(connection)
