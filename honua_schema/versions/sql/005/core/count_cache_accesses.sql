CREATE OR REPLACE FUNCTION count_cache_accesses(
    p_build_cache_id uuid,
    p_hits bigint,
    p_last_accessed_at timestamptz,
    p_customer_numbers integer[]
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_customer_number integer;
    v_hits bigint;
    v_known bytea;
    v_served bytea;
BEGIN
    UPDATE build_cache_registry AS e
    SET cache_hit_count = e.cache_hit_count + p_hits,
        last_accessed_at = greatest(e.last_accessed_at, p_last_accessed_at)
    WHERE e.id = p_build_cache_id
    RETURNING e.cache_hit_count::bigint, e.customers_served INTO v_hits, v_known;
    IF NOT FOUND THEN
        -- The foreign key would say so too, but only at the end of the transaction.
        RAISE EXCEPTION 'there is no cache entry %', p_build_cache_id
            USING ERRCODE = 'foreign_key_violation', TABLE = 'build_access_log',
                CONSTRAINT = 'fk_build_access_log_build_cache_id', HINT = 'Give the entry that was used.';
    END IF;

    -- From here on the entry is locked: what was read of it stays true.
    v_served := v_known;
    FOREACH v_customer_number IN ARRAY p_customer_numbers LOOP
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
        WHERE e.id = p_build_cache_id;
    END IF;
    RETURN v_hits;
END;
$$;

COMMENT ON FUNCTION count_cache_accesses IS
    'Adds to the counters of a cache entry: hits, the time of the last access, and the customers that are served from '
    'now on. Returns the hits that it has then. Errors: 23503 when there is no such entry; 23502 or 23514 when there '
    'are hits that can''t be added; 22004 without an array of customers; 2202E for a customer below 0.';
