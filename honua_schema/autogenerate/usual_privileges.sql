-- What the new objects of a role are granted to others by default is no part of the declaration: take it back.
DO $$
DECLARE
    v_default record;
BEGIN
    FOR v_default IN
        SELECT DISTINCT
            CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' END AS objects,
            CASE WHEN a.grantee <> 0 THEN a.grantee::regrole::text ELSE 'PUBLIC' END AS grantee
        FROM pg_default_acl AS d
        CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
        WHERE d.defaclrole = current_user::regrole AND d.defaclnamespace = 0 AND a.grantee <> d.defaclrole
          AND d.defaclobjtype IN ('r', 'S', 'f', 'T', 'n')
    LOOP
        EXECUTE format(
            'ALTER DEFAULT PRIVILEGES REVOKE ALL ON %s FROM %s', v_default.objects, v_default.grantee
        );
    END LOOP;
    IF EXISTS (
        SELECT FROM pg_default_acl AS d
        WHERE d.defaclrole = current_user::regrole AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
    ) THEN
        ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
    END IF;
END;
$$;
