"""record_audit(): who changed what, and when; never a secret; nothing for a change that is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from builders import add_customer, add_license, add_registry_credential
from queries import row, rows, value, values

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

SECRET = "canary"
NEVER_RECORDED = {
    "customers": {"contact_email", "contact_name", "metadata"},
    "licenses": {"license_key", "license_key_hash"},
    "registry_credentials": {"username_encrypted", "password_encrypted", "validation_error"},
}
KEPT_BY_THE_DATABASE = {"id", "created_at", "updated_at", "customer_number"}


def last_record(connection: Connection) -> Any:
    return row(connection, "SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")


def count(connection: Connection) -> int:
    number: int = value(connection, "SELECT count(*) FROM audit_log")
    return number


def test_an_insert_is_recorded_with_what_was_given(connection: Connection) -> None:
    number = value(
        connection, "SELECT id FROM customers WHERE customer_id = %s", add_customer(connection, "c")
    )

    record = last_record(connection)

    assert (record.table_name, record.operation, record.row_id, record.customer_id) == (
        "customers", "INSERT", number, "c",
    )  # fmt: skip
    assert record.old_values is None
    assert record.new_values == {
        "customer_id": "c",
        "organization_name": "Atlas Surveys",
        "subscription_status": "trial",
        "tier": "core",
    }


def test_an_update_is_recorded_with_what_changed(connection: Connection) -> None:
    number = add_license(connection, add_customer(connection, "c"), max_registries=3)

    connection.execute("UPDATE licenses SET max_registries = NULL, tier = 'pro', status = 'active'")

    record = last_record(connection)
    assert (record.table_name, record.operation, record.row_id, record.customer_id) == (
        "licenses", "UPDATE", number, "c",
    )  # fmt: skip
    assert record.old_values == {"max_registries": 3, "tier": "core"}
    assert record.new_values == {"max_registries": None, "tier": "pro"}


def test_a_delete_is_recorded_with_what_was_there(connection: Connection) -> None:
    number = add_registry_credential(connection, add_customer(connection, "c"), is_default=True)

    connection.execute("DELETE FROM registry_credentials")

    record = last_record(connection)
    assert (record.table_name, record.operation, record.row_id, record.customer_id) == (
        "registry_credentials", "DELETE", number, "c",
    )  # fmt: skip
    assert (record.old_values["is_default"], record.new_values) == (True, None)


def test_what_goes_with_a_customer_is_recorded_too(connection: Connection) -> None:
    customer = add_customer(connection)
    add_license(connection, customer)
    add_registry_credential(connection, customer)

    connection.execute("DELETE FROM customers WHERE customer_id = %s", [customer])

    assert set(values(connection, "SELECT table_name FROM audit_log WHERE operation = 'DELETE'")) == {
        "customers",
        "licenses",
        "registry_credentials",
    }


@pytest.mark.parametrize(
    "change",
    ["max_registries = max_registries", "updated_at = now() + interval '1 day'", "status = 'active'"],
)
def test_an_update_that_changes_nothing_is_not_recorded(connection: Connection, change: str) -> None:
    add_license(connection)
    before = count(connection)

    connection.execute(f"UPDATE licenses SET {change}".encode())

    assert count(connection) == before


def test_a_new_secret_is_recorded_without_its_value(connection: Connection) -> None:
    add_registry_credential(connection)
    connection.execute("UPDATE registry_credentials SET password_encrypted = 'canary'")

    record = last_record(connection)

    assert (record.operation, record.old_values, record.new_values) == ("UPDATE", {}, {})


def test_no_secret_ever_gets_into_the_log(connection: Connection) -> None:
    customer = add_customer(connection, contact_email=SECRET, contact_name=SECRET, metadata={SECRET: SECRET})
    add_license(connection, customer, license_key=SECRET, license_key_hash=SECRET)
    add_registry_credential(
        connection,
        customer,
        username_encrypted=SECRET.encode(),
        password_encrypted=SECRET.encode(),
        validation_error=SECRET,
    )
    for table, columns in NEVER_RECORDED.items():
        for column in columns - {"metadata"}:
            connection.execute(f"UPDATE {table} SET {column} = '{SECRET} 2'".encode())
    connection.execute("UPDATE customers SET metadata = '{\"canary\": 2}'")
    connection.execute("DELETE FROM customers WHERE customer_id = %s", [customer])

    log = "".join(values(connection, "SELECT audit_log::text FROM audit_log"))

    assert count(connection) > 10
    assert SECRET not in log
    assert SECRET.encode().hex() not in log


def test_every_column_is_either_recorded_or_left_out_on_purpose(connection: Connection) -> None:
    for table, left_out in NEVER_RECORDED.items():
        columns = set(
            values(
                connection,
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name = %s",
                table,
            )
        )
        definition = value(
            connection,
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = %s",
            f"{table}_record_audit",
        )
        recorded = {column for column in columns if f"'{column}'" in definition}
        assert recorded == columns - left_out - KEPT_BY_THE_DATABASE


def test_the_actor_is_who_the_application_says_else_the_role(connection: Connection) -> None:
    role = value(connection, "SELECT session_user")

    add_customer(connection)
    assert last_record(connection).actor == role
    for actor, recorded in (("Ada", "Ada"), ("", role), ("x" * 300, "x" * 255)):
        with connection.transaction():
            connection.execute("SELECT set_config('honua.actor', %s, true)", [actor])
            add_customer(connection)
        assert last_record(connection).actor == recorded
    add_customer(connection)
    assert last_record(connection).actor == role


def test_time_and_transaction_are_those_of_the_change(connection: Connection) -> None:
    with connection.transaction():
        add_customer(connection)
        add_license(connection)
        now, transaction = row(connection, "SELECT now(), pg_current_xact_id()::text::bigint")

    records = rows(connection, "SELECT occurred_at, transaction_id FROM audit_log ORDER BY id DESC LIMIT 3")
    assert set(records) == {(now, transaction)}
    assert abs(datetime.now(UTC) - now).total_seconds() < 60


def test_what_is_rolled_back_is_not_recorded(connection: Connection) -> None:
    before = count(connection)

    with connection.transaction(force_rollback=True):
        add_customer(connection)

    assert count(connection) == before
