"""Secrets are encrypted here, in the application: keys never reach the database server.

What is stored is an envelope, ``v1:<key id>:<nonce, ciphertext and tag in base64>``, made with AES-256-GCM.
It is bound to its table, column, customer and row: moved anywhere else, it does not open.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select, update

from honua_schema.errors import SchemaError
from honua_schema.models import Base, License, RegistryCredential

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:  # pragma: no cover - the extra is installed wherever tests run
    raise SchemaError(
        "The library that encrypts secrets is not installed.",
        "Install it: pip install 'honua-schema[crypto]'",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

    from sqlalchemy import Engine, RowMapping

FORMAT = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
LICENSE_KEY_BYTES = 20
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
ENVIRONMENT_VARIABLE = "HONUA_ENCRYPTION_KEYS"


class SecretError(SchemaError):
    """A secret cannot be encrypted or decrypted. The message never holds the secret or a key."""


@dataclass(frozen=True)
class Place:
    """Where a secret is stored. An envelope opens in its own place only.

    Attributes:
        table: The table.
        column: The column.
        customer_id: The customer whose row it is.
        row_id: The key of the row.
    """

    table: str
    column: str
    customer_id: str
    row_id: UUID

    def bind(self, header: str) -> bytes:
        """Return what the ciphertext is authenticated with.

        Args:
            header: Format and key id of the envelope.
        """
        parts = (header, self.table, self.column, self.customer_id, str(self.row_id))
        encoded = [part.encode() for part in parts]
        # The lengths keep the end of one part apart from the beginning of the next.
        return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


class Keyring:
    """The keys that encrypt secrets, by key id.

    Args:
        keys: The keys, 32 bytes each, by key id; or a function that is given a key id and returns the key,
            such as one that asks a key management service, and raises `KeyError` for an unknown id.
        current: Id of the key that encrypts from now on; the others only decrypt.

    Raises:
        SecretError: A key id has other characters than letters, digits, dots, hyphens and underscores; a key
            has not 32 bytes; or the current key is missing.
    """

    def __init__(self, keys: Mapping[str, bytes] | Callable[[str], bytes], current: str) -> None:
        self.current = current
        self._find = keys if callable(keys) else dict(keys).__getitem__
        self._ciphers: dict[str, AESGCM] = {}
        for key_id in [current] if callable(keys) else [current, *keys]:
            self.cipher(key_id)

    def __repr__(self) -> str:
        return f"Keyring(current={self.current!r})"

    @classmethod
    def from_environment(
        cls, variable: str = ENVIRONMENT_VARIABLE, environment: Mapping[str, str] = os.environ
    ) -> Keyring:
        """Read keys from an environment variable, written as in `parse`.

        Args:
            variable: Name of the variable.
            environment: Where to look.

        Raises:
            SecretError: It is not set, or cannot be read.
        """
        if not environment.get(variable):
            raise SecretError(
                f"{variable} is not set.", "Set it to key-1: and what `openssl rand -base64 32` prints."
            )
        return cls.parse(environment[variable], variable)

    @classmethod
    def from_file(cls, path: Path | str) -> Keyring:
        """Read keys from a file, written as in `parse`, which its owner alone may read.

        Args:
            path: The file.

        Raises:
            SecretError: There is no such file, others may read it, or it cannot be understood.
        """
        try:
            # Python's own error, of bytes that are no text, would hold all that is in the file.
            with Path(path).open(encoding="utf-8", errors="replace") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read()
        except OSError as error:
            raise SecretError(f"The keys cannot be read: {error.strerror}: {path}.") from error
        if "\N{REPLACEMENT CHARACTER}" in text:
            raise SecretError(
                f"{path} holds bytes that are no text.",
                "Write each key as a key id, a colon and what `openssl rand -base64 32` prints.",
            )
        if os.name == "posix" and mode & 0o077:
            raise SecretError(f"Others may read the keys in {path}.", f"Run: chmod 600 {path}")
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, origin: str = "The keyring") -> Keyring:
        """Read keys written as ``key id:key``, separated by commas or line ends; the first is the current.

        Args:
            text: The keys; each is 32 bytes in base64.
            origin: Where they come from, for messages.

        Raises:
            SecretError: They cannot be understood.
        """
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(re.split(r"[,\s]+", text.strip()), 1):
            key_id, colon, encoded = entry.partition(":")
            if key_id in keys:
                raise SecretError(
                    f"{origin}: entry {number} has the key id of an entry before it.",
                    "Give each key an id of its own: an envelope names its key by it.",
                )
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except ValueError:
                colon = ""
            if not colon:
                raise SecretError(
                    f"{origin}: entry {number} is not a key id, a colon and a key in base64.",
                    "The first entry may look like key-1: and what `openssl rand -base64 32` prints.",
                ) from None
        return cls(keys, next(iter(keys)))

    def cipher(self, key_id: str) -> AESGCM:
        """Return the cipher for a key.

        Args:
            key_id: The key's id.

        Raises:
            SecretError: The keyring has no such key.
        """
        if key_id not in self._ciphers:
            if not KEY_ID.fullmatch(key_id):
                raise SecretError(
                    "A key id has characters that it must not have.",
                    "Use up to 100 letters, digits, dots, hyphens and underscores.",
                )
            try:
                key = self._find(key_id)
            except KeyError:
                raise SecretError(
                    f"The keyring has no key {key_id}.", "Add it: what it encrypted needs it until rotated."
                ) from None
            if len(key) != KEY_BYTES:
                raise SecretError(
                    f"Key {key_id} has {len(key)} bytes; AES-256 needs {KEY_BYTES}.",
                    "Make one with new_key().",
                )
            self._ciphers[key_id] = AESGCM(key)
        return self._ciphers[key_id]


def new_key() -> str:
    """Return a new random key in base64, for a keyring."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def encrypt(keyring: Keyring, secret: str, place: Place) -> str:
    """Put a secret into an envelope.

    Args:
        keyring: The keys; the current one is used.
        secret: The secret.
        place: Where the envelope will be stored.

    Raises:
        SecretError: The secret is not text that can be stored, or the keyring's current key is no key.
    """
    header = f"{FORMAT}:{keyring.current}"
    nonce = secrets.token_bytes(NONCE_BYTES)
    data = _encode(secret, f"The secret for {place.table}.{place.column}")
    sealed = keyring.cipher(keyring.current).encrypt(nonce, data, place.bind(header))
    return f"{header}:{base64.b64encode(nonce + sealed).decode()}"


