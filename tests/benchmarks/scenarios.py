"""What is measured. Each scenario returns rows for a table, as a list of dicts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.client import Client
from benchmarks.contestants import CUSTOMERS, HONUA, connect
from benchmarks.instructions import count_instructions
from benchmarks.side import Side, cycle, open_side, script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import URL

    from benchmarks.contestants import Contestant
    from benchmarks.side import Run

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        contestants: Who takes part, honua-schema first.
        folder: Where servers keep their data.
        bin_folder: The PostgreSQL programs; None for the embedded ones.
        rounds: Rounds that are interleaved.
        seconds: Duration of a contestant's turn in a round.
        clients: Numbers of clients.
        queued: Jobs in the queue, for scenarios of one size.
        sizes: Jobs in the queue, for the scenario of sizes.
        held: Seconds for which a snapshot is held.
        cycles: Cycles of the endurance run.
        log: Most rows in the access log of one cache entry.
        repeat: Repetitions whose instructions are counted.
        say: Called with each line of progress.
    """

    contestants: Sequence[Contestant]
    folder: Path
    bin_folder: Path | None
    rounds: int
    seconds: float
    clients: Sequence[int]
    queued: int
    sizes: Sequence[int]
    held: int
    cycles: int
    log: int
    repeat: int
    say: Callable[[str], None]

    def open(self, stack: ExitStack, contestant: Contestant, queued: int, **settings: str) -> Side:
        """Start a contestant's server, until the stack is closed."""
        self.say(f"  {contestant.name}: queueing {queued:,} jobs")
        opened = open_side(contestant, self.folder, self.bin_folder, queued=queued, settings=settings)
        return stack.enter_context(opened)


def interleave(plan: Plan, sides: Sequence[Side], scripts: Sequence[str], clients: int) -> Rows:
    """Let the sides take turns, and return a row for each.

    Medians, and the first side's speed relative to it.
    """
    speeds: list[list[float]] = [[] for _ in sides]
    times: list[list[float]] = [[] for _ in sides]
    latencies: list[list[list[float]]] = [[] for _ in sides]
    for side, text in zip(sides, scripts, strict=True):
        side.run(text, clients, seconds=1)
    for number in range(plan.rounds):
        for turn in range(len(sides)):
            which = (number + turn) % len(sides)
            run = sides[which].run(scripts[which], clients, seconds=plan.seconds)
            speeds[which].append(run.per_second)
            times[which].append(run.cpu)
            latencies[which].append(run.latencies)
    rows = []
    for which, side in enumerate(sides):
        ratios = [ours / theirs for ours, theirs in zip(speeds[0], speeds[which], strict=True)]
        rows.append(
            {
                "system": side.contestant.name,
                "clients": clients,
                "per second": statistics.median(speeds[which]),
                "least": min(speeds[which]),
                "most": max(speeds[which]),
                "CPU us": statistics.median(times[which]),
                "ms per statement": [
                    statistics.median(values) for values in zip(*latencies[which], strict=True)
                ],
                "ratio": statistics.median(ratios),
                "least ratio": min(ratios),
                "most ratio": max(ratios),
            }
        )
        plan.say(f"    {rows[-1]}")
    return rows


def cycles(plan: Plan) -> Rows:
    """Enqueue, claim and complete, with several numbers of clients."""
    with ExitStack() as stack:
        sides = [plan.open(stack, each, plan.queued) for each in plan.contestants]
        scripts = [cycle(each) for each in plan.contestants]
        return [row for clients in plan.clients for row in interleave(plan, sides, scripts, clients)]


def sizes(plan: Plan) -> Rows:
    """The cycle and the claim, with short and long queues."""
    rows = []
    for size in plan.sizes:
        with ExitStack() as stack:
            sides = [plan.open(stack, each, size) for each in plan.contestants]
            measured = interleave(plan, sides, [cycle(each) for each in plan.contestants], 4)
            rows += [{"queued": size, **row} for row in measured]
    return rows


