"""The build queue, with results, artifacts, events and metrics.

- Locks: none that matters, for the tables are new.
- Online: yes; nothing uses the tables yet.
- Data: downgrade() drops the tables with all that is in them.

Revision: 002
Revises: 001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from honua_schema import sqlfile

revision = "002"
down_revision = "001"
branch_labels = None
depends_on = None


VIEWS = (
    "002/build_queue/active_builds.sql",
    "002/build_queue/build_performance_summary.sql",
    "002/build_queue/customer_build_usage.sql",
)

CLAIM_BOUNDS = [f"claim_bound_{each}_{number}" for each in ("amd64", "arm64") for number in range(1, 11)]


def upgrade() -> None:
    """Create the tables of the queue, and the views on them."""
    sqlfile.execute(
        "CREATE DOMAIN build_queue_manifest_json AS JSONB CONSTRAINT ck_build_queue_manifest_json_object CHECK (jsonb_typeof(VALUE) = 'object');\n"
        "COMMENT ON DOMAIN build_queue_manifest_json IS 'Values of build_queue.manifest_json';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_status AS VARCHAR(20) CONSTRAINT ck_build_queue_status_allowed CHECK (VALUE IN ('queued', 'building', 'success', 'failed', 'cancelled', 'timeout'));\n"
        "COMMENT ON DOMAIN build_queue_status IS 'Values of build_queue.status';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_priority AS INTEGER CONSTRAINT ck_build_queue_priority_range CHECK (VALUE >= 1 AND VALUE <= 10);\n"
        "COMMENT ON DOMAIN build_queue_priority IS 'Values of build_queue.priority';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_progress_percent AS INTEGER CONSTRAINT ck_build_queue_progress_percent_range CHECK (VALUE >= 0 AND VALUE <= 100);\n"
        "COMMENT ON DOMAIN build_queue_progress_percent IS 'Values of build_queue.progress_percent';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_total_steps AS INTEGER CONSTRAINT ck_build_queue_total_steps_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_total_steps IS 'Values of build_queue.total_steps';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_steps_completed AS INTEGER CONSTRAINT ck_build_queue_steps_completed_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_steps_completed IS 'Values of build_queue.steps_completed';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_architecture AS VARCHAR(20) CONSTRAINT ck_build_queue_architecture_allowed CHECK (VALUE IN ('amd64', 'arm64'));\n"
        "COMMENT ON DOMAIN build_queue_architecture IS 'Values of build_queue.architecture';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_build_args AS JSONB CONSTRAINT ck_build_queue_build_args_object CHECK (jsonb_typeof(VALUE) = 'object');\n"
        "COMMENT ON DOMAIN build_queue_build_args IS 'Values of build_queue.build_args';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_estimated_duration_seconds AS INTEGER CONSTRAINT ck_build_queue_estimated_duration_seconds_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_estimated_duration_seconds IS 'Values of build_queue.estimated_duration_seconds';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_max_duration_seconds AS INTEGER CONSTRAINT ck_build_queue_max_duration_seconds_range CHECK (VALUE >= 1);\n"
        "COMMENT ON DOMAIN build_queue_max_duration_seconds IS 'Values of build_queue.max_duration_seconds';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_estimated_memory_mb AS INTEGER CONSTRAINT ck_build_queue_estimated_memory_mb_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_estimated_memory_mb IS 'Values of build_queue.estimated_memory_mb';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_estimated_cpu_cores AS NUMERIC(3, 1) CONSTRAINT ck_build_queue_estimated_cpu_cores_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_queue_estimated_cpu_cores IS 'Values of build_queue.estimated_cpu_cores';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_retry_count AS INTEGER CONSTRAINT ck_build_queue_retry_count_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_retry_count IS 'Values of build_queue.retry_count';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_max_retries AS INTEGER CONSTRAINT ck_build_queue_max_retries_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_queue_max_retries IS 'Values of build_queue.max_retries';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_queue_admission AS VARCHAR(20) CONSTRAINT ck_build_queue_admission_allowed CHECK (VALUE IN ('ready', 'waiting', 'delayed'));\n"
        "COMMENT ON DOMAIN build_queue_admission IS 'Values of build_queue.admission';"
    )
    op.create_table(
        "build_queue",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the build",
        ),
        sa.Column(
            "customer_id", sa.String(length=100), nullable=False, comment="The customer who ordered the build"
        ),
        sa.Column("manifest_path", sa.Text(), nullable=False, comment="Where the manifest came from"),
        sa.Column(
            "manifest_hash",
            sa.String(length=64),
            nullable=False,
            comment="Hash of the manifest; the key of the build cache",
        ),
        sa.Column(
            "manifest_json",
            postgresql.DOMAIN(
                "build_queue_manifest_json", postgresql.JSONB(astext_type=sa.Text()), create_type=False
            ),
            nullable=False,
            comment="What to build, as a JSON object",
        ),
        sa.Column(
            "status",
            postgresql.DOMAIN("build_queue_status", sa.String(length=20), create_type=False),
            server_default="queued",
            nullable=False,
            comment="queued and building go on; success, failed, cancelled and timeout end the build",
        ),
        sa.Column(
            "priority",
            postgresql.DOMAIN("build_queue_priority", sa.Integer(), create_type=False),
            server_default="5",
            nullable=False,
            comment="From 1 to 10; higher is claimed first",
        ),
        sa.Column(
            "queued_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Place in the queue within a priority; a time in the future delays the build",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the current attempt was claimed",
        ),
        sa.Column(
            "completed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the build ended, however it ended",
        ),
        sa.Column(
            "timeout_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When handle_build_timeouts() may take the attempt from its worker",
        ),
        sa.Column(
            "progress_percent",
            postgresql.DOMAIN("build_queue_progress_percent", sa.Integer(), create_type=False),
            server_default="0",
            nullable=False,
            comment="Progress that the worker reported",
        ),
        sa.Column(
            "current_step", sa.String(length=255), nullable=True, comment="Step that the worker reported"
        ),
        sa.Column(
            "total_steps",
            postgresql.DOMAIN("build_queue_total_steps", sa.Integer(), create_type=False),
            nullable=True,
            comment="Number of steps that the build has",
        ),
        sa.Column(
            "steps_completed",
            postgresql.DOMAIN("build_queue_steps_completed", sa.Integer(), create_type=False),
            server_default="0",
            nullable=False,
            comment="Steps that the worker has done",
        ),
        sa.Column(
            "worker_id",
            sa.String(length=100),
            nullable=True,
            comment="Worker that holds or held the attempt; with retry_count it fences out late workers",
        ),
        sa.Column("worker_hostname", sa.String(length=255), nullable=True, comment="Machine of that worker"),
        sa.Column(
            "worker_assigned_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When that worker claimed the build",
        ),
        sa.Column(
            "target_registry_id",
            sa.Uuid(),
            nullable=True,
            comment="Registry that the image is pushed to; one of the same customer",
        ),
        sa.Column(
            "architecture",
            postgresql.DOMAIN("build_queue_architecture", sa.String(length=20), create_type=False),
            server_default="amd64",
            nullable=True,
            comment="Processor architecture to build for; NULL given at INSERT becomes amd64",
        ),
        sa.Column(
            "build_args",
            postgresql.DOMAIN(
                "build_queue_build_args", postgresql.JSONB(astext_type=sa.Text()), create_type=False
            ),
            server_default=sa.text("'{}'::jsonb"),
            nullable=True,
            comment="Arguments of the build, as a JSON object",
        ),
        sa.Column(
            "estimated_duration_seconds",
            postgresql.DOMAIN("build_queue_estimated_duration_seconds", sa.Integer(), create_type=False),
            nullable=True,
            comment="How long the build may take",
        ),
        sa.Column(
            "max_duration_seconds",
            postgresql.DOMAIN("build_queue_max_duration_seconds", sa.Integer(), create_type=False),
            server_default="3600",
            nullable=True,
            comment="How long an attempt may take; NULL is unlimited",
        ),
        sa.Column(
            "estimated_memory_mb",
            postgresql.DOMAIN("build_queue_estimated_memory_mb", sa.Integer(), create_type=False),
            nullable=True,
            comment="Memory the build may need, in megabytes",
        ),
        sa.Column(
            "estimated_cpu_cores",
            postgresql.DOMAIN(
                "build_queue_estimated_cpu_cores", sa.Numeric(precision=3, scale=1), create_type=False
            ),
            nullable=True,
            comment="Processor cores the build may need",
        ),
        sa.Column(
            "retry_count",
            postgresql.DOMAIN("build_queue_retry_count", sa.Integer(), create_type=False),
            server_default="0",
            nullable=False,
            comment="Retries so far; with worker_id it fences out late workers",
        ),
        sa.Column(
            "max_retries",
            postgresql.DOMAIN("build_queue_max_retries", sa.Integer(), create_type=False),
            server_default="3",
            nullable=False,
            comment="Retries allowed",
        ),
        sa.Column(
            "last_retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the build was last requeued",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was made",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row last changed; kept by a trigger",
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the worker last gave a sign of life: its claim or its last progress report",
        ),
        sa.Column(
            "idempotency_key",
            sa.String(length=255),
            nullable=True,
            comment="Key given by the caller, unique per customer: the same order sent twice is queued once",
        ),
        sa.Column(
            "admission",
            postgresql.DOMAIN("build_queue_admission", sa.String(length=20), create_type=False),
            server_default="ready",
            nullable=False,
            comment="Whether a queued build may be claimed: ready, waiting (the customer is at max_concurrent_builds) or delayed (until queued_at); kept by triggers",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id", "target_registry_id"],
            ["registry_credentials.customer_id", "registry_credentials.id"],
            name=op.f("fk_build_queue_customer_id_target_registry_id"),
            ondelete="SET NULL (target_registry_id)",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_build_queue_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_queue")),
        comment="Builds that were ordered: waiting, running and ended",
        postgresql_with={
            "fillfactor": "80",
            "autovacuum_vacuum_scale_factor": "0.01",
            "autovacuum_vacuum_threshold": "500",
            "autovacuum_analyze_scale_factor": "0.02",
        },
    )
    sqlfile.execute(
        "CREATE SEQUENCE claim_bounds_due_at;\n"
        "COMMENT ON SEQUENCE claim_bounds_due_at IS 'When the bounds of claims are to be found anew, in microseconds since 1970; 1 while claims heed none';"
    )
    for bound in CLAIM_BOUNDS:
        sqlfile.execute(
            f"CREATE SEQUENCE {bound};\n"
            f"COMMENT ON SEQUENCE {bound} IS 'The queued_at before which no build of this architecture and priority can be claimed, in microseconds since 1970; 1 when unknown';"
        )
    sqlfile.execute(
        "CREATE DOMAIN build_results_actual_duration_seconds AS NUMERIC(10, 2) CONSTRAINT ck_build_results_actual_duration_seconds_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_results_actual_duration_seconds IS 'Values of build_results.actual_duration_seconds';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_peak_memory_mb AS INTEGER CONSTRAINT ck_build_results_peak_memory_mb_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_peak_memory_mb IS 'Values of build_results.peak_memory_mb';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_peak_cpu_percent AS NUMERIC(5, 2) CONSTRAINT ck_build_results_peak_cpu_percent_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_results_peak_cpu_percent IS 'Values of build_results.peak_cpu_percent';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_disk_usage_mb AS INTEGER CONSTRAINT ck_build_results_disk_usage_mb_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_disk_usage_mb IS 'Values of build_results.disk_usage_mb';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_total_layers AS INTEGER CONSTRAINT ck_build_results_total_layers_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_total_layers IS 'Values of build_results.total_layers';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_cache_layers_used AS INTEGER CONSTRAINT ck_build_results_cache_layers_used_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_cache_layers_used IS 'Values of build_results.cache_layers_used';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_new_layers_built AS INTEGER CONSTRAINT ck_build_results_new_layers_built_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_new_layers_built IS 'Values of build_results.new_layers_built';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_final_image_size_bytes AS BIGINT CONSTRAINT ck_build_results_final_image_size_bytes_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_results_final_image_size_bytes IS 'Values of build_results.final_image_size_bytes';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_results_push_duration_seconds AS NUMERIC(10, 2) CONSTRAINT ck_build_results_push_duration_seconds_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_results_push_duration_seconds IS 'Values of build_results.push_duration_seconds';"
    )
    op.create_table(
        "build_results",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column("build_queue_id", sa.Uuid(), nullable=False, comment="The build whose outcome it is"),
        sa.Column("success", sa.Boolean(), nullable=False, comment="Whether the build made what was ordered"),
        sa.Column("exit_code", sa.Integer(), nullable=True, comment="Exit code of the build process"),
        sa.Column("stdout_log", sa.Text(), nullable=True, comment="Standard output of the build"),
        sa.Column("stderr_log", sa.Text(), nullable=True, comment="Standard error of the build"),
        sa.Column("error_message", sa.Text(), nullable=True, comment="What went wrong, for a person"),
        sa.Column(
            "error_code", sa.String(length=50), nullable=True, comment="What went wrong, for a program"
        ),
        sa.Column(
            "actual_duration_seconds",
            postgresql.DOMAIN(
                "build_results_actual_duration_seconds", sa.Numeric(precision=10, scale=2), create_type=False
            ),
            nullable=False,
            comment="How long the attempt took",
        ),
        sa.Column(
            "peak_memory_mb",
            postgresql.DOMAIN("build_results_peak_memory_mb", sa.Integer(), create_type=False),
            nullable=True,
            comment="Most memory in use, in megabytes",
        ),
        sa.Column(
            "peak_cpu_percent",
            postgresql.DOMAIN(
                "build_results_peak_cpu_percent", sa.Numeric(precision=5, scale=2), create_type=False
            ),
            nullable=True,
            comment="Most processor time in use, in percent of one core",
        ),
        sa.Column(
            "disk_usage_mb",
            postgresql.DOMAIN("build_results_disk_usage_mb", sa.Integer(), create_type=False),
            nullable=True,
            comment="Disk space in use, in megabytes",
        ),
        sa.Column(
            "total_layers",
            postgresql.DOMAIN("build_results_total_layers", sa.Integer(), create_type=False),
            nullable=True,
            comment="Layers of the image",
        ),
        sa.Column(
            "cache_layers_used",
            postgresql.DOMAIN("build_results_cache_layers_used", sa.Integer(), create_type=False),
            nullable=True,
            comment="Layers taken from the layer cache",
        ),
        sa.Column(
            "new_layers_built",
            postgresql.DOMAIN("build_results_new_layers_built", sa.Integer(), create_type=False),
            nullable=True,
            comment="Layers built anew",
        ),
        sa.Column(
            "final_image_size_bytes",
            postgresql.DOMAIN("build_results_final_image_size_bytes", sa.BigInteger(), create_type=False),
            nullable=True,
            comment="Size of the image",
        ),
        sa.Column(
            "image_digest",
            sa.String(length=71),
            nullable=True,
            comment="Digest of the image: sha256: and 64 digits",
        ),
        sa.Column(
            "image_tags", postgresql.ARRAY(sa.Text()), nullable=True, comment="Tags given to the image"
        ),
        sa.Column(
            "pushed_to_registry",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether the image reached the target registry",
        ),
        sa.Column(
            "push_duration_seconds",
            postgresql.DOMAIN(
                "build_results_push_duration_seconds", sa.Numeric(precision=10, scale=2), create_type=False
            ),
            nullable=True,
            comment="How long the push took",
        ),
        sa.Column(
            "build_cache_id", sa.Uuid(), nullable=True, comment="Cache entry that the build made or used"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the attempt was recorded",
        ),
        sa.Column(
            "logs_truncated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When cleanup_old_build_logs() emptied the logs",
        ),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=False,
            comment="The customer whose build it is; kept by triggers",
        ),
        sa.ForeignKeyConstraint(
            ["build_cache_id"],
            ["build_cache_registry.id"],
            name=op.f("fk_build_results_build_cache_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["build_queue_id"],
            ["build_queue.id"],
            name=op.f("fk_build_results_build_queue_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_results")),
        sa.UniqueConstraint("build_queue_id", name=op.f("uq_build_results_build_queue_id")),
        comment="Outcome of each build's last attempt",
    )
    op.create_table(
        "build_artifacts",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "build_result_id", sa.Uuid(), nullable=False, comment="The result that the artifact belongs to"
        ),
        sa.Column("artifact_type", sa.String(length=50), nullable=False, comment="What it is"),
        sa.Column("artifact_name", sa.String(length=255), nullable=False, comment="Name of the artifact"),
        sa.Column("storage_type", sa.String(length=50), nullable=False, comment="Where it is kept"),
        sa.Column("storage_url", sa.Text(), nullable=False, comment="Address it can be fetched from"),
        sa.Column("storage_path", sa.Text(), nullable=True, comment="Path within the storage"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True, comment="Size of the artifact"),
        sa.Column("content_type", sa.String(length=100), nullable=True, comment="Media type of the artifact"),
        sa.Column(
            "checksum_sha256",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of the content, in hexadecimal",
        ),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=True,
            comment="Further facts, as a JSON object",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the artifact may be removed",
        ),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the artifact was deleted softly; purge_soft_deleted_records() removes the row later",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was made",
        ),
        sa.CheckConstraint(
            "artifact_type IN ('container_image', 'sbom', 'scan_report', 'build_log', 'test_report')",
            name=op.f("ck_build_artifacts_artifact_type_allowed"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(metadata) = 'object'", name=op.f("ck_build_artifacts_metadata_object")
        ),
        sa.CheckConstraint(
            "storage_type IN ('registry', 's3', 'azure_blob', 'gcs', 'local')",
            name=op.f("ck_build_artifacts_storage_type_allowed"),
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_build_artifacts_size_bytes_range")),
        sa.ForeignKeyConstraint(
            ["build_result_id"],
            ["build_results.id"],
            name=op.f("fk_build_artifacts_build_result_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_artifacts")),
        comment="What builds leave behind: container images, bills of materials, reports",
    )
    op.create_table(
        "build_events",
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=True,
            nullable=False,
            comment="Technical key of the row, with event_timestamp",
        ),
        sa.Column("build_queue_id", sa.Uuid(), nullable=False, comment="The build that the event belongs to"),
        sa.Column(
            "event_type",
            sa.String(length=50),
            nullable=False,
            comment="What happened, such as build_retried or build_cancelled",
        ),
        sa.Column(
            "event_timestamp",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it happened; the partition key",
        ),
        sa.Column(
            "event_data",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Facts about the event",
        ),
        sa.Column(
            "source", sa.String(length=100), nullable=True, comment="Who reported it: a worker or a function"
        ),
        sa.Column(
            "severity",
            sa.String(length=20),
            server_default="info",
            nullable=True,
            comment="How much it matters",
        ),
        sa.Column("message", sa.Text(), nullable=True, comment="The event in words"),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=False,
            comment="The customer whose build it is; kept by triggers",
        ),
        sa.CheckConstraint(
            "severity IN ('debug', 'info', 'warning', 'error', 'critical')",
            name=op.f("ck_build_events_severity_allowed"),
        ),
        sa.ForeignKeyConstraint(
            ["build_queue_id"],
            ["build_queue.id"],
            name=op.f("fk_build_events_build_queue_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", "event_timestamp", name=op.f("pk_build_events")),
        comment="What happened to builds, partitioned by month",
        postgresql_partition_by="RANGE (event_timestamp)",
    )
    sqlfile.execute("CREATE TABLE honua_partitions.build_events_default PARTITION OF build_events DEFAULT;")
    op.create_table(
        "build_metrics",
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=True,
            nullable=False,
            comment="Technical key of the row, with metric_timestamp",
        ),
        sa.Column("build_queue_id", sa.Uuid(), nullable=False, comment="The build that was measured"),
        sa.Column("metric_name", sa.String(length=100), nullable=False, comment="What was measured"),
        sa.Column("metric_value", sa.Numeric(precision=20, scale=4), nullable=False, comment="The value"),
        sa.Column("metric_unit", sa.String(length=50), nullable=True, comment="Unit of the value"),
        sa.Column(
            "metric_timestamp",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was measured; the partition key",
        ),
        sa.Column(
            "tags",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=True,
            comment="Dimensions of the value, as a JSON object",
        ),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=False,
            comment="The customer whose build it is; kept by triggers",
        ),
        sa.CheckConstraint("jsonb_typeof(tags) = 'object'", name=op.f("ck_build_metrics_tags_object")),
        sa.ForeignKeyConstraint(
            ["build_queue_id"],
            ["build_queue.id"],
            name=op.f("fk_build_metrics_build_queue_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", "metric_timestamp", name=op.f("pk_build_metrics")),
        comment="Measured values of builds, partitioned by month",
        postgresql_partition_by="RANGE (metric_timestamp)",
    )
    sqlfile.execute("CREATE TABLE honua_partitions.build_metrics_default PARTITION OF build_metrics DEFAULT;")
    sqlfile.create(*VIEWS)


def downgrade() -> None:
    """Drop all of it."""
    sqlfile.drop(*reversed(VIEWS))
    op.drop_table("build_metrics")
    op.drop_table("build_events")
    op.drop_table("build_artifacts")
    op.drop_table("build_results")
    sqlfile.execute(
        "DROP DOMAIN "
        "build_results_actual_duration_seconds, "
        "build_results_peak_memory_mb, "
        "build_results_peak_cpu_percent, "
        "build_results_disk_usage_mb, "
        "build_results_total_layers, "
        "build_results_cache_layers_used, "
        "build_results_new_layers_built, "
        "build_results_final_image_size_bytes, "
        "build_results_push_duration_seconds;"
    )
    op.drop_table("build_queue")
    sqlfile.execute(f"DROP SEQUENCE claim_bounds_due_at, {', '.join(CLAIM_BOUNDS)};")
    sqlfile.execute(
        "DROP DOMAIN "
        "build_queue_manifest_json, "
        "build_queue_status, "
        "build_queue_priority, "
        "build_queue_progress_percent, "
        "build_queue_total_steps, "
        "build_queue_steps_completed, "
        "build_queue_architecture, "
        "build_queue_build_args, "
        "build_queue_estimated_duration_seconds, "
        "build_queue_max_duration_seconds, "
        "build_queue_estimated_memory_mb, "
        "build_queue_estimated_cpu_cores, "
        "build_queue_retry_count, "
        "build_queue_max_retries, "
        "build_queue_admission;"
    )
