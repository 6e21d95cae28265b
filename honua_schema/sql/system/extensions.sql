-- Nothing depends on these extensions. The comment marks those that were made here, so that the downgrade removes
-- no one else's.
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN
        SELECT a.name
        FROM pg_available_extensions AS a
        WHERE a.name IN ('pgcrypto', 'uuid-ossp') AND a.installed_version IS NULL
        ORDER BY a.name
    LOOP
        BEGIN
            EXECUTE format('CREATE EXTENSION %I SCHEMA public', v_name);
            EXECUTE format(
                'COMMENT ON EXTENSION %I IS %L', v_name, 'honua-schema: offered to applications; nothing here needs it'
            );
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'extension % was not created: the role % may not', v_name, current_user;
        END;
    END LOOP;
END;
$$;
