"""What is compared: each system's own schema, and the SQL that it runs for each operation on its queue.

A parameter is written ``:name``. Given are ``worker`` (a number), ``number`` (that tells orders apart),
``payload`` (a JSON object of 1 kB) and the contestant's own ``values``; ``job_id`` is the column ``id`` of
the row that the claim returned, and so on.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg

from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import URL

PAYLOAD = json.dumps(
    {"modules": ["ogc-api", "stac"], "cloud": "aws", "digests": [
        hashlib.sha256(bytes([number])).hexdigest() for number in range(14)
    ]}
)  # fmt: skip
"""What a job carries: 1 kB of JSON that does not compress away."""

CUSTOMERS = 100
JOBS_PER_STATEMENT = 10_000


def for_psycopg(statement: str) -> bytes:
    """Write the parameters of a statement as psycopg wants them."""
    return re.sub(r"(?<![:\w]):([a-z_]+)", r"%(\1)s", statement.replace("%", "%%")).encode()


@dataclass(frozen=True)
class Contestant:
    """A system to measure.

    Attributes:
        name: How tables call it.
        about: What it is, with its version.
        install: Makes its schema in a new database.
        preload: SQL that queues ``:count`` jobs.
        enqueue: SQL that queues a job.
        claim: SQL that gives a job to a worker, and returns it.
        complete: SQL that ends the claimed job.
        complete_and_claim: SQL that does both at once, where a cycle is to be measured so.
        waiting: Query that counts the jobs that are queued.
        others: Further operations on a claimed job, or on none, by name.
        values: Parameters of its own.
    """

    name: str
    about: str
    install: Callable[[URL], None]
    preload: str
    enqueue: str
    claim: str
    complete: str
    waiting: str
    complete_and_claim: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def operations(self) -> dict[str, str]:
        """Each operation's SQL by its name; those of a cycle first, before any job is tried again."""
        return {"enqueue": self.enqueue, "claim": self.claim, "complete": self.complete, **self.others}

    def fill(self, url: URL, count: int) -> None:
        """Queue jobs, and tell the planner of them."""
        with connect(url) as connection:
            for done in range(0, count, JOBS_PER_STATEMENT):
                number = min(JOBS_PER_STATEMENT, count - done)
                values = {"payload": PAYLOAD, "count": number, **self.values}
                connection.execute(for_psycopg(self.preload), values)
            connection.execute("VACUUM ANALYZE")


