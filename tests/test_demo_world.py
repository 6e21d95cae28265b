"""The demo's data, without a database."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from honua_schema.demo.generator import Generator, Row
from honua_schema.demo.world import SIX_MONTHS, SMALL, Rhythm, Volume, World
from honua_schema.models import BuildStatus, MessageRole

ANCHOR = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)


def generator(seed: int = 1, volume: Volume = SMALL) -> Generator:
    return Generator(World(seed=seed, anchor=ANCHOR, volume=volume))


def rows_of(made_by: Generator, table: str) -> list[Row]:
    pieces = made_by.tables[table].pieces()
    return [row for piece in pieces for row in made_by.tables[table].rows(*piece)]


@pytest.mark.parametrize("table", generator().tables)
def test_the_same_seed_and_anchor_give_the_same_rows(table: str) -> None:
    assert rows_of(generator(), table) == rows_of(generator(), table)


@pytest.mark.parametrize("table", generator().tables)
def test_another_seed_gives_other_rows(table: str) -> None:
    assert rows_of(generator(seed=2), table) != rows_of(generator(seed=1), table)


@pytest.mark.parametrize("table", generator().tables)
def test_each_row_has_a_value_for_each_column(table: str) -> None:
    made = generator()
    assert {len(row) for row in rows_of(made, table)} == {len(made.tables[table].columns)}


@pytest.mark.parametrize("table", ["build_access_log", "build_events"])
def test_a_piece_does_not_depend_on_the_pieces_before_it(table: str) -> None:
    volume = replace(SMALL, accesses=110_000, builds=3_000)
    *_, last = generator(volume=volume).tables[table].pieces()
    after_all_others, alone = generator(volume=volume), generator(volume=volume)
    for piece in after_all_others.tables[table].pieces():
        rows = list(after_all_others.tables[table].rows(*piece))
    assert last[0] > 0
    assert list(alone.tables[table].rows(*last)) == rows


def test_scale_1_is_what_the_documents_plan_for() -> None:
    volume = Volume.of_scale(1)
    assert (volume.customers, volume.cache_entries, volume.accesses) == (100, 10_000, 1_000_000)
    assert (volume.builds, volume.conversations) == (50_000, 10_000)
    tables = generator(volume=volume).tables
    expected = {name: table.things * table.rows_per_thing for name, table in tables.items()}
    assert expected["build_events"] == 500_000
    assert expected["conversation_messages"] == 100_000
    assert expected["build_manifests"] == 10_000


@pytest.mark.parametrize(
    "table", ["build_events", "build_metrics", "build_artifacts", "conversation_messages"]
)
def test_there_are_about_as_many_rows_as_planned(table: str) -> None:
    made = generator(volume=Volume.of_scale(0.02))
    expected = made.tables[table].things * made.tables[table].rows_per_thing
    assert 0.85 * expected < len(rows_of(made, table)) < 1.15 * expected


def test_the_access_log_has_the_planned_rows_numbered_in_order_of_time() -> None:
    volume = Volume.of_scale(0.03)
    log = rows_of(generator(volume=volume), "build_access_log")
    assert [row[0] for row in log] == list(range(1, volume.accesses + 1))
    times = [row[3] for row in log]
    assert times == sorted(times, key=str)
    made = [row[1] for row in log if row[4] == "build_created"]
    assert len(made) == len(set(made)) == volume.cache_entries


def test_all_times_lie_in_the_six_months_before_the_anchor() -> None:
    made = generator()
    for build in map(made.world.build, range(SMALL.builds)):
        assert build.started_at is None or build.queued_at <= build.started_at <= ANCHOR
        assert build.ended_at is None or build.queued_at <= build.ended_at <= ANCHOR
        assert build.queued_at >= ANCHOR - SIX_MONTHS
        assert build.queued_at <= ANCHOR or build.status is BuildStatus.QUEUED


def test_a_manifest_hash_is_the_sha_256_of_the_canonical_json() -> None:
    manifest = generator().world.manifest(7)
    assert manifest.hash == sha256(manifest.json.encode()).hexdigest()
    canonical = json.dumps(json.loads(manifest.json), sort_keys=True, separators=(",", ":"))
    assert manifest.json == canonical


def test_more_happens_by_day_than_at_night_and_on_weekends() -> None:
    rhythm = Rhythm(ANCHOR - SIX_MONTHS, ANCHOR, growth=0.5)
    times = [rhythm.at(number / 20_000) for number in range(20_000)]
    by_hour = Counter(time.hour for time in times)
    assert by_hour[10] > 5 * by_hour[3]
    assert sum(time.weekday() >= 5 for time in times) / len(times) < 0.15
    assert sum(time > ANCHOR - timedelta(days=91) for time in times) > 0.55 * len(times)


def test_few_customers_make_much_of_the_traffic() -> None:
    world = generator(volume=Volume.of_scale(1)).world
    drawn = Counter(customer.rank for customer in world.busy_customers(world.random("test"), 10_000))
    assert sum(drawn[rank] for rank in range(10)) > 4_000
    assert drawn[90] > 0


def test_few_cache_entries_get_most_of_the_hits() -> None:
    log = rows_of(generator(volume=Volume.of_scale(0.05)), "build_access_log")
    hits = Counter(row[1] for row in log if row[4] == "cache_hit")
    assert sum(count for _, count in hits.most_common(25)) > 0.4 * hits.total()
    assert len(hits) > 300


def test_builds_take_minutes_and_a_few_much_longer() -> None:
    world = generator(volume=Volume.of_scale(0.02)).world
    builds = map(world.build, range(world.ended))
    durations = sorted(build.duration for build in builds if build.status is BuildStatus.SUCCESS)
    assert 200 < durations[len(durations) // 2] < 330
    assert durations[-1] > 3 * durations[len(durations) // 2]


def test_messages_have_a_few_words_or_up_to_50_kilobytes() -> None:
    made = generator(volume=Volume.of_scale(0.1))
    content = [(row[2], row[3]) for row in made.messages(0, 1000)]
    lengths = sorted(len(str(text)) for role, text in content if role == MessageRole.USER)
    assert lengths[0] < 10
    assert lengths[len(lengths) // 2] < 200
    assert 10_000 < lengths[-1] <= 51_000
