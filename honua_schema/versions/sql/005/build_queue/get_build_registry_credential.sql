CREATE OR REPLACE FUNCTION get_build_registry_credential(
    p_build_id uuid,
    p_worker_id varchar,
    p_retry_count integer
) RETURNS TABLE (
    credential_id uuid,
    customer_id varchar,
    registry_url text,
    registry_provider varchar,
    username_encrypted bytea,
    password_encrypted bytea
)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT r.id, r.customer_id, r.registry_url, r.registry_provider, r.username_encrypted, r.password_encrypted
    FROM build_queue AS b
    JOIN registry_credentials AS r
        ON r.customer_id = b.customer_id
        AND CASE WHEN b.target_registry_id IS NULL THEN r.is_default ELSE r.id = b.target_registry_id END
    WHERE b.id = p_build_id
      AND b.worker_id = p_worker_id
      AND b.retry_count = p_retry_count
      AND b.status IS NOT DISTINCT FROM 'building'
      AND r.is_active
      AND r.revoked_at IS NULL;
$$;

COMMENT ON FUNCTION get_build_registry_credential IS
    'The login, still encrypted, to the registry that a running build is pushed to, for the worker and attempt that '
    'hold it: the build''s target, else the customer''s default. No row for anybody else, or when there is none in '
    'use.';
