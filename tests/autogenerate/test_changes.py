"""What an author changes, a revision makes: generated, applied, complete, and reverted without a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from tests.autogenerate.conftest import ProjectCopy

    Edit = Callable[[ProjectCopy], None]

CORE = "models/core.py"
QUEUE = "models/build_queue.py"
INTAKE = "models/intake.py"
PRIVILEGES = "sql/system/privileges.toml"

CUSTOMER_OF_BUILD = '    customer: Mapped[Customer] = relationship(back_populates="builds")\n'
EXTRA = '    extra: Mapped[dict[str, Any] | None] = mapped_column(comment="More")\n\n'
FINITE_CORES = '        finite("estimated_cpu_cores"),\n'
EXTRA_RULE = '        json_object("extra"),\n'
FIRST_RELATIONSHIP_OF_CUSTOMER = (
    '    license: Mapped[License | None] = relationship(back_populates="customer"'
)

NOTES = '''
@partitioned_by_month
class BuildNote(Base):
    """A note on a build."""

    __tablename__ = "build_notes"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row, with noted_at")
    noted_at: Mapped[CreationTimestamp] = mapped_column(primary_key=True, comment="The partition key")
    build_queue_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("build_queue.id", ondelete="CASCADE"), comment="The build"
    )
    severity: Mapped[EventSeverity] = mapped_column(enum_type(EventSeverity), comment="How much it matters")
    note: Mapped[str] = mapped_column(comment="What somebody wrote")

    __table_args__ = (
        one_of("severity", EventSeverity),
        index("ix_build_notes_severity", "severity", where="severity IN ('error', 'critical')", serves="-"),
        {"comment": "Notes on builds", "postgresql_partition_by": "RANGE (noted_at)"},
    )

'''
LABELS = '''
class Label(Base):
    """A label that customers give to builds."""

    __tablename__ = "labels"

    id: Mapped[GeneratedNumber] = mapped_column(comment="Technical key of the row")
    customer_id: Mapped[CustomerId] = mapped_column(
        ForeignKey("customers.customer_id", ondelete="CASCADE"), index=True, comment="The customer"
    )
    name: Mapped[String50] = mapped_column(unique=True, comment="Name of the label")
    tier: Mapped[Tier] = mapped_column(enum_type(Tier), server_default="core", comment="The tier it is for")
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"), comment="Facts")
    given_from: Mapped[str | None] = mapped_column(Address, comment="Where it was made")
    made_at: Mapped[CreationTimestamp] = mapped_column(comment="When it was made")

    __table_args__ = (
        one_of("tier", Tier),
        json_object("facts"),
        index("ix_labels_tier", "tier", where="tier IN ('pro', 'asp')", include=["name"], serves="-"),
        index("ix_labels_facts", "facts", using="gin", ops={"facts": "jsonb_path_ops"}, serves="-"),
        {"comment": "Labels", "postgresql_with": {"fillfactor": "90"}},
    )

'''
# A driver doubles the sign % and text() takes a colon for a parameter, unless a backslash is before it.
SIGN_OF_CUSTOMER = r"""
    motto: Mapped[String50] = mapped_column(server_default=text("'50% \\:off'"), comment="50% :x")

"""
RULES_OF_CUSTOMER = r"""
        CheckConstraint("contact_name <> '100% \\:all'", name="share"),
        index(
            "ix_customers_share", text("replace(motto::text, '%'::text, 'x'::text)"), "tier",
            where="motto <> '5%'", serves="-",
        ),
