"""Every role, every object and every verb, tried out and compared with the manifest; nothing for PUBLIC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from honua_schema import privileges, sqlfile
from honua_schema.models import Base
from queries import rows, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Acting

    Connection = psycopg.Connection[Any]

ROLES = ("honua_app", "honua_maintenance", "honua_readonly", "honua_worker")
STATEMENTS = {
    "select": "SELECT {column} FROM {table} WHERE false",
    "insert": "INSERT INTO {table} ({column}) VALUES (DEFAULT)",
    "update": "UPDATE {table} SET {column} = DEFAULT WHERE false",
    "delete": "DELETE FROM {table} WHERE false",
}
OURS = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid"
    " AND d.deptype = 'e') AND p.pronamespace = 'public'::regnamespace"
)


def is_denied(connection: Connection, statement: sql.Composed | sql.SQL, kind: str, name: str) -> bool:
    """Execute a statement in a savepoint that is rolled back, and return whether the object was denied."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        return error.diag.message_primary == f"permission denied for {kind} {name}"
    except psycopg.Error:
        pass
    return False


@pytest.fixture(params=[*ROLES, "stranger"])
def role(request: pytest.FixtureRequest, connection: Connection) -> Iterator[str]:
    """Each of the roles, and one that nothing was granted to."""
    if request.param != "stranger":
        yield request.param
        return
    name = f"stranger_{connection.info.backend_pid}"
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_each_column_of_each_table_lets_pass_just_the_listed_verbs(
    connection: Connection, acting: Acting, manifest: privileges.Manifest, role: str
) -> None:
    wrong = []
    columns = rows(
        connection,
        "SELECT c.relname, a.attname, a.attidentity FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND c.relname <> 'alembic_version'",
    )
    assert {column.relname for column in columns} == set(manifest.tables)
    with acting(role):
        for table, column, _ in columns:
            granted = {each.verb: each for each in manifest.tables[table].get(role, ())}
            for verb, statement in STATEMENTS.items():
                privilege = granted.get(verb)
                allowed = privilege is not None and (not privilege.columns or column in privilege.columns)
                composed = sql.SQL(statement).format(
                    table=sql.Identifier(table), column=sql.Identifier(column)
                )
                if is_denied(connection, composed, "table", table) == allowed:
                    wrong.append((table, column, verb, allowed))
    assert wrong == []
    assert len(columns) > 200


def test_no_role_may_empty_a_table_refer_to_it_or_put_triggers_on_it(
    connection: Connection, manifest: privileges.Manifest, role: str
) -> None:
    assert (
        rows(
            connection,
            "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege(%s,"
            " c.oid, 'TRUNCATE, TRIGGER') AND c.relnamespace IN"
            " ('public'::regnamespace, 'honua_partitions'::regnamespace)"
            " UNION ALL SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p')"
            " AND has_any_column_privilege(%s, c.oid, 'REFERENCES')"
            " AND c.relnamespace = 'public'::regnamespace",
            role,
            role,
        )
        == []
    )


def test_each_view_is_shown_to_just_the_listed_roles(
    connection: Connection, acting: Acting, manifest: privileges.Manifest, role: str
) -> None:
    views = values(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')",
    )
    assert set(views) == set(manifest.views)
    with acting(role):
        for view in views:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))
            if role in manifest.views[view]:
                connection.execute(query)
            else:
                assert is_denied(connection, query, "view", view), view


def test_each_sequence_gives_numbers_to_just_the_listed_roles(
    connection: Connection, acting: Acting, manifest: privileges.Manifest, role: str
) -> None:
    sequences = values(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'",
    )
    assert set(sequences) == set(manifest.sequences)
    with acting(role):
        for sequence in sequences:
            allowed = role in manifest.sequences[sequence]
            next_number = sql.SQL("SELECT nextval({})").format(sql.Literal(sequence))
            last_number = sql.SQL("SELECT last_value FROM {}").format(sql.Identifier(sequence))
            assert is_denied(connection, next_number, "sequence", sequence) != allowed, sequence
            assert is_denied(connection, last_number, "sequence", sequence), sequence