def _encode(secret: str, what: str) -> bytes:
    try:
        return secret.encode()
    except UnicodeEncodeError:
        pass
    # Python's own error holds the secret, and would be the context of one that is raised while it is handled.
    raise SecretError(
        f"{what} has characters that are half of one (surrogates).",
        "Decode it from bytes without errors='surrogateescape'.",
    )


def decrypt(keyring: Keyring, envelope: str, place: Place) -> str:
    """Open an envelope.

    Args:
        keyring: The keys.
        envelope: The envelope.
        place: Where it is stored.

    Raises:
        SecretError: The keyring has not its key, or the envelope was changed, or belongs somewhere else.
    """
    where = f"{place.table}.{place.column} of row {place.row_id}"
    version, _, rest = envelope.partition(":")
    key_id, _, encoded = rest.partition(":")
    if version != FORMAT or not encoded:
        raise SecretError(f"{where} is not a secret that this version of honua-schema encrypted.")
    try:
        cipher = keyring.cipher(key_id)
    except SecretError as error:
        raise SecretError(f"{where} does not open: {error.message}", error.remedy) from None
    try:
        data = base64.b64decode(encoded, validate=True)
        if base64.b64encode(data).decode() != encoded:  # bits that mean nothing must not be changed either
            raise InvalidTag
        secret = cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place.bind(f"{version}:{key_id}"))
    except (InvalidTag, ValueError):
        raise SecretError(
            f"{where} does not open: it was changed, moved from another row, or encrypted with another key "
            f"of the name {key_id}.",
            "Restore the row from a backup, or store the secret anew.",
        ) from None
    return secret.decode()


