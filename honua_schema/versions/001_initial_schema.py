"""Customers, licences, registry credentials and the shared build cache.

- Locks: none that matters, for the tables are new.
- Online: yes; nothing uses the tables yet.
- Data: downgrade() drops the tables with all that is in them.

Revision: 001
Revises: none: this is the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from honua_schema import sqlfile

revision = "001"
down_revision = None
branch_labels = None
depends_on = None


# IF NOT EXISTS asks for the privilege to create it even where an administrator has made it.
CREATE_PARTITION_SCHEMA = """
DO $$
BEGIN
    IF to_regnamespace('honua_partitions') IS NULL THEN
        CREATE SCHEMA honua_partitions;
    END IF;
END;
$$;
"""
DROP_PARTITION_SCHEMA = """
DO $$
BEGIN
    DROP SCHEMA honua_partitions;
EXCEPTION
    WHEN dependent_objects_still_exist THEN
        RAISE NOTICE 'schema honua_partitions was kept: something of yours is in it';
END;
$$;
"""
DROP_OUR_EXTENSIONS = """
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN
        SELECT e.extname
        FROM pg_extension AS e
        WHERE obj_description(e.oid, 'pg_extension') LIKE 'honua-schema: %'
    LOOP
        BEGIN
            EXECUTE format('DROP EXTENSION %I', v_name);
        EXCEPTION
            WHEN dependent_objects_still_exist THEN
                RAISE NOTICE 'extension % was kept: something of yours uses it', v_name;
        END;
    END LOOP;
