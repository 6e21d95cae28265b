"""Roles, what each may do, and row security: nobody gets in where they don't belong.

- Locks: switching row security on takes ACCESS EXCLUSIVE on each table for a moment.
- Online: yes; the owner, and whoever has the owner's rights, notices nothing.
- Data: none is lost either way; downgrade() removes those roles that it made and that nobody uses.

Revision: 007
Revises: 006
"""

from __future__ import annotations

from honua_schema import sqlfile

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None

DROP_OUR_ROLES = """
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN
        SELECT r.rolname
        FROM pg_roles AS r
        WHERE r.rolname IN ('honua_app', 'honua_maintenance', 'honua_readonly', 'honua_worker')
          AND shobj_description(r.oid, 'pg_authid') LIKE 'honua-schema: %'
          -- Who makes a role is its member at once, from PostgreSQL 16 on.
          AND NOT EXISTS (
              SELECT FROM pg_auth_members AS m WHERE m.roleid = r.oid AND m.member <> current_user::regrole
          )
        ORDER BY r.rolname
    LOOP
        BEGIN
            EXECUTE format('DROP ROLE %I', v_name);
        EXCEPTION
            WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                RAISE NOTICE 'role % was kept: %', v_name, SQLERRM;
            -- What PostgreSQL says when the role is dropped for another database at the same moment.
            WHEN undefined_object OR internal_error THEN
                NULL;
        END;
    END LOOP;
END;
$$;
"""


def upgrade() -> None:
    """Make the roles, or stop; then give each what it may do, and everybody else nothing."""
    sqlfile.create("007/system/roles.sql", "007/system/privileges.sql")


def downgrade() -> None:
    """Take everything back."""
    sqlfile.drop("007/system/privileges.sql")
    sqlfile.execute(DROP_OUR_ROLES)
