"""The errors this package reports to people."""

from __future__ import annotations

from alembic.util import CommandError


class SchemaError(CommandError):
    """Something is wrong that a person has to put right.

    It derives from Alembic's own error, so that the plain ``alembic`` command too prints one message and no
    traceback.

    Args:
        message: What is wrong, naming the thing.
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}\n{remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(SchemaError):
    """An argument makes no sense, whatever the database holds; the command line ends with 2 for it."""


class LockNotObtainedError(SchemaError):
    """A lock on a table was not obtained within ``lock_timeout``; trying again later may succeed."""
