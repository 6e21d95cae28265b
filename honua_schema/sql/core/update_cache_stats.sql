CREATE OR REPLACE FUNCTION update_cache_stats() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_access record;
    v_customer_number integer;
    v_known bytea;
    v_served bytea;
BEGIN
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
        UPDATE build_cache_registry AS e
        SET cache_hit_count = e.cache_hit_count + v_access.hits,
            last_accessed_at = greatest(e.last_accessed_at, v_access.last_accessed_at)
        WHERE e.id = v_access.build_cache_id
        RETURNING e.customers_served INTO v_known;

        -- From here on the entry is locked: what was read of it stays true.
        v_served := v_known;
        FOREACH v_customer_number IN ARRAY v_access.customer_numbers LOOP
            IF length(v_served) <= v_customer_number / 8 THEN
                v_served := v_served
                    || decode(repeat('00', v_customer_number / 8 + 1 - length(v_served)), 'hex');
            END IF;
            IF get_bit(v_served, v_customer_number) = 0 THEN
                v_served := set_bit(v_served, v_customer_number, 1);
            END IF;
        END LOOP;

        IF v_served <> v_known THEN
            UPDATE build_cache_registry AS e
            SET customers_served = v_served,
                total_customers_served = greatest(1, bit_count(v_served))
            WHERE e.id = v_access.build_cache_id;
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION update_cache_stats IS
    'Keeps cache_hit_count, last_accessed_at and total_customers_served of the entries that new records of the '
    'access log are about: exact under concurrency, at a cost that does not grow with the log, and unaffected when '
    'old parts of the log are dropped. A cache_miss counts for no entry.';
