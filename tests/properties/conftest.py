"""Profiles of the property tests: `quick` in the suite, and two to search longer by hand.

pytest tests/properties/test_arguments.py --hypothesis-profile=arguments
pytest tests/properties/test_queue_model.py tests/properties/test_quota_model.py --hypothesis-profile=models
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# One database serves all examples: each leaves it as it was.
settings.register_profile("shared", deadline=None, database=None, suppress_health_check=list(HealthCheck))
shared = settings.get_profile("shared")
settings.register_profile("quick", shared, max_examples=50, stateful_step_count=25, derandomize=True)
settings.register_profile("arguments", shared, max_examples=10_000)
settings.register_profile("models", shared, max_examples=2_000, stateful_step_count=50)


def pytest_configure(config: pytest.Config) -> None:
    """Use the quick profile unless another is asked for."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("quick")