def new_license_key() -> str:
    """Return a new licence key of 160 random bits, such as ``HONUA-ABCD-...`` with eight groups."""
    letters = base64.b32encode(secrets.token_bytes(LICENSE_KEY_BYTES)).decode()
    return "-".join(("HONUA", *(letters[start : start + 4] for start in range(0, len(letters), 4))))


def hash_license_key(key: str) -> str:
    """Return what a licence is found by: the SHA-256 of its key, in hexadecimal.

    Args:
        key: The licence key; spaces around it don't count.

    Raises:
        SecretError: The key is not text.
    """
    return hashlib.sha256(_encode(key.strip(), "The licence key")).hexdigest()


@dataclass(frozen=True)
class Rotation:
    """What became of a rotation.

    Attributes:
        rotated: How many rows are encrypted with the current key now that were not before.
        failed: Rows that could not be decrypted, with the reason; they stay as they were.
    """

    rotated: int
    failed: list[str]


def rotate_keys(
    engine: Engine,
    keyring: Keyring,
    batch_size: int = 500,
    *,
    report: Callable[[float], None] = lambda _: None,
) -> Rotation:
    """Encrypt with the current key what other keys have encrypted.

    Each batch is a transaction: when interrupted, the next call goes on from there.

    Args:
        engine: The database, as the owner of the tables or a member of honua_maintenance.
        keyring: All keys in use, the new one being the current.
        batch_size: How many rows a transaction changes at most.
        report: Called after each batch with the share that is done, from 0 to 1.
    """
    rotated, failed = 0, []
    header = f"{FORMAT}:{keyring.current}:"
    stored = (
        (
            Base.metadata.tables["registry_credentials"],
            ("username_encrypted", "password_encrypted"),
            # encryption_key_id is only what somebody wrote there.
            or_(
                func.substr(RegistryCredential.username_encrypted, 1, len(header)) != header.encode(),
                func.substr(RegistryCredential.password_encrypted, 1, len(header)) != header.encode(),
            ),
        ),
        (
            Base.metadata.tables["licenses"],
            ("license_key",),
            ~func.starts_with(License.license_key, header),
        ),
    )
    with engine.begin() as connection:
        expected = sum(
            connection.scalar(select(func.count()).select_from(table).where(has_other_key)) or 0
            for table, _, has_other_key in stored
        )
    for table, columns, has_other_key in stored:
        names = ["id", "customer_id", *columns]
        query = (
            select(*(table.c[name] for name in names))
            .where(has_other_key)
            .order_by(table.c.id)
            .limit(batch_size)
            .with_for_update(key_share=True)
        )
        last: UUID | None = None
        while True:
            with engine.begin() as connection:
                batch = query if last is None else query.where(table.c.id > last)
                found = connection.execute(batch).mappings().all()
                for row in found:
                    try:
                        values = dict(_encrypted_anew(keyring, table.name, columns, row))
                    except SecretError as error:
                        failed.append(error.message)
                        continue
                    if "encryption_key_id" in table.c:
                        values["encryption_key_id"] = keyring.current
                    connection.execute(update(table).where(table.c.id == row["id"]).values(values))
                    rotated += 1
            if not found:
                break
            # Rows with another key may have come meanwhile.
            report(min((rotated + len(failed)) / max(expected, 1), 1.0))
            last = found[-1]["id"]
    return Rotation(rotated, failed)


def _encrypted_anew(
    keyring: Keyring, table: str, columns: tuple[str, ...], row: RowMapping
) -> Iterator[tuple[str, str | bytes]]:
    for column in columns:
        place = Place(table, column, row["customer_id"], row["id"])
        stored = row[column]
        envelope = encrypt(keyring, decrypt(keyring, as_text(stored), place), place)
        yield column, envelope if isinstance(stored, str) else envelope.encode()


def as_text(stored: str | bytes) -> str:
    """Return an envelope as text, whatever the type of its column.

    Args:
        stored: The envelope.
    """
    # Other bytes than ASCII are no envelope; decrypt() says so.
    return stored if isinstance(stored, str) else stored.decode("ascii", errors="replace")
