"""The intake: conversations that turn a customer's wishes into a build manifest."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from honua_schema.models.base import (
    DELETED_ALONG,
    Address,
    Base,
    ByteCount,
    CreationTimestamp,
    CustomerId,
    Fraction,
    GeneratedNumber,
    GeneratedUuid,
    Json,
    String10,
    String20,
    String50,
    String64,
    String100,
    String255,
    TakenCustomerId,
    UpdateTimestamp,
    enum_type,
    finite,
    in_range,
    index,
    json_object,
    one_of,
)

if TYPE_CHECKING:
    from honua_schema.models.build_queue import BuildQueue
    from honua_schema.models.core import BuildCacheRegistry, Customer


class ConversationStatus(enum.StrEnum):
    """Where a conversation stands."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ABANDONED = "abandoned"
    ERROR = "error"


class ConversationType(enum.StrEnum):
    """What a conversation is about."""

    BUILD_INTAKE = "build_intake"
    TROUBLESHOOTING = "troubleshooting"
    SUPPORT = "support"
    UPGRADE_CONSULTATION = "upgrade_consultation"


class MessageRole(enum.StrEnum):
    """Who speaks in a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    FUNCTION = "function"
    TOOL = "tool"


class MessageContentType(enum.StrEnum):
    """How the text of a message is written."""

    PLAIN = "text/plain"
    MARKDOWN = "text/markdown"
    JSON = "application/json"


class ManifestFormat(enum.StrEnum):
    """The formats that a manifest may be written in."""

    HONUA_V1 = "honua-v1"
    HONUA_V2 = "honua-v2"


class ManifestSource(enum.StrEnum):
    """What made a manifest."""

    AI_INTAKE = "ai_intake"
    MANUAL = "manual"
    API = "api"
    TEMPLATE = "template"
    IMPORT = "import"


class DeploymentStatus(enum.StrEnum):
    """How far a manifest has come."""

    DRAFT = "draft"
    APPROVED = "approved"
    BUILDING = "building"
    DEPLOYED = "deployed"
    FAILED = "failed"
    ARCHIVED = "archived"


class BuildManifest(Base):
    """What a customer wants built, as a conversation or a person put it together."""

    __tablename__ = "build_manifests"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId | None] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="SET NULL"),
        comment="The customer who wants it, once known",
    )
    customer_email: Mapped[String255 | None] = mapped_column(
        comment="Address of somebody who is no customer yet"
    )
    manifest_json: Mapped[dict[str, Any]] = mapped_column(comment="The manifest itself, as a JSON object")
    manifest_hash: Mapped[String64] = mapped_column(
        comment="Hash of the manifest; the key of the build cache"
    )
    manifest_version: Mapped[String20] = mapped_column(
        server_default="1.0", comment="Version of the manifest"
    )
    manifest_format: Mapped[ManifestFormat] = mapped_column(
        enum_type(ManifestFormat), server_default="honua-v1", comment="Format that the manifest is written in"
    )
    generated_by: Mapped[ManifestSource] = mapped_column(
        enum_type(ManifestSource, 50), server_default="ai_intake", comment="What made the manifest"
    )
    generation_method: Mapped[String100 | None] = mapped_column(
        comment="How it was made, such as a prompt's version"
    )
    is_validated: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the manifest passed validation"
    )
    validation_errors: Mapped[Any | None] = mapped_column(Json, comment="What validation found")
    validated_at: Mapped[datetime.datetime | None] = mapped_column(comment="When it was validated")
    validated_by: Mapped[String100 | None] = mapped_column(comment="Who or what validated it")
    deployment_status: Mapped[DeploymentStatus] = mapped_column(
        enum_type(DeploymentStatus), server_default="draft", comment="How far the manifest has come"
    )
    deployed_at: Mapped[datetime.datetime | None] = mapped_column(comment="When it was deployed")
    deployment_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("build_queue.id", ondelete="SET NULL"), comment="The build that the manifest was queued as"
    )
    build_cache_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("build_cache_registry.id", ondelete="SET NULL"), comment="The cached build that answers it"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the manifest was deleted softly; purge_soft_deleted_records() removes the row later"
    )

    customer: Mapped[Customer | None] = relationship(back_populates="manifests")
    build: Mapped[BuildQueue | None] = relationship()
    build_cache: Mapped[BuildCacheRegistry | None] = relationship()
    conversations: Mapped[list[Conversation]] = relationship(
        back_populates="manifest",
        passive_deletes=True,
        foreign_keys="Conversation.build_manifest_id",
        primaryjoin="BuildManifest.id == Conversation.build_manifest_id",
    )
    requirement_extractions: Mapped[list[RequirementExtraction]] = relationship(
        back_populates="manifest", **DELETED_ALONG
    )

    __table_args__ = (
        # Conversations refer to both, so that none can point at the manifest of another customer.
        UniqueConstraint("customer_id", "id"),
        one_of("manifest_format", ManifestFormat),
        one_of("generated_by", ManifestSource),
        one_of("deployment_status", DeploymentStatus),
        json_object("manifest_json"),
        index(
            "ix_build_manifests_customer_id",
            "customer_id",
            "created_at",
            serves="a customer's manifests, newest first",
        ),
        index(
            "ix_build_manifests_manifest_hash",
            "manifest_hash",
            serves="manifests that ask for the same build",
        ),
        index(
            "ix_build_manifests_deployment_id",
            "deployment_id",
            where="deployment_id IS NOT NULL",
            serves="the manifest of a build; deletion of a build",
        ),
        index(
            "ix_build_manifests_build_cache_id",
            "build_cache_id",
            where="build_cache_id IS NOT NULL",
            serves="manifests that a cache entry answers; deletion of an entry",
        ),
        index(
            "ix_build_manifests_deployment_status",
            "deployment_status",
            "created_at",
            where="deleted_at IS NULL",
            serves="live manifests by status, oldest first",
        ),
        index(
            "ix_build_manifests_manifest_json",
            "manifest_json",
            using="gin",
            ops={"manifest_json": "jsonb_path_ops"},
            serves="manifests that contain a setting (@>)",
        ),
        index(
            "ix_build_manifests_deleted_at",
            "deleted_at",
            where="deleted_at IS NOT NULL",
            serves="purge_soft_deleted_records()",
        ),
        {"comment": "What customers want built: the outcome of an intake conversation"},
    )


class Conversation(Base):
    """A conversation with the AI intake."""

    __tablename__ = "conversations"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId | None] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="SET NULL"), comment="The customer who talks, once known"
    )
    customer_email: Mapped[String255 | None] = mapped_column(
        comment="Address of somebody who is no customer yet"
    )
    session_id: Mapped[String100 | None] = mapped_column(comment="Browser or API session of the conversation")
    status: Mapped[ConversationStatus] = mapped_column(
        enum_type(ConversationStatus),
        server_default="active",
        comment="active goes on; expire_old_conversations() sets abandoned",
    )
    conversation_type: Mapped[ConversationType | None] = mapped_column(
        enum_type(ConversationType, 50), server_default="build_intake", comment="What it is about"
    )
    ai_model: Mapped[String100 | None] = mapped_column(comment="Model that answers")
    ai_provider: Mapped[String50 | None] = mapped_column(
        server_default="openai", comment="Provider of the model"
    )
    build_manifest_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("build_manifests.id", ondelete="SET NULL"), comment="The manifest that came of it"
    )
    extracted_requirements: Mapped[dict[str, Any] | None] = mapped_column(
        comment="Requirements understood so far, as a JSON object"
    )
    confidence_score: Mapped[Fraction | None] = mapped_column(comment="Confidence in them, from 0 to 1")
    started_at: Mapped[CreationTimestamp] = mapped_column(comment="When the conversation began")
    completed_at: Mapped[datetime.datetime | None] = mapped_column(comment="When it came to its end")
    last_message_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the last message came; kept by the messages' triggers"
    )
    abandoned_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When it was given up as abandoned"
    )
    total_messages: Mapped[int] = mapped_column(
        server_default="0", comment="Messages so far; kept exact by the messages' triggers"
    )
    total_tokens_used: Mapped[ByteCount] = mapped_column(
        server_default="0", comment="Tokens so far; kept exact by the messages' triggers"
    )
    total_cost_usd: Mapped[decimal.Decimal] = mapped_column(
        Numeric(10, 6), server_default="0", comment="Cost so far, in US dollars"
    )
    user_agent: Mapped[str | None] = mapped_column(comment="Client software of the customer")
    ip_address: Mapped[str | None] = mapped_column(Address, comment="Address of the customer")
    referrer: Mapped[str | None] = mapped_column(comment="Page that the customer came from")
    locale: Mapped[String10 | None] = mapped_column(server_default="en-US", comment="Language and region")
    user_satisfaction_score: Mapped[int | None] = mapped_column(comment="The customer's score, from 1 to 5")
    user_feedback: Mapped[str | None] = mapped_column(comment="The customer's words on it")
    feedback_at: Mapped[datetime.datetime | None] = mapped_column(
        comment="When the score or the words were given"
    )
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")
    updated_at: Mapped[UpdateTimestamp] = mapped_column(
        comment="When the row last changed; kept by a trigger"
    )

    customer: Mapped[Customer | None] = relationship(back_populates="conversations")
    manifest: Mapped[BuildManifest | None] = relationship(
        back_populates="conversations",
        foreign_keys=[build_manifest_id],
        primaryjoin="Conversation.build_manifest_id == BuildManifest.id",
    )
    messages: Mapped[list[ConversationMessage]] = relationship(
        back_populates="conversation", **DELETED_ALONG, order_by="ConversationMessage.sequence_number"
    )
    intents: Mapped[list[ConversationIntent]] = relationship(back_populates="conversation", **DELETED_ALONG)
    requirement_extractions: Mapped[list[RequirementExtraction]] = relationship(
        back_populates="conversation", **DELETED_ALONG
    )

    __table_args__ = (
        # As long as no customer is known, only the key of the column itself counts.
        ForeignKeyConstraint(
            ["customer_id", "build_manifest_id"],
            ["build_manifests.customer_id", "build_manifests.id"],
            onupdate="CASCADE",
            ondelete="SET NULL (build_manifest_id)",
        ),
        one_of("status", ConversationStatus),
        one_of("conversation_type", ConversationType),
        in_range("confidence_score", 0, 1),
        in_range("user_satisfaction_score", 1, 5),
        in_range("total_messages"),
        in_range("total_tokens_used"),
        finite("total_cost_usd"),
        json_object("extracted_requirements"),
        CheckConstraint("completed_at >= started_at", name="completed_after_start"),
        index(
            "ix_conversations_customer_id",
            "customer_id",
            "started_at",
            serves="a customer's conversations, newest first",
        ),
        index(
            "ix_conversations_build_manifest_id",
            "build_manifest_id",
            "customer_id",
            where="build_manifest_id IS NOT NULL",
            serves="the conversation behind a manifest; deletion of a manifest",
        ),
        index(
            "ix_conversations_session_id",
            "session_id",
            where="session_id IS NOT NULL",
            serves="pick up the conversation of a session",
        ),
        index(
            "ix_conversations_customer_email",
            "customer_email",
            where="customer_email IS NOT NULL",
            serves="conversations of somebody who is no customer yet",
        ),
        index(
            "ix_conversations_active",
            "started_at",
            where="status = 'active'",
            serves="active_conversations; expire_old_conversations()",
        ),
        index(
            "ix_conversations_started_at",
            "started_at",
            serves="conversation_performance_summary; conversation analytics",
        ),
        index(
            "ix_conversations_extracted_requirements",
            "extracted_requirements",
            using="gin",
            ops={"extracted_requirements": "jsonb_path_ops"},
            serves="conversations that asked for something (@>)",
        ),
        {
            "comment": "Conversations with the AI intake",
            "postgresql_with": {"fillfactor": "80"},
        },
    )


class ConversationMessage(Base):
    """One message of a conversation."""

    __tablename__ = "conversation_messages"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row")
    conversation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), comment="The conversation that it belongs to"
    )
    role: Mapped[MessageRole] = mapped_column(enum_type(MessageRole), comment="Who speaks")
    content: Mapped[str] = mapped_column(
        comment="What is said; searched in full text up to 100,000 characters"
    )
    content_type: Mapped[MessageContentType | None] = mapped_column(
        enum_type(MessageContentType, 50), server_default="text/plain", comment="How the text is written"
    )
    sequence_number: Mapped[int] = mapped_column(comment="Place in the conversation")
    function_name: Mapped[String100 | None] = mapped_column(comment="Function that the model called")
    function_arguments: Mapped[Any | None] = mapped_column(Json, comment="Arguments of the call")
    function_response: Mapped[Any | None] = mapped_column(Json, comment="Answer of the function")
    prompt_tokens: Mapped[int | None] = mapped_column(comment="Tokens sent to the model")
    completion_tokens: Mapped[int | None] = mapped_column(comment="Tokens that the model answered with")
    total_tokens: Mapped[int | None] = mapped_column(
        comment="Tokens in all; what the conversation's total adds up"
    )
    model_used: Mapped[String100 | None] = mapped_column(comment="Model that answered")
    temperature: Mapped[Fraction | None] = mapped_column(comment="Sampling temperature of the model")
    finish_reason: Mapped[String50 | None] = mapped_column(comment="Why the model stopped")
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the message came")
    processing_time_ms: Mapped[int | None] = mapped_column(
        comment="How long the answer took, in milliseconds"
    )
    customer_id: Mapped[TakenCustomerId | None] = mapped_column(
        comment="The customer who talks, once known; kept by triggers"
    )

    conversation: Mapped[Conversation] = relationship(back_populates="messages")
    intents: Mapped[list[ConversationIntent]] = relationship(back_populates="message", **DELETED_ALONG)

    __table_args__ = (
        UniqueConstraint("conversation_id", "sequence_number"),
        one_of("role", MessageRole),
        one_of("content_type", MessageContentType),
        in_range("prompt_tokens"),
        in_range("completion_tokens"),
        in_range("total_tokens"),
        in_range("processing_time_ms"),
        finite("temperature"),
        index(
            "ix_conversation_messages_content_search",
            text("to_tsvector('english'::regconfig, \"left\"(content, 100000))"),
            using="gin",
            serves="full-text search in what was said",
        ),
        index(
            "ix_conversation_messages_created_at",
            "created_at",
            using="brin",
            serves="messages of a time; tokens per day",
        ),
        index(
            "ix_conversation_messages_function_name",
            "function_name",
            "created_at",
            where="function_name IS NOT NULL",
            serves="calls of a function over time",
        ),
        {"comment": "Messages of the conversations"},
    )


class ConversationIntent(Base):
    """An intent that was detected in a conversation."""

    __tablename__ = "conversation_intents"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row")
    conversation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), comment="The conversation that it was detected in"
    )
    message_id: Mapped[int | None] = mapped_column(
        ForeignKey("conversation_messages.id", ondelete="CASCADE"),
        comment="The message that it was detected in",
    )
    intent_type: Mapped[String100] = mapped_column(comment="What the customer wants")
    intent_confidence: Mapped[Fraction | None] = mapped_column(comment="Confidence in it, from 0 to 1")
    intent_parameters: Mapped[dict[str, Any] | None] = mapped_column(
        comment="Parameters of the wish, as a JSON object"
    )
    detected_by: Mapped[String50 | None] = mapped_column(
        server_default="ai_classifier", comment="What detected the intent"
    )
    detected_at: Mapped[CreationTimestamp] = mapped_column(comment="When it was detected")

    conversation: Mapped[Conversation] = relationship(back_populates="intents")
    message: Mapped[ConversationMessage | None] = relationship(back_populates="intents")

    __table_args__ = (
        in_range("intent_confidence", 0, 1),
        json_object("intent_parameters"),
        index(
            "ix_conversation_intents_conversation_id",
            "conversation_id",
            serves="the intents of a conversation",
        ),
        index(
            "ix_conversation_intents_message_id",
            "message_id",
            where="message_id IS NOT NULL",
            serves="the intents of a message; deletion of a message",
        ),
        index("ix_conversation_intents_intent_type", "intent_type", "detected_at", serves="intent_analytics"),
        index(
            "ix_conversation_intents_intent_parameters",
            "intent_parameters",
            using="gin",
            ops={"intent_parameters": "jsonb_path_ops"},
            serves="intents with a given parameter (@>)",
        ),
        {"comment": "What customers want, as detected in their conversations"},
    )


class RequirementExtraction(Base):
    """A requirement that was read out of a conversation, and whether it was right."""

    __tablename__ = "requirement_extractions"

    id: Mapped[GeneratedUuid] = mapped_column(comment="Technical key of the row")
    conversation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), comment="The conversation that it was read from"
    )
    build_manifest_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("build_manifests.id", ondelete="CASCADE"), comment="The manifest that it went into"
    )
    requirement_type: Mapped[String100] = mapped_column(comment="Kind of requirement")
    requirement_value: Mapped[str] = mapped_column(comment="The requirement, in words")
    requirement_json: Mapped[Any | None] = mapped_column(Json, comment="The requirement, for a program")
    extracted_from_message_id: Mapped[int | None] = mapped_column(
        ForeignKey("conversation_messages.id", ondelete="SET NULL"),
        comment="The message that it was read from",
    )
    extraction_method: Mapped[String50] = mapped_column(
        server_default="ai_extraction", comment="How it was read"
    )
    extraction_confidence: Mapped[Fraction | None] = mapped_column(comment="Confidence in it, from 0 to 1")
    is_confirmed: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether somebody confirmed it"
    )
    confirmed_at: Mapped[datetime.datetime | None] = mapped_column(comment="When it was confirmed")
    confirmation_source: Mapped[String50 | None] = mapped_column(comment="Who or what confirmed it")
    was_corrected: Mapped[bool] = mapped_column(server_default=text("false"), comment="Whether it was wrong")
    corrected_value: Mapped[str | None] = mapped_column(comment="What it should have been")
    corrected_at: Mapped[datetime.datetime | None] = mapped_column(comment="When it was corrected")
    created_at: Mapped[CreationTimestamp] = mapped_column(comment="When the row was made")

    conversation: Mapped[Conversation] = relationship(back_populates="requirement_extractions")
    manifest: Mapped[BuildManifest | None] = relationship(back_populates="requirement_extractions")

    __table_args__ = (
        in_range("extraction_confidence", 0, 1),
        index(
            "ix_requirement_extractions_conversation_id",
            "conversation_id",
            serves="the requirements of a conversation",
        ),
        index(
            "ix_requirement_extractions_build_manifest_id",
            "build_manifest_id",
            where="build_manifest_id IS NOT NULL",
            serves="the requirements behind a manifest; deletion of a manifest",
        ),
        index(
            "ix_requirement_extractions_extracted_from_message_id",
            "extracted_from_message_id",
            where="extracted_from_message_id IS NOT NULL",
            serves="the requirements of a message; deletion of a message",
        ),
        index(
            "ix_requirement_extractions_requirement_type",
            "requirement_type",
            "created_at",
            serves="extraction_accuracy of a kind over time",
        ),
        index(
            "ix_requirement_extractions_requirement_json",
            "requirement_json",
            using="gin",
            ops={"requirement_json": "jsonb_path_ops"},
            serves="requirements that contain a setting (@>)",
        ),
        index(
            "ix_requirement_extractions_unconfirmed",
            "created_at",
            where="NOT is_confirmed",
            serves="requirements that wait for confirmation, oldest first",
        ),
        {"comment": "Requirements read out of conversations, and whether they were right"},
    )