def test_each_function_lets_itself_be_called_by_just_the_listed_roles(
    connection: Connection, acting: Acting, manifest: privileges.Manifest, role: str
) -> None:
    functions = rows(
        connection,
        "SELECT p.proname, p.pronargs, p.prorettype = 'trigger'::regtype AS is_trigger,"
        f" has_function_privilege(%s, p.oid, 'EXECUTE') AS may_call FROM pg_proc p WHERE {OURS}",
        role,
    )
    assert {function.proname for function in functions} == set(manifest.functions)
    with acting(role):
        for function in functions:
            arguments = sql.SQL(", ").join([sql.SQL("NULL")] * function.pronargs)
            call = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(function.proname), arguments)
            allowed = role in manifest.functions[function.proname]
            assert function.may_call == allowed, function
            if not function.is_trigger:  # such a function refuses every call before rights are looked at
                assert is_denied(connection, call, "function", function.proname) != allowed, function


def test_nothing_of_ours_is_granted_to_public(connection: Connection) -> None:
    assert (
        rows(
            connection,
            "SELECT 'relation', c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a"
            " WHERE a.grantee = 0 AND c.relnamespace IN"
            " ('public'::regnamespace, 'honua_partitions'::regnamespace)"
            " UNION ALL SELECT 'column', a.attname, x.privilege_type FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) x"
            " WHERE x.grantee = 0 AND c.relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'function', p.proname, a.privilege_type FROM pg_proc p,"
            f" aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0 AND {OURS}"
            " UNION ALL SELECT 'schema', n.nspname, a.privilege_type"
            " FROM pg_namespace n, aclexplode(n.nspacl) a"
            " WHERE a.grantee = 0 AND (n.nspname = 'honua_partitions'"
            "   OR n.nspname = 'public' AND a.privilege_type = 'CREATE')",
        )
        == []
    )


def test_the_partitions_are_out_of_reach(connection: Connection, acting: Acting, role: str) -> None:
    with acting(role):
        statement = sql.SQL("SELECT FROM honua_partitions.audit_log_default")
        assert is_denied(connection, statement, "schema", "honua_partitions")


def test_row_security_is_on_for_every_table_and_never_permits_by_two_policies(
    connection: Connection, manifest: privileges.Manifest
) -> None:
    assert (
        rows(
            connection,
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relrowsecurity AND relname <> 'alembic_version'",
        )
        == []
    )
    assert (
        rows(
            connection,
            "SELECT polrelid::regclass, role, polcmd, count(*) FROM pg_policy, unnest(polroles) AS role"
            " GROUP BY 1, 2, 3 HAVING count(*) > 1",
        )
        == []
    )
    assert rows(connection, "SELECT polname FROM pg_policy WHERE polcmd = '*' OR 0 = ANY (polroles)") == []


def test_what_the_application_may_call_runs_with_its_own_rights(
    connection: Connection, manifest: privileges.Manifest
) -> None:
    definer = values(connection, f"SELECT p.proname FROM pg_proc p WHERE p.prosecdef AND {OURS}")
    for_application = {name for name, roles in manifest.functions.items() if "honua_app" in roles}
    assert len(definer) > 20
    assert for_application.intersection(definer) == {"find_license_customer"}


def test_the_roles_can_neither_log_in_nor_get_round_row_security(connection: Connection) -> None:
    assert rows(
        connection,
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND NOT rolcanlogin AND NOT rolsuper"
        " AND NOT rolbypassrls AND NOT rolcreaterole AND NOT rolcreatedb ORDER BY rolname",
        list(ROLES),
    ) == [(role,) for role in ROLES]


def test_a_manifest_that_makes_no_sense_is_refused() -> None:
    text = (sqlfile.CURRENT / "system/privileges.toml").read_text()
    for damaged, message in (
        (text.replace("[tables.customers.honua_app]", "[tables.customers.honua_apps]"), "honua_apps"),
        (text.replace("update_rows =", "upd_rows =", 1), "upd_rows, which means nothing"),
        (text.replace('rows = "customers.customer_id = $customer"\n', ""), "for which rows"),
    ):
        with pytest.raises(ValueError, match=message):
            privileges.parse(damaged)


def test_the_models_can_insert_whatever_a_role_may_insert(manifest: privileges.Manifest) -> None:
    for name, by_role in manifest.tables.items():
        table = Base.metadata.tables[name]
        # SQLAlchemy inserts NULL into these when they are not given.
        inserted = {each.name for each in table.columns if each.nullable and each.server_default is None}
        for role, granted in by_role.items():
            for privilege in granted:
                if privilege.verb == "insert" and privilege.columns:
                    assert inserted - set(privilege.columns) == set(), (name, role)