END;
$$;
"""


def upgrade() -> None:
    """Create the core tables, the partitions' schema and the view on the cache."""
    sqlfile.create("001/system/extensions.sql")
    sqlfile.execute(CREATE_PARTITION_SCHEMA)
    op.create_table(
        "schema_migrations",
        sa.Column(
            "version", sa.String(length=50), nullable=False, comment="Number of the revision: 001, 002, ..."
        ),
        sa.Column(
            "name", sa.String(length=255), nullable=False, comment="Name of the revision, as in its file name"
        ),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was applied",
        ),
        sa.Column(
            "applied_by",
            sa.String(length=100),
            server_default=sa.text("CURRENT_USER"),
            nullable=False,
            comment="Database role that applied it",
        ),
        sa.Column(
            "checksum",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the revision and its SQL files, in hexadecimal: an edited revision shows",
        ),
        sa.Column(
            "execution_time_ms", sa.Integer(), nullable=False, comment="How long it took, in milliseconds"
        ),
        sa.CheckConstraint(
            "execution_time_ms >= 0", name=op.f("ck_schema_migrations_execution_time_ms_range")
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_schema_migrations")),
        comment="Revisions applied to this database",
    )
    op.create_table(
        "customers",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=False,
            comment="Business key of the customer; what every other table refers to",
        ),
        sa.Column(
            "organization_name",
            sa.String(length=255),
            nullable=False,
            comment="Name of the organisation, as shown to people",
        ),
        sa.Column(
            "contact_email",
            sa.String(length=255),
            nullable=False,
            comment="Address of the person to write to",
        ),
        sa.Column(
            "contact_name", sa.String(length=255), nullable=True, comment="Name of the person to write to"
        ),
        sa.Column(
            "subscription_status",
            sa.String(length=20),
            server_default="trial",
            nullable=False,
            comment="How far the subscription has come: trial, active, suspended or cancelled",
        ),
        sa.Column(
            "tier",
            sa.String(length=20),
            server_default="core",
            nullable=False,
            comment="Product tier; which cached builds the customer may use: core < pro < enterprise < asp",
        ),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=True,
            comment="Further facts about the customer, as a JSON object",
        ),
        sa.Column(
            "tags",
            postgresql.ARRAY(sa.String(length=50)),
            nullable=True,
            comment="Labels that operators group customers by",
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
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the customer was deleted softly; purge_soft_deleted_records() removes the row later",
        ),
        sa.Column(
            "customer_number",
            sa.Integer(),
            nullable=True,
            comment="Small number given once; the customer's place in build_cache_registry.customers_served",
        ),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_customers_metadata_object")),
        sa.CheckConstraint(
            "subscription_status IN ('trial', 'active', 'suspended', 'cancelled')",
            name=op.f("ck_customers_subscription_status_allowed"),
        ),
        sa.CheckConstraint(
            "tier IN ('core', 'pro', 'enterprise', 'asp')", name=op.f("ck_customers_tier_allowed")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
        sa.UniqueConstraint("customer_id", name=op.f("uq_customers_customer_id")),
        sa.UniqueConstraint("customer_number", name=op.f("uq_customers_customer_number")),
        comment="Organisations that order builds: the tenants of the system",
    )
    sqlfile.execute(
        "CREATE SEQUENCE customer_numbers OWNED BY customers.customer_number;\n"
        "COMMENT ON SEQUENCE customer_numbers IS 'The next customers.customer_number';"
    )
    op.create_table(
        "licenses",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "customer_id", sa.String(length=100), nullable=False, comment="The customer who holds the licence"
        ),
        sa.Column(
            "license_key",
            sa.Text(),
            nullable=False,
            comment="The licence key, encrypted by the application (AES-256-GCM)",
        ),
        sa.Column(
            "license_key_hash",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the licence key in hexadecimal; how a key is looked up",
        ),
        sa.Column("tier", sa.String(length=20), nullable=False, comment="Product tier of the licence"),
        sa.Column(
            "status",
            sa.String(length=20),
            server_default="active",
            nullable=False,
            comment="active and trial allow new builds; expire_licenses() sets expired",
        ),
        sa.Column(
            "issued_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the licence begins",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="When the licence ends"),
        sa.Column(
            "trial_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a trial ends; expires_at counts where it is not given",
        ),
        sa.Column(
            "features",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text(
                '\'{"ai_intake": true, "sla_guarantee": false, "custom_modules": true, "dedicated_cache": false, "priority_builds": false}\'::jsonb'
            ),
            nullable=False,
            comment="Feature flags as a JSON object of booleans",
        ),
        sa.Column(
            "max_builds_per_month",
            sa.Integer(),
            server_default="100",
            nullable=True,
            comment="Builds that may be queued in a calendar month (UTC); NULL is unlimited",
        ),
        sa.Column(
            "max_registries",
            sa.Integer(),
            server_default="3",
            nullable=True,
            comment="Active, unrevoked registry credentials allowed; NULL is unlimited",
        ),
        sa.Column(
            "max_concurrent_builds",
            sa.Integer(),
            server_default="1",
            nullable=True,
            comment="Builds that may be building at the same time; NULL is unlimited",
        ),
        sa.Column(
            "revoked_at", sa.DateTime(timezone=True), nullable=True, comment="When the licence was revoked"
        ),
        sa.Column("revoked_by", sa.String(length=100), nullable=True, comment="Who revoked the licence"),
        sa.Column("revoked_reason", sa.Text(), nullable=True, comment="Why the licence was revoked"),
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
        sa.CheckConstraint("jsonb_typeof(features) = 'object'", name=op.f("ck_licenses_features_object")),
        sa.CheckConstraint(
            "status IN ('active', 'expired', 'revoked', 'trial')", name=op.f("ck_licenses_status_allowed")
        ),
        sa.CheckConstraint(
            "tier IN ('core', 'pro', 'enterprise', 'asp')", name=op.f("ck_licenses_tier_allowed")
        ),
        sa.CheckConstraint("expires_at > issued_at", name=op.f("ck_licenses_expires_after_issue")),
        sa.CheckConstraint("max_builds_per_month >= 0", name=op.f("ck_licenses_max_builds_per_month_range")),
        sa.CheckConstraint(
            "max_concurrent_builds >= 0", name=op.f("ck_licenses_max_concurrent_builds_range")
        ),
        sa.CheckConstraint("max_registries >= 0", name=op.f("ck_licenses_max_registries_range")),
        sa.CheckConstraint(
            "trial_expires_at > issued_at", name=op.f("ck_licenses_trial_expires_after_issue")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_licenses_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licenses")),
        sa.UniqueConstraint("customer_id", name=op.f("uq_licenses_customer_id")),
        sa.UniqueConstraint("license_key_hash", name=op.f("uq_licenses_license_key_hash")),
        comment="What each customer has paid for: tier, features and quotas",
    )
    op.create_table(
        "registry_credentials",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "customer_id", sa.String(length=100), nullable=False, comment="The customer whose registry it is"
        ),
        sa.Column(
            "registry_name",
            sa.String(length=100),
            nullable=False,
            comment="The customer's name for the registry",
        ),
        sa.Column("registry_url", sa.Text(), nullable=False, comment="Address of the registry"),
        sa.Column("registry_provider", sa.String(length=50), nullable=False, comment="Kind of registry"),
        sa.Column(
            "username_encrypted",
            sa.LargeBinary(),
            nullable=False,
            comment="User name, encrypted by the application (AES-256-GCM)",
        ),
        sa.Column(
            "password_encrypted",
            sa.LargeBinary(),
            nullable=False,
            comment="Password or token, encrypted by the application (AES-256-GCM)",
        ),
        sa.Column(
            "encryption_key_id",
            sa.String(length=100),
            nullable=False,
            comment="Which key encrypts the row; keys never reach the server",
        ),
        sa.Column(
            "is_default",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether builds without a target go here; one live row per customer",
        ),
        sa.Column(
            "is_active",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="Whether the credential is in use",
        ),
        sa.Column(
            "last_validated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a login was last tried",
        ),
        sa.Column(
            "validation_status",
            sa.String(length=20),
            nullable=True,
            comment="Outcome of the last login: valid, invalid or unknown",
        ),
        sa.Column(
            "validation_error",
            sa.Text(),
            nullable=True,
            comment="What the registry answered to a failed login",
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
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the credential was revoked, by a person or by revoke_expired_credentials()",
        ),
        sa.CheckConstraint(
            "registry_provider IN ('dockerhub', 'ecr', 'gcr', 'acr', 'ghcr', 'harbor', 'quay', 'custom')",
            name=op.f("ck_registry_credentials_registry_provider_allowed"),
        ),
        sa.CheckConstraint(
            "validation_status IN ('valid', 'invalid', 'unknown')",
            name=op.f("ck_registry_credentials_validation_status_allowed"),
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_registry_credentials_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_credentials")),
        sa.UniqueConstraint("customer_id", "id", name=op.f("uq_registry_credentials_customer_id_id")),
        comment="Logins to customers' container registries, encrypted by the application",
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_tier AS VARCHAR(20) CONSTRAINT ck_build_cache_registry_tier_allowed CHECK (VALUE IN ('core', 'pro', 'enterprise', 'asp'));\n"
        "COMMENT ON DOMAIN build_cache_registry_tier IS 'Values of build_cache_registry.tier';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_architecture AS VARCHAR(20) CONSTRAINT ck_build_cache_registry_architecture_allowed CHECK (VALUE IN ('amd64', 'arm64'));\n"
        "COMMENT ON DOMAIN build_cache_registry_architecture IS 'Values of build_cache_registry.architecture';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_cloud_provider AS VARCHAR(20) CONSTRAINT ck_build_cache_registry_cloud_provider_allowed CHECK (VALUE IN ('aws', 'azure', 'gcp', 'kubernetes'));\n"
        "COMMENT ON DOMAIN build_cache_registry_cloud_provider IS 'Values of build_cache_registry.cloud_provider';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_deployment_mode AS VARCHAR(20) CONSTRAINT ck_build_cache_registry_deployment_mode_allowed CHECK (VALUE IN ('standalone', 'distributed', 'serverless'));\n"
        "COMMENT ON DOMAIN build_cache_registry_deployment_mode IS 'Values of build_cache_registry.deployment_mode';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_build_duration_seconds AS NUMERIC(10, 2) CONSTRAINT ck_build_cache_registry_build_duration_seconds_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_cache_registry_build_duration_seconds IS 'Values of build_cache_registry.build_duration_seconds';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_image_size_bytes AS BIGINT CONSTRAINT ck_build_cache_registry_image_size_bytes_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_cache_registry_image_size_bytes IS 'Values of build_cache_registry.image_size_bytes';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_image_layers AS INTEGER CONSTRAINT ck_build_cache_registry_image_layers_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_cache_registry_image_layers IS 'Values of build_cache_registry.image_layers';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_cache_hit_count AS BIGINT CONSTRAINT ck_build_cache_registry_cache_hit_count_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_cache_registry_cache_hit_count IS 'Values of build_cache_registry.cache_hit_count';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_total_customers_served AS INTEGER CONSTRAINT ck_build_cache_registry_total_customers_served_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_cache_registry_total_customers_served IS 'Values of build_cache_registry.total_customers_served';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_manifest_json AS JSONB CONSTRAINT ck_build_cache_registry_manifest_json_object CHECK (jsonb_typeof(VALUE) = 'object');\n"
        "COMMENT ON DOMAIN build_cache_registry_manifest_json IS 'Values of build_cache_registry.manifest_json';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_cache_registry_modules AS TEXT[] CONSTRAINT ck_build_cache_registry_modules_length CHECK (octet_length(array_to_string(VALUE, '')) <= 2000);\n"
        "COMMENT ON DOMAIN build_cache_registry_modules IS 'Values of build_cache_registry.modules';"
    )
    op.create_table(
        "build_cache_registry",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "manifest_hash",
            sa.String(length=64),
            nullable=False,
            comment="Hash of the manifest that the image was built from",
        ),
        sa.Column(
            "tier",
            postgresql.DOMAIN("build_cache_registry_tier", sa.String(length=20), create_type=False),
            nullable=False,
            comment="Lowest tier that may use the image",
        ),
        sa.Column("registry_url", sa.Text(), nullable=False, comment="Registry that holds the image"),
        sa.Column("image_tag", sa.Text(), nullable=False, comment="Tag of the image"),
        sa.Column(
            "full_image_url",
            sa.Text(),
            nullable=False,
            comment="What a customer pulls: registry, name and tag",
        ),
        sa.Column(
            "modules",
            postgresql.DOMAIN("build_cache_registry_modules", postgresql.ARRAY(sa.Text()), create_type=False),
            nullable=False,
            comment="Product modules inside the image",
        ),
        sa.Column(
            "architecture",
            postgresql.DOMAIN("build_cache_registry_architecture", sa.String(length=20), create_type=False),
            nullable=False,
            comment="Processor architecture of the image",
        ),
        sa.Column(
            "cloud_provider",
            postgresql.DOMAIN("build_cache_registry_cloud_provider", sa.String(length=20), create_type=False),
            nullable=False,
            comment="Cloud that the image is made for",
        ),
        sa.Column(
            "cloud_compute",
            sa.String(length=50),
            nullable=False,
            comment="Compute family that the image is tuned for",
        ),
        sa.Column(
            "deployment_mode",
            postgresql.DOMAIN(
                "build_cache_registry_deployment_mode", sa.String(length=20), create_type=False
            ),
            nullable=False,
            comment="How the image is meant to run",
        ),
        sa.Column(
            "first_built_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the image was built",
        ),
        sa.Column(
            "first_built_by_customer",
            sa.String(length=100),
            nullable=True,
            comment="Customer whose build made the image",
        ),
        sa.Column(
            "build_duration_seconds",
            postgresql.DOMAIN(
                "build_cache_registry_build_duration_seconds",
                sa.Numeric(precision=10, scale=2),
                create_type=False,
            ),
            nullable=False,
            comment="How long the build took: what a hit saves",
        ),
        sa.Column(
            "image_size_bytes",
            postgresql.DOMAIN("build_cache_registry_image_size_bytes", sa.BigInteger(), create_type=False),
            nullable=True,
            comment="Size of the image",
        ),
        sa.Column(
            "image_layers",
            postgresql.DOMAIN("build_cache_registry_image_layers", sa.Integer(), create_type=False),
            nullable=True,
            comment="Number of layers in the image",
        ),
        sa.Column(
            "cache_hit_count",
            postgresql.DOMAIN("build_cache_registry_cache_hit_count", sa.BigInteger(), create_type=False),
            server_default="0",
            nullable=False,
            comment="Hits so far; kept exact by the access log's trigger",
        ),
        sa.Column(
            "last_accessed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the entry was last used or built; kept by the access log's trigger",
        ),
        sa.Column(
            "total_customers_served",
            postgresql.DOMAIN("build_cache_registry_total_customers_served", sa.Integer(), create_type=False),
            server_default="1",
            nullable=False,
            comment="Distinct customers who got the image; kept exact by the access log's trigger",
        ),
        sa.Column(
            "manifest_json",
            postgresql.DOMAIN(
                "build_cache_registry_manifest_json",
                postgresql.JSONB(astext_type=sa.Text()),
                create_type=False,
            ),
            nullable=False,
            comment="The manifest itself, as a JSON object",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the entry stops being offered; NULL is never",
        ),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the entry was deleted softly; a successor may take its place at once",
        ),
        sa.Column(
            "deletion_reason", sa.String(length=255), nullable=True, comment="Why the entry was deleted"
        ),
        sa.Column(
            "customers_served",
            sa.LargeBinary(),
            server_default=sa.text("'\\x'::bytea"),
            nullable=False,
            comment="One bit per customers.customer_number that got the image: an exact count at a flat cost",
        ),
        sa.ForeignKeyConstraint(
            ["first_built_by_customer"],
            ["customers.customer_id"],
            name=op.f("fk_build_cache_registry_first_built_by_customer"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_cache_registry")),
        comment="Finished builds that all customers share, keyed by manifest hash and gated by tier",
        postgresql_with={"fillfactor": "80"},
    )
    sqlfile.execute(
        "CREATE DOMAIN build_access_log_access_type AS VARCHAR(20) CONSTRAINT ck_build_access_log_access_type_allowed CHECK (VALUE IN ('cache_hit', 'cache_miss', 'build_created'));\n"
        "COMMENT ON DOMAIN build_access_log_access_type IS 'Values of build_access_log.access_type';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_access_log_pull_duration_seconds AS NUMERIC(10, 2) CONSTRAINT ck_build_access_log_pull_duration_seconds_range CHECK (VALUE >= 0 AND VALUE < 'NaN');\n"
        "COMMENT ON DOMAIN build_access_log_pull_duration_seconds IS 'Values of build_access_log.pull_duration_seconds';"
    )
    sqlfile.execute(
        "CREATE DOMAIN build_access_log_download_size_bytes AS BIGINT CONSTRAINT ck_build_access_log_download_size_bytes_range CHECK (VALUE >= 0);\n"
        "COMMENT ON DOMAIN build_access_log_download_size_bytes IS 'Values of build_access_log.download_size_bytes';"
    )
    op.create_table(
        "build_access_log",
        sa.Column(
            "id",
            sa.BigInteger(),
            autoincrement=True,
            nullable=False,
            comment="Technical key of the row, with accessed_at",
        ),
        sa.Column(
            "build_cache_id",
            sa.Uuid(),
            nullable=True,
            comment="The entry that was looked up; a cache_miss may have none",
        ),
        sa.Column("customer_id", sa.String(length=100), nullable=False, comment="The customer who asked"),
        sa.Column(
            "accessed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was looked up; the partition key",
        ),
        sa.Column(
            "access_type",
            postgresql.DOMAIN("build_access_log_access_type", sa.String(length=20), create_type=False),
            nullable=False,
            comment="What it came to: cache_hit, cache_miss or build_created",
        ),
        sa.Column("deployment_id", sa.String(length=100), nullable=True, comment="Deployment that asked"),
        sa.Column(
            "deployment_region",
            sa.String(length=100),
            nullable=True,
            comment="Region of the deployment that asked",
        ),
        sa.Column(
            "pull_duration_seconds",
            postgresql.DOMAIN(
                "build_access_log_pull_duration_seconds", sa.Numeric(precision=10, scale=2), create_type=False
            ),
            nullable=True,
            comment="How long the pull took",
        ),
        sa.Column(
            "download_size_bytes",
            postgresql.DOMAIN("build_access_log_download_size_bytes", sa.BigInteger(), create_type=False),
            nullable=True,
            comment="Bytes that were pulled",
        ),
        sa.Column("user_agent", sa.Text(), nullable=True, comment="Client software that asked"),
        sa.Column("ip_address", postgresql.INET(), nullable=True, comment="Address that asked"),
        sa.CheckConstraint(
            "build_cache_id IS NOT NULL OR access_type = 'cache_miss'",
            name=op.f("ck_build_access_log_only_a_miss_has_no_entry"),
        ),
        sa.ForeignKeyConstraint(
            ["build_cache_id"],
            ["build_cache_registry.id"],
            name=op.f("fk_build_access_log_build_cache_id"),
            ondelete="CASCADE",
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_build_access_log_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", "accessed_at", name=op.f("pk_build_access_log")),
        comment="Every look-up in the build cache, partitioned by month",
        postgresql_partition_by="RANGE (accessed_at)",
    )
    sqlfile.execute(
        "CREATE TABLE honua_partitions.build_access_log_default PARTITION OF build_access_log DEFAULT;"
    )
    sqlfile.execute(
        "INSERT INTO customers"
        " (customer_id, organization_name, contact_email, subscription_status, tier, customer_number)"
        " VALUES ('system', 'Honua System', 'system@honua.invalid', 'active', 'enterprise',"
        " nextval('customer_numbers'));"
    )
    sqlfile.create("001/core/give_customer_number.sql")
    sqlfile.keep_for_owner("001/core/give_customer_number.sql")
    sqlfile.create("001/core/customers_give_number.sql", "001/core/cache_performance_summary.sql")


def downgrade() -> None:
    """Drop all of it, the partitions of every log table included, and keep what others put beside them."""
    sqlfile.drop("001/core/cache_performance_summary.sql", "001/core/customers_give_number.sql")
    sqlfile.drop("001/core/give_customer_number.sql")
    op.drop_table("build_access_log")
    sqlfile.execute(
        "DROP DOMAIN "
        "build_access_log_access_type, "
        "build_access_log_pull_duration_seconds, "
        "build_access_log_download_size_bytes;"
    )
    op.drop_table("build_cache_registry")
    sqlfile.execute(
        "DROP DOMAIN "
        "build_cache_registry_tier, "
        "build_cache_registry_architecture, "
        "build_cache_registry_cloud_provider, "
        "build_cache_registry_deployment_mode, "
        "build_cache_registry_build_duration_seconds, "
        "build_cache_registry_image_size_bytes, "
        "build_cache_registry_image_layers, "
        "build_cache_registry_cache_hit_count, "
        "build_cache_registry_total_customers_served, "
        "build_cache_registry_manifest_json, "
        "build_cache_registry_modules;"
    )
    op.drop_table("registry_credentials")
    op.drop_table("licenses")
    op.drop_table("customers")
    op.drop_table("schema_migrations")
    sqlfile.execute(DROP_PARTITION_SCHEMA)
    sqlfile.execute(DROP_OUR_EXTENSIONS)
