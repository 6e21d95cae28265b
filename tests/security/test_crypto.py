"""Secrets: nobody opens, changes or moves one without the key, and none shows where it should not."""

from __future__ import annotations

import base64
import logging
import subprocess
import traceback
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import builders
from honua_schema import crypto
from honua_schema.crypto import Keyring, Place, SecretError
from honua_schema.models import License, RegistryCredential
from queries import value, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from conftest import Acting
    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # the same in every process of pytest-xdist
CANARY = "canary-5f1d0a-not-to-be-seen"
PLACE = Place("registry_credentials", "password_encrypted", "atlas", uuid4())


@pytest.fixture
def keyring() -> Keyring:
    return Keyring({"key-1": b"1" * 32, "key-2": b"2" * 32}, current="key-1")


@pytest.fixture
def next_keyring() -> Keyring:
    return Keyring({"key-1": b"1" * 32, "key-2": b"2" * 32}, current="key-2")


@pytest.mark.parametrize("secret", ["", "s", CANARY, "pässwörd ✓", "x" * 100_000])
def test_a_secret_comes_back(keyring: Keyring, secret: str) -> None:
    envelope = crypto.encrypt(keyring, secret, PLACE)
    assert crypto.decrypt(keyring, envelope, PLACE) == secret
    assert len(secret) < 8 or secret not in envelope


def test_no_two_envelopes_are_alike(keyring: Keyring) -> None:
    assert len({crypto.encrypt(keyring, CANARY, PLACE) for _ in range(100)}) == 100


def test_every_flipped_bit_is_refused(keyring: Keyring) -> None:
    envelope = crypto.encrypt(keyring, CANARY, PLACE).encode()
    for position in range(len(envelope) * 8):
        flipped = bytearray(envelope)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(SecretError):
            crypto.decrypt(keyring, crypto.as_text(bytes(flipped)), PLACE)


@pytest.mark.parametrize("length", range(1, 4))
def test_bits_of_base64_that_mean_nothing_are_not_free_to_change(keyring: Keyring, length: int) -> None:
    envelope = crypto.encrypt(keyring, "x" * length, PLACE)
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n ":
        for place in (-1, -2, -3):
            changed = list(envelope)
            changed[place] = letter
            if "".join(changed) != envelope:
                with pytest.raises(SecretError):
                    crypto.decrypt(keyring, "".join(changed), PLACE)
    for longer in (envelope + "=", envelope + "\n", envelope + "AAAA", envelope[:-4], ""):
        with pytest.raises(SecretError):
            crypto.decrypt(keyring, longer, PLACE)


@pytest.mark.parametrize(
    "other",
    [
        Place("licenses", PLACE.column, PLACE.customer_id, PLACE.row_id),
        Place(PLACE.table, "username_encrypted", PLACE.customer_id, PLACE.row_id),
        Place(PLACE.table, PLACE.column, "borealis", PLACE.row_id),
        Place(PLACE.table, PLACE.column, PLACE.customer_id, uuid4()),
        Place(PLACE.table + "p", PLACE.column[1:], PLACE.customer_id, PLACE.row_id),
    ],
)
def test_an_envelope_opens_in_its_own_place_only(keyring: Keyring, other: Place) -> None:
    with pytest.raises(SecretError, match="does not open"):
        crypto.decrypt(keyring, crypto.encrypt(keyring, CANARY, PLACE), other)


def test_another_key_of_the_same_name_is_refused(keyring: Keyring) -> None:
    with pytest.raises(SecretError, match="does not open"):
        crypto.decrypt(Keyring({"key-1": b"9" * 32}, "key-1"), crypto.encrypt(keyring, CANARY, PLACE), PLACE)


def test_a_key_that_is_not_there_is_named(keyring: Keyring) -> None:
    with pytest.raises(SecretError, match=f"of row {PLACE.row_id} .* no key key-1"):
        crypto.decrypt(Keyring({"k": b"9" * 32}, "k"), crypto.encrypt(keyring, CANARY, PLACE), PLACE)


