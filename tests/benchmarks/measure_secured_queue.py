"""Claims and completions with row security and audit log, against the same queue without them.

Run it as ``python tests/benchmarks/measure_secured_queue.py SOCKET_FOLDER PORT``, as a superuser who needs no
password; it makes two databases, one at head and one at revision 005, which has neither, and drops them.
Rounds alternate; what is printed are builds per second of each round, and the median of the ratios.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from sqlalchemy import URL

from honua_schema.runner import MigrationRunner

CLIENTS, BUILDS, ROUNDS = 4, 500, 15
CYCLE = """
SELECT build_id, retry_count FROM get_next_build_for_worker('worker-' || :client_id, 'host') \\gset
SELECT complete_build(:build_id, 'worker-' || :client_id, :retry_count, true, 1);
"""
CUSTOMERS = (
    "INSERT INTO customers (customer_id, organization_name, contact_email)"
    " SELECT 'c' || i, 'o', 'e' FROM generate_series(1, 100) AS i;"
    "INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at,"
    " max_builds_per_month, max_concurrent_builds)"
    " SELECT 'c' || i, 'k', 'h' || i, 'pro', now() + interval '1 year', NULL, 100"
    " FROM generate_series(1, 100) AS i"
)
ORDERS = (
    "INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)"
    " SELECT 'c' || 1 + i %% 100, 'm', 'h', '{}' FROM generate_series(1, %s) AS i"
)


def builds_per_second(host: str, port: str, database: str, role: str, script: Path) -> float:
    """One round."""
    with psycopg.connect(host=host, port=port, dbname=database, user="postgres", autocommit=True) as owner:
        owner.execute("TRUNCATE build_queue CASCADE")
        owner.execute(ORDERS, [CLIENTS * BUILDS])
        owner.execute("VACUUM ANALYZE build_queue")
    pgbench = shutil.which("pgbench") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/pgbench")))
    finished = subprocess.run(
        [pgbench, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1", "-t", str(BUILDS), "-f", script,
         "-h", host, "-p", port, "-U", role, database],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "number of failed transactions: 0" in finished.stdout, finished.stdout + finished.stderr
    found = re.search(r"tps = ([\d.]+)", finished.stdout)
    assert found
    return float(found[1])


def main() -> None:
    host, port = sys.argv[1:3]
    sides = {"secured_queue": ("head", "worker_of_secured_queue"), "open_queue": ("005", "postgres")}
    with psycopg.connect(host=host, port=port, dbname="postgres", user="postgres", autocommit=True) as server:
        try:
            for database, (revision, _) in sides.items():
                server.execute(f"CREATE DATABASE {database}")
                url = URL.create(
                    "postgresql+psycopg", "postgres", database=database, query={"host": host, "port": port}
                )
                assert MigrationRunner(url).apply_migrations(revision).success
                with psycopg.connect(host=host, port=port, dbname=database, user="postgres") as owner:
                    for statement in CUSTOMERS.split(";"):
                        owner.execute(statement)
            server.execute("CREATE ROLE worker_of_secured_queue LOGIN IN ROLE honua_worker")
            with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
                script.write(CYCLE)
                script.flush()
                ratios = []
                for number in range(ROUNDS + 1):
                    order = list(sides) if number % 2 else list(reversed(sides))
                    speed = {
                        each: builds_per_second(host, port, each, sides[each][1], Path(script.name))
                        for each in order
                    }
                    if number:  # the first round warms up
                        ratios.append(speed["secured_queue"] / speed["open_queue"])
                        figures = ", ".join(f"{each} {speed[each]:.0f}/s" for each in sides)
                        sys.stdout.write(f"{figures}, ratio {ratios[-1]:.2f}\n")
            sys.stdout.write(f"median ratio: {statistics.median(ratios):.3f}\n")
        finally:
            for database in sides:
                server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            server.execute("DROP ROLE IF EXISTS worker_of_secured_queue")


if __name__ == "__main__":
    main()
