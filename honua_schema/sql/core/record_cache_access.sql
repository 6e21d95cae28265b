CREATE OR REPLACE FUNCTION record_cache_access(
    p_build_cache_id uuid,
    p_customer_id varchar,
    p_access_type varchar,
    p_deployment_id varchar DEFAULT NULL,
    p_deployment_region varchar DEFAULT NULL,
    p_pull_duration_seconds numeric DEFAULT NULL,
    p_download_size_bytes bigint DEFAULT NULL,
    p_user_agent text DEFAULT NULL,
    p_ip_address inet DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_id bigint;
BEGIN
    IF p_build_cache_id IS NULL AND p_access_type IN ('cache_hit', 'build_created') THEN
        RAISE EXCEPTION 'p_build_cache_id must not be NULL for access type %', p_access_type
            USING ERRCODE = 'null_value_not_allowed',
                HINT = 'Only a cache_miss has no cache entry: give the entry that was used.';
    END IF;

    INSERT INTO build_access_log AS a (
        build_cache_id, customer_id, access_type, deployment_id, deployment_region,
        pull_duration_seconds, download_size_bytes, user_agent, ip_address
    )
    VALUES (
        p_build_cache_id, p_customer_id, p_access_type, p_deployment_id, p_deployment_region,
        p_pull_duration_seconds, p_download_size_bytes, p_user_agent, p_ip_address
    )
    RETURNING a.id INTO v_id;
    RETURN v_id;
END;
$$;

COMMENT ON FUNCTION record_cache_access IS
    'Records a look-up in the build cache and returns the record''s id. A trigger keeps the entry''s counters. '
    'Errors: 22004 when a cache_hit or build_created names no entry, 23503 for an unknown customer or entry, '
    '23514 for an unknown access type, 23502 when customer or access type are NULL.';
