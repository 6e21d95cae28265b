"""The build queue, and what comes of its builds: results, artifacts, events and metrics."""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Numeric, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from honua_schema.models.base import (
    DELETED_ALONG,
    Base,
    ByteCount,
    CreationTimestamp,
    CustomerId,
    GeneratedNumber,
    GeneratedUuid,
    Seconds,
    String50,
    String64,
    String71,
    String100,
    String255,
    TakenCustomerId,
    UpdateTimestamp,
    WholeSeconds,
    enum_type,
    finite,
    in_range,
    index,
    json_object,
    one_of,
    partitioned_by_month,
    rules_in_domains,
    sequence,
)
from honua_schema.models.core import Architecture

if TYPE_CHECKING:
    from honua_schema.models.core import BuildCacheRegistry, Customer, RegistryCredential


class BuildStatus(enum.StrEnum):
    """Where a build stands. success, failed, cancelled and timeout end it."""

    QUEUED = "queued"
    BUILDING = "building"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


class BuildAdmission(enum.StrEnum):
    """Whether a queued build may be claimed now."""

    READY = "ready"
    WAITING = "waiting"
    DELAYED = "delayed"


class ArtifactType(enum.StrEnum):
    """What a build leaves behind."""

    CONTAINER_IMAGE = "container_image"
    SBOM = "sbom"
    SCAN_REPORT = "scan_report"
    BUILD_LOG = "build_log"
    TEST_REPORT = "test_report"


class StorageType(enum.StrEnum):
    """Where an artifact is kept."""

    REGISTRY = "registry"
    S3 = "s3"
    AZURE_BLOB = "azure_blob"
    GCS = "gcs"
    LOCAL = "local"


