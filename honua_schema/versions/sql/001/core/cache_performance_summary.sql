CREATE OR REPLACE VIEW cache_performance_summary WITH (security_invoker = true) AS
SELECT
    per_customer.access_date,
    sum(per_customer.accesses)::bigint AS total_accesses,
    sum(per_customer.hits)::bigint AS cache_hits,
    sum(per_customer.misses)::bigint AS cache_misses,
    round(100.0 * sum(per_customer.hits) / nullif(sum(per_customer.hits + per_customer.misses), 0), 2)
        AS hit_rate_percent,
    count(*) AS unique_customers,
    -- One absurd size must not take the view from everybody.
    least(coalesce(sum(per_customer.bytes), 0), 9223372036854775807)::bigint AS bytes_served,
    coalesce(sum(per_customer.seconds_saved), 0) AS build_seconds_saved
FROM (
    SELECT
        (a.accessed_at AT TIME ZONE 'UTC')::date AS access_date,
        a.customer_id,
        count(*) AS accesses,
        count(*) FILTER (WHERE a.access_type = 'cache_hit') AS hits,
        count(*) FILTER (WHERE a.access_type = 'cache_miss') AS misses,
        sum(a.download_size_bytes) AS bytes,
        sum(e.build_duration_seconds) FILTER (WHERE a.access_type = 'cache_hit') AS seconds_saved
    FROM build_access_log AS a
    LEFT JOIN build_cache_registry AS e ON e.id = a.build_cache_id
    WHERE a.accessed_at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - INTERVAL '29 days') AT TIME ZONE 'UTC'
    GROUP BY 1, 2
) AS per_customer
GROUP BY per_customer.access_date;

COMMENT ON VIEW cache_performance_summary IS
    'The build cache on each of the last 30 days (UTC) that it was asked: hits and misses, customers, bytes pulled, '
    'and the seconds of building that hits saved';