"""
SIGNS = r'''
class Sign(Base):
    """A thing with signs in it."""

    __tablename__ = "signs"

    id: Mapped[GeneratedNumber] = mapped_column(comment="-")
    share: Mapped[String50] = mapped_column(server_default=text("'50% \\:off'"), comment="50% :x")
    facts: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{\"share\"\\:1, \"of\"\\:\"100%\"}'::jsonb"), comment="-"
    )

    __table_args__ = (CheckConstraint("share <> '100% \\:all'", name="share"), {"comment": "50%"})

'''
DEFERRED = ', deferrable=True, initially="DEFERRED"'
UNIQUE_TURN = f'UniqueConstraint("turn", name="uq_places_turn"{DEFERRED}), '
PLACES = f'''
from sqlalchemy import Identity


class Place(Base):
    """A place in a row."""

    __tablename__ = "places"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="-")
    kind: Mapped[int] = mapped_column(autoincrement=False, comment="-")
    turn: Mapped[int] = mapped_column(Identity(start=5), comment="-")

    __table_args__ = ({UNIQUE_TURN}{{"comment": "-"}},)

'''
PRIVILEGES_OF_PLACES = """
[tables.places.honua_app]
rows = "places.number > 5"
select = "number"
insert = "*"

[tables.places.honua_readonly]
rows = "true"
select = "*"

"""
COUNT_BUILDS = """\
CREATE OR REPLACE FUNCTION count_builds(p_customer_id varchar) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    SELECT count(*) FROM build_queue AS b WHERE b.customer_id = p_customer_id;
$$;

COMMENT ON FUNCTION count_builds IS 'The builds of a customer.';
"""
URGENT_BUILDS = """\
CREATE OR REPLACE VIEW urgent_builds WITH (security_invoker = true) AS
SELECT a.id, a.customer_id FROM active_builds AS a WHERE a.priority > 8;

