"""Servers that follow another: a streaming replica, and a subscriber of the tables."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from honua_schema.models import Base
from waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from honua_schema.embedded import EmbeddedServer

    Connection = psycopg.Connection[Any]

TABLES = sorted(Base.metadata.tables)
PUBLISH = f"CREATE PUBLICATION honua FOR TABLE {', '.join(TABLES)} WITH (publish_via_partition_root = true)"

EMPTY = "TRUNCATE customers, schema_migrations CASCADE"
SUBSCRIBE = "CREATE SUBSCRIPTION honua CONNECTION '{}' PUBLICATION honua"
EACH_ITS_OWN_HISTORY = (
    "ALTER PUBLICATION honua DROP TABLE schema_migrations",
    "ALTER SUBSCRIPTION honua REFRESH PUBLICATION",
)
SET_SEQUENCES = """
DO $$
DECLARE
    v_id record;
BEGIN
    FOR v_id IN
        SELECT CAST(d.objid AS regclass) AS sequence, CAST(d.refobjid AS regclass) AS table_name, a.attname
        FROM pg_depend AS d
        JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.deptype IN ('a', 'i')
    LOOP
        EXECUTE format('SELECT setval(%L, (SELECT coalesce(max(%I), 0) + 1 FROM %s), false)',
            v_id.sequence, v_id.attname, v_id.table_name);
    END LOOP;
END;
$$;
"""


def follow(replica: EmbeddedServer, primary: EmbeddedServer, programs: Path) -> None:
    """Make a running server a streaming replica of another.

    Args:
        replica: The server, whose data is replaced.
        primary: The server to follow.
        programs: Folder of the PostgreSQL programs.
    """
    replica.stop()
    data = replica.folder / "data"
    owner = data.stat()
    shutil.rmtree(data)
    subprocess.run(
        [programs / "pg_basebackup", "--pgdata", data, "--write-recovery-conf", "--checkpoint", "fast",
         "--host", primary.host, "--port", str(primary.port), "--username", primary.user, "--no-sync"],
        check=True, capture_output=True,
    )  # fmt: skip
    if os.geteuid() == 0:
        for path in (data, *data.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
    replica.start()


def catch_up(source: Connection) -> None:
    """Wait until all that was committed has been applied by every server that follows."""
    (position,) = source.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or (None,)
    behind = "SELECT bool_and(r.replay_lsn >= %s) FROM pg_stat_replication AS r"
    until(lambda: (source.execute(behind, [position]).fetchone() or (False,))[0])