BUILDS_IN_A_BATCH = 10
LIFECYCLE = {
    "enqueue": HONUA.enqueue,
    "claim": f"{HONUA.claim} \\gset job_",
    "progress": HONUA.others["progress"],
    "complete": HONUA.complete,
    "claim again": f"{HONUA.claim} \\gset job_",
    "failure": HONUA.others["failure"],
    "retry": HONUA.others["retry"],
    "enqueue ten": HONUA.preload.replace(":count", str(BUILDS_IN_A_BATCH)),
    "claim ten": "SELECT array_agg(build_id) AS builds, array_agg(retry_count) AS retries"
    f" FROM get_next_build_for_worker('worker-' || :worker, 'host', 'amd64', {BUILDS_IN_A_BATCH}) \\gset",
    "complete ten": "SELECT complete_build(b.id, 'worker-' || :worker, b.retry_count, true, 480)"
    " FROM unnest(:builds::uuid[], :retries::integer[]) AS b (id, retry_count)",
}
"""Statements of a script that leaves the queue as long as it was, by what the table calls them."""


def lifecycle(plan: Plan) -> Rows:
    """Each operation among all the others, with several numbers of clients, and short and long queues."""
    text = script(*LIFECYCLE.values())
    with ExitStack() as stack:
        sides = {size: plan.open(stack, HONUA, size) for size in plan.sizes}
        rows = []
        for clients in plan.clients:
            for side in sides.values():
                side.run(text, clients, seconds=1)
            runs: dict[int, list[Run]] = {size: [] for size in sides}
            for _ in range(plan.rounds):
                for size, side in sides.items():
                    runs[size].append(side.run(text, clients, seconds=plan.seconds))
            for size, turns in runs.items():
                times = zip(*(run.latencies for run in turns), strict=True)
                rows.append(
                    {
                        "clients": clients,
                        "queued": size,
                        **dict(zip(LIFECYCLE, map(statistics.median, times), strict=True)),
                        "CPU us": statistics.median(run.cpu for run in turns),
                    }
                )
                plan.say(f"    {rows[-1]}")
        return rows


def limits(plan: Plan) -> Rows:
    """Nine tenths of the queue belong to customers at their limit, in front of the others; and none."""
    at_limit = CUSTOMERS // 10

    def install(url: URL) -> None:
        HONUA.install(url)
        with connect(url) as connection:
            connection.execute(
                "INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at,"
                " max_concurrent_builds, max_builds_per_month)"
                " SELECT 'customer-' || n, 'key', n::text, 'pro', now() + interval '1 year', 1, NULL"
                f" FROM generate_series(0, {at_limit - 1}) AS n"
            )

    others = f"'customer-' || {at_limit} + mod(:number::integer, {CUSTOMERS - at_limit})"
    order = "customer_id, manifest_path, manifest_hash, manifest_json, priority"
    columns = f"INSERT INTO build_queue ({order}) SELECT %s, '/m.json', 'hash', :payload::jsonb, %s"
    enqueue = columns % (others, 5)
    nobody = replace(
        HONUA,
        name="none at the limit",
        enqueue=enqueue,
        preload=columns % (others.replace(":number::integer", "n"), 5)
        + " FROM generate_series(1, :count) AS n",
    )
    theirs = f"CASE WHEN mod(n, 10) = 0 THEN {others} ELSE 'customer-' || mod(n, {at_limit}) END"
    most = replace(
        nobody,
        name="nine tenths at the limit",
        install=install,
        preload=columns
        % (theirs.replace(":number::integer", "n"), "CASE WHEN mod(n, 10) = 0 THEN 5 ELSE 6 END")
        + " FROM generate_series(1, :count) AS n",
    )
    with ExitStack() as stack:
        sides = [plan.open(stack, each, plan.queued) for each in (most, nobody)]
        with sides[0].connect() as connection:
            busy = connection.execute(
                f"SELECT * FROM get_next_build_for_worker('busy', 'host', NULL, {at_limit - 1})"
            ).fetchall()
        assert {row[3] for row in busy} == {6}, busy
        waiting = sides[0].value("SELECT count(*) FROM build_queue WHERE admission = 'waiting'")
        plan.say(f"  {waiting:,} builds wait for a slot")
        return [
            {"waiting": waiting if row["system"] == most.name else 0, **row}
            for clients in plan.clients
            for row in interleave(plan, sides, [cycle(each.contestant) for each in sides], clients)
        ]


