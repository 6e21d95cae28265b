"""The models as an application uses them."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import JSON, DateTime, Enum, inspect, null, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import ColumnProperty, RelationshipDirection, RelationshipProperty, Session

from honua_schema import customer_scope, models
from honua_schema.models import (
    AccessType,
    AuditLog,
    Base,
    BuildAccessLog,
    BuildArtifact,
    BuildCacheRegistry,
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
    from sqlalchemy import URL, Engine

EXPORTED_MODELS = {
    "Customer", "License", "RegistryCredential", "BuildCacheRegistry", "BuildAccessLog", "BuildQueue",
    "BuildResult", "BuildArtifact", "BuildEvent", "BuildMetric", "Conversation", "ConversationMessage",
    "ConversationIntent", "BuildManifest", "RequirementExtraction", "SchemaMigration", "AuditLog",
}  # fmt: skip


def a_customer(customer_id: str = "example-maps") -> Customer:
    return Customer(customer_id=customer_id, organization_name="Maps", contact_email="maps@example.com")


def a_build(**values: object) -> BuildQueue:
    return BuildQueue(manifest_path="/m", manifest_hash="h", manifest_json={"modules": ["stac"]}, **values)


def a_customer_with_everything() -> list[Base]:
    """A customer, and at least one row that belongs to it in each table."""
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
        RequirementExtraction(
            requirement_type="cloud", requirement_value="aws", manifest=conversation.manifest
        )
    )
    customer.conversations.append(conversation)
    entry = BuildCacheRegistry(
        manifest_hash="h", tier=Tier.CORE, registry_url="ghcr.io", image_tag="1",
        full_image_url="ghcr.io/s:1", modules=["stac"], architecture="amd64", cloud_provider="aws",
        cloud_compute="graviton", deployment_mode="standalone", build_duration_seconds=480, manifest_json={},
    )  # fmt: skip
    hit = BuildAccessLog(customer=customer, build_cache=entry, access_type=AccessType.CACHE_HIT)
    return [customer, hit]


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


MAPPERS = sorted(Base.registry.mappers, key=str)  # each process that runs tests must find them in one order
JSON_ATTRIBUTES = {
    attribute: column_type
    for mapper in MAPPERS
    for attribute in mapper.column_attrs
    for column_type in [attribute.columns[0].type]
    if isinstance(getattr(column_type, "data_type", column_type), JSON)
}


def test_every_column_of_json_takes_none_for_null() -> None:
    assert len(JSON_ATTRIBUTES) == 17
    for column_type in JSON_ATTRIBUTES.values():
        assert column_type.should_evaluate_none
        assert getattr(column_type, "data_type", column_type).none_as_null


@pytest.mark.parametrize(
    "attribute",
    [each for each in JSON_ATTRIBUTES if each.columns[0].nullable and each.parent.class_ is not AuditLog],
    ids=str,
)
def test_none_in_json_is_null_and_not_the_null_of_json_or_a_default(
    engine: Engine, attribute: ColumnProperty[Any]
) -> None:
    model: Any = attribute.parent.class_
    with Session(engine) as session:
        session.add_all(a_customer_with_everything())
        (row,) = (each for each in session.new if isinstance(each, model))
        is_null = []
        for value in (None, {"scale": 25000}, None):
            setattr(row, attribute.key, value)
            session.flush()
            is_null.append(
                session.scalar(select(attribute.class_attribute.is_(None)).where(model.id == row.id))
            )
        assert is_null == [True, False, True]


def test_none_leaves_another_column_its_default_and_null_does_not(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(
            License(
                customer=a_customer(), license_key="encrypted", license_key_hash="h", tier=Tier.PRO,
                expires_at=datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC),
                max_builds_per_month=None, max_registries=null(),
            )
        )  # fmt: skip
    with Session(engine) as session:
        license_ = session.scalars(select(License)).one()
        assert (license_.max_builds_per_month, license_.max_registries) == (100, None)


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", "10.0.0.0/8", "2001:db8::/32", None])
def test_an_address_is_the_text_that_it_was_written_as(engine: Engine, address: str | None) -> None:
    with Session(engine) as session, session.begin():
        session.add(Conversation(ip_address=address))
    with Session(engine) as session:
        assert session.scalars(select(Conversation.ip_address)).all() == [address]
        if address:
            written = select(Conversation).where(Conversation.ip_address == address)
            assert session.scalars(written).one().ip_address == address


def test_an_address_is_found_by_its_network_and_may_be_written_as_an_object(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(Conversation(ip_address=ipaddress.ip_address("10.0.0.1")))
    with Session(engine) as session:
        near = select(Conversation.ip_address).where(Conversation.ip_address.op("<<")("10.0.0.0/8"))
        assert session.scalars(near).all() == ["10.0.0.1"]


def test_the_number_of_a_customer_is_there_after_the_flush(engine: Engine) -> None:
    with Session(engine) as session:
        customer = a_customer()
        session.add(customer)
        session.flush()
        number = customer.customer_number
        session.expire(customer)
        assert customer.customer_number == number is not None


def test_the_time_of_a_change_is_there_after_the_flush(engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session:
        session.add_all(a_customer_with_everything())
        session.commit()
        changed = {row: row.updated_at for row in session if "updated_at" in inspect(type(row)).columns}
        assert {type(row).__name__ for row in changed} == {
            "Customer", "License", "RegistryCredential", "BuildQueue", "BuildManifest", "Conversation",
        }  # fmt: skip
        for row in changed:
            row.created_at -= datetime.timedelta(seconds=1)
        session.commit()

        assert all(row.updated_at > before for row, before in changed.items())
        for row in changed:
            assert (
                session.scalar(select(type(row).updated_at).where(type(row).id == row.id)) == row.updated_at
            )


def test_a_time_of_a_change_that_is_given_stays(engine: Engine) -> None:
    given = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with Session(engine) as session, session.begin():
        customer = a_customer()
        session.add(customer)
        session.flush()
        customer.contact_name, customer.updated_at = "Ada", given
        session.flush()
        assert customer.updated_at == given
        session.expire(customer)
        assert customer.updated_at == given


def test_a_customer_that_may_not_read_all_columns_has_the_time_of_a_change_too(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(a_customer())
    with Session(engine) as session, session.begin():
        session.execute(text("SET LOCAL ROLE honua_app"))
        with customer_scope(session, "example-maps"):
            customer = session.scalars(select(Customer)).one()
            before = customer.updated_at
            customer.contact_name = "Ada"
            session.flush()
            assert customer.updated_at > before


def test_the_time_of_a_change_is_there_without_waiting_for_it(database: URL) -> None:
    async def change() -> None:
        engine = create_async_engine(database)
        async with AsyncSession(engine, expire_on_commit=False) as session:
            session.add(customer := a_customer())
            await session.commit()
            before = customer.updated_at
            customer.contact_name = "Ada"
            await session.flush()
            assert customer.updated_at > before
            await session.commit()
            assert customer.updated_at > before
        await engine.dispose()

    asyncio.run(change())


def test_a_tree_of_objects_is_stored_and_walked_both_ways(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())

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


ONE_TO_MANY = [
    relationship
    for mapper in MAPPERS
    for relationship in mapper.relationships
    if relationship.direction is RelationshipDirection.ONETOMANY
]
OF_THE_TRANSACTION = {"updated_at", "audit_log.id", "occurred_at", "transaction_id"}


def cascades(relationship: RelationshipProperty[Any]) -> bool:
    """Whether deleting the parent deletes its children, by the rule of the foreign key."""
    (child_key,) = relationship.remote_side
    rules = {
        key.ondelete for key in child_key.foreign_keys if key.column.table is relationship.parent.local_table
    }
    assert rules <= {"CASCADE", "SET NULL", f"SET NULL ({child_key.name})"}
    return rules == {"CASCADE"}


def rows_after_deletion(session: Session, parent: Base) -> dict[str, list[str]]:
    """Delete a parent and return the rows of each table, without what differs between transactions."""
    session.delete(parent)
    session.flush()
    return {
        table.name: sorted(
            str([row[column] for column in table.columns
                 if not {column.name, str(column)} & OF_THE_TRANSACTION])
            for row in session.execute(select(table)).mappings()
        )
        for table in Base.metadata.tables.values()
    }  # fmt: skip


@pytest.mark.parametrize("relationship", ONE_TO_MANY, ids=str)
def test_a_deleted_parent_leaves_the_same_behind_whether_its_children_are_loaded_or_not(
    engine: Engine, relationship: RelationshipProperty[Any]
) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())
    a_parent = select(relationship.parent.class_).join(relationship.class_attribute)

    with Session(engine) as session:
        left = rows_after_deletion(session, session.scalars(a_parent).one())
    assert (left[relationship.target.name] == []) == cascades(relationship)

    with Session(engine) as session:
        parent = session.scalars(a_parent).one()
        value = getattr(parent, relationship.key)
        (child,) = value if relationship.uselist else [value]
        assert rows_after_deletion(session, parent) == left
        assert (child not in session) == cascades(relationship)

    with Session(engine) as session:
        everything = [row for mapper in MAPPERS for row in session.scalars(select(mapper))]
        for row in everything:
            for near in inspect(row).mapper.relationships:
                getattr(row, near.key)
        assert rows_after_deletion(session, session.scalars(a_parent).one()) == left


def test_parents_of_the_same_child_are_deleted_together(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())
    with Session(engine) as session, session.begin():
        manifest = session.scalars(select(BuildManifest)).one()
        message = session.scalars(select(ConversationMessage)).one()
        conversation = message.conversation
        assert message.intents == conversation.intents
        for parent in (manifest, message, conversation):
            session.delete(parent)
    with Session(engine) as session:
        assert session.scalars(select(ConversationIntent)).all() == []
        assert session.scalars(select(RequirementExtraction)).all() == []


def test_a_child_that_needs_its_parent_cannot_be_taken_from_it(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())
    with Session(engine) as session:
        conversation = session.scalars(select(Conversation)).one()
        conversation.messages.clear()
        with pytest.raises(IntegrityError, match="conversation_id"):
            session.flush()


def test_a_build_can_be_taken_from_a_registry(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())
    with Session(engine) as session, session.begin():
        registry = session.scalars(select(RegistryCredential)).one()
        registry.builds.clear()
    with Session(engine) as session:
        assert session.scalars(select(BuildQueue.target_registry_id)).all() == [None]


def test_a_customer_deletes_a_registry_although_its_builds_are_loaded(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add_all(a_customer_with_everything())
    with Session(engine) as session, session.begin():
        session.execute(text("SET LOCAL ROLE honua_app"))
        with customer_scope(session, "example-maps"):
            registry = session.scalars(select(RegistryCredential)).one()
            assert len(registry.builds) == 1
            session.delete(registry)
            session.flush()
            assert session.scalars(select(BuildQueue.target_registry_id)).all() == [None]


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
