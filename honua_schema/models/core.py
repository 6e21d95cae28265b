"""Customers, their licences and registry credentials, and the build cache they share."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    FetchedValue,
    ForeignKey,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.orm.attributes import flag_modified

from honua_schema.models.base import (
    DELETED_ALONG,
    Address,
    Base,
    ByteCount,
    CreationTimestamp,
    CustomerId,
    GeneratedNumber,
    GeneratedUuid,
    Seconds,
    String50,
    String64,
    String100,
    String255,
    UpdateTimestamp,
    after_create,
    enum_type,
    finite,
    in_range,
    index,
    json_object,
    one_of,
    partitioned_by_month,
    rules_in_domains,
    short_elements,
)

if TYPE_CHECKING:
    from honua_schema.crypto import Keyring, Place
    from honua_schema.models.build_queue import BuildQueue
    from honua_schema.models.intake import BuildManifest, Conversation


class SubscriptionStatus(enum.StrEnum):
    """How far a customer's subscription has come."""

    TRIAL = "trial"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


class Tier(enum.StrEnum):
    """The product tiers, lowest first: each admits what the ones before it admit."""

    CORE = "core"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    ASP = "asp"


class LicenseStatus(enum.StrEnum):
    """Whether a licence allows new builds: active and trial do."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    TRIAL = "trial"


class RegistryProvider(enum.StrEnum):
    """The container registries that credentials may belong to."""

    DOCKERHUB = "dockerhub"
    ECR = "ecr"
    GCR = "gcr"
    ACR = "acr"
    GHCR = "ghcr"
    HARBOR = "harbor"
    QUAY = "quay"
    CUSTOM = "custom"


class ValidationStatus(enum.StrEnum):
    """The outcome of the last attempt to log in with a credential."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Architecture(enum.StrEnum):
    """The processor architectures that images are built for."""

    AMD64 = "amd64"
    ARM64 = "arm64"