def snapshot(plan: Plan) -> Rows:
    """A transaction holds a snapshot and a transaction id while sixteen clients work."""
    rows = []
    window = max(1, plan.held // 12)
    for contestant in plan.contestants:
        with ExitStack() as stack:
            side = plan.open(stack, contestant, min(plan.queued, 10_000))
            side.run(cycle(contestant), 16, seconds=2)
            holder = stack.enter_context(side.connect())
            holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT pg_current_xact_id()")
            run = side.run(cycle(contestant), 16, seconds=plan.held, window=window)
            holder.execute("ROLLBACK")
            rows.append(_first_and_last(contestant, run.windows, held=plan.held))
            plan.say(f"    {rows[-1]}")
    return rows


def endurance(plan: Plan) -> Rows:
    """Many cycles with autovacuum on: speed, dead rows, HOT updates and sizes afterwards."""
    rows = []
    for contestant in plan.contestants:
        with ExitStack() as stack:
            side = plan.open(stack, contestant, min(plan.queued, 10_000))
            indexes = side.value(INDEX_BYTES)
            started = side.value(WAL)
            run = side.run(cycle(contestant), 4, count=plan.cycles, window=max(1, round(plan.seconds)))
            row = _first_and_last(contestant, run.windows, cycles=run.count)
            row |= {
                "CPU us": run.cpu,
                "WAL per cycle": (float(side.value(WAL)) - float(started)) / run.count,
                "HOT": side.value(HOT),
                "dead rows": side.value("SELECT sum(n_dead_tup)::integer FROM pg_stat_user_tables"),
                "index bytes before": indexes,
                "index bytes": side.value(INDEX_BYTES),
                "table bytes": side.value(TABLE_BYTES),
            }
            rows.append(row)
            plan.say(f"    {row}")
    return rows


USER_TABLES = "FROM pg_class AS c JOIN pg_stat_user_tables AS t ON t.relid = c.oid"
INDEX_BYTES = f"SELECT sum(pg_indexes_size(c.oid))::bigint {USER_TABLES}"
TABLE_BYTES = f"SELECT sum(pg_table_size(c.oid))::bigint {USER_TABLES}"
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'"
HOT = "SELECT (sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0))::float FROM pg_stat_user_tables"
STATISTICS = (
    "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, sum(n_tup_upd)::bigint, "
    "sum(n_tup_hot_upd)::bigint,"
    " sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)"
    " + coalesce(toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit, 0))::bigint"
    " FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)"
)


def _first_and_last(contestant: Contestant, windows: Sequence[float], **facts: Any) -> dict[str, Any]:
    """Compare the first windows with the last ones: a sixth of them each."""
    part = max(1, len(windows) // 6)
    first, last = statistics.median(windows[:part]), statistics.median(windows[-part:])
    return {"system": contestant.name, **facts, "first": first, "last": last, "ratio": last / first}


def operations(plan: Plan) -> Rows:
    """What one operation writes and reads.

    Nothing else runs, and pages are not written whole, so it repeats.
    """
    count = 200
    rows = []
    for contestant in plan.contestants:
        with ExitStack() as stack:
            side = plan.open(
                stack, contestant, max(20_000, plan.sizes[0]), autovacuum="off", full_page_writes="off"
            )
            client = Client(side.url, contestant)
            for name in contestant.operations:
                client.provide(name, 2 * count)
                client.repeat(name, count)  # the first back end fills caches that all share
                before = _statistics(side)
                client.repeat(name, count)
                wal, updates, hot, pages = (
                    after - earlier for after, earlier in zip(_statistics(side), before, strict=True)
                )
                rows.append(
                    {
                        "system": contestant.name, "operation": name, "WAL": wal / count,
                        "pages": pages / count,
                        "updates": updates / count, "HOT": hot / updates if updates else None,
                    }
                )  # fmt: skip
                plan.say(f"    {rows[-1]}")
    return rows


def _statistics(side: Side) -> list[int]:
    """Read the server's counters, once those of the back ends that ended have arrived."""
    time.sleep(1)
    with side.connect() as connection:
        [row] = connection.execute(STATISTICS.encode()).fetchall()
    return list(row)


def plans(plan: Plan) -> Rows:
    """Plans of the statements inside of the queue's functions, after many cycles without vacuum."""
    notices: list[str] = []
    with ExitStack() as stack:
        side = plan.open(stack, HONUA, min(plan.queued, 100_000), autovacuum="off")
        side.run(cycle(HONUA), 4, count=min(10_000, plan.cycles))
        with side.connect() as connection:
            connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
            connection.execute("LOAD 'auto_explain'")
            for name, value in {
                "log_min_duration": "0", "log_nested_statements": "on", "log_analyze": "on",
                "log_timing": "off",
                "log_buffers": "on", "log_level": "notice",
            }.items():  # fmt: skip
                connection.execute(f"SET auto_explain.{name} = '{value}'".encode())
            claimed = connection.execute(
                "SELECT build_id, retry_count FROM get_next_build_for_worker('worker', 'host', 'amd64')"
            ).fetchone()
            assert claimed
            build_id, retry_count = claimed
            statements = {
                "claim": "SELECT count(*) FROM get_next_build_for_worker('worker', 'host', 'amd64')",
                "progress": f"SELECT update_build_progress('{build_id}', 50, 'compile', 3, 'worker', "
                f"{retry_count})",
                "complete": f"SELECT complete_build('{build_id}', 'worker', {retry_count}, true, 480)",
                "cache access": "SELECT record_cache_access('00000000-0000-0000-0000-000000000000',"
                " 'customer-0', 'cache_hit')",
            }
            rows = []
            for name, statement in statements.items():
                notices.clear()
                connection.execute(statement.encode())
                found = [text.partition("\n")[2] for text in notices if "plan:\n" in text]
                rows += [{"operation": name, "plan": text} for text in found if not _is_trivial(text)]
    return rows


def _is_trivial(plan: str) -> bool:
    """Return whether a plan is that of the call itself, or of an expression."""
    return "\nResult " in f"\n{plan.partition(chr(10))[2]}" and "Scan" not in plan


CACHE_ACCESS = "SELECT record_cache_access({entry}, 'customer-' || mod(:number::integer, 100), 'cache_hit')"
BARE_ACCESS = (
    "WITH access AS (INSERT INTO bare_log (build_cache_id, customer_id, access_type)"
    " VALUES ({entry}, 'customer-' || mod(:number::integer, 100), 'cache_hit') RETURNING build_cache_id)"
    " UPDATE bare_entry SET hits = hits + 1, last_accessed_at = now() WHERE id ="
    " (SELECT build_cache_id FROM access)"
)
BARE_TABLES = (
    "CREATE TABLE bare_log (LIKE build_access_log INCLUDING DEFAULTS INCLUDING IDENTITY INCLUDING INDEXES)",
    (
        "CREATE TABLE bare_entry (id uuid PRIMARY KEY, hits bigint NOT NULL DEFAULT 0,"
        " last_accessed_at timestamptz) WITH (fillfactor = 50)"
    ),
    "INSERT INTO bare_entry (id) SELECT id FROM build_cache_registry",
)
ENTRY = "lpad({}::text, 32, '0')::uuid"
HOT_ENTRY = ENTRY.format(0)
ANY_ENTRY = "lpad(mod(:number::integer, 100)::text, 32, '0')::uuid"


def _take_turns(plan: Plan, side: Side, keys: dict[int, str]) -> dict[int, list[Run]]:
    """Let one client use each entry in turn, in several rounds."""
    runs: dict[int, list[Run]] = {size: [] for size in keys}
    for _ in range(plan.rounds):
        for size, entry in keys.items():
            runs[size].append(side.run(script(CACHE_ACCESS.format(entry=entry)), 1, seconds=plan.seconds))
    return runs


def cache(plan: Plan) -> Rows:
    """One access to entries with more and more records in the log.

    And sixteen clients on one entry and on a hundred, beside a bare table.
    """
    rows = []
    with ExitStack() as stack:
        side = plan.open(stack, HONUA, 0)
        sizes = [each for each in (1_000, 10_000, 100_000, 1_000_000) if each <= plan.log]
        keys = {size: ENTRY.format(number + 1) for number, size in enumerate(sizes)}
        with side.connect() as connection:
            for size, entry in keys.items():
                connection.execute(
                    "INSERT INTO build_access_log (build_cache_id, customer_id, access_type)"
                    f" SELECT {entry}, 'customer-' || mod(n, 100), 'cache_hit'"
                    f" FROM generate_series(1, {size}) AS n".encode()
                )
            connection.execute("VACUUM ANALYZE build_access_log, build_cache_registry")
            connection.execute("CHECKPOINT")
        runs = {
            size: [each.latencies[0] for each in turns]
            for size, turns in _take_turns(plan, side, keys).items()
        }
        rows += [{"rows": size, "ms": statistics.median(runs[size])} for size in sizes]
        for row in rows:
            row["ratio"] = statistics.median(
                larger / smaller for larger, smaller in zip(runs[row["rows"]], runs[sizes[0]], strict=True)
            )
            plan.say(f"    {row}")
        with side.connect() as connection:
            for statement in BARE_TABLES:
                connection.execute(statement.encode())
            connection.execute("VACUUM ANALYZE")
        ours, bare = (replace(HONUA, name=name) for name in ("record_cache_access", "bare"))
        for entries, entry in (("one", HOT_ENTRY), ("a hundred", ANY_ENTRY)):
            measured = interleave(
                plan,
                [Side(ours, side.server), Side(bare, side.server)],
                [script(text.format(entry=entry)) for text in (CACHE_ACCESS, BARE_ACCESS)],
                16,
            )
            rows += [{"entries": entries, **row} for row in measured]
    return rows


def instructions(plan: Plan) -> Rows:
    """Instructions of a back end per operation."""
    import tempfile

    rows = []
    for contestant in plan.contestants:
        with tempfile.TemporaryDirectory(prefix="honua-bench-", dir=plan.folder) as name:
            Path(name).chmod(0o755)
            counts = count_instructions(contestant, Path(name), plan.bin_folder, repeat=plan.repeat)
            for operation, count in counts:
                rows.append({"system": contestant.name, "operation": operation, "count": count.instructions})
                plan.say(f"    {rows[-1]}")
    return rows


def python(plan: Plan) -> Rows:
    """Seconds that the interpreter needs until the models, or a command, are ready.

    The least of several runs.
    """
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import honua_schema": [sys.executable, "-c", "import honua_schema"],
        "import honua_schema.models": [sys.executable, "-c", "import honua_schema.models"],
        "honua-schema --help": [sys.executable, "-m", "honua_schema", "--help"],
        "honua-schema current": [sys.executable, "-m", "honua_schema", "current"],
    }
    rows = []
    for name, command in commands.items():
        spent = []
        for _ in range(1 + 2 * plan.rounds):
            started = time.monotonic()
            subprocess.run(command, capture_output=True, check=False)
            spent.append(time.monotonic() - started)
        rows.append({"command": name, "seconds": min(spent)})
        plan.say(f"    {rows[-1]}")
    return rows


SCENARIOS: dict[str, Callable[[Plan], Rows]] = {
    each.__name__: each
    for each in (
        cycles, sizes, lifecycle, limits, snapshot, endurance, operations, plans, cache, instructions, python,
    )
}  # fmt: skip
