"""claim_bound(): what claims know of where the builds of a priority begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build_queue.driver import Queue


def test_nothing_is_known_at_first(queue: Queue) -> None:
    unknown = queue.rows(
        "SELECT claim_bound(architecture, priority) = '-infinity' AS is_unknown"
        " FROM unnest('{amd64,arm64}'::varchar[]) AS architecture, generate_series(1, 10) AS priority"
    )

    assert unknown == [(True,)] * 20


def test_a_bound_is_kept_to_the_microsecond(queue: Queue) -> None:
    queue.run(
        "SELECT setval('claim_bound_amd64_5',"
        " (extract(epoch FROM timestamptz '2031-12-31 23:59:59.999999Z') * 1000000)::bigint)"
    )

    assert queue.value("SELECT claim_bound('amd64', 5) = '2031-12-31 23:59:59.999999Z'")
    assert queue.value("SELECT claim_bound('arm64', 5) = '-infinity'")
    assert queue.value("SELECT claim_bound('amd64', 6) = '-infinity'")


def test_it_stays_when_the_transaction_that_set_it_is_rolled_back(queue: Queue) -> None:
    queue.run("BEGIN")
    queue.run("SELECT raise_claim_bounds(false)")
    queue.run("ROLLBACK")

    assert queue.value("SELECT claim_bound('amd64', 5) > now() - interval '1 minute'")
