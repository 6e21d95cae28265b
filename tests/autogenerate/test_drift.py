"""What somebody changes by hand in a database at head: who sees it, and that nobody sees what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from honua_schema.autogenerate import comparison, plugin, shadow
from honua_schema.environment import AUTOGENERATE_PLUGINS
from honua_schema.models import Base
from honua_schema.sqlfile import execute_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from honua_schema.autogenerate import Comparison
    from honua_schema.autogenerate.catalog import Schemas
    from tests.conftest import SharedServer


class Drift(NamedTuple):
    """A change by hand.

    Attributes:
        sql: Makes the change.
        reported: Beginning of what verify says about it.
        seen_by_check: Whether `alembic check` sees it too.
    """

    sql: str
    reported: str
    seen_by_check: bool = True


BY_VERIFY_ONLY = False
MONTHS = "SELECT ensure_log_partitions(2);"
THIS_MONTH = "to_char(now() AT TIME ZONE 'UTC', '\"_y\"YYYY\"m\"MM')"


def in_month(*statements: str) -> str:
    """Make the partitions, and run statements with {} for build_events' partition of this month."""
    name = f"'honua_partitions.build_events' || {THIS_MONTH}"
    commands = [f" || {name} || ".join(f"$${part}$$" for part in each.split("{}")) for each in statements]
    return f"{MONTHS} DO $do$ BEGIN {' '.join(f'EXECUTE {each};' for each in commands)} END $do$;"


