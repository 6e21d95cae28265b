"""take_conversation_customer() gives a message the customer of its conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from builders import add_conversation, add_customer, add_message
from queries import rows, value

if TYPE_CHECKING:
    Connection = psycopg.Connection[Any]


def customer_of(connection: Connection, message: int) -> Any:
    return value(connection, "SELECT customer_id FROM conversation_messages WHERE id = %s", message)


def test_a_message_belongs_to_the_customer_of_its_conversation(connection: Connection) -> None:
    customer = add_customer(connection)
    message = add_message(connection, add_conversation(connection, customer))
    assert customer_of(connection, message) == customer


@pytest.mark.parametrize("given", ["system", "nobody", "", None])
def test_what_the_caller_says_of_the_customer_does_not_count(
    connection: Connection, given: str | None
) -> None:
    customer = add_customer(connection)
    message = add_message(connection, add_conversation(connection, customer), customer_id=given)
    assert customer_of(connection, message) == customer

    connection.execute("UPDATE conversation_messages SET customer_id = %s", [given])
    assert customer_of(connection, message) == customer


def test_as_long_as_no_customer_is_known_a_message_belongs_to_nobody(connection: Connection) -> None:
    conversation = value(connection, "INSERT INTO conversations (session_id) VALUES ('s') RETURNING id")
    message = add_message(connection, conversation, customer_id=add_customer(connection))
    assert customer_of(connection, message) is None


def test_a_message_without_a_conversation_is_refused_by_its_foreign_key(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refusal:
        add_message(connection, uuid4())
    assert refusal.value.diag.constraint_name == "fk_conversation_messages_conversation_id"


def test_a_message_that_names_no_conversation_is_refused_for_that(connection: Connection) -> None:
    add_message(connection)
    with pytest.raises(psycopg.errors.NotNullViolation, match='"conversation_id"'):
        connection.execute("UPDATE conversation_messages SET conversation_id = NULL")


def test_a_message_that_is_moved_to_another_conversation_takes_its_customer(connection: Connection) -> None:
    message = add_message(connection)
    customer = add_customer(connection)
    conversation = add_conversation(connection, customer)

    connection.execute("UPDATE conversation_messages SET conversation_id = %s", [conversation])

    assert customer_of(connection, message) == customer


def test_messages_of_several_conversations_in_one_statement_get_each_its_own(connection: Connection) -> None:
    for _ in range(3):
        add_conversation(connection)

    connection.execute(
        "INSERT INTO conversation_messages (conversation_id, sequence_number, role, content)"
        " SELECT c.id, n, 'user', 'text' FROM conversations AS c, generate_series(1, 4) AS n"
    )

    assert rows(
        connection,
        "SELECT count(*) AS messages, count(DISTINCT m.customer_id) AS customers"
        " FROM conversation_messages AS m"
        " JOIN conversations AS c ON c.id = m.conversation_id AND c.customer_id = m.customer_id",
    ) == [(12, 3)]
