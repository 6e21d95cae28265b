"""Sixteen customers share four connections of PgBouncer in transaction mode, and see no row of each other.

Run it as ``python tests/benchmarks/check_pgbouncer.py SOCKET_FOLDER PORT DATABASE [seconds]`` on a database
that `measure_row_security.py` has filled, as a superuser who needs no password. It needs the program
pgbouncer, which for root runs as the user postgres.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from honua_schema.security import customer_scope

CLIENTS, SERVER_CONNECTIONS, PORT = 16, 4, 6432
CONFIGURATION = """
[databases]
{database} = host={host} port={port} dbname={database} user=tenants
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = {own_port}
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
logfile = {folder}/log
pidfile = {folder}/pid
"""


def main() -> None:
    host, port, database = sys.argv[1:4]
    seconds = int(sys.argv[4]) if len(sys.argv) > 4 else 60
    with psycopg.connect(host=host, port=port, dbname=database, user="postgres", autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS tenants")
        owner.execute("CREATE ROLE tenants LOGIN IN ROLE honua_app")
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, port=port, database=database, folder=folder, own_port=PORT, size=SERVER_CONNECTIONS
        )
    )
    as_postgres: dict[str, str] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_postgres = {"user": "postgres", "group": "postgres"}
    pooler = subprocess.Popen(
        [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", configuration],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_postgres,
    )  # fmt: skip
    counts = {"transactions": 0, "rows": 0, "crossed": 0, "rows outside of scopes": 0}
    lock = threading.Lock()
    servers: set[int] = set()

    def work(number: int) -> None:
        customer = f"c{1 + number}"
        # Nothing may be prepared: another server connection may serve the next transaction.
        engine = create_engine(
            f"postgresql+psycopg://tenants@/{database}?host={folder}&port={PORT}",
            connect_args={"prepare_threshold": None},
        )
        seen = dict.fromkeys(counts, 0)
        pids = set()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with Session(engine) as session:
                try:
                    with customer_scope(session, customer):
                        found = session.execute(
                            text(
                                "SELECT customer_id, pg_backend_pid() FROM build_queue"
                                " ORDER BY queued_at DESC LIMIT 50"
                            )
                        ).all()
                        seen["rows"] += len(found)
                        seen["crossed"] += sum(1 for owner_of_row, _ in found if owner_of_row != customer)
                        pids.update(pid for _, pid in found)
                        if random.random() < 0.1:
                            raise RuntimeError
                    outside = session.execute(text("SELECT count(*) FROM licenses")).scalar_one()
                    seen["rows outside of scopes"] += outside
                except RuntimeError:
                    pass
                (session.commit if random.random() < 0.5 else session.rollback)()
                seen["transactions"] += 1
        engine.dispose()
        with lock:
            servers.update(pids)
            for name, value in seen.items():
                counts[name] += value

    try:
        time.sleep(1)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        pooler.terminate()
        pooler.wait()
        shutil.rmtree(folder)
        with psycopg.connect(
            host=host, port=port, dbname=database, user="postgres", autocommit=True
        ) as owner:
            owner.execute("DROP ROLE tenants")
    sys.stdout.write(f"{CLIENTS} clients on {len(servers)} server connections for {seconds} s: {counts}\n")


if __name__ == "__main__":
    main()
