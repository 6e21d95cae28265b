CREATE OR REPLACE FUNCTION drop_old_log_partitions(p_table text, p_keep_months integer) RETURNS TABLE (
    partition_name text,
    rows_deleted bigint,
    bytes_freed bigint
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_default text := 'honua_partitions.' || quote_ident(p_table || '_default');
    v_first_month timestamp;
    v_name name;
    v_old text;
    v_has_rows boolean;
BEGIN
    IF log_time_column(p_table) IS NULL THEN
        RAISE EXCEPTION 'p_table must be a log table, not %', coalesce(p_table, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give build_access_log, build_events, build_metrics or audit_log.';
    END IF;
    IF p_keep_months IS NULL OR p_keep_months NOT BETWEEN 1 AND 1200 THEN
        RAISE EXCEPTION 'p_keep_months must be between 1 and 1200, not %', coalesce(p_keep_months::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give how many whole months are kept besides the current one.';
    END IF;
    v_first_month := date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => p_keep_months);

    -- What this transaction has recorded itself is checked now: a table with checks to come can't be dropped.
    SET CONSTRAINTS fk_build_access_log_build_cache_id IMMEDIATE;
    SET CONSTRAINTS fk_build_access_log_build_cache_id DEFERRED;
    FOR v_name IN
        SELECT c.relname
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = p_table::regclass
          AND to_date(substring(c.relname FROM '_y(\d{4}m\d{2})$'), 'YYYY"m"MM') < v_first_month
        ORDER BY c.relname
    LOOP
        EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', p_table);
        -- Somebody else may have dropped it during the wait.
        partition_name := format('honua_partitions.%I', v_name);
        CONTINUE WHEN to_regclass(partition_name) IS NULL;
        bytes_freed := pg_total_relation_size(partition_name::regclass);
        EXECUTE format('DROP TABLE honua_partitions.%I', v_name);
        RETURN NEXT;
    END LOOP;

    v_old := format('d.%I < %L', log_time_column(p_table), to_char(v_first_month, 'YYYY-MM-DD') || ' 00:00:00+00');
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS d WHERE %s)', v_default, v_old) INTO v_has_rows;
    IF v_has_rows THEN
        partition_name := v_default;
        -- An append-only log lets rows go only here.
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', v_default);
        EXECUTE format('DELETE FROM %s AS d WHERE %s', v_default, v_old);
        GET DIAGNOSTICS rows_deleted = ROW_COUNT;
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', v_default);
        bytes_freed := 0;
        RETURN NEXT;
    END IF;
END;
$$;

COMMENT ON FUNCTION drop_old_log_partitions IS
    'Drops the monthly partitions of a log table but for the current month (UTC) and the p_keep_months before it, '
    'and deletes equally old rows of the default partition. Returns each partition with the bytes it gave back; rows '
    'are counted only where they are deleted one by one, NULL elsewhere. Errors: 22023 for any other table, or when '
    'the months are NULL or not between 1 and 1200.';
