CREATE OR REPLACE FUNCTION get_license_quota_usage(p_customer_id varchar) RETURNS TABLE (
    max_builds_per_month integer,
    builds_this_month bigint,
    remaining_builds integer,
    quota_utilization_percent numeric,
    max_registries integer,
    active_registries bigint,
    max_concurrent_builds integer,
    current_concurrent_builds bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_month timestamptz := date_trunc('month', now(), 'UTC');
    v_next_month timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') + INTERVAL '1 month') AT TIME ZONE 'UTC';
BEGIN
    RETURN QUERY
    SELECT
        l.max_builds_per_month,
        used.builds,
        CASE
            WHEN l.max_builds_per_month IS NOT NULL THEN greatest(l.max_builds_per_month - used.builds, 0)::integer
        END,
        CASE
            WHEN l.max_builds_per_month > 0 THEN round(100.0 * used.builds / l.max_builds_per_month, 2)
            -- Nothing may be built: that is all used up as soon as anything was.
            WHEN l.max_builds_per_month = 0 THEN CASE WHEN used.builds > 0 THEN 100.00 ELSE 0.00 END
        END,
        l.max_registries,
        (
            SELECT count(*)
            FROM registry_credentials AS r
            WHERE r.customer_id = l.customer_id AND r.is_active AND r.revoked_at IS NULL
        ),
        l.max_concurrent_builds,
        (
            SELECT count(*)
            FROM build_queue AS b
            WHERE b.customer_id = l.customer_id
              AND b.status IN ('queued', 'building')
              AND b.admission = 'ready'
              AND b.status = 'building'
        )
    FROM licenses AS l
    CROSS JOIN LATERAL (
        SELECT count(*) AS builds
        FROM build_queue AS b
        WHERE b.customer_id = l.customer_id
          AND b.queued_at >= v_month
          -- A delayed retry moves queued_at, and so a build that was retried counts in the month of created_at where
          -- that is before.
          AND CASE
            WHEN b.retry_count = 0 THEN b.queued_at < v_next_month
            ELSE b.created_at >= v_month AND least(b.queued_at, b.created_at) < v_next_month
          END
    ) AS used
    WHERE l.customer_id = p_customer_id;
END;
$$;

COMMENT ON FUNCTION get_license_quota_usage IS
    'What a customer''s licence allows and how much of it is in use. The month is the calendar month in UTC by '
    'queued_at; retries don''t count again. Limits that are NULL are unlimited: so are what remains of them and their '
    'utilisation, which otherwise may exceed 100 after a limit was lowered. No row for a customer without a licence.';
