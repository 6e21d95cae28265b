"""Print the schema and the statements of the installed pgqueuer, whose parameters are ``:name``."""

import json
import re
import sys
from datetime import timedelta
from importlib.metadata import version
from uuid import uuid4

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder


def statement(sql: str, *values: str) -> str:
    without_comments = re.sub(r"--.*", "", sql)
    return re.sub(r"\$(\d+)", lambda match: values[int(match[1]) - 1], without_comments).strip().rstrip(";")


def enqueue(payloads: str, count: str = "") -> str:
    def array(value: str) -> str:
        return f"array_fill({value}, ARRAY[:count::integer])" if count else f"ARRAY[{value}]"

    return statement(
        queries.build_enqueue_query(), array("0"), array("text 'bench'"), payloads, array("interval '0'"),
        array("NULL::text"), array("jsonb 'null'"),
    )  # fmt: skip


environment, queries = QueryBuilderEnvironment(), QueryQueueBuilder()
claim = queries.build_dequeue_query(
    batch_size=1,
    entrypoints=["bench"],
    concurrency_limits=[0],
    queue_manager_id=uuid4(),
    global_concurrency_limit=None,
    heartbeat_timeout=timedelta(seconds=30),
)
given = ["1", "'{bench}'", "lpad(:worker::text, 32, '0')::uuid", "interval '30 s'"]
assert [type(value) for value in claim.args[:2]] == [int, list]

json.dump(
    {
        "about": f"pgqueuer {version('pgqueuer')}",
        "schema": [environment.build_install_query(), environment.build_optimize_autovacuum_query()],
        "values": {"payloads": "{" + '"\\\\x' + sys.argv[1].encode().hex() + '"}'},
        "preload": enqueue("array_fill((:payloads::bytea[])[1], ARRAY[:count::integer])", "count"),
        "enqueue": enqueue(":payloads"),
        "claim": statement(claim.sql, *given),
        "complete": statement(queries.build_log_job_query(), "ARRAY[:job_id]", "'{successful}'", "'{NULL}'"),
        "waiting": "SELECT count(*) FROM pgqueuer WHERE status = 'queued'",
    },
    sys.stdout,
)
