"""Revisions are frozen when they are released: versions/frozen.sha256 says what they were.

Run ``python -m honua_schema.release`` in a checkout, as part of a release, and commit the file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from alembic.script import ScriptDirectory

from honua_schema import history, sqlfile
from honua_schema.errors import SchemaError
from honua_schema.runner import configuration

if TYPE_CHECKING:
    from pathlib import Path

FILE = sqlfile.FROZEN.parent / "frozen.sha256"


def checksums() -> dict[str, str]:
    """Return the SHA-256 of each revision with its SQL files, as schema_migrations records it."""
    scripts = ScriptDirectory.from_config(configuration())
    return {script.revision: history.checksum(script) for script in scripts.walk_revisions()}


def released(file: Path = FILE) -> dict[str, str]:
    """Return the checksums of the revisions that have been released.

    Args:
        file: The file that says so.
    """
    if not file.exists():
        return {}
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {revision: checksum for checksum, revision in lines}


def edited(current: dict[str, str], frozen: dict[str, str]) -> list[str]:
    """Return the released revisions that are no longer what they were.

    Args:
        current: Checksums of all revisions.
        frozen: Checksums of the released ones.
    """
    return sorted(revision for revision, checksum in frozen.items() if current.get(revision) != checksum)


def freeze(file: Path = FILE) -> list[str]:
    """Write down the checksums of all revisions, and return which are new.

    Args:
        file: Where to write them.

    Raises:
        SchemaError: A revision that has been released was edited, or is gone.
    """
    current, frozen = checksums(), released(file)
    if wrong := edited(current, frozen):
        raise SchemaError(
            f"Released revisions were edited: {', '.join(wrong)}.",
            "Restore them as they were released, and put the change into a new revision.",
        )
    lines = (f"{checksum}  {revision}\n" for revision, checksum in sorted(current.items()))
    file.write_text("".join(lines), encoding="utf-8")
    return sorted(current.keys() - frozen.keys())


if __name__ == "__main__":
    try:
        new = freeze()
    except SchemaError as error:
        sys.exit(str(error))
    sys.stdout.write(f"Frozen: {', '.join(new) or 'nothing new'}.\n")