class EventSeverity(enum.StrEnum):
    """How much an event matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@rules_in_domains
class BuildQueue(Base):
    """A build: ordered, claimed by a worker, and ended."""

    __tablename__ = "build_queue"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the build")
    customer_id: Mapped[CustomerId] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="CASCADE"), comment="The customer who ordered the build"
    )
    manifest_path: Mapped[str] = mapped_column(comment="Where the manifest came from")
    manifest_hash: Mapped[String64] = mapped_column(
        comment="Hash of the manifest; the key of the build cache"
    )
    manifest_json: Mapped[dict[str, Any]] = mapped_column(comment="What to build, as a JSON object")
    status: Mapped[BuildStatus] = mapped_column(
        enum_type(BuildStatus),
        server_default="queued",
        comment="queued and building go on; success, failed, cancelled and timeout end the build",
    )
    priority: Mapped[int] = mapped_column(server_default="5", comment="From 1 to 10; higher is claimed first")
    queued_at: Mapped[CreationTimestamp] = mapped_column(
        comment="Place in the queue within a priority; a time in the future delays the build"
    )
    started_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the current attempt was claimed"
    )
    completed_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the build ended, however it ended"
    )
    timeout_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When handle_build_timeouts() may take the attempt from its worker"
    )
    progress_percent: Mapped[int] = mapped_column(
        server_default="0", comment="Progress that the worker reported"
    )
    current_step: Mapped[String255 | None] = mapped_column(comment="Step that the worker reported")
    total_steps: Mapped[int | None] = mapped_column(comment="Number of steps that the build has")
    steps_completed: Mapped[int] = mapped_column(server_default="0", comment="Steps that the worker has done")
    worker_id: Mapped[String100 | None] = mapped_column(
        comment="Worker that holds or held the attempt; with retry_count it fences out late workers"
    )
    worker_hostname: Mapped[String255 | None] = mapped_column(comment="Machine of that worker")
    worker_assigned_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When that worker claimed the build"
    )
    target_registry_id: Mapped[uuid.UUID | None] = mapped_column(
        comment="Registry that the image is pushed to; one of the same customer"
    )
    architecture: Mapped[Architecture | None] = mapped_column(
        enum_type(Architecture),
        server_default="amd64",
        comment="Processor architecture to build for; NULL given at INSERT becomes amd64",
    )
    build_args: Mapped[dict[str, Any] | None] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="Arguments of the build, as a JSON object"
    )
    estimated_duration_seconds: Mapped[WholeSeconds | None] = mapped_column(
        comment="How long the build may take"
    )
    max_duration_seconds: Mapped[WholeSeconds | None] = mapped_column(
        server_default="3600", comment="How long an attempt may take; NULL is unlimited"
    )
    estimated_memory_mb: Mapped[int | None] = mapped_column(comment="Memory the build may need, in megabytes")
    estimated_cpu_cores: Mapped[decimal.Decimal | None] = mapped_column(
        Numeric(3, 1), comment="Processor cores the build may need"
    )
    retry_count: Mapped[int] = mapped_column(
        server_default="0", comment="Retries so far; with worker_id it fences out late workers"
    )
    max_retries: Mapped[int] = mapped_column(server_default="3", comment="Retries allowed")
    last_retry_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the build was last requeued"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )
    heartbeat_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the worker last gave a sign of life: its claim or its last progress report"
    )
    idempotency_key: Mapped[String255 | None] = mapped_column(
        comment="Key given by the caller, unique per customer: the same order sent twice is queued once"
    )
    admission: Mapped[BuildAdmission] = mapped_column(
        enum_type(BuildAdmission),
        server_default="ready",
        comment="Whether a queued build may be claimed: ready, waiting (the customer is at "
        "max_concurrent_builds) or delayed (until queued_at); kept by triggers",
    )

    customer: Mapped[Customer] = relationship(back_populates="builds")
    target_registry: Mapped[RegistryCredential | None] = relationship(
        back_populates="builds",
        foreign_keys=[target_registry_id],
        primaryjoin="BuildQueue.target_registry_id == RegistryCredential.id",
    )
    result: Mapped[BuildResult | None] = relationship(back_populates="build", **DELETED_ALONG)
    events: Mapped[list[BuildEvent]] = relationship(
        back_populates="build", **DELETED_ALONG, order_by="BuildEvent.event_timestamp"
    )
    metrics: Mapped[list[BuildMetric]] = relationship(
        back_populates="build", **DELETED_ALONG, order_by="BuildMetric.metric_timestamp"
    )

    __table_args__ = (
        ForeignKeyConstraint(
            ["customer_id", "target_registry_id"],
            ["registry_credentials.customer_id", "registry_credentials.id"],
            ondelete="SET NULL (target_registry_id)",
        ),
        one_of("status", BuildStatus),
        one_of("admission", BuildAdmission),
        one_of("architecture", Architecture),
        in_range("priority", 1, 10),
        in_range("progress_percent", 0, 100),
        in_range("total_steps"),
        in_range("steps_completed"),
        in_range("estimated_duration_seconds"),
        in_range("max_duration_seconds", 1),
        in_range("estimated_memory_mb"),
        finite("estimated_cpu_cores"),
        in_range("retry_count"),
        in_range("max_retries"),
        json_object("manifest_json"),
        json_object("build_args"),
        index(
            "ix_build_queue_claim",
            "architecture",
            text("priority DESC"),
            "queued_at",
            where="status = 'queued' AND admission = 'ready'",
            # Builds that were ordered in one statement have the same key. To mark an entry as dead in a list
            # of equal ones, each claim would go through the list.
            **{"with": {"deduplicate_items": "off"}},
            serves="get_next_build_for_worker(): the next claimable build, and nothing that can't be claimed",
        ),
        index(
            "ix_build_queue_waiting",
            "customer_id",
            text("priority DESC"),
            "queued_at",
            where="status = 'queued' AND admission = 'waiting'",
            serves="admit_builds(): the customer's next build when a slot is free",
        ),
        index(
            "ix_build_queue_delayed",
            "queued_at",
            where="status = 'queued' AND admission = 'delayed'",
            serves="release_delayed_builds(): delayed builds that have become due",
        ),
        index(
            "ix_build_queue_slots",
            "customer_id",
            where="status IN ('queued', 'building') AND admission = 'ready'",
            serves="slots of max_concurrent_builds in use; a customer's running builds",
        ),
        index(
            "ix_build_queue_timeout_at",
            "timeout_at",
            where="status = 'building'",
            serves="handle_build_timeouts(); running builds",
        ),
        index(
            "ix_build_queue_customer_id",
            "customer_id",
            "queued_at",
            serves="a customer's builds over time; monthly quota; customer_build_usage",
        ),
        index(
            "ix_build_queue_target_registry_id",
            "target_registry_id",
            "customer_id",
            where="target_registry_id IS NOT NULL",
            serves="builds for a registry; deletion of a credential",
        ),
        index(
            "uq_build_queue_idempotency_key",
            "customer_id",
            "idempotency_key",
            unique=True,
            where="idempotency_key IS NOT NULL",
            serves="an order sent twice is queued once",
        ),
        index(
            "ix_build_queue_completed_at",
            "completed_at",
            where="completed_at IS NOT NULL",
            serves="build_performance_summary; recent builds",
        ),
        {
            "comment": "Builds that were ordered: waiting, running and ended",
            "postgresql_with": {
                "fillfactor": "80",
                "autovacuum_vacuum_scale_factor": "0.01",
                "autovacuum_vacuum_threshold": "500",
                "autovacuum_analyze_scale_factor": "0.02",
            },
        },
    )


# Sequences, for a row that changed as often would leave dead versions of itself while a snapshot is held.
sequence(
    BuildQueue,
    "claim_bounds_due_at",
    "When the bounds of claims are to be found anew, in microseconds since 1970; 1 while claims heed none",
)
for _architecture, _priority in itertools.product(Architecture, range(1, 11)):
    sequence(
        BuildQueue,
        f"claim_bound_{_architecture}_{_priority}",
        "The queued_at before which no build of this architecture and priority can be claimed, "
        "in microseconds since 1970; 1 when unknown",
    )


@rules_in_domains
class BuildResult(Base):
    """The outcome of a build's last attempt; earlier attempts stay in build_events."""

    __tablename__ = "build_results"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    build_queue_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("build_queue.id", ondelete="CASCADE"), unique=True, comment="The build whose outcome it is"
    )
    success: Mapped[bool] = mapped_column(comment="Whether the build made what was ordered")
    exit_code: Mapped[int | None] = mapped_column(comment="Exit code of the build process")
    stdout_log: Mapped[str | None] = mapped_column(comment="Standard output of the build")
    stderr_log: Mapped[str | None] = mapped_column(comment="Standard error of the build")
    error_message: Mapped[str | None] = mapped_column(comment="What went wrong, for a person")
    error_code: Mapped[String50 | None] = mapped_column(comment="What went wrong, for a program")
    actual_duration_seconds: Mapped[Seconds] = mapped_column(comment="How long the attempt took")
    peak_memory_mb: Mapped[int | None] = mapped_column(comment="Most memory in use, in megabytes")
    peak_cpu_percent: Mapped[decimal.Decimal | None] = mapped_column(
        Numeric(5, 2), comment="Most processor time in use, in percent of one core"
    )
    disk_usage_mb: Mapped[int | None] = mapped_column(comment="Disk space in use, in megabytes")
    total_layers: Mapped[int | None] = mapped_column(comment="Layers of the image")
    cache_layers_used: Mapped[int | None] = mapped_column(comment="Layers taken from the layer cache")
    new_layers_built: Mapped[int | None] = mapped_column(comment="Layers built anew")
    final_image_size_bytes: Mapped[ByteCount | None] = mapped_column(comment="Size of the image")
    image_digest: Mapped[String71 | None] = mapped_column(
        comment="Digest of the image: sha256: and 64 digits"
    )
    image_tags: Mapped[list[str] | None] = mapped_column(ARRAY(Text), comment="Tags given to the image")
    pushed_to_registry: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the image reached the target registry"
    )
    push_duration_seconds: Mapped[Seconds | None] = mapped_column(comment="How long the push took")
    build_cache_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("build_cache_registry.id", ondelete="SET NULL"),
        comment="Cache entry that the build made or used",
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the attempt was recorded")
    logs_truncated_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When cleanup_old_build_logs() emptied the logs"
    )
    customer_id: Mapped[TakenCustomerId] = mapped_column(
        comment="The customer whose build it is; kept by triggers"
    )

    build: Mapped[BuildQueue] = relationship(back_populates="result")
    build_cache: Mapped[BuildCacheRegistry | None] = relationship()
    artifacts: Mapped[list[BuildArtifact]] = relationship(back_populates="result", **DELETED_ALONG)

    __table_args__ = (
        finite("actual_duration_seconds"),
        in_range("peak_memory_mb"),
        finite("peak_cpu_percent"),
        in_range("disk_usage_mb"),
        in_range("total_layers"),
        in_range("cache_layers_used"),
        in_range("new_layers_built"),
        in_range("final_image_size_bytes"),
        finite("push_duration_seconds"),
        index(
            "ix_build_results_build_cache_id",
            "build_cache_id",
            where="build_cache_id IS NOT NULL",
            serves="builds that made or used a cache entry; deletion of an entry",
        ),
        index("ix_build_results_created_at", "created_at", serves="recent results; failures over time"),
        index(
            "ix_build_results_log_retention",
            "created_at",
            where="logs_truncated_at IS NULL AND (stdout_log IS NOT NULL OR stderr_log IS NOT NULL)",
            serves="cleanup_old_build_logs(): results that still have logs, oldest first",
        ),
        index(
            "ix_build_results_error_code",
            "error_code",
            "created_at",
            where="NOT success",
            serves="failures by error code over time",
        ),
        index(
            "ix_build_results_image_digest",
            "image_digest",
            using="hash",
            where="image_digest IS NOT NULL",
            serves="which build made an image",
        ),
        {"comment": "Outcome of each build's last attempt"},
    )


