"""The page of results."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scenarios import LIFECYCLE, SCENARIOS
from benchmarks.side import SETTINGS
from honua_schema import __version__
from honua_schema.embedded import embedded_programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.scenarios import Plan, Rows

COLUMNS: dict[str, dict[str, str]] = {
    "cycles": {
        "clients": "Clients", "system": "System", "per second": "Cycles per second", "least": "Least",
        "most": "Most",
        "CPU us": "CPU, µs per cycle", "ratio": "Ratio", "least ratio": "Least ratio",
        "most ratio": "Most ratio",
    },
    "sizes": {
        "queued": "Queued", "system": "System", "per second": "Cycles per second",
        "CPU us": "CPU, µs per cycle",
        "claim ms": "Claim, ms", "ratio": "Ratio",
    },
    "lifecycle": {
        "clients": "Clients", "queued": "Queued",
        **{name: f"{name.capitalize()}, ms" for name in LIFECYCLE if name != "claim again"},
        "CPU us": "CPU of all operations, µs",
    },
    "limits": {
        "clients": "Clients", "system": "Customers", "waiting": "Waiting builds",
        "per second": "Cycles per second",
        "CPU us": "CPU, µs per cycle", "claim ms": "Claim, ms", "ratio": "Ratio",
    },
    "snapshot": {
        "system": "System", "held": "Seconds held", "first": "Cycles per second, first", "last": "Last",
        "ratio": "Last to first",
    },
    "endurance": {
        "system": "System", "cycles": "Cycles", "first": "Cycles per second, first", "last": "Last",
        "ratio": "Last to first", "CPU us": "CPU, µs per cycle", "WAL per cycle": "WAL, bytes per cycle",
        "HOT": "HOT share of updates", "dead rows": "Dead rows", "index bytes before": "Index bytes before",
        "index bytes": "Index bytes after", "table bytes": "Table bytes after",
    },
    "operations": {
        "operation": "Operation", "system": "System", "WAL": "WAL, bytes", "pages": "Pages",
        "updates": "Rows updated",
        "HOT": "HOT share",
    },
    "cache growth": {"rows": "Records of the entry", "ms": "Access, ms", "ratio": "Ratio to the first"},
    "cache": {
        "entries": "Entries", "system": "By", "per second": "Accesses per second", "CPU us": "CPU, µs",
        "ratio": "Ratio",
    },
    "instructions": {"system": "System"},
    "python": {"command": "Command", "seconds": "Seconds"},
}  # fmt: skip
TITLES = {
    "cycles": "Enqueue, claim and complete",
    "sizes": "Short and long queues",
    "lifecycle": "Each operation, by clients and length of the queue",
    "limits": "Customers at their limit",
    "snapshot": "While a snapshot is held",
    "endurance": "After many cycles",
    "operations": "What an operation writes and reads",
    "plans": "Plans",
    "cache": "Cache accounting",
    "instructions": "Instructions of a back end",
    "python": "Python",
}
EXPLANATIONS = {
    "cycles": "A cycle queues a build with a manifest of 1 kB, claims one and completes it, each in a "
    "transaction of its "
    "own. Rounds are interleaved: each system has a turn in each. Figures are medians of the rounds. "
    "*Ratio* is the "
    "first system's speed divided by that of the row, taken in each round; its median, least and most "
    "are shown. *CPU* "
    "is what all processes of the system's server used, autovacuum and WAL writer included.",
    "sizes": "With 4 clients; the claim's latency includes the round trip and, for systems that write "
    "at the claim, the "
    "commit.",
    "lifecycle": "One after the other, each in a transaction of its own, the round trip included: a build "
    "is queued, claimed, reported on and completed; another fails and is tried again; and ten are queued, "
    "claimed and completed in one statement each. The queues stay as long as they are, and take turns.",
    "limits": "Nine tenths of the queue belong to customers at `max_concurrent_builds`, with a higher "
    "priority than the "
    "others' builds.",
    "snapshot": "A transaction that has written holds its snapshot while 16 clients work; nothing can "
    "be vacuumed. Speeds "
    "are medians of the first and of the last sixth of the time. Rows may be of different runs; the line "
    "below is of the last.",
    "endurance": "With 4 clients and autovacuum on. Speeds are medians of the first and of the last "
    "sixth of the time. Rows may be of different runs; the line below is of the last.",
    "operations": "Each operation alone, by one client, without autovacuum and full page writes. "
    "*Pages* counts reads of "
    "user tables and their indexes, from memory or disk.",
    "plans": "Statements inside of the queue's functions, after many cycles without vacuum.",
    "cache": "`record_cache_access()` with one client that uses entries of longer and longer logs in turn, "
    "and with 16 clients on one entry and on a "
    "hundred, beside an `INSERT` into a copy of the log and an `UPDATE` of a counter in one statement.",
    "instructions": "Thousands per operation, counted by callgrind: the difference of two runs of one "
    "client, through "
    "prepared statements. Most repeat within a few percent; what splits pages of indexes varies more.",
    "python": "The least of several runs, start of the interpreter included.",
}


def machine(plan: Plan) -> dict[str, Any]:
    """Return what the figures depend on."""
    programs = plan.bin_folder or embedded_programs()
    server = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    described = {"processor": platform.processor(), "memory": "", "file system": ""}
    if Path("/proc/cpuinfo").exists():
        processors = re.findall(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        memory = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
        described["processor"] = f"{len(processors)} x {processors[0]}" if processors else platform.machine()
        described["memory"] = f"{int(memory[1]) / 2**20:.0f} GiB" if memory else ""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        folder = plan.folder.resolve()
        kinds = {Path(fields[1]): fields[2] for fields in mounts if folder.is_relative_to(fields[1])}
        described["file system"] = kinds[max(kinds, key=lambda path: len(path.parts))]
    node = (
        subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        if shutil.which("node")
        else None
    )
    return {
        **described,
        "system": f"{platform.system()} {platform.release()}",
        "server": server.stdout.strip(),
        "Python": platform.python_version(),
        "node": node.stdout.strip() if node else "none",
        "honua-schema": __version__,
    }


def page(results: Mapping[str, Any]) -> str:
    """Return the page of results, in Markdown."""
    latest = list(results.values())[-1]
    described = "; ".join(f"{name}: {value}" for name, value in latest["machine"].items() if value)
    parts = [
        "# Performance",
        "<!-- Written by `make bench` from performance.json: do not edit. -->",
        (
            "What was measured, and how; every figure is of a run of `make bench`. Absolute figures are "
            "those of a machine; ratios and instructions carry over. What is missing "
            "from a table was not measured."
        ),
        f"Machine and versions: {described}.",
        "All servers have the same settings: "
        + ", ".join(f"`{name} = {value}`" for name, value in SETTINGS.items())
        + "; the rest are defaults. Each system has a server of its own, with its schema as shipped. "
        "pgbench drives all of them, with prepared statements: it costs the machine so little that the "
        "server remains the bottleneck.",
    ]
    for name in SCENARIOS:
        if name in results:
            parts += _section(name, results[name])
    parts += _statements(results)
    return "\n\n".join(parts) + "\n"


def _section(name: str, result: Mapping[str, Any]) -> list[str]:
    rows: Rows = result["rows"]
    amounts = ", ".join(f"{key} {value}" for key, value in result["amounts"].items())
    parts = [f"## {TITLES[name]}", EXPLANATIONS[name]]
    if name == "plans":
        for row in rows:
            parts += [f"{row['operation']}:", f"```text\n{row['plan'].strip()}\n```"]
    elif name == "cache":
        parts += [_table(COLUMNS["cache growth"], [row for row in rows if "rows" in row])]
        parts += [_table(COLUMNS["cache"], [row for row in rows if "entries" in row])]
    elif name == "instructions":
        parts += [_instructions(rows)]
    else:
        parts += [_table(COLUMNS[name], [_with_claim(row) for row in rows])]
    return [
        *parts,
        f"Measured in {result['minutes']} minutes with `python -m benchmarks run {name}`: {amounts}.",
    ]


def _with_claim(row: Mapping[str, Any]) -> dict[str, Any]:
    latencies = row.get("ms per statement", [])
    return {**row, "claim ms": latencies[1] if len(latencies) > 1 else None}


def _instructions(rows: Rows) -> str:
    """Put the operations side by side, those that all have first."""
    operations = list(dict.fromkeys(["enqueue", "claim", "complete", *(row["operation"] for row in rows)]))
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        table.setdefault(row["system"], {"system": row["system"]})[row["operation"]] = row["count"] / 1000
    for row in table.values():
        row["cycle"] = sum(row.get(name, 0) for name in operations[:3])
    heads = {
        "system": "System",
        **{name: name.capitalize() for name in [*operations[:3], "cycle", *operations[3:]]},
    }
    return _table(heads, table.values())


def _statements(results: Mapping[str, Any]) -> Iterable[str]:
    """What each system runs per cycle, as pgbench reads it."""
    statements: dict[str, dict[str, str]] = {}
    for result in results.values():
        statements |= result["statements"]
    yield "## Statements"
    yield (
        "Each system's own, taken from the installed package. `:name` is a parameter; values that "
        "never change stand in it."
    )
    for name, texts in statements.items():
        yield f"{name} ({texts['about']}):"
        yield (
            "```text\n"
            + "\n\n".join(
                texts[each].strip()
                for each in (
                    ("enqueue", "complete_and_claim")
                    if texts.get("complete_and_claim")
                    else ("enqueue", "claim", "complete")
                )
            )
            + "\n```"
        )


def _table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [f"| {' | '.join(columns.values())} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row.get(key)) for key in columns)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
        )
    return f"{value:,}" if isinstance(value, int) else str(value)