COMMENT ON VIEW urgent_builds IS 'Builds that are waited for';
COMMENT ON COLUMN urgent_builds.id IS 'The build';
"""
GUARD = """\
CREATE OR REPLACE TRIGGER build_manifests_note_change
    AFTER INSERT OR UPDATE OF manifest_hash ON build_manifests
    FOR EACH ROW
    WHEN (NEW.deployment_status IN ('pending', 'failed'))
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER build_manifests_note_change ON build_manifests IS 'For the test';
"""


@dataclass(frozen=True)
class Change:
    """A change to models or SQL files.

    Attributes:
        edit: Makes the change.
        expected: Texts that the revision must contain, in this order.
        prepare: Makes the project what it is before the change, in a revision before this one.
        frozen: The SQL files that the revision must bring with it.
    """

    edit: Edit
    expected: tuple[str, ...]
    prepare: Edit | None = None
    frozen: set[str] = field(default_factory=set)


def replace(path: str, old: str, new: str) -> Edit:
    return lambda project: project.replace(path, old, new)


def insert(path: str, before: str, text: str) -> Edit:
    return lambda project: project.insert(path, before, text)


def both(first: Edit, second: Edit) -> Edit:
    def edit(project: ProjectCopy) -> None:
        first(project)
        second(project)

    return edit


def write(path: str, text: str) -> Edit:
    return lambda project: project.write(path, text)


def append(path: str, text: str) -> Edit:
    return lambda project: project.write(path, (project.package / path).read_text(encoding="utf-8") + text)


def remove(path: str) -> Edit:
    return lambda project: project.remove(path)


def together(*edits: Edit) -> Edit:
    def edit(project: ProjectCopy) -> None:
        for each in edits:
            each(project)

    return edit


def touch(table: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON {table}\n"
        "    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();\n"
    )


def add_to_customer(line: str) -> Edit:
    return insert(CORE, FIRST_RELATIONSHIP_OF_CUSTOMER, f"    {line}\n")


def remove_from_customer(line: str) -> Edit:
    return replace(CORE, f"    {line}\n", "")


NICKNAME = 'nickname: Mapped[String50 | None] = mapped_column(comment="What people call it")'
GRADE = 'grade: Mapped[Tier] = mapped_column(enum_type(Tier), server_default="core", comment="-")'
GRADE_CHECK = '        one_of("grade", Tier),\n'
CUSTOMER_CHECKS = '        one_of("subscription_status", SubscriptionStatus),\n'

COMMENT_OF_FUNCTION = "COMMENT ON FUNCTION count_builds IS 'The builds of a customer.';\n"
COMMENTS_OF_VIEW = (
    "COMMENT ON VIEW urgent_builds IS 'Builds that are waited for';\n"
    "COMMENT ON COLUMN urgent_builds.id IS 'The build';\n"
)
COMMENT_OF_TRIGGER = "COMMENT ON TRIGGER build_manifests_note_change ON build_manifests IS 'For the test';\n"
COMMENTED = (
    write("sql/core/count_builds.sql", COUNT_BUILDS),
    write("sql/build_queue/urgent_builds.sql", URGENT_BUILDS),
    write("sql/intake/build_manifests_note_change.sql", GUARD),
    insert(PRIVILEGES, "enforce_registry_limit = []", "count_builds = []\n"),
    insert(PRIVILEGES, "conversation_performance_summary = [", "urgent_builds = []\n"),
)

CHANGES = {
    "add a column": Change(add_to_customer(NICKNAME), ('op.add_column(\n        "customers"',)),
    "add a required column with a default and a check": Change(
        together(add_to_customer(GRADE), insert(CORE, CUSTOMER_CHECKS, GRADE_CHECK)),
        ("op.add_column(", "op.create_check_constraint("),
    ),
    "remove a column": Change(
        remove_from_customer(NICKNAME),
        ("customers.nickname is lost with all that is in it", 'op.drop_column("customers", "nickname")'),
        prepare=add_to_customer(NICKNAME),
    ),
    "remove a column with a check": Change(
        together(remove_from_customer(GRADE), replace(CORE, GRADE_CHECK, "")),
        ('op.drop_column("customers", "grade")',),
        prepare=together(add_to_customer(GRADE), insert(CORE, CUSTOMER_CHECKS, GRADE_CHECK)),
    ),
    "widen a column": Change(
        replace(CORE, "contact_name: Mapped[String255 | None]", "contact_name: Mapped[str | None]"),
        ("op.alter_column(", "type_=sa.Text()"),
    ),
    "change the type of a column that a view reads": Change(
        replace(
            QUEUE, "priority: Mapped[int] = mapped_column(", "priority: Mapped[ByteCount] = mapped_column("
        ),
        (
            'sqlfile.drop("002/build_queue/active_builds.sql")',
            "Nobody can use build_queue while it is rewritten",
            "ALTER COLUMN priority TYPE bigint;",
            "DROP DOMAIN build_queue_priority;",
            "CREATE DOMAIN build_queue_priority AS BIGINT",
            "ALTER COLUMN priority TYPE build_queue_priority;",
            'sqlfile.create("002/build_queue/active_builds.sql")',
            "GRANT SELECT ON active_builds TO honua_app",
        ),
    ),
    "allow another value of a domain": Change(
        replace(QUEUE, '    TIMEOUT = "timeout"\n', '    TIMEOUT = "timeout"\n    LOST = "lost"\n'),
        (
            "Writers of build_queue wait while all its rows are checked",
            "ALTER DOMAIN build_queue_status DROP CONSTRAINT ck_build_queue_status_allowed;",
            "ALTER DOMAIN build_queue_status ADD CONSTRAINT ck_build_queue_status_allowed CHECK",
            "'lost'",
        ),
    ),
    "give a column a domain": Change(
        insert(QUEUE, FINITE_CORES, EXTRA_RULE),
        ("CREATE DOMAIN build_queue_extra AS JSONB", "op.alter_column(", "postgresql.DOMAIN("),
        prepare=insert(QUEUE, CUSTOMER_OF_BUILD, EXTRA),
    ),
    "add a column with a domain": Change(
        both(insert(QUEUE, CUSTOMER_OF_BUILD, EXTRA), insert(QUEUE, FINITE_CORES, EXTRA_RULE)),
        ("CREATE DOMAIN build_queue_extra AS JSONB", "op.add_column(", "postgresql.DOMAIN("),
    ),
    "drop a column with a domain": Change(
        both(replace(QUEUE, EXTRA, ""), replace(QUEUE, EXTRA_RULE, "")),
        ("op.drop_column(", "DROP DOMAIN build_queue_extra;"),
        prepare=both(insert(QUEUE, CUSTOMER_OF_BUILD, EXTRA), insert(QUEUE, FINITE_CORES, EXTRA_RULE)),
    ),
    "require a value": Change(
        replace(QUEUE, "storage_path: Mapped[str | None]", "storage_path: Mapped[str]"),
        ("online.set_not_null('build_artifacts', 'storage_path')", "nullable=False"),
    ),
    "change a default": Change(
        replace(CORE, 'server_default="trial",', 'server_default="active",'),
        ("op.alter_column(", "server_default="),
    ),
    "change comments": Change(
        together(
            replace(CORE, 'comment="Name of the person to write to"', 'comment="Name of somebody"'),
            replace(
                INTAKE, '"Requirements read out of conversations, and whether they were right"', '"Wishes"'
            ),
        ),
        ("Name of somebody", "create_table_comment"),
    ),
    "allow another value": Change(
        insert(CORE, '    ASP = "asp"\n', '    PREMIUM = "premium"\n'),
        ("op.drop_constraint(", "'premium'"),
    ),
    "change a check of a partitioned table": Change(
        insert(QUEUE, '    CRITICAL = "critical"\n', '    ALERT = "alert"\n'),
        ('"ck_build_events_severity_allowed", "build_events"', "'alert'"),
    ),
    "add a check": Change(
        insert(
            CORE,
            CUSTOMER_CHECKS,
            '        CheckConstraint("tier <> \'\' OR deleted_at IS NULL", name="known"),\n',
        ),
        ("online.add_constraint('ck_customers_known'", "op.create_check_constraint("),
    ),
    "remove a check": Change(
        replace(CORE, CUSTOMER_CHECKS, ""),
        ("op.drop_constraint(", "subscription_status IN ('trial', 'active', 'suspended', 'cancelled')"),
    ),
    "add an index": Change(
        insert(
            CORE,
            '        index("ix_customers_contact_email"',
            """\
        index(
            "ix_customers_new", text("lower(contact_name)"), "tier", include=["customer_id"],
            where="tier IN ('pro', 'asp')", serves="-",
        ),