class CloudProvider(enum.StrEnum):
    """Where an image is meant to run."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    KUBERNETES = "kubernetes"


class DeploymentMode(enum.StrEnum):
    """How an image is meant to run."""

    STANDALONE = "standalone"
    DISTRIBUTED = "distributed"
    SERVERLESS = "serverless"


class AccessType(enum.StrEnum):
    """What a look-up in the build cache came to."""

    CACHE_HIT = "cache_hit"
    CACHE_MISS = "cache_miss"
    BUILD_CREATED = "build_created"


DEFAULT_FEATURES = (
    '{"ai_intake": true, "sla_guarantee": false, "custom_modules": true, '
    '"dedicated_cache": false, "priority_builds": false}'
)


# Loaded when first asked for, so that honua_app, who may not read them, can load the rest.
NOT_FOR_TENANTS: dict[str, Any] = {"deferred": True, "deferred_group": "not for tenants"}


class Customer(Base):
    """An organisation that orders builds; the tenant of every other table."""

    __tablename__ = "customers"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId] = mapped_column(
        unique=True, comment="Business key of the customer; what every other table refers to"
    )
    organization_name: Mapped[String255] = mapped_column(
        comment="Name of the organisation, as shown to people"
    )
    contact_email: Mapped[String255] = mapped_column(comment="Address of the person to write to")
    contact_name: Mapped[String255 | None] = mapped_column(comment="Name of the person to write to")
    subscription_status: Mapped[SubscriptionStatus] = mapped_column(
        enum_type(SubscriptionStatus),
        server_default="trial",
        comment="How far the subscription has come: trial, active, suspended or cancelled",
    )
    tier: Mapped[Tier] = mapped_column(
        enum_type(Tier),
        server_default="core",
        comment="Product tier; which cached builds the customer may use: core < pro < enterprise < asp",
    )
    metadata_: Mapped[dict[str, Any] | None] = mapped_column(
        "metadata",
        server_default=text("'{}'::jsonb"),
        comment="Further facts about the customer, as a JSON object",
    )
    tags: Mapped[list[str] | None] = mapped_column(
        ARRAY(String(50)), comment="Labels that operators group customers by"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the customer was deleted softly; purge_soft_deleted_records() removes the row later"
    )
    customer_number: Mapped[int | None] = mapped_column(
        deferred=True,
        unique=True,
        server_default=FetchedValue(),
        comment="Small number given once; the customer's place in build_cache_registry.customers_served",
    )

    license: Mapped[License | None] = relationship(back_populates="customer", **DELETED_ALONG)
    registry_credentials: Mapped[list[RegistryCredential]] = relationship(
        back_populates="customer", **DELETED_ALONG
    )
    builds: Mapped[list[BuildQueue]] = relationship(back_populates="customer", **DELETED_ALONG)
    conversations: Mapped[list[Conversation]] = relationship(back_populates="customer", passive_deletes=True)
    manifests: Mapped[list[BuildManifest]] = relationship(back_populates="customer", passive_deletes=True)

    __table_args__ = (
        one_of("subscription_status", SubscriptionStatus),
        one_of("tier", Tier),
        json_object("metadata"),
        index("ix_customers_contact_email", "contact_email", serves="find a customer by e-mail address"),
        index(
            "ix_customers_tier_subscription_status",
            "tier",
            "subscription_status",
            where="deleted_at IS NULL",
            serves="live customers by tier and subscription",
        ),
        index(
            "ix_customers_metadata",
            "metadata",
            using="gin",
            ops={"metadata": "jsonb_path_ops"},
            serves="customers whose metadata contains a fact (@>)",
        ),
        index("ix_customers_tags", "tags", using="gin", serves="customers that carry given labels (@>, &&)"),
        index(
            "ix_customers_deleted_at",
            "deleted_at",
            where="deleted_at IS NOT NULL",
            serves="purge_soft_deleted_records()",
        ),
        {"comment": "Organisations that order builds: the tenants of the system"},
    )


after_create(Customer, "CREATE SEQUENCE customer_numbers OWNED BY customers.customer_number")
after_create(Customer, "COMMENT ON SEQUENCE customer_numbers IS 'The next customers.customer_number'")
after_create(
    Customer,
    "INSERT INTO customers"
    " (customer_id, organization_name, contact_email, subscription_status, tier, customer_number)"
    " VALUES ('system', 'Honua System', 'system@honua.invalid', 'active', 'enterprise',"
    " nextval('customer_numbers'))",
)


def place_of_secret(row: License | RegistryCredential, column: str) -> Place:
    """Return what a secret is bound to; a new row gets its id now.

    Args:
        row: The row that holds the secret.
        column: The column that holds it.

    Raises:
        ValueError: The row has no customer_id yet.
    """
    from honua_schema.crypto import Place

    if not row.customer_id:
        message = f"set customer_id before secrets: {row.__tablename__}.{column} is bound to it"
        raise ValueError(message)
    if row.id is None:
        row.id = uuid.uuid4()
    return Place(row.__tablename__, column, row.customer_id, row.id)


class License(Base):
    """What a customer has paid for: tier, features and quotas. One per customer."""

    __tablename__ = "licenses"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="CASCADE"),
        unique=True,
        comment="The customer who holds the licence",
    )
    license_key: Mapped[str] = mapped_column(
        comment="The licence key, encrypted by the application (AES-256-GCM)"
    )
    license_key_hash: Mapped[String64] = mapped_column(
        unique=True, comment="SHA-256 of the licence key in hexadecimal; how a key is looked up"
    )
    tier: Mapped[Tier] = mapped_column(enum_type(Tier), comment="Product tier of the licence")
    status: Mapped[LicenseStatus] = mapped_column(
        enum_type(LicenseStatus),
        server_default="active",
        comment="active and trial allow new builds; expire_licenses() sets expired",
    )
    issued_at: Mapped[CreationTimestamp] = mapped_column(comment="When the licence begins")
    expires_at: Mapped[datetime.datetime] = mapped_column(comment="When the licence ends")
    trial_expires_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When a trial ends; expires_at counts where it is not given"
    )
    features: Mapped[dict[str, Any]] = mapped_column(
        server_default=text(f"'{DEFAULT_FEATURES}'::jsonb"),
        comment="Feature flags as a JSON object of booleans",
    )
    max_builds_per_month: Mapped[int | None] = mapped_column(
        server_default="100", comment="Builds that may be queued in a calendar month (UTC); NULL is unlimited"
    )
    max_registries: Mapped[int | None] = mapped_column(
        server_default="3", comment="Active, unrevoked registry credentials allowed; NULL is unlimited"
    )
    max_concurrent_builds: Mapped[int | None] = mapped_column(
        server_default="1", comment="Builds that may be building at the same time; NULL is unlimited"
    )
    revoked_at: Mapped[datetime.datetime | None] = mapped_column(comment="When the licence was revoked")
    revoked_by: Mapped[String100 | None] = mapped_column(comment="Who revoked the licence")
    revoked_reason: Mapped[str | None] = mapped_column(comment="Why the licence was revoked")
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )

    customer: Mapped[Customer] = relationship(back_populates="license")

    def issue_key(self, keyring: Keyring) -> str:
        """Give the licence a new key and return it: show it once, for only its hash can be looked up.

        Args:
            keyring: The keys that encrypt secrets.
        """
        from honua_schema import crypto

        key = crypto.new_license_key()
        self.set_key(keyring, key)
        return key

    def set_key(self, keyring: Keyring, key: str) -> None:
        """Store a licence key, encrypted, with the hash that it is found by.

        Args:
            keyring: The keys that encrypt secrets.
            key: The licence key.

        Raises:
            ValueError: The licence has no customer_id yet, to which the secret is bound.
        """
        from honua_schema import crypto

        self.license_key = crypto.encrypt(keyring, key, place_of_secret(self, "license_key"))
        self.license_key_hash = crypto.hash_license_key(key)

    def reveal_key(self, keyring: Keyring) -> str:
        """Return the licence key.

        Args:
            keyring: The keys that encrypt secrets.

        Raises:
            honua_schema.crypto.SecretError: It cannot be decrypted.
        """
        from honua_schema import crypto

        return crypto.decrypt(keyring, self.license_key, place_of_secret(self, "license_key"))

    __table_args__ = (
        one_of("tier", Tier),
        one_of("status", LicenseStatus),
        json_object("features"),
        CheckConstraint("expires_at > issued_at", name="expires_after_issue"),
        CheckConstraint("trial_expires_at > issued_at", name="trial_expires_after_issue"),
        in_range("max_builds_per_month"),
        in_range("max_registries"),
        in_range("max_concurrent_builds"),
        index(
            "ix_licenses_expires_at",
            "expires_at",
            where="status IN ('active', 'trial')",
            serves="expire_licenses(); licences about to expire",
        ),
        index(
            "ix_licenses_trial_expires_at",
            "trial_expires_at",
            where="status = 'trial'",
            serves="expire_licenses(); trials about to end",
        ),
        index(
            "ix_licenses_features",
            "features",
            using="gin",
            ops={"features": "jsonb_path_ops"},
            serves="licences that include a feature (@>)",
        ),
        {"comment": "What each customer has paid for: tier, features and quotas"},
    )


class RegistryCredential(Base):
    """A login to a customer's container registry, encrypted by the application."""

    __tablename__ = "registry_credentials"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="CASCADE"), comment="The customer whose registry it is"
    )
    registry_name: Mapped[String100] = mapped_column(comment="The customer's name for the registry")
    registry_url: Mapped[str] = mapped_column(comment="Address of the registry")
    registry_provider: Mapped[RegistryProvider] = mapped_column(
        enum_type(RegistryProvider, 50), comment="Kind of registry"
    )
    username_encrypted: Mapped[bytes] = mapped_column(
        LargeBinary, comment="User name, encrypted by the application (AES-256-GCM)"
    )
    password_encrypted: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Password or token, encrypted by the application (AES-256-GCM)"
    )
    encryption_key_id: Mapped[String100] = mapped_column(
        comment="Which key encrypts the row; keys never reach the server"
    )
    is_default: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="Whether builds without a target go here; one live row per customer",
    )
    is_active: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="Whether the credential is in use"
    )
    last_validated_at: Mapped[datetime.datetime | None] = mapped_column(comment="When a login was last tried")
    validation_status: Mapped[ValidationStatus | None] = mapped_column(
        enum_type(ValidationStatus), comment="Outcome of the last login: valid, invalid or unknown"
    )
    validation_error: Mapped[str | None] = mapped_column(
        comment="What the registry answered to a failed login"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )
    revoked_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the credential was revoked, by a person or by revoke_expired_credentials()"
    )

    customer: Mapped[Customer] = relationship(back_populates="registry_credentials")
    builds: Mapped[list[BuildQueue]] = relationship(
        back_populates="target_registry",
        # Not True: honua_app may delete a credential, but not take it from builds. The foreign key does.
        passive_deletes="all",
        foreign_keys="BuildQueue.target_registry_id",
        primaryjoin="RegistryCredential.id == BuildQueue.target_registry_id",
    )

    def set_login(self, keyring: Keyring, *, username: str, password: str) -> None:
        """Store a login, encrypted.

        Args:
            keyring: The keys that encrypt secrets.
            username: The user name.
            password: The password or token.

        Raises:
            ValueError: The credential has no customer_id yet, to which the secrets are bound.
        """
        from honua_schema import crypto

        for column, secret in (("username_encrypted", username), ("password_encrypted", password)):
            envelope = crypto.encrypt(keyring, secret, place_of_secret(self, column))
            setattr(self, column, envelope.encode())
        self.encryption_key_id = keyring.current
        # Also when this object knows no other: somebody may have rotated the keys since it was loaded.
        flag_modified(self, "encryption_key_id")

    def reveal_username(self, keyring: Keyring) -> str:
        """Return the user name.

        Args:
            keyring: The keys that encrypt secrets.

        Raises:
            honua_schema.crypto.SecretError: It cannot be decrypted.
        """
        return self._reveal(keyring, "username_encrypted")

    def reveal_password(self, keyring: Keyring) -> str:
        """Return the password or token.

        Args:
            keyring: The keys that encrypt secrets.

        Raises:
            honua_schema.crypto.SecretError: It cannot be decrypted.
        """
        return self._reveal(keyring, "password_encrypted")

    def _reveal(self, keyring: Keyring, column: str) -> str:
        from honua_schema import crypto

        envelope = crypto.as_text(getattr(self, column))
        return crypto.decrypt(keyring, envelope, place_of_secret(self, column))

    __table_args__ = (
        one_of("registry_provider", RegistryProvider),
        one_of("validation_status", ValidationStatus),
        # Builds refer to both, so that none can point at the registry of another customer.
        UniqueConstraint("customer_id", "id"),
        index(
            "uq_registry_credentials_live_default",
            "customer_id",
            unique=True,
            where="is_default AND revoked_at IS NULL",
            serves="one live default registry per customer",
        ),
        index(
            "ix_registry_credentials_invalid",
            "last_validated_at",
            where="validation_status = 'invalid' AND revoked_at IS NULL",
            serves="revoke_expired_credentials()",
        ),
        index(
            "ix_registry_credentials_encryption_key_id",
            "encryption_key_id",
            serves="rows still encrypted with an old key, during key rotation",
        ),
        {"comment": "Logins to customers' container registries, encrypted by the application"},
    )