class BuildArtifact(Base):
    """Something a build left behind: an image, a bill of materials, a report."""

    __tablename__ = "build_artifacts"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    build_result_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("build_results.id", ondelete="CASCADE"), comment="The result that the artifact belongs to"
    )
    artifact_type: Mapped[ArtifactType] = mapped_column(enum_type(ArtifactType, 50), comment="What it is")
    artifact_name: Mapped[String255] = mapped_column(comment="Name of the artifact")
    storage_type: Mapped[StorageType] = mapped_column(enum_type(StorageType, 50), comment="Where it is kept")
    storage_url: Mapped[str] = mapped_column(comment="Address it can be fetched from")
    storage_path: Mapped[str | None] = mapped_column(comment="Path within the storage")
    size_bytes: Mapped[ByteCount | None] = mapped_column(comment="Size of the artifact")
    content_type: Mapped[String100 | None] = mapped_column(comment="Media type of the artifact")
    checksum_sha256: Mapped[String64 | None] = mapped_column(comment="SHA-256 of the content, in hexadecimal")
    metadata_: Mapped[dict[str, Any] | None] = mapped_column(
        "metadata", server_default=text("'{}'::jsonb"), comment="Further facts, as a JSON object"
    )
    expires_at: Mapped[datetime.datetime | None] = mapped_column(comment="When the artifact may be removed")
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the artifact was deleted softly; purge_soft_deleted_records() removes the row later"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")

    result: Mapped[BuildResult] = relationship(back_populates="artifacts")

    __table_args__ = (
        one_of("artifact_type", ArtifactType),
        one_of("storage_type", StorageType),
        in_range("size_bytes"),
        json_object("metadata"),
        index("ix_build_artifacts_build_result_id", "build_result_id", serves="the artifacts of a result"),
        index(
            "ix_build_artifacts_artifact_type",
            "artifact_type",
            "created_at",
            where="deleted_at IS NULL",
            serves="newest live artifacts of a kind",
        ),
        index(
            "ix_build_artifacts_checksum_sha256",
            "checksum_sha256",
            using="hash",
            where="checksum_sha256 IS NOT NULL",
            serves="find an artifact by its content",
        ),
        index(
            "ix_build_artifacts_expires_at",
            "expires_at",
            where="deleted_at IS NULL AND expires_at IS NOT NULL",
            serves="artifacts that may be removed",
        ),
        index(
            "ix_build_artifacts_deleted_at",
            "deleted_at",
            where="deleted_at IS NOT NULL",
            serves="purge_soft_deleted_records()",
        ),
        index(
            "ix_build_artifacts_metadata",
            "metadata",
            using="gin",
            ops={"metadata": "jsonb_path_ops"},
            serves="artifacts whose metadata contains a fact (@>)",
        ),
        {"comment": "What builds leave behind: container images, bills of materials, reports"},
    )


