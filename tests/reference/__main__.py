"""The command ``python -m reference``: write docs/reference anew, from a database made for the purpose."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy

from honua_schema.embedded import EmbeddedServer
from honua_schema.runner import MigrationRunner
from reference import pages


def main() -> None:
    """Upgrade a new database to head, and write what it says."""
    with tempfile.TemporaryDirectory(prefix="honua-reference-") as folder:
        Path(folder).chmod(0o755)  # the system user who runs the server for root passes through
        server = EmbeddedServer(Path(folder, "server"), settings={"fsync": "off"})
        with server:
            server.create_database()
            result = MigrationRunner(server.url()).apply_migrations()
            if not result.success:
                sys.exit("\n".join(result.errors))
            engine = sqlalchemy.create_engine(server.url())
            with engine.connect() as connection:
                generated = pages.generate(connection)
            engine.dispose()
        server.remove()
    changed = pages.write(generated)
    sys.stdout.write(f"{len(generated)} pages in docs/reference, changed: {', '.join(changed) or 'none'}\n")


main()
