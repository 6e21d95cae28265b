"""Functions that forbid the planner something do not make the server compile their queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build_queue.driver import Queue


def test_a_function_that_forbids_plans_is_not_compiled(queue: Queue) -> None:
    # Before PostgreSQL 18, a forbidden plan that has to be used costs so much that compiling seems worth it.
    forbidding = queue.rows(
        "SELECT p.proname, 'jit=off' = ANY (p.proconfig) AS never_compiled FROM pg_proc AS p"
        " WHERE p.pronamespace = 'public'::regnamespace AND p.proconfig::text LIKE '%enable\\_%=off%'"
    )
    assert "get_next_build_for_worker" in [row.proname for row in forbidding]
    assert all(row.never_compiled for row in forbidding)
