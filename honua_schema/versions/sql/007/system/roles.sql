-- Roles belong to the server, not to the database: they may be there already, or be made for another database at
-- this moment. The comment marks those that were made here, so that the downgrade removes no one else's.
DO $$
DECLARE
    v_role record;
    v_missing text := '';
BEGIN
    FOR v_role IN
        SELECT r.name, r.purpose
        FROM (
            VALUES
                ('honua_app', 'the application, within the scope of one customer'),
                ('honua_maintenance', 'scheduled maintenance'),
                ('honua_readonly', 'reading everything but secrets'),
                ('honua_worker', 'build workers')
        ) AS r (name, purpose)
        WHERE NOT EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname = r.name)
        ORDER BY r.name
    LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role.name);
            EXECUTE format('COMMENT ON ROLE %I IS %L', v_role.name, 'honua-schema: ' || v_role.purpose);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                v_missing := v_missing || format(' CREATE ROLE %I NOLOGIN;', v_role.name);
        END;
    END LOOP;
    IF v_missing <> '' THEN
        RAISE EXCEPTION 'role % may not create roles. An administrator runs:%', current_user, v_missing
            USING ERRCODE = 'insufficient_privilege', HINT = 'Nothing was changed: run it again when the roles exist.';
    END IF;
END;
$$;