DRIFT = {
    # Tables
    "table added": Drift("CREATE TABLE extra (id integer)", "table extra is not declared", BY_VERIFY_ONLY),
    "table dropped": Drift(
        "DROP TABLE requirement_extractions CASCADE", "table requirement_extractions is missing"
    ),
    "table renamed": Drift(
        "ALTER TABLE conversation_intents RENAME TO intents", "table conversation_intents is missing"
    ),
    "table unlogged": Drift(
        "ALTER TABLE build_artifacts SET UNLOGGED", "table build_artifacts: persistence is UNLOGGED"
    ),
    "table comment": Drift("COMMENT ON TABLE customers IS 'x'", "table customers: comment"),
    "fill factor": Drift(
        "ALTER TABLE build_queue SET (fillfactor = 100)", "table build_queue: storage options"
    ),
    "autovacuum setting": Drift(
        "ALTER TABLE build_queue RESET (autovacuum_vacuum_threshold)", "table build_queue: storage options"
    ),
    "TOAST setting": Drift(
        "ALTER TABLE build_results SET (toast.autovacuum_enabled = false)",
        "table build_results: TOAST storage options",
    ),
    "replica identity": Drift(
        "ALTER TABLE customers REPLICA IDENTITY FULL", "table customers: replica identity", BY_VERIFY_ONLY
    ),
    "owner of a table": Drift(
        "CREATE ROLE stranger; ALTER TABLE licenses OWNER TO stranger",
        "table licenses: owner is stranger",
        BY_VERIFY_ONLY,
    ),
    "child table": Drift(
        "CREATE TABLE child () INHERITS (customers)", "table child is not declared", BY_VERIFY_ONLY
    ),
    "parent table": Drift(
        "CREATE TABLE parent (); ALTER TABLE customers INHERIT parent",
        "table customers: inherits from is parent",
        BY_VERIFY_ONLY,
    ),
    "partition key": Drift(
        "CREATE TABLE copy (LIKE build_metrics) PARTITION BY RANGE (metric_timestamp, id);"
        " DROP TABLE build_metrics; ALTER TABLE copy RENAME TO build_metrics",
        "table build_metrics: partition key",
    ),
    "no longer partitioned": Drift(
        "CREATE TABLE copy (LIKE build_metrics); DROP TABLE build_metrics;"
        " ALTER TABLE copy RENAME TO build_metrics",
        "table build_metrics: partition key is nothing",
    ),
    "sequence added": Drift("CREATE SEQUENCE extra", "sequence extra is not declared", BY_VERIFY_ONLY),
    "materialized view added": Drift(
        "CREATE MATERIALIZED VIEW extra AS SELECT 1",
        "materialized view extra is not declared",
        BY_VERIFY_ONLY,
    ),
    "enumeration added": Drift(
        "CREATE TYPE extra AS ENUM ('a')", "type extra is not declared", BY_VERIFY_ONLY
    ),
    "domain added": Drift(
        "CREATE DOMAIN extra AS integer CHECK (value > 0)", "type extra is not", BY_VERIFY_ONLY
    ),
    "collation added": Drift('CREATE COLLATION extra FROM "C"', "collation", BY_VERIFY_ONLY),
    "text search configuration added": Drift(
        "CREATE TEXT SEARCH CONFIGURATION extra (COPY = english)", "text search configuration", BY_VERIFY_ONLY
    ),
    "operator added": Drift(
        "CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq)",
        "operator",
        BY_VERIFY_ONLY,
    ),
    "statistics added": Drift(
        "CREATE STATISTICS extra (ndistinct) ON tier, subscription_status FROM customers",
        "statistics customers.extra is not declared",
        BY_VERIFY_ONLY,
    ),
    # Columns
    "column added": Drift(
        "ALTER TABLE customers ADD COLUMN extra integer", "column customers.extra is not declared"
    ),
    "column dropped": Drift("ALTER TABLE customers DROP COLUMN tags", "column customers.tags is missing"),
    "column renamed": Drift(
        "ALTER TABLE customers RENAME COLUMN tags TO labels", "column customers.labels is not"
    ),
    "column widened": Drift(
        "ALTER TABLE customers ALTER COLUMN contact_name TYPE varchar(300)",
        "column customers.contact_name: type",
    ),
    "column type": Drift(
        "ALTER TABLE build_artifacts ALTER COLUMN size_bytes TYPE numeric",
        "column build_artifacts.size_bytes: type",
    ),
    "precision": Drift(
        "ALTER TABLE build_results ALTER COLUMN push_duration_seconds TYPE numeric(12, 2)",
        "column build_results.push_duration_seconds: type",
    ),
    "NOT NULL dropped": Drift(
        "ALTER TABLE customers ALTER COLUMN organization_name DROP NOT NULL",
        "column customers.organization_name: null is NULL",
    ),
    "NOT NULL added": Drift(
        "ALTER TABLE build_artifacts ALTER COLUMN content_type SET NOT NULL",
        "column build_artifacts.content_type: null is NOT NULL",
    ),
    "default changed": Drift(
        "ALTER TABLE customers ALTER COLUMN tier SET DEFAULT 'pro'", "column customers.tier: default"
    ),
    "default dropped": Drift(
        "ALTER TABLE customers ALTER COLUMN created_at DROP DEFAULT",
        "column customers.created_at: default is nothing",
    ),
    "default added": Drift(
        "ALTER TABLE customers ALTER COLUMN contact_name SET DEFAULT ''",
        "column customers.contact_name: default",
    ),
    "column comment": Drift("COMMENT ON COLUMN customers.tier IS 'x'", "column customers.tier: comment"),
    "column comment dropped": Drift(
        "COMMENT ON COLUMN customers.tier IS NULL", "column customers.tier: comment"
    ),
    "collation": Drift(
        'ALTER TABLE customers ALTER COLUMN contact_name TYPE varchar(255) COLLATE "C"',
        'column customers.contact_name: collation is "C"',
        BY_VERIFY_ONLY,
    ),
    "storage of a column": Drift(
        "ALTER TABLE customers ALTER COLUMN metadata SET STORAGE EXTERNAL",
        "column customers.metadata: storage is EXTERNAL",
    ),
    "compression of a column": Drift(
        "ALTER TABLE customers ALTER COLUMN metadata SET COMPRESSION pglz",
        "column customers.metadata: compression is pglz",
    ),
    "statistics target": Drift(
        "ALTER TABLE customers ALTER COLUMN tier SET STATISTICS 500",
        "column customers.tier: statistics target is 500",
    ),
    "column option": Drift(
        "ALTER TABLE customers ALTER COLUMN tier SET (n_distinct = 4)",
        "column customers.tier: options is n_distinct=4",
    ),
    "identity": Drift(
        "ALTER TABLE conversation_messages ALTER COLUMN sequence_number ADD GENERATED ALWAYS AS IDENTITY",
        "column conversation_messages.sequence_number: identity is ALWAYS",
    ),
    "increment of a sequence": Drift(
        "ALTER SEQUENCE customer_numbers INCREMENT 2",
        "sequence customer_numbers: options",
        BY_VERIFY_ONLY,
    ),
    "sequence that begins again": Drift(
        "ALTER SEQUENCE conversation_intents_id_seq MAXVALUE 1000 CYCLE",
        "sequence conversation_intents_id_seq: options",
        BY_VERIFY_ONLY,
    ),
    "sequence of nobody": Drift(
        "ALTER SEQUENCE conversation_intents_id_seq OWNED BY NONE",
        "sequence conversation_intents_id_seq: owned by is nothing",
        BY_VERIFY_ONLY,
    ),
    "generated column": Drift(
        "ALTER TABLE build_artifacts DROP COLUMN storage_path,"
        " ADD COLUMN storage_path text GENERATED ALWAYS AS (storage_url || '') STORED",
        "column build_artifacts.storage_path: generated",
    ),
    "order of columns": Drift(
        "ALTER TABLE build_results DROP COLUMN image_tags, ADD COLUMN image_tags text[];"
        " COMMENT ON COLUMN build_results.image_tags IS 'Tags given to the image'",
        "table build_results: order of columns",
        BY_VERIFY_ONLY,
    ),
    # Constraints
    "check dropped": Drift(
        "ALTER TABLE customers DROP CONSTRAINT ck_customers_tier_allowed",
        "constraint customers.ck_customers_tier_allowed is missing",
    ),
    "check changed": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT ck_licenses_max_registries_range,"
        " ADD CONSTRAINT ck_licenses_max_registries_range CHECK (max_registries >= 1)",
        "constraint licenses.ck_licenses_max_registries_range: definition",
    ),
    "check of values changed": Drift(
        "ALTER TABLE customers DROP CONSTRAINT ck_customers_tier_allowed,"
        " ADD CONSTRAINT ck_customers_tier_allowed"
        " CHECK (tier IN ('core', 'pro', 'enterprise', 'asp', 'free'))",
        "constraint customers.ck_customers_tier_allowed: definition",
    ),
    "check not validated": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT ck_licenses_max_registries_range,"
        " ADD CONSTRAINT ck_licenses_max_registries_range CHECK (max_registries >= 0) NOT VALID",
        "constraint licenses.ck_licenses_max_registries_range: definition",
    ),
    "check not inherited": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT ck_licenses_max_registries_range,"
        " ADD CONSTRAINT ck_licenses_max_registries_range CHECK (max_registries >= 0) NO INHERIT",
        "constraint licenses.ck_licenses_max_registries_range: definition",
    ),
    "rule of a domain dropped": Drift(
        "ALTER DOMAIN build_queue_status DROP CONSTRAINT ck_build_queue_status_allowed",
        "constraint build_queue_status.ck_build_queue_status_allowed is missing",
    ),
    "rule of a domain changed": Drift(
        "ALTER DOMAIN build_queue_priority DROP CONSTRAINT ck_build_queue_priority_range;"
        " ALTER DOMAIN build_queue_priority ADD CONSTRAINT ck_build_queue_priority_range CHECK (VALUE > 0)",
        "constraint build_queue_priority.ck_build_queue_priority_range: definition",
    ),
    "rule of a domain not validated": Drift(
        "ALTER DOMAIN build_queue_priority DROP CONSTRAINT ck_build_queue_priority_range;"
        " ALTER DOMAIN build_queue_priority ADD CONSTRAINT ck_build_queue_priority_range"
        " CHECK (VALUE >= 1 AND VALUE <= 10) NOT VALID",
        "constraint build_queue_priority.ck_build_queue_priority_range: definition",
    ),
    "rule of a domain renamed": Drift(
        "ALTER DOMAIN build_queue_priority RENAME CONSTRAINT ck_build_queue_priority_range TO extra",
        "constraint build_queue_priority.ck_build_queue_priority_range is missing",
    ),
    "rule of a domain added": Drift(
        "ALTER DOMAIN build_queue_priority ADD CONSTRAINT extra CHECK (VALUE <> 7)",
        "constraint build_queue_priority.extra is not declared",
    ),
    "domain that forbids NULL": Drift(
        "ALTER DOMAIN build_queue_total_steps SET NOT NULL", "type build_queue_total_steps: definition"
    ),
    "domain with a default": Drift(
        "ALTER DOMAIN build_queue_total_steps SET DEFAULT 7", "type build_queue_total_steps: definition"
    ),
    "domain renamed": Drift(
        "ALTER DOMAIN build_queue_total_steps RENAME TO extra", "type build_queue_total_steps is missing"
    ),
    "comment of a domain": Drift(
        "COMMENT ON DOMAIN build_queue_total_steps IS NULL", "type build_queue_total_steps: comment"
    ),
    "column without its domain": Drift(
        "ALTER TABLE build_queue ALTER total_steps TYPE integer", "column build_queue.total_steps: type"
    ),
    "check added": Drift(
        "ALTER TABLE customers ADD CONSTRAINT extra CHECK (tier <> '')",
        "constraint customers.extra is not declared",
    ),
    "check renamed": Drift(
        "ALTER TABLE customers RENAME CONSTRAINT ck_customers_tier_allowed TO renamed",
        "constraint customers.ck_customers_tier_allowed is missing",
    ),
    "constraint comment": Drift(
        "COMMENT ON CONSTRAINT pk_customers ON customers IS 'x'",
        "constraint customers.pk_customers: comment is x",
    ),
    "foreign key dropped": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT fk_licenses_customer_id",
        "constraint licenses.fk_licenses_customer_id is missing",
    ),
    "foreign key action": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT fk_licenses_customer_id, ADD CONSTRAINT fk_licenses_customer_id"
        " FOREIGN KEY (customer_id) REFERENCES customers (customer_id) ON DELETE SET NULL",
        "constraint licenses.fk_licenses_customer_id: definition",
    ),
    "foreign key not validated": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT fk_licenses_customer_id, ADD CONSTRAINT fk_licenses_customer_id"
        " FOREIGN KEY (customer_id) REFERENCES customers (customer_id) ON DELETE CASCADE NOT VALID",
        "constraint licenses.fk_licenses_customer_id: definition",
    ),
    "foreign key deferrable": Drift(
        "ALTER TABLE licenses ALTER CONSTRAINT fk_licenses_customer_id DEFERRABLE",
        "constraint licenses.fk_licenses_customer_id: definition",
    ),
    "foreign key not enforced": Drift(
        "ALTER TABLE licenses DISABLE TRIGGER ALL", "constraint licenses.fk_licenses_customer_id: triggers"
    ),
    "unique constraint dropped": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT uq_licenses_customer_id",
        "constraint licenses.uq_licenses_customer_id is missing",
    ),
    "unique constraint added": Drift(
        "ALTER TABLE licenses ADD CONSTRAINT extra UNIQUE (id, tier)",
        "constraint licenses.extra is not declared",
    ),
    "unique constraint deferrable": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT uq_licenses_customer_id,"
        " ADD CONSTRAINT uq_licenses_customer_id UNIQUE (customer_id) DEFERRABLE",
        "constraint licenses.uq_licenses_customer_id: definition",
    ),
    "unique constraint on NULLs": Drift(
        "ALTER TABLE licenses DROP CONSTRAINT uq_licenses_customer_id,"
        " ADD CONSTRAINT uq_licenses_customer_id UNIQUE NULLS NOT DISTINCT (customer_id)",
        "constraint licenses.uq_licenses_customer_id: definition",
    ),
    "primary key dropped": Drift(
        "ALTER TABLE schema_migrations DROP CONSTRAINT pk_schema_migrations",
        "constraint schema_migrations.pk_schema_migrations is missing",
    ),
    "primary key changed": Drift(
        "ALTER TABLE schema_migrations DROP CONSTRAINT pk_schema_migrations,"
        " ADD CONSTRAINT pk_schema_migrations PRIMARY KEY (version, name)",
        "constraint schema_migrations.pk_schema_migrations: definition",
    ),
    "exclusion constraint added": Drift(
        "ALTER TABLE licenses ADD CONSTRAINT extra EXCLUDE USING btree (id WITH =)",
        "constraint licenses.extra is not declared",
    ),
    # Indexes
    "index dropped": Drift(
        "DROP INDEX ix_customers_contact_email", "index customers.ix_customers_contact_email is missing"
    ),
    "index added": Drift("CREATE INDEX extra ON customers (tags)", "index customers.extra is not declared"),
    "index renamed": Drift(
        "ALTER INDEX ix_customers_contact_email RENAME TO renamed",
        "index customers.ix_customers_contact_email is missing",
    ),
    "index predicate": Drift(
        "DROP INDEX ix_customers_deleted_at;"
        " CREATE INDEX ix_customers_deleted_at ON customers (deleted_at) WHERE deleted_at IS NULL",
        "index customers.ix_customers_deleted_at: definition",
    ),
    "index predicate dropped": Drift(
        "DROP INDEX ix_customers_deleted_at; CREATE INDEX ix_customers_deleted_at ON customers (deleted_at)",
        "index customers.ix_customers_deleted_at: definition",
    ),
    "included columns": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers (contact_email) INCLUDE (tier)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "access method": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers USING hash (contact_email)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "operator class": Drift(
        "DROP INDEX ix_customers_metadata;"
        " CREATE INDEX ix_customers_metadata ON customers USING gin (metadata)",
        "index customers.ix_customers_metadata: definition",
    ),
    "order of an index": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers (contact_email DESC)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "NULLs in an index": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers (contact_email NULLS FIRST)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "uniqueness of an index": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE UNIQUE INDEX ix_customers_contact_email ON customers (contact_email)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "expression of an index": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers (lower(contact_email))",
        "index customers.ix_customers_contact_email: definition",
    ),
    "columns of an index": Drift(
        "DROP INDEX ix_customers_contact_email;"
        " CREATE INDEX ix_customers_contact_email ON customers (contact_email, tier)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "storage of an index": Drift(
        "ALTER INDEX ix_customers_contact_email SET (fillfactor = 50)",
        "index customers.ix_customers_contact_email: definition",
    ),
    "storage of a primary key's index": Drift(
        "ALTER INDEX pk_customers SET (fillfactor = 50)",
        "index customers.pk_customers: definition",
        BY_VERIFY_ONLY,
    ),
    "invalid index": Drift(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_customers_contact_email'::regclass",
        "index customers.ix_customers_contact_email: valid is INVALID",
    ),
    "index comment": Drift(
        "COMMENT ON INDEX ix_customers_contact_email IS 'x'",
        "index customers.ix_customers_contact_email: comment is x",
    ),
    "statistics of an index": Drift(
        "ALTER INDEX ix_conversation_messages_content_search ALTER COLUMN 1 SET STATISTICS 500",
        "index conversation_messages.ix_conversation_messages_content_search: statistics targets",
    ),
    "clustered": Drift(
        "ALTER TABLE customers CLUSTER ON ix_customers_contact_email",
        "index customers.ix_customers_contact_email: clustered",
    ),
    "index as replica identity": Drift(
        "ALTER TABLE customers REPLICA IDENTITY USING INDEX pk_customers",
        "index customers.pk_customers: replica identity",
        BY_VERIFY_ONLY,
    ),
    # Functions
    "function dropped": Drift("DROP FUNCTION get_cache_hit_rate", "function get_cache_hit_rate"),
    "function added": Drift(
        "CREATE FUNCTION extra() RETURNS integer LANGUAGE sql RETURN 1",
        "function extra() is not declared",
        BY_VERIFY_ONLY,
    ),
    "function overloaded": Drift(
        "CREATE FUNCTION tier_rank(integer) RETURNS integer LANGUAGE sql RETURN 1",
        "function tier_rank(integer) is not declared",
    ),
    "function renamed": Drift(
        "ALTER FUNCTION tier_rank RENAME TO renamed", "function tier_rank(character varying) is missing"
    ),
    "body of a function": Drift(
        "CREATE OR REPLACE FUNCTION refuse_audit_log_change() RETURNS trigger LANGUAGE plpgsql"
        " SET search_path = public, pg_temp AS $$ BEGIN RETURN NEW; END; $$",
        "function refuse_audit_log_change(): body",
    ),
    "volatility": Drift(
        "ALTER FUNCTION tier_rank STABLE", "function tier_rank(character varying): volatility is STABLE"
    ),
    "parallel safety": Drift(
        "ALTER FUNCTION tier_rank PARALLEL UNSAFE",
        "function tier_rank(character varying): parallel is UNSAFE",
    ),
    "rights of a function": Drift(
        "ALTER FUNCTION tier_rank SECURITY DEFINER",
        "function tier_rank(character varying): security is DEFINER",
    ),
    "NULL given to a function": Drift(
        "ALTER FUNCTION tier_rank STRICT", "function tier_rank(character varying): on NULL is STRICT"
    ),
    "leakproof": Drift(
        "ALTER FUNCTION tier_rank LEAKPROOF", "function tier_rank(character varying): leakproof"
    ),
    "cost of a function": Drift(
        "ALTER FUNCTION tier_rank COST 5", "function tier_rank(character varying): cost is 5"
    ),
    "rows of a function": Drift(
        "ALTER FUNCTION get_license_quota_usage ROWS 7",
        "function get_license_quota_usage(character varying): rows is 7",
    ),
    "search path of a function": Drift(
        "ALTER FUNCTION admitted_tiers SET search_path = pg_temp, public",
        "function admitted_tiers(character varying): settings",
    ),
    "setting of a function": Drift(
        "ALTER FUNCTION admitted_tiers SET work_mem = '1GB'",
        "function admitted_tiers(character varying): settings",
    ),
    "comment of a function": Drift(
        "COMMENT ON FUNCTION tier_rank IS 'x'", "function tier_rank(character varying): comment"
    ),
    "owner of a function": Drift(
        "CREATE ROLE stranger; ALTER FUNCTION tier_rank OWNER TO stranger",
        "function tier_rank(character varying): owner is stranger",
        BY_VERIFY_ONLY,
    ),
    "procedure added": Drift(
        "CREATE PROCEDURE extra() LANGUAGE sql AS ''", "procedure extra() is not declared", BY_VERIFY_ONLY
    ),
    "aggregate added": Drift(
        "CREATE AGGREGATE extra(integer) (SFUNC = int4pl, STYPE = integer)",
        "aggregate extra(integer) is not declared",
        BY_VERIFY_ONLY,
    ),
    # Views
    "view dropped": Drift("DROP VIEW active_builds", "view active_builds is missing"),
    "view added": Drift("CREATE VIEW extra AS SELECT 1 AS one", "view extra is not declared", BY_VERIFY_ONLY),
    "view changed": Drift(
        "DO $do$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW active_builds WITH (security_invoker = true) AS '"
        " || rtrim(pg_get_viewdef('active_builds'::regclass), ';') || ' AND b.priority > 5'; END $do$",
        "view active_builds: definition",
    ),
    "column of a view": Drift(
        "DO $do$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW active_builds WITH (security_invoker = true) AS"
        " SELECT q.*, 1 AS extra FROM (' || rtrim(pg_get_viewdef('active_builds'::regclass), ';')"
        " || ') AS q'; END $do$",
        "column active_builds.extra is not declared",
    ),
    "rights of a view": Drift(
        "ALTER VIEW active_builds RESET (security_invoker)", "view active_builds: storage options is nothing"
    ),
    "comment of a view": Drift("COMMENT ON VIEW active_builds IS 'x'", "view active_builds: comment"),
    "comment of a view's column": Drift(
        "COMMENT ON COLUMN active_builds.id IS 'x'", "column active_builds.id: comment is x"
    ),
    "default of a view's column": Drift(
        "ALTER VIEW active_builds ALTER COLUMN status SET DEFAULT 'x'", "column active_builds.status: default"
    ),
    "owner of a view": Drift(
        "CREATE ROLE stranger; ALTER VIEW active_builds OWNER TO stranger",
        "view active_builds: owner",
        BY_VERIFY_ONLY,
    ),
    # Triggers and rules
    "trigger dropped": Drift(
        "DROP TRIGGER licenses_record_audit ON licenses", "trigger licenses.licenses_record_audit is missing"
    ),
    "trigger disabled": Drift(
        "ALTER TABLE licenses DISABLE TRIGGER licenses_record_audit",
        "trigger licenses.licenses_record_audit: enabled is DISABLED",
    ),
    "trigger in replicas only": Drift(
        "ALTER TABLE licenses ENABLE REPLICA TRIGGER licenses_record_audit",
        "trigger licenses.licenses_record_audit: enabled is ENABLED REPLICA",
    ),
    "trigger condition": Drift(
        "DO $do$ BEGIN EXECUTE replace(replace(pg_get_triggerdef(oid),"
        " 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'),"
        " 'EXECUTE', 'WHEN (pg_trigger_depth() < 9) EXECUTE')"
        " FROM pg_trigger WHERE tgname = 'licenses_record_audit' AND tgrelid = 'licenses'::regclass;"
        " END $do$",
        "trigger licenses.licenses_record_audit: definition",
    ),
    "trigger event": Drift(
        "DROP TRIGGER audit_log_append_only ON audit_log; CREATE TRIGGER audit_log_append_only"
        " BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_audit_log_change()",
        "trigger audit_log.audit_log_append_only: definition",
    ),
    "trigger added": Drift(
        "CREATE TRIGGER extra BEFORE UPDATE ON licenses FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger licenses.extra is not declared",
        BY_VERIFY_ONLY,
    ),
    "trigger renamed": Drift(
        "ALTER TRIGGER licenses_record_audit ON licenses RENAME TO renamed",
        "trigger licenses.licenses_record_audit is missing",
    ),
    "comment of a trigger": Drift(
        "COMMENT ON TRIGGER licenses_record_audit ON licenses IS 'x'",
        "trigger licenses.licenses_record_audit: comment",
    ),
    "rule added": Drift(
        "CREATE RULE extra AS ON DELETE TO licenses DO INSTEAD NOTHING",
        "rule licenses.extra is not declared",
        BY_VERIFY_ONLY,
    ),
    # Policies
    "policy dropped": Drift(
        "DROP POLICY honua_app_select ON licenses", "policy licenses.honua_app_select is missing"
    ),
    "policy condition": Drift(
        "ALTER POLICY honua_app_select ON licenses USING (true)", "policy licenses.honua_app_select: using"
    ),
    "policy for new rows": Drift(
        "ALTER POLICY honua_app_insert ON registry_credentials WITH CHECK (true)",
        "policy registry_credentials.honua_app_insert: check",
    ),
    "policy for others": Drift(
        "ALTER POLICY honua_app_select ON licenses TO PUBLIC",
        "policy licenses.honua_app_select: roles is PUBLIC",
    ),
    "policy added": Drift(
        "CREATE POLICY extra ON licenses USING (true)", "policy licenses.extra is not declared"
    ),
    "policy renamed": Drift(
        "ALTER POLICY honua_app_select ON licenses RENAME TO renamed",
        "policy licenses.honua_app_select is missing",
    ),
    "policy restrictive": Drift(
        "DROP POLICY honua_readonly_select ON licenses;"
        " CREATE POLICY honua_readonly_select ON licenses AS RESTRICTIVE FOR SELECT"
        " TO honua_readonly USING (true)",
        "policy licenses.honua_readonly_select: kind is RESTRICTIVE",
    ),
    "row security off": Drift(
        "ALTER TABLE licenses DISABLE ROW LEVEL SECURITY", "table licenses: row security is DISABLED"
    ),
    "row security forced": Drift(
        "ALTER TABLE licenses FORCE ROW LEVEL SECURITY",
        "table licenses: row security for the owner is FORCED",
    ),
    # Grants and roles
    "table granted": Drift("GRANT SELECT ON licenses TO PUBLIC", "table licenses: grants"),
    "table revoked": Drift("REVOKE SELECT ON customers FROM honua_readonly", "table customers: grants"),
    "column granted": Drift(
        "GRANT SELECT (license_key) ON licenses TO honua_readonly", "column licenses.license_key: grants"
    ),
    "right to grant": Drift(
        "GRANT SELECT ON customers TO honua_readonly WITH GRANT OPTION", "table customers: grants"
    ),
    "function granted": Drift(
        "GRANT EXECUTE ON FUNCTION get_next_build_for_worker TO PUBLIC", "function get_next_build_for_worker"
    ),
    "view granted": Drift("GRANT SELECT ON active_builds TO honua_worker", "view active_builds: grants"),
    "sequence granted": Drift(
        "GRANT UPDATE ON SEQUENCE build_metrics_id_seq TO honua_worker",
        "sequence build_metrics_id_seq: grants",
    ),
    "schema granted": Drift("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema public: grants"),
    "schema of the partitions granted": Drift(
        "GRANT USAGE ON SCHEMA honua_partitions TO PUBLIC", "schema honua_partitions: grants"
    ),
    "default privileges": Drift(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
        "default privileges for tables",
        BY_VERIFY_ONLY,
    ),
    "role that logs in": Drift(
        "ALTER ROLE honua_app LOGIN", "role honua_app: attributes is LOGIN", BY_VERIFY_ONLY
    ),
    "role beyond row security": Drift(
        "ALTER ROLE honua_app BYPASSRLS", "role honua_app: attributes is NOLOGIN BYPASSRLS", BY_VERIFY_ONLY
    ),
    "role in a role": Drift(
        "GRANT honua_maintenance TO honua_app",
        "role honua_app: member of is honua_maintenance",
        BY_VERIFY_ONLY,
    ),
    # Partitions
    "default partition detached": Drift(
        "ALTER TABLE build_events DETACH PARTITION honua_partitions.build_events_default",
        "table honua_partitions.build_events_default is missing",
    ),
    "month missing": Drift(
        in_month("DROP TABLE {}"), "table honua_partitions.build_events_y", BY_VERIFY_ONLY
    ),
    "months run out": Drift(
        "CREATE TABLE honua_partitions.build_events_y2001m01 PARTITION OF build_events"
        " FOR VALUES FROM ('2001-01-01 00:00:00+00') TO ('2001-02-01 00:00:00+00')",
        "table honua_partitions.build_events_y2001m02 is missing",
        BY_VERIFY_ONLY,
    ),
    "partition with other bounds": Drift(
        in_month(
            "DROP TABLE {}",
            "CREATE TABLE {} PARTITION OF build_events FOR VALUES FROM ('1999-01-01') TO ('1999-01-02')",
        ),
        "table honua_partitions.build_events_y",
        BY_VERIFY_ONLY,
    ),
    "partition elsewhere": Drift(
        "CREATE TABLE extra PARTITION OF build_events FOR VALUES FROM ('1999-01-01') TO ('1999-01-02')",
        "table extra is not declared",
        BY_VERIFY_ONLY,
    ),
    "table among the partitions": Drift(
        "CREATE TABLE honua_partitions.extra (id integer)",
        "table honua_partitions.extra is not declared",
        BY_VERIFY_ONLY,
    ),
    "index of one partition": Drift(
        in_month("CREATE INDEX extra ON {} (source)"), "index honua_partitions.build_events_y", BY_VERIFY_ONLY
    ),
    "partition granted": Drift(
        in_month("GRANT SELECT ON {} TO PUBLIC"), "table honua_partitions.build_events_y", BY_VERIFY_ONLY
    ),
    "default of one partition": Drift(
        in_month("ALTER TABLE {} ALTER COLUMN severity SET DEFAULT 'debug'"),
        "column honua_partitions.build_events_y",
        BY_VERIFY_ONLY,
    ),
    "storage of one partition": Drift(
        in_month("ALTER TABLE {} SET (autovacuum_enabled = false)"),
        "table honua_partitions.build_events_y",
        BY_VERIFY_ONLY,
    ),
    "trigger of one partition": Drift(
        "ALTER TABLE honua_partitions.audit_log_default DISABLE TRIGGER audit_log_append_only",
        "trigger honua_partitions.audit_log_default.audit_log_append_only: enabled is DISABLED",
        BY_VERIFY_ONLY,
    ),
}