def test_keys_come_from_the_environment_a_file_or_a_function(tmp_path: Path) -> None:
    first, second = crypto.new_key(), crypto.new_key()
    file = tmp_path / "keys"
    file.write_text(f"new:{second}\nold:{first}\n")
    file.chmod(0o600)
    from_environment = Keyring.from_environment(environment={"HONUA_ENCRYPTION_KEYS": f"old:{first}"})
    from_file = Keyring.from_file(file)
    from_function = Keyring({"new": base64.b64decode(second)}.__getitem__, "new")

    assert (from_environment.current, from_file.current) == ("old", "new")
    with_old = crypto.encrypt(from_environment, CANARY, PLACE)
    with_new = crypto.encrypt(from_function, CANARY, PLACE)
    assert crypto.decrypt(from_file, with_old, PLACE) == crypto.decrypt(from_file, with_new, PLACE) == CANARY
    with pytest.raises(SecretError, match="no key old"):
        crypto.decrypt(from_function, with_old, PLACE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entry 1 is not"),
        ("key-1", "entry 1 is not"),
        ("key-1:§", "entry 1 is not"),
        (f"key-1:{KEY},key-2", "entry 2 is not"),
        ("key-1:c2hvcnQ=", "has 5 bytes"),
        (f"key 1:{KEY}", "entry 1 is not"),
        (f"k/1:{KEY}", "characters"),
        (f"key-1:{KEY},key-1:{KEY}", "entry 2 has the key id of an entry before it"),
    ],
)
def test_a_keyring_that_makes_no_sense_is_refused_without_showing_it(text: str, message: str) -> None:
    with pytest.raises(SecretError, match=message) as refused:
        Keyring.parse(text)
    encoded = text.partition(":")[2]
    assert not encoded or encoded not in str(refused.value)


def test_a_missing_variable_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="HONUA_ENCRYPTION_KEYS is not set"):
        Keyring.from_environment(environment={})
    with pytest.raises(SecretError, match="No such file"):
        Keyring.from_file(tmp_path / "missing")


def test_a_key_file_that_is_no_text_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xff\xfe canary")
    file.chmod(0o600)
    with pytest.raises(SecretError, match="no text") as refused:
        Keyring.from_file(file)
    assert "canary" not in "".join(traceback.format_exception(refused.value))
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "use",
    [
        lambda keyring, secret: crypto.encrypt(keyring, secret, PLACE),
        lambda _, key: crypto.hash_license_key(key),
    ],
    ids=["encrypted", "hashed"],
)
def test_a_secret_that_is_no_text_is_refused_without_showing_it(
    keyring: Keyring, use: Callable[[Keyring, str], str]
) -> None:
    with pytest.raises(SecretError, match="surrogates") as refused:
        use(keyring, f"{CANARY}\udc80")
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    assert CANARY not in repr((refused.value.args, vars(refused.value)))
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"key-1:{crypto.new_key()}")
    file.chmod(0o640)
    with pytest.raises(SecretError, match="Others may read"):
        Keyring.from_file(file)


def test_licence_keys_are_random_and_found_by_their_hash() -> None:
    keys = {crypto.new_license_key() for _ in range(1000)}
    assert len(keys) == 1000
    key = keys.pop()
    assert key.startswith("HONUA-")
    assert len(key.removeprefix("HONUA-").replace("-", "")) * 5 >= 128
    assert crypto.hash_license_key(f" {key}\n") == crypto.hash_license_key(key)


def credential_of(customer: str, keyring: Keyring) -> RegistryCredential:
    credential = RegistryCredential(
        customer_id=customer, registry_name="r", registry_url="https://ghcr.io", registry_provider="ghcr"
    )
    credential.set_login(keyring, username="ada", password=CANARY)
    return credential


def test_the_models_keep_and_reveal_secrets(engine: Engine, connection: Connection, keyring: Keyring) -> None:
    customer = builders.add_customer(connection)
    builders.add_license(connection, customer)
    with Session(engine) as session, session.begin():
        session.add(credential_of(customer, keyring))
        key = session.scalars(select(License)).one().issue_key(keyring)
    with Session(engine) as session:
        credential = session.scalars(select(RegistryCredential)).one()
        assert credential.reveal_username(keyring) == "ada"
        assert credential.reveal_password(keyring) == CANARY
        assert credential.encryption_key_id == "key-1"
        by_hash = select(License).filter_by(license_key_hash=crypto.hash_license_key(key))
        assert session.scalars(by_hash).one().reveal_key(keyring) == key


