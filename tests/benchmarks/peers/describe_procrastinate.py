"""Print the schema and the statements of the installed procrastinate, whose parameters are ``:name``."""

import json
import re
import sys
from importlib.metadata import version

from procrastinate.schema import SchemaManager
from procrastinate.sql import queries


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def statement(name: str, **values: str) -> str:
    return re.sub(r"%\((\w+)\)s", lambda match: values[match[1]], queries[name]).rstrip(";")


WORKERS = 64
JOB = f"(default,bench,0,,,{quoted(sys.argv[1])},)"  # a job to defer, as the client sends it
TYPE = "procrastinate_job_to_defer_v1[]"

json.dump(
    {
        "about": f"procrastinate {version('procrastinate')}",
        "schema": [
            SchemaManager.get_schema(),
            f"SELECT procrastinate_register_worker_v1() FROM generate_series(1, {WORKERS})",
        ],
        "values": {"jobs": "{" + quoted(JOB) + "}"},
        "preload": f"SELECT count(procrastinate_defer_jobs_v1(:jobs::{TYPE})) FROM generate_series(1, "
        f":count)",
        "enqueue": statement("defer_jobs", jobs=":jobs"),
        "claim": statement("fetch_job", queues="NULL", worker_id="1 + :worker"),
        "complete": statement("finish_job", job_id=":job_id", status="'succeeded'", delete_job="false"),
        "waiting": "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'",
    },
    sys.stdout,
)