@partitioned_by_month
class BuildEvent(Base):
    """One event in a build's life. Partitioned by month."""

    __tablename__ = "build_events"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row, with event_timestamp")
    build_queue_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("build_queue.id", ondelete="CASCADE"), comment="The build that the event belongs to"
    )
    event_type: Mapped[String50] = mapped_column(
        comment="What happened, such as build_retried or build_cancelled"
    )
    event_timestamp: Mapped[CreationTimestamp] = mapped_column(
        primary_key=True, comment="When it happened; the partition key"
    )
    event_data: Mapped[dict[str, Any] | None] = mapped_column(comment="Facts about the event")
    source: Mapped[String100 | None] = mapped_column(comment="Who reported it: a worker or a function")
    severity: Mapped[EventSeverity | None] = mapped_column(
        enum_type(EventSeverity), server_default="info", comment="How much it matters"
    )
    message: Mapped[str | None] = mapped_column(comment="The event in words")
    customer_id: Mapped[TakenCustomerId] = mapped_column(
        comment="The customer whose build it is; kept by triggers"
    )

    build: Mapped[BuildQueue] = relationship(back_populates="events")

    __table_args__ = (
        one_of("severity", EventSeverity),
        index(
            "ix_build_events_build_queue_id",
            "build_queue_id",
            serves="the events of a build",
        ),
        index("ix_build_events_event_type", "event_type", serves="events of a kind, over a long time"),
        index(
            "ix_build_events_severity",
            "severity",
            "event_timestamp",
            where="severity IN ('error', 'critical')",
            serves="recent errors",
        ),
        index(
            "ix_build_events_event_timestamp", "event_timestamp", using="brin", serves="all events of a time"
        ),
        {
            "comment": "What happened to builds, partitioned by month",
            "postgresql_partition_by": "RANGE (event_timestamp)",
        },
    )