def test_secrets_wait_for_the_customer_that_they_are_bound_to(keyring: Keyring) -> None:
    with pytest.raises(ValueError, match="set customer_id before"):
        RegistryCredential().set_login(keyring, username="ada", password=CANARY)


def test_the_application_finds_the_customer_of_a_licence_key(
    engine: Engine, connection: Connection, keyring: Keyring, acting: Acting
) -> None:
    customer = builders.add_customer(connection)
    builders.add_license(connection, customer)
    with Session(engine) as session, session.begin():
        key = session.scalars(select(License)).one().issue_key(keyring)
    find = "SELECT find_license_customer(%s)"
    with acting("honua_app"):
        assert value(connection, find, crypto.hash_license_key(key)) == customer
        assert value(connection, find, crypto.hash_license_key(key + "A")) is None
        assert value(connection, find, key) is None
    connection.execute("UPDATE licenses SET status = 'revoked'")
    with acting("honua_app"):
        assert value(connection, find, crypto.hash_license_key(key)) is None


@pytest.fixture
def secrets_of_ten(engine: Engine, connection: Connection, keyring: Keyring) -> None:
    with Session(engine) as session, session.begin():
        for _ in range(10):
            customer = builders.add_customer(connection)
            builders.add_license(connection, customer)
            session.add(credential_of(customer, keyring))
        for license_ in session.scalars(select(License)):
            license_.issue_key(keyring)


@pytest.mark.usefixtures("secrets_of_ten")
def test_rotation_encrypts_everything_with_the_current_key(
    engine: Engine, connection: Connection, next_keyring: Keyring
) -> None:
    before = values(connection, "SELECT license_key_hash FROM licenses ORDER BY id")
    assert crypto.rotate_keys(engine, next_keyring, batch_size=3) == crypto.Rotation(20, [])
    assert crypto.rotate_keys(engine, next_keyring) == crypto.Rotation(0, [])

    only_new = Keyring({"key-2": b"2" * 32}, "key-2")
    with Session(engine) as session:
        assert {each.reveal_password(only_new) for each in session.scalars(select(RegistryCredential))} == {
            CANARY
        }
        for each in session.scalars(select(License)):
            assert crypto.hash_license_key(each.reveal_key(only_new)) == each.license_key_hash
    assert values(connection, "SELECT license_key_hash FROM licenses ORDER BY id") == before


