"""How far a streaming replica lags while workers use the primary, and reports read the replica.

Run it as ``PYTHONPATH=tests python tests/benchmarks/measure_replica.py [seconds] [folder of programs]``.
It makes two servers with fsync on, and removes them.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from honua_schema import MigrationRunner
from honua_schema.embedded import EmbeddedServer, embedded_programs
from replicas import catch_up, follow

VIEWS = ("active_builds", "build_performance_summary", "customer_build_usage")
LAG = """
    SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::bigint, extract(epoch FROM r.replay_lag)
    FROM pg_stat_replication AS r
"""
ORDER = """
    INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)
    VALUES ('system', '/m', 'h', '{"modules": ["ogc-api"]}')
"""


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    programs = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with ExitStack() as cleanup:
        servers = []
        for _ in range(2):
            folder = Path(tempfile.mkdtemp(prefix="honua-replica-"))
            folder.chmod(0o755)
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            server = EmbeddedServer(folder / "server", bin_folder=programs)
            cleanup.callback(server.remove)
            servers.append(cleanup.enter_context(server))
        primary, replica = servers
        primary.create_database("honua")
        assert MigrationRunner(primary.url("honua")).apply_migrations().success
        follow(replica, primary, programs or embedded_programs())
        for clients in (1, 4, 16):
            measure(primary, replica, clients, seconds)


def measure(primary: EmbeddedServer, replica: EmbeddedServer, clients: int, seconds: int) -> None:
    """Print the lag while so many clients work."""
    until = time.monotonic() + seconds
    cycles, reads, cancelled = [0] * clients, [0], [0]

    def open_(server: EmbeddedServer) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=server.host, port=server.port, user="postgres", dbname="honua", autocommit=True
        )

    def work(number: int) -> None:
        with open_(primary) as connection:
            while time.monotonic() < until:
                connection.execute(ORDER)
                claim = "SELECT build_id, retry_count FROM get_next_build_for_worker(%s, 'host')"
                for build, attempt in connection.execute(claim, [f"worker-{number}"]).fetchall():
                    done = "SELECT complete_build(%s, %s, %s, true, 480)"
                    connection.execute(done, [build, f"worker-{number}", attempt])
                    cycles[number] += 1

    def read() -> None:
        with open_(replica) as connection:
            while time.monotonic() < until:
                try:
                    for view in VIEWS:
                        connection.execute(f"SELECT * FROM {view}".encode()).fetchall()
                    reads[0] += len(VIEWS)
                except psycopg.errors.SerializationFailure:
                    cancelled[0] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    threads.append(threading.Thread(target=read))
    for thread in threads:
        thread.start()
    distances, lags = [], []
    with open_(primary) as connection:
        while time.monotonic() < until:
            ((distance, lag),) = connection.execute(LAG).fetchall()
            distances.append(distance)
            lags.append(float(lag or 0))
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        began = time.monotonic()
        catch_up(connection)
        caught_up = time.monotonic() - began
    lags.sort()
    sys.stdout.write(
        f"{clients} clients: {sum(cycles) / seconds:.0f} builds/s;"
        f" lag median {1000 * statistics.median(lags):.0f} ms,"
        f" 95 % {1000 * lags[int(0.95 * len(lags))]:.0f} ms, most {1000 * lags[-1]:.0f} ms,"
        f" most {max(distances) / 1024:.0f} kB; caught up after {1000 * caught_up:.0f} ms;"
        f" {reads[0] / seconds:.1f} views/s read, {cancelled[0]} cancelled\n"
    )


if __name__ == "__main__":
    main()
