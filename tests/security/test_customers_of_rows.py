"""Who writes an event, a metric or a message need not say whose it is, and can't; nor can the models."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

import builders
from honua_schema.models import BuildEvent, BuildMetric, BuildResult, ConversationMessage
from honua_schema.security import customer_scope
from queries import rows, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Acting

    Connection = psycopg.Connection[Any]
    Write = Callable[[Connection, UUID], None]


def write_event(connection: Connection, build: UUID) -> None:
    connection.execute("INSERT INTO build_events (build_queue_id, event_type) VALUES (%s, 'step')", [build])


def write_metric(connection: Connection, build: UUID) -> None:
    connection.execute(
        "INSERT INTO build_metrics (build_queue_id, metric_name, metric_value) VALUES (%s, 'memory', 1)",
        [build],
    )


def write_message(connection: Connection, conversation: UUID) -> None:
    connection.execute(
        "INSERT INTO conversation_messages (conversation_id, sequence_number, role, content)"
        " VALUES (%s, 1, 'user', 'text')",
        [conversation],
    )


WRITERS: dict[tuple[str, str], Write] = {
    ("honua_app", "build_events"): write_event,
    ("honua_app", "conversation_messages"): write_message,
    ("honua_maintenance", "build_events"): write_event,
    ("honua_worker", "build_events"): write_event,
    ("honua_worker", "build_metrics"): write_metric,
}
"""Who may write, and how."""


def parent(connection: Connection, table: str, customer: str) -> UUID:
    """Make what a row of the table belongs to."""
    if table == "conversation_messages":
        return builders.add_conversation(connection, customer)
    return builders.add_build(connection, customer)


@pytest.mark.parametrize(("role", "table"), WRITERS)
def test_a_row_that_a_role_writes_gets_the_customer_of_what_it_belongs_to(
    connection: Connection, acting: Acting, role: str, table: str
) -> None:
    customer = builders.add_customer(connection)
    belongs_to = parent(connection, table, customer)
    with acting(role, customer if role == "honua_app" else ""):
        WRITERS[role, table](connection, belongs_to)
        connection.execute("RESET ROLE")
        assert value(connection, f"SELECT customer_id FROM {table}") == customer


@pytest.mark.parametrize(("role", "table"), WRITERS)
def test_no_role_may_say_whose_a_row_is(
    connection: Connection, acting: Acting, role: str, table: str
) -> None:
    customer = builders.add_customer(connection)
    denied = pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"permission denied for table {table}")
    with acting(role, customer), denied:
        connection.execute(f"INSERT INTO {table} (customer_id) VALUES (%s)".encode(), [customer])


@pytest.mark.parametrize("table", ["build_events", "conversation_messages"])
def test_a_tenant_writes_nothing_that_belongs_to_another_one_or_to_nobody(
    connection: Connection, acting: Acting, table: str
) -> None:
    mine, theirs = builders.add_customer(connection), builders.add_customer(connection)
    refusals = set()
    of_nobody = value(connection, "INSERT INTO conversations (session_id) VALUES ('s') RETURNING id")
    for belongs_to in (parent(connection, table, theirs), of_nobody, uuid4()):
        for scope in (mine, ""):
            with acting("honua_app", scope):
                with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
                    WRITERS["honua_app", table](connection, belongs_to)
                refusals.add((str(refusal.value), refusal.value.diag.message_detail))
    assert refusals == {(f'new row violates row-level security policy for table "{table}"', None)}
    assert rows(connection, f"SELECT FROM {table}") == []


@pytest.mark.parametrize("table", ["build_events", "build_metrics", "conversation_messages"])
def test_a_row_is_seen_by_its_customer_alone_and_by_the_next_one_after_it_changed_hands(
    connection: Connection, acting: Acting, table: str
) -> None:
    mine, theirs = builders.add_customer(connection), builders.add_customer(connection)
    add: Callable[..., object] = {
        "build_events": builders.add_event,
        "build_metrics": builders.add_metric,
        "conversation_messages": builders.add_message,
    }[table]
    add(connection, parent(connection, table, mine))

    def seen() -> list[int]:
        counts = []
        for scope in (mine, theirs, ""):
            with acting("honua_app", scope):
                counts.append(value(connection, f"SELECT count(*) FROM {table}"))
        return counts

    assert seen() == [1, 0, 0]
    parents = "conversations" if table == "conversation_messages" else "build_queue"
    connection.execute(f"UPDATE {parents} SET customer_id = %s".encode(), [theirs])
    assert seen() == [0, 1, 0]


@contextmanager
def session_of(engine: Engine, role: str, customer: str | None = None) -> Iterator[Session]:
    """A session that acts as a role; with a customer, in its scope."""
    with Session(engine) as session, session.begin():
        session.execute(text(f"SET LOCAL ROLE {role}"))
        if customer is None:
            yield session
        else:
            with customer_scope(session, customer):
                yield session


def test_the_models_of_an_application_leave_the_customer_to_the_database_and_read_it(
    connection: Connection, engine: Engine
) -> None:
    customer = builders.add_customer(connection)
    build = builders.add_build(connection, customer)
    conversation = builders.add_conversation(connection, customer)
    with session_of(engine, "honua_app", customer) as session:
        event = BuildEvent(build_queue_id=build, event_type="step")
        message = ConversationMessage(
            conversation_id=conversation, role="user", content="text", sequence_number=1
        )
        session.add_all([event, message])
        session.flush()
        assert (event.customer_id, message.customer_id) == (customer, customer)
        for each in (event, message):
            session.refresh(each)
            assert each.customer_id == customer
        session.execute(insert(BuildEvent).values(build_queue_id=build, event_type="step"))
        more = {"conversation_id": conversation, "role": "user", "content": "text"}
        session.execute(
            insert(ConversationMessage), [more | {"sequence_number": number} for number in (2, 3)]
        )
    assert rows(
        connection,
        "SELECT (SELECT count(*) FROM build_events WHERE customer_id = %s) AS events,"
        " (SELECT count(*) FROM conversation_messages WHERE customer_id = %s) AS messages",
        customer,
        customer,
    ) == [(2, 3)]


def test_the_models_of_a_worker_leave_the_customer_to_the_database(
    connection: Connection, engine: Engine
) -> None:
    customer = builders.add_customer(connection)
    build = builders.add_build(connection, customer)
    # A worker may not read what it wrote, so it can't be asked for the number of the row.
    with session_of(engine, "honua_worker") as session:
        session.connection().execute(
            insert(BuildEvent).inline().values(build_queue_id=build, event_type="step")
        )
        session.execute(
            insert(BuildMetric),
            [{"build_queue_id": build, "metric_name": "memory", "metric_value": 1} for _ in range(2)],
        )
    assert rows(
        connection,
        "SELECT (SELECT count(*) FROM build_events WHERE customer_id = %s) AS events,"
        " (SELECT count(*) FROM build_metrics WHERE customer_id = %s) AS metrics",
        customer,
        customer,
    ) == [(1, 2)]


def test_the_models_of_an_owner_read_the_customer_whatever_they_gave(
    connection: Connection, engine: Engine
) -> None:
    customer = builders.add_customer(connection)
    build = builders.add_build(connection, customer)
    with Session(engine) as session, session.begin():
        event = BuildEvent(build_queue_id=build, event_type="step", customer_id="system")
        result = BuildResult(build_queue_id=build, success=True, actual_duration_seconds=1)
        session.add_all([event, result])
        session.flush()
        assert result.customer_id == customer
        session.refresh(event)
        assert event.customer_id == customer


def test_a_model_that_names_a_customer_is_refused(connection: Connection, engine: Engine) -> None:
    customer = builders.add_customer(connection)
    build = builders.add_build(connection, customer)
    with session_of(engine, "honua_app", customer) as session:
        with (
            pytest.raises(ProgrammingError, match="permission denied for table build_events"),
            session.begin_nested(),
        ):
            session.add(BuildEvent(build_queue_id=build, event_type="step", customer_id=customer))
        assert session.scalars(select(BuildEvent)).all() == []
