"""change_conversation_customer(): the messages of a conversation go with it, also those that come then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, wait_until_blocked
from builders import add_conversation, add_customer, add_manifest, add_message
from queries import value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

GIVE = "UPDATE conversations SET customer_id = %s WHERE id = %s"


def customers_of(connection: Connection, conversation: UUID) -> set[str | None]:
    query = "SELECT customer_id FROM conversation_messages WHERE conversation_id = %s"
    return set(values(connection, query, conversation))


def test_the_messages_of_a_conversation_go_with_it(connection: Connection) -> None:
    customer, other = add_customer(connection), add_customer(connection)
    moved, kept = (add_conversation(connection, customer) for _ in range(2))
    for conversation in (moved, kept, moved):
        add_message(connection, conversation)
    version = "SELECT xmin::text FROM conversation_messages WHERE conversation_id = %s"
    before = value(connection, version, kept)

    connection.execute(GIVE, [other, moved])

    assert customers_of(connection, moved) == {other}
    assert customers_of(connection, kept) == {customer}
    assert value(connection, version, kept) == before


def test_messages_belong_to_the_customer_once_one_is_known_and_to_nobody_when_it_is_gone(
    connection: Connection,
) -> None:
    conversation = value(connection, "INSERT INTO conversations (session_id) VALUES ('s') RETURNING id")
    add_message(connection, conversation)
    customer = add_customer(connection)

    connection.execute(GIVE, [customer, conversation])
    assert customers_of(connection, conversation) == {customer}

    connection.execute("DELETE FROM customers WHERE customer_id = %s", [customer])
    assert customers_of(connection, conversation) == {None}


def test_messages_go_along_when_the_conversation_follows_its_manifest(connection: Connection) -> None:
    customer, other = add_customer(connection), add_customer(connection)
    manifest = add_manifest(connection, customer)
    conversation = add_conversation(connection, customer, build_manifest_id=manifest)
    add_message(connection, conversation)

    connection.execute("UPDATE build_manifests SET customer_id = %s", [other])

    assert customers_of(connection, conversation) == {other}


def test_an_update_that_leaves_the_customer_writes_no_message(connection: Connection) -> None:
    customer = add_customer(connection)
    conversation = add_conversation(connection, customer)
    add_message(connection, conversation)
    before = value(connection, "SELECT xmin::text FROM conversation_messages")

    connection.execute(GIVE, [customer, conversation])
    connection.execute("UPDATE conversations SET status = 'completed', completed_at = now()")

    assert value(connection, "SELECT xmin::text FROM conversation_messages") == before


def test_who_moves_a_message_writes_no_other(connection: Connection) -> None:
    conversation = add_conversation(connection)
    kept = add_message(connection, conversation)
    before = value(connection, "SELECT xmin::text FROM conversation_messages")

    moved = add_message(connection)
    connection.execute(
        "UPDATE conversation_messages SET conversation_id = %s, sequence_number = 9 WHERE id = %s",
        [conversation, moved],
    )

    query = "SELECT xmin::text FROM conversation_messages WHERE id = %s"
    assert value(connection, query, kept) == before
    assert len(customers_of(connection, conversation)) == 1


def test_a_message_that_is_being_written_as_its_conversation_changes_hands_goes_with_it(
    connection: Connection, connect: Connect
) -> None:
    conversation, other = add_conversation(connection), add_customer(connection)
    writing = connect(autocommit=False)
    add_message(writing, conversation)

    with ThreadPoolExecutor() as threads:
        change = threads.submit(connection.execute, GIVE, [other, conversation])
        wait_until_blocked(Queue(writing))
        writing.commit()
        change.result()

    assert customers_of(connection, conversation) == {other}


@pytest.mark.parametrize("new", ["another", "nobody"])
@pytest.mark.parametrize("how", ["written", "moved"])
def test_a_message_that_comes_while_its_conversation_changes_hands_finds_its_new_customer(
    connection: Connection, connect: Connect, new: str, how: str
) -> None:
    conversation = add_conversation(connection)
    version = "SELECT xmin::text FROM conversation_messages WHERE id = %s"
    earlier = add_message(connection, conversation)
    elsewhere, untouched = (add_message(connection) for _ in range(2))
    before = value(connection, version, untouched)
    other = add_customer(connection) if new == "another" else None
    changing = connect(autocommit=False)
    changing.execute(GIVE, [other, conversation])
    changed = value(changing, version, earlier)

    def write() -> None:
        if how == "written":
            add_message(connection, conversation)
        else:
            connection.execute(
                "UPDATE conversation_messages SET conversation_id = %s, sequence_number = 2 WHERE id = %s",
                [conversation, elsewhere],
            )

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(write)
        wait_until_blocked(Queue(changing))
        changing.commit()
        writing.result()

    assert customers_of(connection, conversation) == {other}
    count = "SELECT count(*) FROM conversation_messages WHERE conversation_id = %s"
    assert value(connection, count, conversation) == 2
    assert value(connection, version, earlier) == changed
    assert value(connection, version, untouched) == before


def test_a_transaction_that_can_not_see_the_new_customer_has_to_be_repeated(
    connection: Connection, connect: Connect
) -> None:
    conversation, other = add_conversation(connection), add_customer(connection)
    writing = connect(autocommit=False)
    writing.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    writing.execute("SELECT")
    connection.execute(GIVE, [other, conversation])

    with pytest.raises(psycopg.errors.SerializationFailure):
        add_message(writing, conversation)