@pytest.fixture(scope="module")
def connection_and_declared(
    postgresql_server: SharedServer, postgresql_noproc: Any
) -> Iterator[tuple[Connection, Schemas]]:
    """A database at head with the declared schema made beside the deployed one, for all these tests."""
    administration = sqlalchemy.create_engine(postgresql_server.url("postgres"), isolation_level="AUTOCOMMIT")
    with administration.connect() as administrator:
        administrator.execute(text(f"CREATE DATABASE drift TEMPLATE {postgresql_noproc.template_dbname}"))
    engine = sqlalchemy.create_engine(postgresql_server.url("drift"))
    with engine.connect() as connection:
        with shadow.made(connection) as declared:
            connection.execute(text("SET LOCAL search_path = public"))
            yield connection, declared
        connection.rollback()
    engine.dispose()
    with administration.connect() as administrator:
        administrator.execute(text("DROP DATABASE drift"))
    administration.dispose()


def check(connection: Connection, found: Comparison, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what `alembic check` finds, without making the declared schema once more."""
    monkeypatch.setattr(plugin, "compare", lambda _: found)
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_name": plugin.include_name,
        "autogenerate_plugins": [*AUTOGENERATE_PLUGINS, plugin.register()],
    }
    differences: list[Any] = compare_metadata(
        MigrationContext.configure(connection, opts=options), Base.metadata
    )
    return differences


@pytest.mark.filterwarnings("ignore:Computed default on", "ignore:Can't validate argument")
@pytest.mark.parametrize("name", DRIFT)
def test_a_change_by_hand_is_seen(
    connection_and_declared: tuple[Connection, Schemas], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    connection, declared = connection_and_declared
    drift = DRIFT[name]
    with shadow.rolled_back(connection):
        execute_on(connection, drift.sql)

        found = comparison.compare_with(connection, declared)
        seen_by_check = bool(check(connection, found, monkeypatch))

    lines = [str(difference) for difference in found.differences]
    assert any(line.startswith(drift.reported) for line in lines), lines
    assert seen_by_check == drift.seen_by_check


def test_a_database_at_head_has_no_drift(
    connection_and_declared: tuple[Connection, Schemas], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, declared = connection_and_declared
    with shadow.rolled_back(connection):
        found = comparison.compare_with(connection, declared)
        assert [str(difference) for difference in found.differences] == []
        assert check(connection, found, monkeypatch) == []
