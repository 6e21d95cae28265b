CREATE OR REPLACE FUNCTION admit_waiting_builds() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_customer_id varchar;
    v_admitted integer := 0;
BEGIN
    FOR v_customer_id IN
        -- One step in the index for each customer, however many builds wait.
        WITH RECURSIVE waiting (customer_id) AS (
            (
                SELECT b.customer_id
                FROM build_queue AS b
                WHERE b.status = 'queued' AND b.admission = 'waiting'
                ORDER BY b.customer_id
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT b.customer_id
                FROM build_queue AS b
                WHERE b.status = 'queued' AND b.admission = 'waiting' AND b.customer_id > w.customer_id
                ORDER BY b.customer_id
                LIMIT 1
            )
            FROM waiting AS w
            WHERE w.customer_id IS NOT NULL
        )
        SELECT w.customer_id
        FROM waiting AS w
        LEFT JOIN licenses AS l ON l.customer_id = w.customer_id
        WHERE w.customer_id IS NOT NULL
          AND (
            l.max_concurrent_builds IS NULL
            OR l.max_concurrent_builds > (
                SELECT count(*)
                FROM build_queue AS b
                WHERE b.customer_id = w.customer_id
                  AND b.status IN ('queued', 'building')
                  AND b.admission = 'ready'
            )
          )
        ORDER BY w.customer_id
    LOOP
        -- A claim may hold licences already, so it must not wait for one here: the next claim comes back to it.
        PERFORM FROM licenses AS l WHERE l.customer_id = v_customer_id FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM licenses AS l WHERE l.customer_id = v_customer_id);
        v_admitted := v_admitted + admit_builds(v_customer_id);
    END LOOP;
    RETURN v_admitted;
END;
$$;

COMMENT ON FUNCTION admit_waiting_builds IS
    'Admits builds that wait although their customer has a free slot: when the slot became free, somebody had locked '
    'them. Passes over customers whose licence is locked. Returns how many became ready. A claim that finds nothing '
    'calls it, and so does maintenance.';
