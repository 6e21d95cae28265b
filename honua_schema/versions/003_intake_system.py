"""The intake: conversations, their messages and intents, and the manifests that come of them.

- Locks: none that matters, for the tables are new.
- Online: yes; nothing uses the tables yet.
- Data: downgrade() drops the tables with all that is in them.

Revision: 003
Revises: 002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from honua_schema import sqlfile

revision = "003"
down_revision = "002"
branch_labels = None
depends_on = None


VIEWS = (
    "003/intake/active_conversations.sql",
    "003/intake/conversation_performance_summary.sql",
    "003/intake/extraction_accuracy.sql",
    "003/intake/intent_analytics.sql",
)


def upgrade() -> None:
    """Create the tables of the intake, and the views on them."""
    op.create_table(
        "build_manifests",
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
            nullable=True,
            comment="The customer who wants it, once known",
        ),
        sa.Column(
            "customer_email",
            sa.String(length=255),
            nullable=True,
            comment="Address of somebody who is no customer yet",
        ),
        sa.Column(
            "manifest_json",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The manifest itself, as a JSON object",
        ),
        sa.Column(
            "manifest_hash",
            sa.String(length=64),
            nullable=False,
            comment="Hash of the manifest; the key of the build cache",
        ),
        sa.Column(
            "manifest_version",
            sa.String(length=20),
            server_default="1.0",
            nullable=False,
            comment="Version of the manifest",
        ),
        sa.Column(
            "manifest_format",
            sa.String(length=20),
            server_default="honua-v1",
            nullable=False,
            comment="Format that the manifest is written in",
        ),
        sa.Column(
            "generated_by",
            sa.String(length=50),
            server_default="ai_intake",
            nullable=False,
            comment="What made the manifest",
        ),
        sa.Column(
            "generation_method",
            sa.String(length=100),
            nullable=True,
            comment="How it was made, such as a prompt's version",
        ),
        sa.Column(
            "is_validated",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether the manifest passed validation",
        ),
        sa.Column(
            "validation_errors",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What validation found",
        ),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=True, comment="When it was validated"),
        sa.Column("validated_by", sa.String(length=100), nullable=True, comment="Who or what validated it"),
        sa.Column(
            "deployment_status",
            sa.String(length=20),
            server_default="draft",
            nullable=False,
            comment="How far the manifest has come",
        ),
        sa.Column("deployed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was deployed"),
        sa.Column(
            "deployment_id", sa.Uuid(), nullable=True, comment="The build that the manifest was queued as"
        ),
        sa.Column("build_cache_id", sa.Uuid(), nullable=True, comment="The cached build that answers it"),
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
            comment="When the manifest was deleted softly; purge_soft_deleted_records() removes the row later",
        ),
        sa.CheckConstraint(
            "deployment_status IN ('draft', 'approved', 'building', 'deployed', 'failed', 'archived')",
            name=op.f("ck_build_manifests_deployment_status_allowed"),
        ),
        sa.CheckConstraint(
            "generated_by IN ('ai_intake', 'manual', 'api', 'template', 'import')",
            name=op.f("ck_build_manifests_generated_by_allowed"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(manifest_json) = 'object'", name=op.f("ck_build_manifests_manifest_json_object")
        ),
        sa.CheckConstraint(
            "manifest_format IN ('honua-v1', 'honua-v2')",
            name=op.f("ck_build_manifests_manifest_format_allowed"),
        ),
        sa.ForeignKeyConstraint(
            ["build_cache_id"],
            ["build_cache_registry.id"],
            name=op.f("fk_build_manifests_build_cache_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_build_manifests_customer_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["build_queue.id"],
            name=op.f("fk_build_manifests_deployment_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_manifests")),
        sa.UniqueConstraint("customer_id", "id", name=op.f("uq_build_manifests_customer_id_id")),
        comment="What customers want built: the outcome of an intake conversation",
    )
    op.create_table(
        "conversations",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "customer_id", sa.String(length=100), nullable=True, comment="The customer who talks, once known"
        ),
        sa.Column(
            "customer_email",
            sa.String(length=255),
            nullable=True,
            comment="Address of somebody who is no customer yet",
        ),
        sa.Column(
            "session_id",
            sa.String(length=100),
            nullable=True,
            comment="Browser or API session of the conversation",
        ),
        sa.Column(
            "status",
            sa.String(length=20),
            server_default="active",
            nullable=False,
            comment="active goes on; expire_old_conversations() sets abandoned",
        ),
        sa.Column(
            "conversation_type",
            sa.String(length=50),
            server_default="build_intake",
            nullable=True,
            comment="What it is about",
        ),
        sa.Column("ai_model", sa.String(length=100), nullable=True, comment="Model that answers"),
        sa.Column(
            "ai_provider",
            sa.String(length=50),
            server_default="openai",
            nullable=True,
            comment="Provider of the model",
        ),
        sa.Column("build_manifest_id", sa.Uuid(), nullable=True, comment="The manifest that came of it"),
        sa.Column(
            "extracted_requirements",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Requirements understood so far, as a JSON object",
        ),
        sa.Column(
            "confidence_score",
            sa.Numeric(precision=3, scale=2),
            nullable=True,
            comment="Confidence in them, from 0 to 1",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the conversation began",
        ),
        sa.Column(
            "completed_at", sa.DateTime(timezone=True), nullable=True, comment="When it came to its end"
        ),
        sa.Column(
            "last_message_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the last message came; kept by the messages' triggers",
        ),
        sa.Column(
            "abandoned_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was given up as abandoned",
        ),
        sa.Column(
            "total_messages",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Messages so far; kept exact by the messages' triggers",
        ),
        sa.Column(
            "total_tokens_used",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Tokens so far; kept exact by the messages' triggers",
        ),
        sa.Column(
            "total_cost_usd",
            sa.Numeric(precision=10, scale=6),
            server_default="0",
            nullable=False,
            comment="Cost so far, in US dollars",
        ),
        sa.Column("user_agent", sa.Text(), nullable=True, comment="Client software of the customer"),
        sa.Column("ip_address", postgresql.INET(), nullable=True, comment="Address of the customer"),
        sa.Column("referrer", sa.Text(), nullable=True, comment="Page that the customer came from"),
        sa.Column(
            "locale",
            sa.String(length=10),
            server_default="en-US",
            nullable=True,
            comment="Language and region",
        ),
        sa.Column(
            "user_satisfaction_score",
            sa.Integer(),
            nullable=True,
            comment="The customer's score, from 1 to 5",
        ),
        sa.Column("user_feedback", sa.Text(), nullable=True, comment="The customer's words on it"),
        sa.Column(
            "feedback_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the score or the words were given",
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
        sa.CheckConstraint(
            "conversation_type IN ('build_intake', 'troubleshooting', 'support', 'upgrade_consultation')",
            name=op.f("ck_conversations_conversation_type_allowed"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(extracted_requirements) = 'object'",
            name=op.f("ck_conversations_extracted_requirements_object"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'completed', 'abandoned', 'error')",
            name=op.f("ck_conversations_status_allowed"),
        ),
        sa.CheckConstraint(
            "total_cost_usd >= 0 AND total_cost_usd < 'NaN'",
            name=op.f("ck_conversations_total_cost_usd_range"),
        ),
        sa.CheckConstraint("completed_at >= started_at", name=op.f("ck_conversations_completed_after_start")),
        sa.CheckConstraint(
            "confidence_score >= 0 AND confidence_score <= 1",
            name=op.f("ck_conversations_confidence_score_range"),
        ),
        sa.CheckConstraint("total_messages >= 0", name=op.f("ck_conversations_total_messages_range")),
        sa.CheckConstraint("total_tokens_used >= 0", name=op.f("ck_conversations_total_tokens_used_range")),
        sa.CheckConstraint(
            "user_satisfaction_score >= 1 AND user_satisfaction_score <= 5",
            name=op.f("ck_conversations_user_satisfaction_score_range"),
        ),
        sa.ForeignKeyConstraint(
            ["build_manifest_id"],
            ["build_manifests.id"],
            name=op.f("fk_conversations_build_manifest_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id", "build_manifest_id"],
            ["build_manifests.customer_id", "build_manifests.id"],
            name=op.f("fk_conversations_customer_id_build_manifest_id"),
            onupdate="CASCADE",
            ondelete="SET NULL (build_manifest_id)",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.customer_id"],
            name=op.f("fk_conversations_customer_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        comment="Conversations with the AI intake",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "conversation_messages",
        sa.Column(
            "id", sa.BigInteger(), autoincrement=True, nullable=False, comment="Technical key of the row"
        ),
        sa.Column(
            "conversation_id", sa.Uuid(), nullable=False, comment="The conversation that it belongs to"
        ),
        sa.Column("role", sa.String(length=20), nullable=False, comment="Who speaks"),
        sa.Column(
            "content",
            sa.Text(),
            nullable=False,
            comment="What is said; searched in full text up to 100,000 characters",
        ),
        sa.Column(
            "content_type",
            sa.String(length=50),
            server_default="text/plain",
            nullable=True,
            comment="How the text is written",
        ),
        sa.Column("sequence_number", sa.Integer(), nullable=False, comment="Place in the conversation"),
        sa.Column(
            "function_name", sa.String(length=100), nullable=True, comment="Function that the model called"
        ),
        sa.Column(
            "function_arguments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Arguments of the call",
        ),
        sa.Column(
            "function_response",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Answer of the function",
        ),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True, comment="Tokens sent to the model"),
        sa.Column(
            "completion_tokens", sa.Integer(), nullable=True, comment="Tokens that the model answered with"
        ),
        sa.Column(
            "total_tokens",
            sa.Integer(),
            nullable=True,
            comment="Tokens in all; what the conversation's total adds up",
        ),
        sa.Column("model_used", sa.String(length=100), nullable=True, comment="Model that answered"),
        sa.Column(
            "temperature",
            sa.Numeric(precision=3, scale=2),
            nullable=True,
            comment="Sampling temperature of the model",
        ),
        sa.Column("finish_reason", sa.String(length=50), nullable=True, comment="Why the model stopped"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the message came",
        ),
        sa.Column(
            "processing_time_ms",
            sa.Integer(),
            nullable=True,
            comment="How long the answer took, in milliseconds",
        ),
        sa.Column(
            "customer_id",
            sa.String(length=100),
            nullable=True,
            comment="The customer who talks, once known; kept by triggers",
        ),
        sa.CheckConstraint(
            "content_type IN ('text/plain', 'text/markdown', 'application/json')",
            name=op.f("ck_conversation_messages_content_type_allowed"),
        ),
        sa.CheckConstraint(
            "role IN ('system', 'user', 'assistant', 'function', 'tool')",
            name=op.f("ck_conversation_messages_role_allowed"),
        ),
        sa.CheckConstraint(
            "temperature >= 0 AND temperature < 'NaN'",
            name=op.f("ck_conversation_messages_temperature_range"),
        ),
        sa.CheckConstraint(
            "completion_tokens >= 0", name=op.f("ck_conversation_messages_completion_tokens_range")
        ),
        sa.CheckConstraint(
            "processing_time_ms >= 0", name=op.f("ck_conversation_messages_processing_time_ms_range")
        ),
        sa.CheckConstraint("prompt_tokens >= 0", name=op.f("ck_conversation_messages_prompt_tokens_range")),
        sa.CheckConstraint("total_tokens >= 0", name=op.f("ck_conversation_messages_total_tokens_range")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_messages_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_messages")),
        sa.UniqueConstraint(
            "conversation_id",
            "sequence_number",
            name=op.f("uq_conversation_messages_conversation_id_sequence_number"),
        ),
        comment="Messages of the conversations",
    )
    op.create_table(
        "conversation_intents",
        sa.Column(
            "id", sa.BigInteger(), autoincrement=True, nullable=False, comment="Technical key of the row"
        ),
        sa.Column(
            "conversation_id", sa.Uuid(), nullable=False, comment="The conversation that it was detected in"
        ),
        sa.Column(
            "message_id", sa.BigInteger(), nullable=True, comment="The message that it was detected in"
        ),
        sa.Column("intent_type", sa.String(length=100), nullable=False, comment="What the customer wants"),
        sa.Column(
            "intent_confidence",
            sa.Numeric(precision=3, scale=2),
            nullable=True,
            comment="Confidence in it, from 0 to 1",
        ),
        sa.Column(
            "intent_parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Parameters of the wish, as a JSON object",
        ),
        sa.Column(
            "detected_by",
            sa.String(length=50),
            server_default="ai_classifier",
            nullable=True,
            comment="What detected the intent",
        ),
        sa.Column(
            "detected_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was detected",
        ),
        sa.CheckConstraint(
            "jsonb_typeof(intent_parameters) = 'object'",
            name=op.f("ck_conversation_intents_intent_parameters_object"),
        ),
        sa.CheckConstraint(
            "intent_confidence >= 0 AND intent_confidence <= 1",
            name=op.f("ck_conversation_intents_intent_confidence_range"),
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_intents_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["conversation_messages.id"],
            name=op.f("fk_conversation_intents_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_intents")),
        comment="What customers want, as detected in their conversations",
    )
    op.create_table(
        "requirement_extractions",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Technical key of the row",
        ),
        sa.Column(
            "conversation_id", sa.Uuid(), nullable=False, comment="The conversation that it was read from"
        ),
        sa.Column("build_manifest_id", sa.Uuid(), nullable=True, comment="The manifest that it went into"),
        sa.Column("requirement_type", sa.String(length=100), nullable=False, comment="Kind of requirement"),
        sa.Column("requirement_value", sa.Text(), nullable=False, comment="The requirement, in words"),
        sa.Column(
            "requirement_json",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The requirement, for a program",
        ),
        sa.Column(
            "extracted_from_message_id",
            sa.BigInteger(),
            nullable=True,
            comment="The message that it was read from",
        ),
        sa.Column(
            "extraction_method",
            sa.String(length=50),
            server_default="ai_extraction",
            nullable=False,
            comment="How it was read",
        ),
        sa.Column(
            "extraction_confidence",
            sa.Numeric(precision=3, scale=2),
            nullable=True,
            comment="Confidence in it, from 0 to 1",
        ),
        sa.Column(
            "is_confirmed",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether somebody confirmed it",
        ),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was confirmed"),
        sa.Column(
            "confirmation_source", sa.String(length=50), nullable=True, comment="Who or what confirmed it"
        ),
        sa.Column(
            "was_corrected",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether it was wrong",
        ),
        sa.Column("corrected_value", sa.Text(), nullable=True, comment="What it should have been"),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=True, comment="When it was corrected"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was made",
        ),
        sa.CheckConstraint(
            "extraction_confidence >= 0 AND extraction_confidence <= 1",
            name=op.f("ck_requirement_extractions_extraction_confidence_range"),
        ),
        sa.ForeignKeyConstraint(
            ["build_manifest_id"],
            ["build_manifests.id"],
            name=op.f("fk_requirement_extractions_build_manifest_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_requirement_extractions_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["extracted_from_message_id"],
            ["conversation_messages.id"],
            name=op.f("fk_requirement_extractions_extracted_from_message_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requirement_extractions")),
        comment="Requirements read out of conversations, and whether they were right",
    )
    sqlfile.create(*VIEWS)


def downgrade() -> None:
    """Drop all of it."""
    sqlfile.drop(*reversed(VIEWS))
    op.drop_table("requirement_extractions")
    op.drop_table("conversation_intents")
    op.drop_table("conversation_messages")
    op.drop_table("conversations")
    op.drop_table("build_manifests")
