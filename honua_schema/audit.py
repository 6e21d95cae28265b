"""Seals over the audit log: made again and again, they show whether anybody tampered with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

SEAL = text("SELECT s.*, 'intact' AS state FROM seal_audit_log(:limit) AS s")
VERIFY = text("""
    SELECT v.after_id, v.last_id, v.month, v.records, v.sha256, v.state FROM verify_audit_log() AS v
""")
BATCH = 100_000


@dataclass(frozen=True)
class Seal:
    """A seal over records of the audit log.

    Attributes:
        after_id: Its records come after this one, and have the month of the seal.
        last_id: The last record that it may cover.
        month: The first day of the month (UTC); None for records that no seal covers.
        records: How many there were.
        sha256: Their SHA-256, going on from the seal before, in hexadecimal.
        state: intact; expired, where retention has taken the records; or what is wrong: changed, out of
            chain, or not covered.
    """

    after_id: int
    last_id: int
    month: date | None
    records: int
    sha256: str | None
    state: str

    @property
    def is_broken(self) -> bool:
        """Whether somebody tampered with the records, or with the seal."""
        return self.state not in {"intact", "expired"}


def seal(connection: Connection) -> list[Seal]:
    """Seal what was recorded since the last seal; the caller commits.

    Changes that are recorded wait meanwhile. Run it daily, and keep the last seal outside of the database:
    then not even the owner of the tables can rewrite the log unnoticed.

    Args:
        connection: The database, as the owner of the tables or a member of honua_maintenance, READ COMMITTED.

    Raises:
        sqlalchemy.exc.OperationalError: A transaction that was recorded is still under way after a second.
    """
    seals: list[Seal] = []
    while made := connection.execute(SEAL, {"limit": BATCH}).mappings().all():
        seals += (Seal(**each) for each in made)
    return seals


def verify(connection: Connection) -> list[Seal]:
    """Compare the audit log with its seals, all of it.

    Args:
        connection: The database, as the owner or a member of honua_maintenance or honua_readonly.
    """
    return [Seal(**each) for each in connection.execute(VERIFY).mappings()]