@partitioned_by_month
class BuildMetric(Base):
    """One measured value of a build. Partitioned by month."""

    __tablename__ = "build_metrics"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row, with metric_timestamp")
    build_queue_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("build_queue.id", ondelete="CASCADE"), comment="The build that was measured"
    )
    metric_name: Mapped[String100] = mapped_column(comment="What was measured")
    metric_value: Mapped[decimal.Decimal] = mapped_column(Numeric(20, 4), comment="The value")
    metric_unit: Mapped[String50 | None] = mapped_column(comment="Unit of the value")
    metric_timestamp: Mapped[CreationTimestamp] = mapped_column(
        primary_key=True, comment="When it was measured; the partition key"
    )
    tags: Mapped[dict[str, Any] | None] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="Dimensions of the value, as a JSON object"
    )
    customer_id: Mapped[TakenCustomerId] = mapped_column(
        comment="The customer whose build it is; kept by triggers"
    )

    build: Mapped[BuildQueue] = relationship(back_populates="metrics")

    __table_args__ = (
        json_object("tags"),
        index(
            "ix_build_metrics_build_queue_id",
            "build_queue_id",
            serves="the metrics of a build",
        ),
        index(
            "ix_build_metrics_metric_name",
            "metric_name",
            "metric_timestamp",
            include=["metric_value"],
            serves="a metric over time, from the index alone",
        ),
        index(
            "ix_build_metrics_tags",
            "tags",
            using="gin",
            ops={"tags": "jsonb_path_ops"},
            serves="metrics with given dimensions (@>)",
        ),
        {
            "comment": "Measured values of builds, partitioned by month",
            "postgresql_partition_by": "RANGE (metric_timestamp)",
        },
    )