@rules_in_domains
class BuildCacheRegistry(Base):
    """A finished build that every customer of its tier or above may use."""

    __tablename__ = "build_cache_registry"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    manifest_hash: Mapped[String64] = mapped_column(
        comment="Hash of the manifest that the image was built from"
    )
    tier: Mapped[Tier] = mapped_column(enum_type(Tier), comment="Lowest tier that may use the image")
    registry_url: Mapped[str] = mapped_column(comment="Registry that holds the image")
    image_tag: Mapped[str] = mapped_column(comment="Tag of the image")
    full_image_url: Mapped[str] = mapped_column(comment="What a customer pulls: registry, name and tag")
    modules: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Product modules inside the image")
    architecture: Mapped[Architecture] = mapped_column(
        enum_type(Architecture), comment="Processor architecture of the image"
    )
    cloud_provider: Mapped[CloudProvider] = mapped_column(
        enum_type(CloudProvider), comment="Cloud that the image is made for"
    )
    cloud_compute: Mapped[String50] = mapped_column(comment="Compute family that the image is tuned for")
    deployment_mode: Mapped[DeploymentMode] = mapped_column(
        enum_type(DeploymentMode), comment="How the image is meant to run"
    )
    first_built_at: Mapped[CreationTimestamp] = mapped_column(comment="When the image was built")
    first_built_by_customer: Mapped[CustomerId | None] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="SET NULL"),
        **NOT_FOR_TENANTS,
        comment="Customer whose build made the image",
    )
    build_duration_seconds: Mapped[Seconds] = mapped_column(
        comment="How long the build took: what a hit saves"
    )
    image_size_bytes: Mapped[ByteCount | None] = mapped_column(comment="Size of the image")
    image_layers: Mapped[int | None] = mapped_column(comment="Number of layers in the image")
    cache_hit_count: Mapped[ByteCount] = mapped_column(
        server_default="0",
        **NOT_FOR_TENANTS,
        comment="Hits so far; kept exact by the access log's trigger",
    )
    last_accessed_at: Mapped[datetime.datetime | None] = mapped_column(
        **NOT_FOR_TENANTS, comment="When the entry was last used or built; kept by the access log's trigger"
    )
    total_customers_served: Mapped[int] = mapped_column(
        server_default="1",
        **NOT_FOR_TENANTS,
        comment="Distinct customers who got the image; kept exact by the access log's trigger",
    )
    manifest_json: Mapped[dict[str, Any]] = mapped_column(
        **NOT_FOR_TENANTS, comment="The manifest itself, as a JSON object"
    )
    expires_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the entry stops being offered; NULL is never"
    )
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the entry was deleted softly; a successor may take its place at once"
    )
    deletion_reason: Mapped[String255 | None] = mapped_column(comment="Why the entry was deleted")
    customers_served: Mapped[bytes] = mapped_column(
        LargeBinary,
        server_default=text("'\\x'::bytea"),
        **NOT_FOR_TENANTS,
        comment="One bit per customers.customer_number that got the image: an exact count at a flat cost",
    )

    accesses: Mapped[list[BuildAccessLog]] = relationship(back_populates="build_cache", **DELETED_ALONG)

    __table_args__ = (
        one_of("tier", Tier),
        one_of("architecture", Architecture),
        one_of("cloud_provider", CloudProvider),
        one_of("deployment_mode", DeploymentMode),
        json_object("manifest_json"),
        finite("build_duration_seconds"),
        in_range("image_size_bytes"),
        in_range("image_layers"),
        in_range("cache_hit_count"),
        in_range("total_customers_served"),
        short_elements("modules"),
        index(
            "uq_build_cache_registry_live_entry",
            "manifest_hash",
            "tier",
            "architecture",
            unique=True,
            where="deleted_at IS NULL",
            serves="find_cached_build(); one live entry per manifest, tier and architecture",
        ),
        index(
            "ix_build_cache_registry_first_built_by_customer",
            "first_built_by_customer",
            where="first_built_by_customer IS NOT NULL",
            serves="entries that a customer's builds made; deletion of a customer",
        ),
        index(
            "ix_build_cache_registry_modules",
            "modules",
            using="gin",
            serves="images with given modules (@>, &&)",
        ),
        index(
            "ix_build_cache_registry_manifest_json",
            "manifest_json",
            using="gin",
            ops={"manifest_json": "jsonb_path_ops"},
            serves="images whose manifest contains a setting (@>)",
        ),
        index(
            "ix_build_cache_registry_target",
            "cloud_provider",
            "cloud_compute",
            "architecture",
            where="deleted_at IS NULL",
            serves="live images for a cloud and its compute family",
        ),
        index(
            "ix_build_cache_registry_first_built_at",
            "first_built_at",
            serves="cache growth over time; newest entries",
        ),
        index(
            "ix_build_cache_registry_expires_at",
            "expires_at",
            where="deleted_at IS NULL AND expires_at IS NOT NULL",
            serves="entries about to expire",
        ),
        index(
            "ix_build_cache_registry_deleted_at",
            "deleted_at",
            where="deleted_at IS NOT NULL",
            serves="purge_soft_deleted_records()",
        ),
        {
            "comment": "Finished builds that all customers share, keyed by manifest hash and gated by tier",
            "postgresql_with": {"fillfactor": "80"},
        },
    )


