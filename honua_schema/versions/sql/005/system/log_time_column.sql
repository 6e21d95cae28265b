CREATE OR REPLACE FUNCTION log_time_column(p_table text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
RETURN CASE p_table
    WHEN 'build_access_log' THEN 'accessed_at'
    WHEN 'build_events' THEN 'event_timestamp'
    WHEN 'build_metrics' THEN 'metric_timestamp'
    WHEN 'audit_log' THEN 'occurred_at'
END;

COMMENT ON FUNCTION log_time_column IS
    'The column by which a log table is partitioned; NULL for a table that is not one of the four.';