def connect(url: URL, **options: Any) -> psycopg.Connection[Any]:
    """Connect to a database; each statement commits."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(conninfo, autocommit=True, **options)


def _install_honua(url: URL, license_of_customer: str = "") -> None:
    result = MigrationRunner(url).apply_migrations()
    assert result.success, result.errors
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO customers (customer_id, organization_name, contact_email, tier)"
            " SELECT 'customer-' || n, 'Atlas Surveys', 'maps@atlas.example', 'pro'"
            " FROM generate_series(0, %s) AS n",
            [CUSTOMERS - 1],
        )
        connection.execute(
            "INSERT INTO build_cache_registry (id, manifest_hash, tier, registry_url, image_tag, "
            "full_image_url,"
            " modules, architecture, cloud_provider, cloud_compute, deployment_mode, build_duration_seconds,"
            " manifest_json)"
            " SELECT lpad(n::text, 32, '0')::uuid, 'hash-' || n, 'core', 'https://ghcr.io', '1.0',"
            " 'ghcr.io/honua/server:1.0', ARRAY['stac'], 'amd64', 'aws', 'graviton', 'standalone', 480, '{}'"
            " FROM generate_series(0, 99) AS n"
        )
        if license_of_customer:
            connection.execute(license_of_customer.encode())


def _install_honua_with_limits(url: URL) -> None:
    _install_honua(
        url,
        "INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at,"
        " max_concurrent_builds, max_builds_per_month)"
        " SELECT c.customer_id, 'key', c.customer_id, 'pro', now() + interval '1 year', 5, NULL"
        " FROM customers AS c WHERE c.customer_id LIKE 'customer-%'",
    )


HONUA = Contestant(
    name="honua-schema",
    about="honua-schema, customers without a limit",
    install=_install_honua,
    preload="INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json, queued_at)"
    f" SELECT 'customer-' || mod(n, {CUSTOMERS}), '/manifests/honua-build.json', 'hash', :payload::jsonb,"
    " now() - (:count - n) * interval '1 ms' FROM generate_series(1, :count) AS n",
    enqueue="INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json)"
    f" VALUES ('customer-' || mod(:number::integer, {CUSTOMERS}), '/manifests/honua-build.json', 'hash',"
    " :payload::jsonb)",
    claim="SELECT * FROM get_next_build_for_worker('worker-' || :worker, 'host', 'amd64')",
    complete="SELECT complete_build(:job_build_id, 'worker-' || :worker, :job_retry_count, true, 480)",
    waiting="SELECT count(*) FROM build_queue WHERE status = 'queued'",
    others={
        "claim of any architecture": "SELECT * FROM get_next_build_for_worker('worker-' || :worker, 'host')",
        "claim of ten": "SELECT * FROM get_next_build_for_worker('worker-' || :worker, 'host', 'amd64', 10)",
        "progress": "SELECT update_build_progress(:job_build_id, 50, 'compile', 3, 'worker-' || "
        ":worker, :job_retry_count)",
        "failure": "SELECT complete_build(:job_build_id, 'worker-' || :worker, :job_retry_count, false, "
        "480, 1)",
        "retry": "SELECT retry_failed_build(:job_build_id)",
        "cache access": "SELECT record_cache_access(lpad(mod(:number::integer, 100)::text, 32, '0')::uuid,"
        f" 'customer-' || mod(:number::integer, {CUSTOMERS}), 'cache_hit')",
    },
)

HONUA_WITH_LIMITS = Contestant(
    name="honua-schema, limits",
    about=f"honua-schema, {CUSTOMERS} customers with at most 5 concurrent builds each",
    install=_install_honua_with_limits,
    preload=HONUA.preload,
    enqueue=HONUA.enqueue,
    claim=HONUA.claim,
    complete=HONUA.complete,
    waiting=HONUA.waiting,
)

HONUA_AT_ONCE = replace(
    HONUA,
    name="honua-schema, at once",
    about="honua-schema, each worker completing a build and claiming the next in one statement",
    complete_and_claim=f"SELECT next.* FROM ({HONUA.complete}) AS completed"
    f" LEFT JOIN ({HONUA.claim}) AS next ON true",
    others={},
    values={"job_build_id": "00000000-0000-0000-0000-000000000000", "job_retry_count": "0"},
)


def _minimal(name: str, about: str, *, payload: bool) -> Contestant:
    def install(url: URL) -> None:
        with connect(url) as connection:
            connection.execute(
                "CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " status text NOT NULL DEFAULT 'queued', priority integer NOT NULL DEFAULT 5"
                + (", payload jsonb NOT NULL)" if payload else ")")
            )
            connection.execute("CREATE INDEX ON jobs (priority DESC, id) WHERE status = 'queued'")

    column, value = ("payload", ":payload::jsonb") if payload else ("priority", "5")
    return Contestant(
        name=name,
        about=about,
        install=install,
        preload=f"INSERT INTO jobs ({column}) SELECT {value} FROM generate_series(1, :count)",
        enqueue=f"INSERT INTO jobs ({column}) VALUES ({value})",
        claim="UPDATE jobs SET status = 'building' WHERE id = (SELECT id FROM jobs WHERE status = 'queued'"
        " ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *",
        complete="UPDATE jobs SET status = 'success' WHERE id = :job_id",
        waiting="SELECT count(*) FROM jobs WHERE status = 'queued'",
    )


MINIMAL = _minimal(
    "minimal", "a table of id, status and priority, one statement per operation", payload=False
)
MINIMAL_WITH_PAYLOAD = _minimal("minimal, payload", "the minimal table with the payload", payload=True)

OWN = (HONUA, HONUA_AT_ONCE, HONUA_WITH_LIMITS, MINIMAL, MINIMAL_WITH_PAYLOAD)
