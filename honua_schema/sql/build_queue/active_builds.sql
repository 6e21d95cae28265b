CREATE OR REPLACE VIEW active_builds WITH (security_invoker = true) AS
SELECT
    b.id,
    b.customer_id,
    c.organization_name,
    b.status,
    b.priority,
    b.progress_percent,
    b.current_step,
    b.worker_id,
    b.queued_at,
    b.started_at,
    b.timeout_at,
    -- One time far from now must not take the view from everybody.
    CASE WHEN b.started_at IS NOT NULL THEN
        floor(greatest(least(extract(epoch FROM now()) - extract(epoch FROM b.started_at), 2147483647), -2147483648))
    END::integer AS elapsed_seconds,
    CASE WHEN b.timeout_at IS NOT NULL THEN
        ceil(greatest(least(extract(epoch FROM b.timeout_at) - extract(epoch FROM now()), 2147483647), 0))
    END::integer AS remaining_seconds,
    b.estimated_duration_seconds,
    b.retry_count
FROM build_queue AS b
JOIN customers AS c ON c.customer_id = b.customer_id
-- Spelled as the three indexes on such builds are: of the others, which are nearly all, none is read.
WHERE (b.status IN ('queued', 'building') AND b.admission = 'ready')
   OR (b.status = 'queued' AND b.admission = 'waiting')
   OR (b.status = 'queued' AND b.admission = 'delayed');

COMMENT ON VIEW active_builds IS 'Builds that are queued or building, with how long they have run and may still run';
