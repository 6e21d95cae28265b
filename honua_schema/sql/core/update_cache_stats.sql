CREATE OR REPLACE FUNCTION update_cache_stats() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- The entry is looked up while others wait for it, also while the planner takes the table for a small one.
SET enable_seqscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_access record;
    v_served bytea;
BEGIN
    -- Nearly always it is one, and spared the grouping. What it needs is read before the entry is locked.
    SELECT
        a.build_cache_id,
        a.access_type,
        a.accessed_at,
        (SELECT c.customer_number FROM customers AS c WHERE c.customer_id = a.customer_id) AS customer_number,
        EXISTS (SELECT FROM new_accesses OFFSET 1) AS is_followed
    INTO v_access
    FROM new_accesses AS a
    LIMIT 1;
    IF NOT v_access.is_followed THEN
        IF v_access.access_type = 'cache_miss' THEN
            RETURN NULL;
        END IF;
        -- Accesses to a popular entry line up here, and not at its row, where each would look for the newest
        -- version again and again. Whoever has the row already must not wait for one who waits for him.
        PERFORM
        FROM build_cache_registry AS e
        WHERE e.id = v_access.build_cache_id
        FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            PERFORM pg_advisory_xact_lock(uuid_hash_extended(v_access.build_cache_id, 0));
        END IF;
        UPDATE build_cache_registry AS e
        SET cache_hit_count = e.cache_hit_count + (v_access.access_type = 'cache_hit')::integer,
            last_accessed_at = greatest(e.last_accessed_at, v_access.accessed_at)
        WHERE e.id = v_access.build_cache_id
        RETURNING e.customers_served INTO v_served;
        IF FOUND THEN
            IF (CASE
                WHEN length(v_served) <= v_access.customer_number / 8 THEN true
                ELSE get_bit(v_served, v_access.customer_number) = 0
            END) THEN
                PERFORM count_cache_accesses(
                    v_access.build_cache_id, 0, v_access.accessed_at, ARRAY[v_access.customer_number]
                );
            END IF;
            RETURN NULL;
        END IF;
    END IF;

    -- In order of id, so that two statements with several entries each can't deadlock.
    FOR v_access IN
        SELECT
            a.build_cache_id,
            count(*) FILTER (WHERE a.access_type = 'cache_hit') AS hits,
            max(a.accessed_at) AS last_accessed_at,
            array_agg(DISTINCT c.customer_number) AS customer_numbers
        FROM new_accesses AS a
        JOIN customers AS c ON c.customer_id = a.customer_id
        WHERE a.access_type <> 'cache_miss'
        GROUP BY a.build_cache_id
        ORDER BY a.build_cache_id
    LOOP
        PERFORM count_cache_accesses(
            v_access.build_cache_id, v_access.hits, v_access.last_accessed_at, v_access.customer_numbers
        );
    END LOOP;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION update_cache_stats IS
    'Keeps cache_hit_count, last_accessed_at and total_customers_served of the entries that new records of the '
    'access log are about: exact under concurrency, at a cost that does not grow with the log, and unaffected when '
    'old parts of the log are dropped. A cache_miss counts for no entry.';