@pytest.mark.usefixtures("secrets_of_ten")
def test_a_rotation_reports_how_far_it_is(engine: Engine, next_keyring: Keyring) -> None:
    shares: list[float] = []
    crypto.rotate_keys(engine, next_keyring, batch_size=5, report=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    shares.clear()
    crypto.rotate_keys(engine, next_keyring, report=shares.append)
    assert shares == []


@pytest.mark.usefixtures("secrets_of_ten")
def test_an_interrupted_rotation_goes_on_from_there(
    engine: Engine, connection: Connection, next_keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    decrypt, calls = crypto.decrypt, iter(range(100))

    def interrupted(*arguments: Any) -> str:
        if next(calls) == 10:
            raise KeyboardInterrupt
        return decrypt(*arguments)

    monkeypatch.setattr(crypto, "decrypt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crypto.rotate_keys(engine, next_keyring, batch_size=2)
    done = value(connection, "SELECT count(*) FROM registry_credentials WHERE encryption_key_id = 'key-2'")
    assert done == 4
    assert crypto.rotate_keys(engine, next_keyring) == crypto.Rotation(16, [])


@pytest.mark.usefixtures("secrets_of_ten")
def test_rotation_names_what_does_not_open_and_goes_on(
    engine: Engine, connection: Connection, next_keyring: Keyring
) -> None:
    damaged = value(connection, "SELECT id FROM registry_credentials ORDER BY id LIMIT 1")
    connection.execute(
        "UPDATE registry_credentials SET password_encrypted = '\\xff00' WHERE id = %s", [damaged]
    )
    rotation = crypto.rotate_keys(engine, next_keyring, batch_size=4)
    assert rotation.rotated == 19
    assert [str(damaged) in message for message in rotation.failed] == [True]


def test_a_secret_that_was_stored_with_the_old_key_after_a_rotation_is_found_by_the_next(
    engine: Engine, connection: Connection, keyring: Keyring, next_keyring: Keyring
) -> None:
    builders.add_registry_credential(connection)
    with Session(engine, expire_on_commit=False) as session:
        credential = session.scalars(select(RegistryCredential)).one()
        credential.set_login(keyring, username="u", password="p")
        session.commit()
        assert crypto.rotate_keys(engine, next_keyring) == crypto.Rotation(1, [])
        credential.set_login(keyring, username="u", password=CANARY)
        session.commit()

    assert value(connection, "SELECT encryption_key_id FROM registry_credentials") == "key-1"
    connection.execute("UPDATE registry_credentials SET encryption_key_id = 'key-2'")
    assert crypto.rotate_keys(engine, next_keyring) == crypto.Rotation(1, [])


@pytest.mark.usefixtures("secrets_of_ten")
def test_maintenance_may_rotate_keys(engine: Engine, connection: Connection, next_keyring: Keyring) -> None:
    connection.execute("CREATE ROLE rotation LOGIN IN ROLE honua_maintenance")
    try:
        as_maintenance = create_engine(engine.url.set(username="rotation"))
        assert crypto.rotate_keys(as_maintenance, next_keyring).rotated == 20
        as_maintenance.dispose()
    finally:
        connection.execute("DROP ROLE rotation")


@pytest.fixture
def talkative_server(private_server: Callable[..., EmbeddedServer], programs: Path) -> EmbeddedServer:
    """A server that writes down everything it is told; with pg_stat_statements if there is one."""
    has_statistics = any(programs.parent.rglob("pg_stat_statements.*"))
    return private_server(
        {
            "shared_preload_libraries": "pg_stat_statements" if has_statistics else "",
            "fsync": "off",
            "log_statement": "all",
            "log_min_duration_statement": "0",
            "log_min_error_statement": "debug5",
            "log_parameter_max_length": "-1",
            "log_parameter_max_length_on_error": "-1",
            "track_activity_query_size": "1MB",
        }
    )


def test_a_secret_that_was_stored_used_and_rotated_is_found_nowhere(
    talkative_server: EmbeddedServer,
    keyring: Keyring,
    next_keyring: Keyring,
    programs: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from honua_schema.runner import MigrationRunner

    talkative_server.create_database("honua")
    url = talkative_server.url()
    assert MigrationRunner(url).apply_migrations().success
    caplog.set_level(logging.DEBUG)
    engine = create_engine(url, echo="debug")
    seen: list[str] = []
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(uri, autocommit=True) as connection, Session(engine) as session:
        customer = builders.add_customer(connection)
        credential = credential_of(customer, keyring)
        session.add(credential)
        seen += [repr(credential), repr(keyring), str(vars(credential))]
        session.flush()
        seen += [text for (text,) in connection.execute("SELECT query FROM pg_stat_activity")]
        session.commit()
        assert credential.reveal_password(keyring) == CANARY
        for broken in (b"v1:key-1:AAAA", credential.username_encrypted):
            credential.password_encrypted = broken
            with pytest.raises(SecretError) as refused:
                credential.reveal_password(keyring)
            seen += traceback.format_exception(refused.value)
        session.rollback()
        duplicate = credential_of(customer, keyring)
        duplicate.id = credential.id
        session.expunge_all()
        session.add(duplicate)
        with pytest.raises(DBAPIError) as violated:
            session.flush()
        seen += traceback.format_exception(violated.value)
        session.rollback()
        assert crypto.rotate_keys(engine, next_keyring).rotated == 1
        seen += [str(each) for each in connection.execute("SELECT * FROM audit_log")]
        seen += [str(each) for each in connection.execute("SELECT t::text FROM registry_credentials AS t")]
        if connection.execute("SHOW shared_preload_libraries").fetchone() != ("",):
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            seen += [str(each) for each in connection.execute("SELECT * FROM pg_stat_statements")]
        dump = [programs / "pg_dump", "-h", talkative_server.host, "-U", "postgres", "honua"]
        seen.append(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
        seen += [talkative_server.log.read_text(), caplog.text]
    engine.dispose()

    haystack = "\n".join(seen)
    key = base64.b64encode(b"1" * 32).decode()
    in_other_forms = (
        CANARY,
        CANARY.encode().hex(),
        base64.b64encode(CANARY.encode()).decode().rstrip("="),
        key,
    )
    assert "INSERT INTO registry_credentials" in haystack
    assert "password_encrypted" in haystack
    assert [form for form in in_other_forms if form in haystack] == []
