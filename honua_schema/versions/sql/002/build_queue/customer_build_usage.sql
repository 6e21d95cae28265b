CREATE OR REPLACE VIEW customer_build_usage WITH (security_invoker = true) AS
SELECT
    c.customer_id,
    c.organization_name,
    c.tier,
    coalesce(u.total_builds, 0) AS total_builds,
    coalesce(u.builds_this_month, 0) AS builds_this_month,
    coalesce(u.successful_builds, 0) AS successful_builds,
    u.avg_build_duration_seconds,
    coalesce(u.total_build_time_seconds, 0) AS total_build_time_seconds,
    u.last_build_at
FROM customers AS c
LEFT JOIN (
    SELECT
        b.customer_id,
        count(*) AS total_builds,
        count(*) FILTER (
            WHERE date_trunc(
                'month', CASE WHEN b.retry_count = 0 THEN b.queued_at ELSE least(b.queued_at, b.created_at) END, 'UTC'
            ) = date_trunc('month', now(), 'UTC')
        ) AS builds_this_month,
        count(*) FILTER (WHERE b.status = 'success') AS successful_builds,
        round(avg(r.actual_duration_seconds), 2) AS avg_build_duration_seconds,
        sum(r.actual_duration_seconds) AS total_build_time_seconds,
        max(b.queued_at) AS last_build_at
    FROM build_queue AS b
    LEFT JOIN build_results AS r ON r.build_queue_id = b.id
    GROUP BY b.customer_id
) AS u ON u.customer_id = c.customer_id
WHERE c.deleted_at IS NULL;

COMMENT ON VIEW customer_build_usage IS
    'Builds of each live customer: in all, this month (UTC, as the quota counts), successful, and how long they took';
