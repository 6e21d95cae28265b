"""The models as an application uses them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import DateTime, Enum, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from honua_schema import models
from honua_schema.models import (
    AccessType,
    Base,
    BuildAccessLog,
    BuildArtifact,
    BuildEvent,
    BuildManifest,
    BuildMetric,
    BuildQueue,
    BuildResult,
    BuildStatus,
    Conversation,
    ConversationIntent,
    ConversationMessage,
    Customer,
    License,
    RegistryCredential,
    RequirementExtraction,
    Tier,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

EXPORTED_MODELS = {
    "Customer", "License", "RegistryCredential", "BuildCacheRegistry", "BuildAccessLog", "BuildQueue",
    "BuildResult", "BuildArtifact", "BuildEvent", "BuildMetric", "Conversation", "ConversationMessage",
    "ConversationIntent", "BuildManifest", "RequirementExtraction", "SchemaMigration", "AuditLog",
}  # fmt: skip


def a_customer(customer_id: str = "example-maps") -> Customer:
    return Customer(customer_id=customer_id, organization_name="Maps", contact_email="maps@example.com")


def a_build(**values: object) -> BuildQueue:
    return BuildQueue(manifest_path="/m", manifest_hash="h", manifest_json={"modules": ["stac"]}, **values)


def test_the_models_are_exported_and_there_is_one_for_each_table() -> None:
    assert set(models.__all__) >= EXPORTED_MODELS | {"Base"}
    assert {mapper.class_.__name__ for mapper in Base.registry.mappers} == EXPORTED_MODELS
    assert len(Base.metadata.tables) == 17


def test_every_time_knows_its_time_zone() -> None:
    times = [
        column for table in Base.metadata.tables.values() for column in table.columns
        if isinstance(column.type, DateTime)
    ]  # fmt: skip
    assert len(times) > 40
    assert all(column.type.timezone for column in times)


def test_every_enumeration_has_a_check_with_the_same_values() -> None:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, Enum):
                (check,) = [
                    each for each in table.constraints
                    if each.name == f"ck_{table.name}_{column.name}_allowed"
                ]  # fmt: skip
                listed = ", ".join(f"'{value}'" for value in column.type.enums)
                assert str(check.sqltext) == f"{column.name} IN ({listed})"


def test_a_tree_of_objects_is_stored_and_walked_both_ways(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        customer = a_customer()
        customer.license = License(
            license_key="encrypted", license_key_hash="h", tier=Tier.PRO,
            expires_at=datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC),
        )  # fmt: skip
        registry = RegistryCredential(
            registry_name="main", registry_url="ghcr.io", registry_provider="ghcr",
            username_encrypted=b"u", password_encrypted=b"p", encryption_key_id="k",
        )  # fmt: skip
        customer.registry_credentials.append(registry)
        build = a_build(target_registry=registry)
        build.events.append(BuildEvent(event_type="started"))
        build.metrics.append(BuildMetric(metric_name="cpu", metric_value=1))
        build.result = BuildResult(success=True, actual_duration_seconds=5)
        build.result.artifacts.append(
            BuildArtifact(
                artifact_type="sbom", artifact_name="sbom.json", storage_type="s3", storage_url="s3://b/sbom"
            )
        )
        customer.builds.append(build)
        conversation = Conversation()
        conversation.messages.append(ConversationMessage(role="user", content="a map", sequence_number=1))
        conversation.intents.append(ConversationIntent(intent_type="build", message=conversation.messages[0]))
        conversation.manifest = BuildManifest(manifest_json={}, manifest_hash="h", customer=customer)
        conversation.requirement_extractions.append(
            RequirementExtraction(requirement_type="cloud", requirement_value="aws")
        )
        customer.conversations.append(conversation)
        session.add(customer)

    with Session(engine) as session:
        build = session.scalars(select(BuildQueue)).one()
        assert build.status is BuildStatus.QUEUED
        assert build.customer.license is not None
        assert build.customer.license.customer is build.customer
        assert build.target_registry is build.customer.registry_credentials[0]
        assert build.result is not None
        assert build.result.build is build
        assert [artifact.result for artifact in build.result.artifacts] == [build.result]
        assert build.events[0].build is build
        assert build.metrics[0].build is build
        conversation = build.customer.conversations[0]
        assert conversation.messages[0].conversation is conversation
        assert conversation.messages[0].intents == conversation.intents
        assert conversation.manifest in build.customer.manifests
        assert conversation.requirement_extractions[0].conversation is conversation
        assert (conversation.total_messages, conversation.total_tokens_used) == (1, 0)


def test_deleting_a_customer_deletes_what_belongs_to_it(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        customer = a_customer()
        customer.builds.append(a_build())
        session.add(customer)
    with Session(engine) as session, session.begin():
        session.delete(session.scalars(select(Customer).where(Customer.customer_id == "example-maps")).one())
    with Session(engine) as session:
        assert session.scalars(select(BuildQueue)).all() == []


def test_a_value_outside_its_enumeration_is_refused_by_the_named_check(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(a_customer())
        session.flush()
        with pytest.raises(IntegrityError, match="ck_customers_tier_allowed"), session.begin_nested():
            session.execute(text("UPDATE customers SET tier = 'gold' WHERE customer_id = 'example-maps'"))


def test_a_miss_may_have_no_entry_and_a_hit_must(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        customer = a_customer()
        session.add(customer)
        session.add(BuildAccessLog(customer=customer, access_type=AccessType.CACHE_MISS))
        session.flush()
        session.add(BuildAccessLog(customer=customer, access_type=AccessType.CACHE_HIT))
        with pytest.raises(IntegrityError, match="ck_build_access_log_only_a_miss_has_no_entry"):
            session.flush()
        session.rollback()


def test_create_all_of_the_metadata_alone_makes_working_tables(empty_database: object) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(empty_database)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
    with Session(engine) as session, session.begin():
        customer = a_customer()
        session.add(BuildAccessLog(customer=customer, access_type=AccessType.CACHE_MISS))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM honua_partitions.build_access_log_default")) == 1
        assert connection.scalar(text("SELECT organization_name FROM customers LIMIT 1")) == "Honua System"
        assert set(inspect(connection).get_table_names()) == set(Base.metadata.tables)
    engine.dispose()