@partitioned_by_month
@rules_in_domains
class BuildAccessLog(Base):
    """One look-up in the build cache. Partitioned by month."""

    __tablename__ = "build_access_log"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row, with accessed_at")
    build_cache_id: Mapped[uuid.UUID | None] = mapped_column(
        # Deferred: checked at once, it would lock the entry, as others do at the same time, before the
        # counters are changed; and who changes them would have to keep note of all of these.
        ForeignKey("build_cache_registry.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
        comment="The entry that was looked up; a cache_miss may have none",
    )
    customer_id: Mapped[CustomerId] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="CASCADE"), comment="The customer who asked"
    )
    accessed_at: Mapped[CreationTimestamp] = mapped_column(
        primary_key=True, comment="When it was looked up; the partition key"
    )
    access_type: Mapped[AccessType] = mapped_column(
        enum_type(AccessType), comment="What it came to: cache_hit, cache_miss or build_created"
    )
    deployment_id: Mapped[String100 | None] = mapped_column(comment="Deployment that asked")
    deployment_region: Mapped[String100 | None] = mapped_column(comment="Region of the deployment that asked")
    pull_duration_seconds: Mapped[Seconds | None] = mapped_column(comment="How long the pull took")
    download_size_bytes: Mapped[ByteCount | None] = mapped_column(comment="Bytes that were pulled")
    user_agent: Mapped[str | None] = mapped_column(comment="Client software that asked")
    ip_address: Mapped[str | None] = mapped_column(Address, comment="Address that asked")

    build_cache: Mapped[BuildCacheRegistry | None] = relationship(back_populates="accesses")
    customer: Mapped[Customer] = relationship()

    __table_args__ = (
        one_of("access_type", AccessType),
        CheckConstraint(
            "build_cache_id IS NOT NULL OR access_type = 'cache_miss'", name="only_a_miss_has_no_entry"
        ),
        finite("pull_duration_seconds"),
        in_range("download_size_bytes"),
        index(
            "ix_build_access_log_build_cache_id",
            "build_cache_id",
            serves="who used an image; deletion of an entry",
        ),
        index(
            "ix_build_access_log_customer_id",
            "customer_id",
            "accessed_at",
            serves="get_cache_hit_rate() of a customer; a customer's accesses over time",
        ),
        index(
            "ix_build_access_log_accessed_at",
            "accessed_at",
            using="brin",
            serves="get_cache_hit_rate() of all customers; cache_performance_summary",
        ),
        {
            "comment": "Every look-up in the build cache, partitioned by month",
            "postgresql_partition_by": "RANGE (accessed_at)",
        },
    )
