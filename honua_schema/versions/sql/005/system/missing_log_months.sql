CREATE OR REPLACE FUNCTION missing_log_months(p_table text, p_months_ahead integer) RETURNS date[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_last_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => p_months_ahead);
    v_months date[];
BEGIN
    -- Not by pg_inherits: a transaction with an older snapshot would not see there what others have made since.
    EXECUTE format(
        $query$
        SELECT ARRAY(
            SELECT m.month::date
            FROM (
                SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), $1, INTERVAL '1 month')
                UNION (
                    -- Not all at once: a thousand new partitions are more than the server's table of locks holds.
                    SELECT DISTINCT date_trunc('month', d.%1$I AT TIME ZONE 'UTC')
                    FROM honua_partitions.%2$I AS d
                    WHERE d.%1$I >= TIMESTAMPTZ '0001-01-01 00:00:00+00'
                      AND d.%1$I < ($1 + INTERVAL '1 month') AT TIME ZONE 'UTC'
                    ORDER BY 1 DESC
                    LIMIT 60
                )
            ) AS m (month)
            WHERE to_regclass(format('honua_partitions.%%I', %3$L || to_char(m.month, '"_y"YYYY"m"MM'))) IS NULL
            ORDER BY m.month
        )
        $query$,
        log_time_column(p_table), p_table || '_default', p_table
    ) INTO v_months USING v_last_month;
    RETURN v_months;
END;
$$;

COMMENT ON FUNCTION missing_log_months IS
    'The months (UTC) for which a log table should have a partition and has none: this one, p_months_ahead more, and '
    'earlier ones of which rows lie in the default partition, the newest 60 of them. Errors: 22004 for any other '
    'table, 22008 when the months lead beyond the calendar.';
