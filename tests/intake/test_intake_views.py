"""The four views on the intake: exact figures, days in UTC, and no error where there is nothing to divide."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from builders import add_conversation, add_customer, add_extraction, add_intent, add_manifest, add_message
from queries import row, rows, values

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

BEFORE_MIDNIGHT = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 3, 2, 0, 1, tzinfo=UTC)


def test_active_conversations_show_how_long_they_are_silent(connection: Connection) -> None:
    started_at = datetime.now(UTC) - timedelta(hours=1)
    customer = add_customer(connection)
    manifest = add_manifest(connection, customer, deployment_status="approved")
    conversation = add_conversation(
        connection, customer, started_at=started_at, ai_model="model-1", build_manifest_id=manifest
    )
    add_message(connection, conversation, created_at=started_at + timedelta(minutes=30))

    shown = row(connection, "SELECT * FROM active_conversations")

    assert (shown.id, shown.total_messages, shown.ai_model) == (conversation, 1, "model-1")
    assert (shown.build_manifest_id, shown.manifest_deployment_status) == (manifest, "approved")
    assert 1800 <= shown.seconds_since_last_message < 1860


def test_a_conversation_without_messages_is_silent_since_its_start(connection: Connection) -> None:
    add_conversation(connection, started_at=datetime.now(UTC) - timedelta(hours=1))

    shown = row(connection, "SELECT * FROM active_conversations")

    assert (shown.last_message_at, shown.manifest_deployment_status) == (None, None)
    assert 3600 <= shown.seconds_since_last_message < 3660


@pytest.mark.parametrize(
    ("started_at", "seconds"),
    [("-infinity", 2147483647), ("1900-01-01", 2147483647), ("infinity", -2147483648)],
)
def test_a_time_far_from_now_counts_as_the_most_seconds_that_there_are(
    connection: Connection, started_at: str, seconds: int
) -> None:
    add_conversation(connection, started_at=started_at)

    assert values(connection, "SELECT seconds_since_last_message FROM active_conversations") == [seconds]


def test_conversations_that_have_ended_are_not_active(connection: Connection) -> None:
    for status in ("completed", "abandoned", "error"):
        add_conversation(connection, status=status)

    assert rows(connection, "SELECT * FROM active_conversations") == []


def test_conversations_of_a_day_are_summed_up_by_type_and_model(connection: Connection) -> None:
    customer = add_customer(connection)
    common = {"ai_model": "model-1", "started_at": BEFORE_MIDNIGHT}
    completed = add_conversation(
        connection,
        customer,
        status="completed",
        completed_at=BEFORE_MIDNIGHT + timedelta(minutes=10),
        total_cost_usd=Decimal("0.5"),
        user_satisfaction_score=4,
        build_manifest_id=add_manifest(connection, customer),
        **common,
    )
    add_message(connection, completed, total_tokens=300)
    add_conversation(connection, customer, status="abandoned", **common)
    add_conversation(connection, customer, conversation_type="support", **common)

    summary = row(
        connection,
        "SELECT * FROM conversation_performance_summary WHERE conversation_type = 'build_intake'",
    )

    assert summary._asdict() == {
        "conversation_date": date(2026, 3, 1),
        "conversation_type": "build_intake",
        "ai_model": "model-1",
        "total_conversations": 2,
        "completed_conversations": 1,
        "abandoned_conversations": 1,
        "avg_messages_per_conversation": Decimal("0.50"),
        "avg_tokens_per_conversation": 150,
        "avg_cost_per_conversation": Decimal("0.25"),
        "avg_duration_minutes": 10,
        "avg_satisfaction_score": 4,
        "manifests_generated": 1,
    }


def test_a_time_that_is_never_reached_is_in_no_average(connection: Connection) -> None:
    common = {"started_at": BEFORE_MIDNIGHT, "status": "completed"}
    add_conversation(connection, completed_at=BEFORE_MIDNIGHT + timedelta(minutes=10), **common)
    add_conversation(connection, completed_at="infinity", **common)

    summary = row(connection, "SELECT * FROM conversation_performance_summary")

    assert (summary.completed_conversations, summary.avg_duration_minutes) == (2, 10)


def test_averages_of_nothing_are_null(connection: Connection) -> None:
    add_conversation(connection)

    summary = row(connection, "SELECT * FROM conversation_performance_summary")

    assert (summary.avg_duration_minutes, summary.avg_satisfaction_score) == (None, None)
    assert (summary.ai_model, summary.avg_cost_per_conversation, summary.manifests_generated) == (None, 0, 0)


def test_a_conversations_day_is_that_of_utc(connection: Connection) -> None:
    for started_at in (BEFORE_MIDNIGHT, AFTER_MIDNIGHT):
        add_conversation(connection, started_at=started_at)

    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        connection.execute(f"SET timezone = '{zone}'".encode())
        days = values(connection, "SELECT conversation_date FROM conversation_performance_summary ORDER BY 1")
        assert days == [date(2026, 3, 1), date(2026, 3, 2)]


def test_intents_are_counted_by_kind_and_day(connection: Connection) -> None:
    first, second = add_conversation(connection), add_conversation(connection)
    for conversation, confidence in ((first, "0.9"), (first, "0.5"), (second, None)):
        add_intent(connection, conversation, intent_confidence=confidence, detected_at=BEFORE_MIDNIGHT)
    add_intent(connection, second, detected_at=AFTER_MIDNIGHT)
    add_intent(connection, second, intent_type="cancel", detected_at=AFTER_MIDNIGHT)

    for zone in ("UTC", "Pacific/Kiritimati"):
        connection.execute(f"SET timezone = '{zone}'".encode())
        assert rows(connection, "SELECT * FROM intent_analytics ORDER BY intent_type, detection_date") == [
            ("cancel", 1, None, 1, datetime(2026, 3, 2, tzinfo=UTC)),
            ("deploy", 3, Decimal("0.7"), 2, datetime(2026, 3, 1, tzinfo=UTC)),
            ("deploy", 1, None, 1, datetime(2026, 3, 2, tzinfo=UTC)),
        ]


def test_extractions_are_rated_by_kind(connection: Connection) -> None:
    for columns in (
        {"is_confirmed": True, "extraction_confidence": Decimal("0.8")},
        {"is_confirmed": True, "was_corrected": True},
        {"extraction_confidence": Decimal("0.6")},
    ):
        add_extraction(connection, **columns)
    add_extraction(connection, requirement_type="region")

    assert rows(connection, "SELECT * FROM extraction_accuracy ORDER BY requirement_type") == [
        ("cloud_provider", 3, 2, 1, Decimal("0.7"), Decimal("66.67"), Decimal("33.33")),
        ("region", 1, 0, 0, None, 0, 0),
    ]
