CREATE OR REPLACE FUNCTION update_cache_stats() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_access record;
BEGIN
    -- Nearly always it is one, and spared the grouping.
    SELECT
        count(*) AS rows,
        (array_agg(a.build_cache_id))[1] AS build_cache_id,
        (array_agg(a.access_type))[1] AS access_type,
        (array_agg(a.accessed_at))[1] AS accessed_at,
        array_agg(c.customer_number) AS customer_numbers
    INTO v_access
    FROM (SELECT * FROM new_accesses LIMIT 2) AS a
    LEFT JOIN customers AS c ON c.customer_id = a.customer_id;
    IF v_access.rows = 1 THEN
        IF v_access.access_type <> 'cache_miss' THEN
            PERFORM count_cache_accesses(
                v_access.build_cache_id,
                (v_access.access_type = 'cache_hit')::integer,
                v_access.accessed_at,
                v_access.customer_numbers
            );
        END IF;
        RETURN NULL;
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
