CREATE OR REPLACE VIEW build_performance_summary WITH (security_invoker = true) AS
SELECT
    (b.completed_at AT TIME ZONE 'UTC')::date AS build_date,
    count(*) AS total_builds,
    count(*) FILTER (WHERE b.status = 'success') AS successful_builds,
    count(*) FILTER (WHERE b.status <> 'success') AS failed_builds,
    round(avg(r.actual_duration_seconds), 2) AS avg_duration_seconds,
    round(percentile_cont(0.5) WITHIN GROUP (ORDER BY r.actual_duration_seconds)::numeric, 2)
        AS median_duration_seconds,
    round(percentile_cont(0.95) WITHIN GROUP (ORDER BY r.actual_duration_seconds)::numeric, 2)
        AS p95_duration_seconds,
    round(avg(r.final_image_size_bytes) / 1048576, 2) AS avg_image_size_mb,
    round(avg(100.0 * r.cache_layers_used / nullif(r.total_layers, 0)), 2) AS avg_cache_hit_rate_percent
FROM build_queue AS b
-- Of a build that timed out, the result is that of an attempt before.
LEFT JOIN build_results AS r ON r.build_queue_id = b.id AND b.status <> 'timeout'
WHERE b.completed_at IS NOT NULL AND b.status IN ('success', 'failed', 'timeout')
GROUP BY (b.completed_at AT TIME ZONE 'UTC')::date;

COMMENT ON VIEW build_performance_summary IS
    'Builds that ended on each day (UTC): how many, how long they took, how large and how well cached they were; '
    'a timeout counts as failed, a cancelled build not at all';