""",
        ),
        ("Writers of customers wait while this index is built", "online.create_index(", "op.create_index("),
    ),
    "change what an index covers": Change(
        replace(
            CORE,
            'where="deleted_at IS NULL",\n            serves="live customers by tier',
            "where=\"tier IN ('pro', 'asp')\",\n            serves=\"live customers by tier",
        ),
        ("op.drop_index(", "op.create_index("),
    ),
    "remove an index with a condition": Change(
        replace(
            QUEUE,
            """        index(
            "ix_build_events_severity",
            "severity",
            "event_timestamp",
            where="severity IN ('error', 'critical')",
            serves="recent errors",
        ),
""",
            "",
        ),
        ("op.drop_index(", "severity IN ('error', 'critical')"),
    ),
    "add a unique constraint": Change(
        replace(
            CORE,
            "contact_email: Mapped[String255] = mapped_column(",
            "contact_email: Mapped[String255] = mapped_column(unique=True, ",
        ),
        (
            "Nobody can use customers while the index of this constraint is built",
            "op.create_unique_constraint(",
        ),
    ),
    "change a primary key": Change(
        replace(
            CORE, "kind: Mapped[int] = mapped_column(", "kind: Mapped[int] = mapped_column(primary_key=True, "
        ),
        (
            "Nobody can use places while the index of this constraint is built",
            'op.create_primary_key("pk_places", "places", ["number", "kind"])',
            'op.create_primary_key("pk_places", "places", ["number"])',
        ),
        prepare=insert(CORE, "class License(Base):", PLACES),
    ),
    "change how numbers are generated": Change(
        replace(CORE, "Identity(start=5)", "Identity(always=True, start=10, increment=2)"),
        ("op.alter_column(", "existing_server_default=sa.Identity("),
        prepare=insert(CORE, "class License(Base):", PLACES),
    ),
    "let numbers not be generated any more": Change(
        replace(CORE, "Identity(start=5), ", ""),
        ("op.alter_column(", "server_default=None", "existing_server_default=sa.Identity("),
        prepare=insert(CORE, "class License(Base):", PLACES),
    ),
    "check a unique constraint at once": Change(
        replace(CORE, UNIQUE_TURN, UNIQUE_TURN.replace(DEFERRED, "")),
        ("op.create_unique_constraint(", "deferrable=True", 'initially="DEFERRED"'),
        prepare=insert(CORE, "class License(Base):", PLACES),
    ),
    "remove a unique constraint that is checked at the end": Change(
        replace(CORE, UNIQUE_TURN, ""),
        ("op.drop_constraint(", "deferrable=True", 'initially="DEFERRED"'),
        prepare=insert(CORE, "class License(Base):", PLACES),
    ),
    "change what a deletion does": Change(
        replace(
            QUEUE,
            'ForeignKey("build_cache_registry.id", ondelete="SET NULL")',
            'ForeignKey("build_cache_registry.id", ondelete="RESTRICT")',
        ),
        (
            "op.drop_constraint(",
            "Writers of build_results and build_cache_registry wait",
            'ondelete="RESTRICT"',
        ),
    ),
    "change storage options": Change(
        replace(QUEUE, '"fillfactor": "80",', '"fillfactor": "70",'),
        ("ALTER TABLE build_queue RESET (fillfactor, ", "SET (fillfactor=70, "),
    ),
    "write percent signs and colons": Change(
        together(
            insert(CORE, FIRST_RELATIONSHIP_OF_CUSTOMER, SIGN_OF_CUSTOMER),
            insert(CORE, CUSTOMER_CHECKS, RULES_OF_CUSTOMER),
            insert(CORE, "class License(Base):", SIGNS),
        ),
        (r"50% \\:off", r'"share"\\:1', r"100% \\:all"),
    ),
    "take percent signs and colons away": Change(
        together(
            replace(CORE, SIGN_OF_CUSTOMER, ""),
            replace(CORE, RULES_OF_CUSTOMER, ""),
            replace(CORE, SIGNS, ""),
        ),
        ('op.drop_column("customers", "motto")',),
        prepare=together(
            insert(CORE, FIRST_RELATIONSHIP_OF_CUSTOMER, SIGN_OF_CUSTOMER),
            insert(CORE, CUSTOMER_CHECKS, RULES_OF_CUSTOMER),
            insert(CORE, "class License(Base):", SIGNS),
        ),
    ),
    "add a table": Change(
        insert(CORE, "class License(Base):", LABELS.lstrip() + "\n\n"),
        ("op.create_table(", '"labels"', "postgresql.JSONB()", "postgresql.INET()", "op.create_index("),
    ),
    "add a partitioned table": Change(
        insert(QUEUE, "class BuildResult(Base):", NOTES.lstrip() + "\n\n"),
        ("op.create_table(", "PARTITION OF build_notes DEFAULT"),
    ),
    "remove a table": Change(
        replace(CORE, LABELS.lstrip() + "\n\n", ""),
        ("labels is lost with all that is in it", 'op.drop_table("labels")'),
        prepare=insert(CORE, "class License(Base):", LABELS.lstrip() + "\n\n"),
    ),
    "remove a partitioned table": Change(
        replace(QUEUE, NOTES.lstrip() + "\n\n", ""),
        ('op.drop_table("build_notes")', "RANGE (noted_at)", "PARTITION OF build_notes DEFAULT"),
        prepare=insert(QUEUE, "@rules_in_domains\nclass BuildResult(Base):", NOTES.lstrip() + "\n\n"),
    ),
    "remove a table that roles may use": Change(
        together(replace(CORE, PLACES, ""), replace(PRIVILEGES, PRIVILEGES_OF_PLACES, "")),
        (
            'op.drop_table("places")',
            "ALTER TABLE places ENABLE ROW LEVEL SECURITY;",
            "CREATE POLICY honua_app_select ON places",
            "GRANT SELECT (number) ON places TO honua_app;",
        ),
        prepare=together(
            insert(CORE, "class License(Base):", PLACES),
            insert(PRIVILEGES, "[views]", PRIVILEGES_OF_PLACES),
        ),
    ),
    "change the body of a function": Change(
        replace("sql/core/tier_rank.sql", "'asp'], p_tier::text)", "'asp', 'best'], p_tier::text)"),
        ('sqlfile.create("{revision}/core/tier_rank.sql")', 'sqlfile.create("005/core/tier_rank.sql")'),
        frozen={"core/tier_rank.sql"},
    ),
    "add a function that a role may call": Change(
        together(
            write("sql/core/count_builds.sql", COUNT_BUILDS),
            insert(PRIVILEGES, "enforce_registry_limit = []", 'count_builds = ["honua_readonly"]\n'),
        ),
        (
            'sqlfile.create("{revision}/core/count_builds.sql")',
            "REVOKE EXECUTE ON FUNCTION count_builds(character varying) FROM PUBLIC;",
            "GRANT EXECUTE ON FUNCTION count_builds(character varying) TO honua_readonly;",
            'sqlfile.drop("{revision}/core/count_builds.sql")',
        ),
        frozen={"core/count_builds.sql"},
    ),
    "change the signature of a function that a policy calls": Change(
        replace(
            "sql/core/admitted_tiers.sql",
            "(p_customer_id varchar) RETURNS",
            "(p_customer_id varchar, p_strict boolean DEFAULT true) RETURNS",
        ),
        (
            "DROP POLICY honua_app_select ON build_cache_registry;",
            'sqlfile.drop("005/core/admitted_tiers.sql")',
            'sqlfile.create("{revision}/core/admitted_tiers.sql")',
            "CREATE POLICY honua_app_select ON build_cache_registry",
            "REVOKE EXECUTE ON FUNCTION admitted_tiers(character varying, boolean) FROM PUBLIC;",
        ),
        frozen={"core/admitted_tiers.sql"},
    ),
    "change the signature of a trigger's function": Change(
        together(
            remove("sql/system/update_updated_at_column.sql"),
            write(
                "sql/system/touch.sql",
                "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$\n"
                "BEGIN NEW.updated_at := now(); RETURN NEW; END; $$;\n",
            ),
            lambda project: [
                file.write_text(file.read_text().replace("update_updated_at_column()", "touch()"))
                for file in (project.package / "sql").glob("*/*_updated_at.sql")
            ],
            replace(PRIVILEGES, "update_updated_at_column = []", "touch = []"),
        ),
        (
            'sqlfile.drop("005/system/update_updated_at_column.sql")',
            'sqlfile.create("{revision}/system/touch.sql")',
        ),
    ),
    "remove a function": Change(
        together(
            remove("sql/core/count_builds.sql"),
            replace(PRIVILEGES, 'count_builds = ["honua_readonly"]\n', ""),
        ),
        ("The previous release may still use count_builds", "sqlfile.drop("),
        prepare=together(
            write("sql/core/count_builds.sql", COUNT_BUILDS),
            insert(PRIVILEGES, "enforce_registry_limit = []", 'count_builds = ["honua_readonly"]\n'),
        ),
    ),
    "change what a view shows": Change(
        replace(
            "sql/build_queue/active_builds.sql",
            "OR (b.status = 'queued' AND b.admission = 'delayed');",
            "OR (b.status = 'cancelled' AND b.admission = 'ready');",
        ),
        ('sqlfile.create("{revision}/build_queue/active_builds.sql")',),
        frozen={"build_queue/active_builds.sql"},
    ),
    "add a column to a view that another view reads": Change(
        replace(
            "sql/build_queue/active_builds.sql",
            "    b.retry_count\n",
            "    b.manifest_hash,\n    b.retry_count\n",
        ),
        (
            'sqlfile.drop("{previous}/build_queue/urgent_builds.sql")',
            "active_builds.sql",
            'sqlfile.create("{revision}/build_queue/active_builds.sql")',
            'sqlfile.create("{previous}/build_queue/urgent_builds.sql")',
            "GRANT SELECT ON active_builds TO honua_app",
        ),
        prepare=together(
            write("sql/build_queue/urgent_builds.sql", "-- requires: active_builds\n" + URGENT_BUILDS),
            insert(PRIVILEGES, "conversation_performance_summary = [", "urgent_builds = []\n"),
        ),
        frozen={"build_queue/active_builds.sql"},
    ),
    "add a trigger": Change(
        write("sql/intake/build_manifests_note_change.sql", GUARD),
        ('sqlfile.create("{revision}/intake/build_manifests_note_change.sql")',),
        frozen={"intake/build_manifests_note_change.sql"},
    ),
    "add two triggers of the same name": Change(
        together(
            write("sql/core/touch.sql", touch("licenses")),
            write("sql/intake/touch.sql", touch("conversations")),
        ),
        ('sqlfile.create("{revision}/core/touch.sql")', 'sqlfile.create("{revision}/intake/touch.sql")'),
        frozen={"core/touch.sql", "intake/touch.sql"},
    ),
    "change when a trigger fires": Change(
        replace(
            "sql/intake/build_manifests_note_change.sql",
            "IN ('pending', 'failed')",
            "IN ('failed', 'pending')",
        ),
        ("build_manifests_note_change.sql",),
        prepare=write("sql/intake/build_manifests_note_change.sql", GUARD),
    ),
    "remove a trigger": Change(
        remove("sql/system/audit_log_no_truncate.sql"),
        ('sqlfile.drop("006/system/audit_log_no_truncate.sql")',),
    ),
    "take comments away": Change(
        together(
            replace("sql/core/count_builds.sql", COMMENT_OF_FUNCTION, ""),
            replace("sql/build_queue/urgent_builds.sql", COMMENTS_OF_VIEW, ""),
            replace("sql/intake/build_manifests_note_change.sql", COMMENT_OF_TRIGGER, ""),
        ),
        (
            "COMMENT ON FUNCTION count_builds(character varying) IS NULL;",
            "COMMENT ON VIEW urgent_builds IS NULL;",
            "COMMENT ON COLUMN urgent_builds.id IS NULL;",
            "COMMENT ON TRIGGER build_manifests_note_change ON build_manifests IS NULL;",
        ),
        prepare=together(*COMMENTED),
    ),
    "add comments": Change(
        together(
            append("sql/core/count_builds.sql", COMMENT_OF_FUNCTION),
            append("sql/build_queue/urgent_builds.sql", COMMENTS_OF_VIEW),
            append("sql/intake/build_manifests_note_change.sql", COMMENT_OF_TRIGGER),
        ),
        ("def downgrade()", "COMMENT ON TRIGGER build_manifests_note_change ON build_manifests IS NULL;"),
        prepare=together(
            *COMMENTED,
            replace("sql/core/count_builds.sql", COMMENT_OF_FUNCTION, ""),
            replace("sql/build_queue/urgent_builds.sql", COMMENTS_OF_VIEW, ""),
            replace("sql/intake/build_manifests_note_change.sql", COMMENT_OF_TRIGGER, ""),
        ),
    ),
    "change which rows a role sees": Change(
        replace(
            PRIVILEGES,
            "r.id = build_artifacts.build_result_id)",
            "r.id = build_artifacts.build_result_id AND r.error_code IN ('a', 'b'))",
        ),
        (
            "DROP POLICY honua_app_select ON build_artifacts;",
            "CREATE POLICY honua_app_select ON build_artifacts",
        ),
    ),
    "change what a role may do": Change(
        replace(
            PRIVILEGES,
            'update = "organization_name, contact_email, contact_name"\n',
            'update = "contact_email"\n',
        ),
        ("REVOKE UPDATE (contact_name) ON customers FROM honua_app",),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_becomes_a_revision_that_does_it_and_takes_it_back(
    project: ProjectCopy, dump_schema: Callable[[URL], str], name: str
) -> None:
    change = CHANGES[name]
    previous = project.revisions()[-1].name[:3]
    if change.prepare:
        change.prepare(project)
        project.revise("prepare")
        previous = project.revisions()[-1].name[:3]
    before = dump_schema(project.database)
    change.edit(project)

    text = project.revise(name, revert=True)

    revision = f"{int(previous) + 1:03}"
    position = 0
    for expected in change.expected:
        wanted = expected.format(revision=revision, previous=previous) if "{" in expected else expected
        assert wanted in text[position:], text
        position = text.index(wanted, position)
    assert change.frozen <= project.frozen(revision)
    assert dump_schema(project.database) == before
