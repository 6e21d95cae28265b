CREATE OR REPLACE FUNCTION get_cache_hit_rate(
    p_customer_id varchar DEFAULT NULL,
    p_days integer DEFAULT 30
) RETURNS TABLE (
    customer_id varchar,
    total_accesses bigint,
    cache_hits bigint,
    cache_misses bigint,
    hit_rate_percent numeric
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
-- One customer is answered from an index, all customers by reading the time range: never one plan for both.
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    IF p_days IS NULL OR p_days NOT BETWEEN 1 AND 36500 THEN
        RAISE EXCEPTION 'p_days must be between 1 and 36500, not %', coalesce(p_days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give how many days back to look.';
    END IF;

    RETURN QUERY
    SELECT
        p_customer_id,
        s.accesses,
        s.hits,
        s.misses,
        round(100.0 * s.hits / nullif(s.hits + s.misses, 0), 2)
    FROM (
        SELECT
            count(*) AS accesses,
            count(*) FILTER (WHERE a.access_type = 'cache_hit') AS hits,
            count(*) FILTER (WHERE a.access_type = 'cache_miss') AS misses
        FROM build_access_log AS a
        WHERE (p_customer_id IS NULL OR a.customer_id = p_customer_id)
          AND a.accessed_at >= now() - p_days * INTERVAL '24 hours'
    ) AS s;
END;
$$;

COMMENT ON FUNCTION get_cache_hit_rate IS
    'How often the build cache had what was asked for, in the last p_days times 24 hours: hits out of hits and '
    'misses, in percent; NULL when there were neither. total_accesses counts build_created too. One row always, for '
    'p_customer_id or, when that is NULL, for all customers. Errors: 22023 when the days are NULL or not between '
    '1 and 36500.';
