CREATE OR REPLACE FUNCTION ensure_log_partitions(p_months_ahead integer DEFAULT 3) RETURNS TABLE (
    table_name text,
    partition_name text,
    month date,
    rows_moved bigint
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_lock_timeout text := current_setting('lock_timeout');
    v_missing date[];
    v_default text;
    v_belongs text;
    v_from text;
    v_to text;
    v_has_rows boolean;
BEGIN
    IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'p_months_ahead must be between 0 and 120, not %', coalesce(p_months_ahead::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give for how many months after this one partitions are made.';
    END IF;

    -- One at a time: the second waits here, then finds nothing missing.
    PERFORM pg_advisory_xact_lock(hashtext('ensure_log_partitions'));
    v_missing := missing_log_months('build_access_log', p_months_ahead)
        || missing_log_months('build_events', p_months_ahead)
        || missing_log_months('build_metrics', p_months_ahead)
        || missing_log_months('audit_log', p_months_ahead);
    IF v_missing = '{}' THEN
        RETURN;
    END IF;

    -- All locks before the work, with less patience than a deadlock takes to be found: where others hold some of
    -- the tables and wait for the rest, this function gives way, not they.
    FOR v_attempt IN 1..100 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            LOCK TABLE build_queue, build_cache_registry, customers IN SHARE ROW EXCLUSIVE MODE;
            IF date_trunc('month', now() AT TIME ZONE 'UTC') >= ANY (v_missing) THEN
                -- Rows are coming for a month that is being made. One that waited at the default partition would be
                -- refused there afterwards; one that waits here goes to its month.
                LOCK TABLE ONLY build_access_log, ONLY build_events, ONLY build_metrics, ONLY audit_log
                    IN SHARE ROW EXCLUSIVE MODE;
            ELSE
                LOCK TABLE ONLY build_access_log, ONLY build_events, ONLY build_metrics, ONLY audit_log
                    IN SHARE UPDATE EXCLUSIVE MODE;
            END IF;
            LOCK TABLE honua_partitions.build_access_log_default, honua_partitions.build_events_default,
                honua_partitions.build_metrics_default, honua_partitions.audit_log_default
                IN ACCESS EXCLUSIVE MODE;
            PERFORM set_config('lock_timeout', v_lock_timeout, true);
            EXIT;
        EXCEPTION
            WHEN lock_not_available THEN
                IF v_attempt = 100 THEN
                    RAISE EXCEPTION 'the log tables stayed in use: no partition was made'
                        USING ERRCODE = 'lock_not_available',
                            HINT = 'Run ensure_log_partitions() again when the long transactions have ended.';
                END IF;
                PERFORM pg_sleep(0.1 * random());
        END;
    END LOOP;

    -- What this transaction has recorded itself is checked now: a table with checks to come can't be changed.
    SET CONSTRAINTS fk_build_access_log_build_cache_id IMMEDIATE;
    SET CONSTRAINTS fk_build_access_log_build_cache_id DEFERRED;
    FOREACH table_name IN ARRAY ARRAY['build_access_log', 'build_events', 'build_metrics', 'audit_log'] LOOP
        v_default := format('honua_partitions.%I', table_name || '_default');
        FOREACH month IN ARRAY missing_log_months(table_name, p_months_ahead) LOOP
            partition_name := format('honua_partitions.%I', table_name || to_char(month, '"_y"YYYY"m"MM'));
            v_from := to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00';
            v_to := to_char(month + INTERVAL '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
            rows_moved := 0;

            -- Made apart and attached, which, unlike PARTITION OF, does not lock all others out of the table.
            EXECUTE format(
                'CREATE TABLE %s (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE'
                ' INCLUDING COMPRESSION INCLUDING GENERATED)',
                partition_name, table_name
            );

            v_belongs := format('d.%1$I >= %2$L AND d.%1$I < %3$L', log_time_column(table_name), v_from, v_to);
            EXECUTE format('SELECT EXISTS (SELECT FROM %s AS d WHERE %s)', v_default, v_belongs) INTO v_has_rows;
            IF v_has_rows THEN
                -- Rows are moved, not changed: an append-only log lets that pass only here.
                EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', v_default);
                EXECUTE format(
                    'WITH moved AS (DELETE FROM %s AS d WHERE %s RETURNING d.*) INSERT INTO %s SELECT m.* FROM moved AS m',
                    v_default, v_belongs, partition_name
                );
                GET DIAGNOSTICS rows_moved = ROW_COUNT;
                EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', v_default);
            END IF;

            EXECUTE format(
                'ALTER TABLE %I ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                table_name, partition_name, v_from, v_to
            );
            RETURN NEXT;
        END LOOP;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION ensure_log_partitions IS
    'Makes the monthly partitions (UTC) of the four log tables that are missing, for this month and p_months_ahead '
    'more, and for earlier months of which rows lie in the default partition, the newest 60 of them in a call; such '
    'rows move, without a trigger firing. Returns what it made. Locks no table when all is there, and may run twice '
    'at once; while it works, writers to build_queue, customers and build_cache_registry wait, and those to the logs '
    'too when this month or an earlier one is made. Errors: 22023 when the months are NULL or not between 0 and 120, '
    '55P03 when others use the tables for too long.';
