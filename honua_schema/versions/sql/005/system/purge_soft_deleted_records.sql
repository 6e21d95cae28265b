CREATE OR REPLACE FUNCTION purge_soft_deleted_records(
    p_purge_after_days integer DEFAULT 30,
    p_limit integer DEFAULT NULL
) RETURNS TABLE (table_name text, records_purged bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_before timestamptz;
    v_customer_ids varchar[];
BEGIN
    IF p_purge_after_days IS NULL OR p_purge_after_days NOT BETWEEN 1 AND 36500 THEN
        RAISE EXCEPTION 'p_purge_after_days must be between 1 and 36500, not %',
            coalesce(p_purge_after_days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give for how many days deleted records are kept.';
    END IF;
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of records to purge at most per table.';
    END IF;
    v_before := now() - p_purge_after_days * INTERVAL '24 hours';

    -- What others refer to goes last, so that every record is counted by its own table. Rows that somebody has
    -- locked are left to the next run.
    table_name := 'build_artifacts';
    DELETE FROM build_artifacts AS a
    WHERE a.id = ANY (ARRAY(
        SELECT due.id
        FROM build_artifacts AS due
        WHERE due.deleted_at <= v_before
        ORDER BY due.deleted_at, due.id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS records_purged = ROW_COUNT;
    RETURN NEXT;

    table_name := 'build_manifests';
    DELETE FROM build_manifests AS m
    WHERE m.id = ANY (ARRAY(
        SELECT due.id
        FROM build_manifests AS due
        WHERE due.deleted_at <= v_before
        ORDER BY due.deleted_at, due.id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS records_purged = ROW_COUNT;
    RETURN NEXT;

    table_name := 'build_cache_registry';
    DELETE FROM build_cache_registry AS e
    WHERE e.id = ANY (ARRAY(
        SELECT due.id
        FROM build_cache_registry AS due
        WHERE due.deleted_at <= v_before
        ORDER BY due.deleted_at, due.id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS records_purged = ROW_COUNT;
    RETURN NEXT;

    -- Licence before customer, as everywhere: deleting a customer deletes the licence too, and whoever queues a
    -- build holds the licence when he comes for the customer. A worker that ends a build comes for the licence
    -- with the build locked, so customers whose builds still run are left to a later run.
    table_name := 'customers';
    v_customer_ids := ARRAY(
        SELECT c.customer_id
        FROM customers AS c
        WHERE c.deleted_at <= v_before
          AND c.customer_id <> 'system'
          AND NOT EXISTS (
            SELECT
            FROM build_queue AS b
            WHERE b.customer_id = c.customer_id AND b.status = 'building'
          )
        ORDER BY c.deleted_at, c.id
        LIMIT p_limit
    );
    PERFORM
    FROM licenses AS l
    WHERE l.customer_id = ANY (v_customer_ids)
    ORDER BY l.customer_id
    FOR UPDATE;
    DELETE FROM customers AS c
    WHERE c.id = ANY (ARRAY(
        SELECT due.id
        FROM customers AS due
        WHERE due.customer_id = ANY (v_customer_ids) AND due.deleted_at <= v_before
        ORDER BY due.id
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS records_purged = ROW_COUNT;
    RETURN NEXT;
END;
$$;

COMMENT ON FUNCTION purge_soft_deleted_records IS
    'Removes customers, cache entries, manifests and artifacts that were deleted softly p_purge_after_days times '
    '24 hours ago or earlier, with all that belongs to them, at most p_limit per table. Returns a row per table; what '
    'a customer takes along is not counted. The customer system stays, and so do, for now, customers with '
    'running builds. Errors: 22023 when the days are NULL or not between 1 and 36500, or the limit is less than 1.';
