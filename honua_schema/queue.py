"""The build queue for workers and orchestrators: claim, report, complete, cancel, retry.

`honua_schema.calls` says how these functions are called and which errors they raise. A worker needs five of
them, and commits each at once:

    build = queue.claim(session, "worker-1", hostname)  # None: nothing to do
    queue.report_progress(session, build, 40, "compile")  # False: no longer ours, stop
    queue.heartbeat(session, build)
    queue.complete(session, build, seconds, image_digest=digest)
    queue.fail(session, build, seconds, error_message=message)

They name the worker and the attempt that hold the build, so a worker that comes back late changes nothing.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from honua_schema.calls import Call, SqlFunction, first, records, value

if TYPE_CHECKING:
    import uuid
    from decimal import Decimal


@dataclass(frozen=True)
class ClaimedBuild:
    """A build that a worker holds.

    Attributes:
        build_id: The build.
        manifest_json: What to build.
        customer_id: Who ordered it.
        priority: From 1 to 10.
        retry_count: The attempt; with the worker it says who holds the build.
        manifest_hash: Hash of the manifest, the key of the build cache.
        build_args: Arguments of the build.
        target_registry_id: Where the image goes; the customer's default registry if None.
        timeout_at: When the build may be taken from the worker; never if None.
        worker_id: The worker.
    """

    build_id: uuid.UUID
    manifest_json: dict[str, Any]
    customer_id: str
    priority: int
    retry_count: int
    manifest_hash: str
    build_args: dict[str, Any] | None
    target_registry_id: uuid.UUID | None
    timeout_at: datetime.datetime | None
    worker_id: str


@dataclass(frozen=True)
class TimedOutBuild:
    """A build that was taken from its worker.

    Attributes:
        build_id: The build.
        customer_id: Who ordered it.
        worker_id: Who had it.
    """

    build_id: uuid.UUID
    customer_id: str
    worker_id: str | None


@dataclass(frozen=True)
class BuildRegistryCredential:
    """The login to the registry that a build is pushed to.

    Attributes:
        credential_id: The credential.
        customer_id: Whose it is.
        registry_url: Address of the registry.
        registry_provider: Kind of registry.
        username_encrypted: User name, encrypted by the application.
        password_encrypted: Password or token, encrypted by the application.
    """

    credential_id: uuid.UUID
    customer_id: str
    registry_url: str
    registry_provider: str
    username_encrypted: bytes
    password_encrypted: bytes


class BuildDetails(TypedDict, total=False):
    """What may be said about a completed build, by the names of the columns of build_results."""

    exit_code: int | None
    stdout_log: str | None
    stderr_log: str | None
    error_message: str | None
    error_code: str | None
    peak_memory_mb: int | None
    peak_cpu_percent: Decimal | float | None
    disk_usage_mb: int | None
    total_layers: int | None
    cache_layers_used: int | None
    new_layers_built: int | None
    final_image_size_bytes: int | None
    image_digest: str | None
    image_tags: list[str] | None
    pushed_to_registry: bool | None
    push_duration_seconds: Decimal | float | None
    build_cache_id: uuid.UUID | None


@SqlFunction
def get_next_build_for_worker(
    worker_id: str, worker_hostname: str | None, architecture: str | None = None, batch_size: int = 1
) -> Call[list[ClaimedBuild]]:
    """Claim the next builds, by priority and then by age, and start their timeout clocks.

    Args:
        worker_id: Name of the worker, which no other worker uses.
        worker_hostname: Its machine.
        architecture: amd64 or arm64; None for builds of both.
        batch_size: The number of builds to claim at most, up to 1000.
    """
    return records(
        "get_next_build_for_worker",
        ClaimedBuild,
        known={"worker_id": worker_id},
        worker_id=worker_id,
        worker_hostname=worker_hostname,
        architecture=architecture,
        batch_size=batch_size,
    )


@SqlFunction
def update_build_progress(
    build_id: uuid.UUID,
    progress_percent: int | None,
    current_step: str | None,
    steps_completed: int | None = None,
    worker_id: str | None = None,
    retry_count: int | None = None,
) -> Call[bool]:
    """Report progress of a running build, and that its worker is alive.

    Args:
        build_id: The build.
        progress_percent: From 0 to 100. What is None stays as it was.
        current_step: What is being done.
        steps_completed: Steps that are done.
        worker_id: Who must hold the build; anybody if None.
        retry_count: The attempt that must be under way; any if None.

    Returns:
        False when the build is not running, or no longer held by that worker and attempt.
    """
    return value(
        "update_build_progress",
        build_id=build_id,
        progress_percent=progress_percent,
        current_step=current_step,
        steps_completed=steps_completed,
        worker_id=worker_id,
        retry_count=retry_count,
    )


@SqlFunction
def complete_build(
    build_id: uuid.UUID,
    worker_id: str,
    retry_count: int,
    success: bool,
    actual_duration_seconds: Decimal | float,
    **details: Unpack[BuildDetails],
) -> Call[uuid.UUID | None]:
    """End a running build and record its outcome, for the worker and attempt that hold it.

    Args:
        build_id: The build.
        worker_id: Who holds it.
        retry_count: The attempt.
        success: Whether the build made what was ordered.
        actual_duration_seconds: How long the attempt took.
        **details: What else is known.

    Returns:
        The id of the build_results row, the same for the same call again. None when the build timed out, was
        cancelled or given to somebody else; then nothing is changed.

    Raises:
        TypeError: A detail is unknown.
    """
    if unknown := details.keys() - BuildDetails.__annotations__.keys():
        message = f"complete_build() got unknown details: {', '.join(sorted(unknown))}"
        raise TypeError(message)
    return value(
        "complete_build",
        build_id=build_id,
        worker_id=worker_id,
        retry_count=retry_count,
        success=success,
        actual_duration_seconds=actual_duration_seconds,
        **details,
    )


@SqlFunction
def cancel_build(build_id: uuid.UUID, reason: str | None = None) -> Call[bool]:
    """Cancel a build that is queued or running.

    Args:
        build_id: The build.
        reason: Why, for the build's events.

    Returns:
        False when there is no such build, or it has ended.
    """
    return value("cancel_build", build_id=build_id, reason=reason)


@SqlFunction
def retry_failed_build(build_id: uuid.UUID, delay: datetime.timedelta = datetime.timedelta(0)) -> Call[bool]:
    """Put a build that failed or timed out back into the queue.

    Args:
        build_id: The build.
        delay: How long to wait before the retry, up to a year.

    Returns:
        False when the build has not failed, or has no retries left.
    """
    return value("retry_failed_build", build_id=build_id, delay=delay)


@SqlFunction
def handle_build_timeouts(
    heartbeat_seconds: int | None = None, limit: int | None = None
) -> Call[list[TimedOutBuild]]:
    """End builds whose time is up.

    Args:
        heartbeat_seconds: Also end builds whose worker has been silent for that long.
        limit: How many builds at most; all if None.
    """
    return records("handle_build_timeouts", TimedOutBuild, heartbeat_seconds=heartbeat_seconds, limit=limit)


@SqlFunction
def admit_waiting_builds() -> Call[int]:
    """Admit builds that wait although their customer has a free slot: it became free while they were locked.

    Returns:
        How many builds became ready.
    """
    return value("admit_waiting_builds")


@SqlFunction
def get_build_registry_credential(
    build_id: uuid.UUID, worker_id: str, retry_count: int
) -> Call[BuildRegistryCredential | None]:
    """Return the login to a running build's registry: the build's target, or else the customer's default.

    Args:
        build_id: The build.
        worker_id: Who holds it.
        retry_count: The attempt.

    Returns:
        None for whoever does not hold the build, or when there is no such login in use.
    """
    return first(
        records(
            "get_build_registry_credential",
            BuildRegistryCredential,
            build_id=build_id,
            worker_id=worker_id,
            retry_count=retry_count,
        )
    )


@SqlFunction
def claim(
    worker_id: str, worker_hostname: str | None, architecture: str | None = None
) -> Call[ClaimedBuild | None]:
    """Claim the next build, if there is one.

    Args:
        worker_id: Name of the worker, which no other worker uses.
        worker_hostname: Its machine.
        architecture: amd64 or arm64; None for builds of both.
    """
    return first(get_next_build_for_worker.call(worker_id, worker_hostname, architecture))


@SqlFunction
def report_progress(
    build: ClaimedBuild,
    progress_percent: int | None,
    current_step: str | None = None,
    steps_completed: int | None = None,
) -> Call[bool]:
    """Report progress of a claimed build.

    Args:
        build: The build.
        progress_percent: From 0 to 100. What is None stays as it was.
        current_step: What is being done.
        steps_completed: Steps that are done.

    Returns:
        False when the worker no longer holds the build and should stop.
    """
    return update_build_progress.call(
        build.build_id, progress_percent, current_step, steps_completed, build.worker_id, build.retry_count
    )


@SqlFunction
def heartbeat(build: ClaimedBuild) -> Call[bool]:
    """Say that the worker of a claimed build is alive.

    Args:
        build: The build.

    Returns:
        False when the worker no longer holds the build and should stop.
    """
    return report_progress.call(build, None)


@SqlFunction
def complete(
    build: ClaimedBuild, actual_duration_seconds: Decimal | float, **details: Unpack[BuildDetails]
) -> Call[uuid.UUID | None]:
    """End a claimed build as successful.

    Args:
        build: The build.
        actual_duration_seconds: How long it took.
        **details: What else is known.

    Returns:
        The id of the build_results row; None when the worker no longer holds the build.
    """
    return _end(build, True, actual_duration_seconds, details)


@SqlFunction
def fail(
    build: ClaimedBuild, actual_duration_seconds: Decimal | float, **details: Unpack[BuildDetails]
) -> Call[uuid.UUID | None]:
    """End a claimed build as failed.

    Args:
        build: The build.
        actual_duration_seconds: How long it took.
        **details: What else is known.

    Returns:
        The id of the build_results row; None when the worker no longer holds the build.
    """
    return _end(build, False, actual_duration_seconds, details)


def _end(
    build: ClaimedBuild, success: bool, actual_duration_seconds: Decimal | float, details: BuildDetails
) -> Call[uuid.UUID | None]:
    return complete_build.call(
        build.build_id, build.worker_id, build.retry_count, success, actual_duration_seconds, **details
    )
