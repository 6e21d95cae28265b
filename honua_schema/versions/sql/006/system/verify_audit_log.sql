-- requires: hash_audit_log
CREATE OR REPLACE FUNCTION verify_audit_log() RETURNS TABLE (
    seal_id bigint,
    after_id bigint,
    last_id bigint,
    month date,
    records bigint,
    sha256 text,
    state text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_first_month date;
    -- Retention never takes this month.
    v_this_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_previous_sha256 text;
    v_covered bigint := 0::bigint;
    v_hash record;
    v_seal record;
BEGIN
    SELECT date_trunc('month', min(l.occurred_at) AT TIME ZONE 'UTC')::date INTO v_first_month FROM audit_log AS l;

    FOR v_seal IN
        SELECT
            l.id,
            s.*,
            lag(s.last_id) OVER (ORDER BY l.id) AS previous_last_id,
            lag(s.after_id) OVER (ORDER BY l.id) AS previous_after_id
        FROM audit_log AS l
        CROSS JOIN LATERAL jsonb_to_record(l.new_values) AS s (
            after_id bigint, last_id bigint, month date, records bigint, previous_sha256 text, sha256 text
        )
        WHERE l.operation = 'SEAL'
        ORDER BY l.id
    LOOP
        SELECT h.records, h.sha256 INTO v_hash
        FROM hash_audit_log(v_seal.after_id, v_seal.last_id, v_seal.month, v_seal.previous_sha256) AS h;
        v_covered := v_covered + v_hash.records;

        seal_id := v_seal.id;
        after_id := v_seal.after_id;
        last_id := v_seal.last_id;
        month := v_seal.month;
        records := v_seal.records;
        sha256 := v_seal.sha256;
        state := CASE
            -- The seal before the first one that is left went with its month.
            WHEN v_seal.previous_last_id IS NOT NULL
                AND (
                    v_seal.previous_sha256 IS DISTINCT FROM v_previous_sha256
                    OR v_seal.after_id NOT IN (v_seal.previous_last_id, v_seal.previous_after_id)
                )
                THEN 'out of chain'
            WHEN v_hash.sha256 = v_seal.sha256 AND v_hash.records = v_seal.records THEN 'intact'
            WHEN v_hash.records = 0 AND v_seal.month < least(v_first_month, v_this_month) THEN 'expired'
            ELSE 'changed'
        END;
        v_previous_sha256 := v_seal.sha256;
        RETURN NEXT;
    END LOOP;

    -- Also below the first seal that is left: what was sealed before has gone with its month.
    SELECT count(*) - v_covered INTO records
    FROM audit_log AS l
    WHERE l.id <= last_id;
    IF records > 0 THEN
        seal_id := NULL;
        after_id := 0;
        month := NULL;
        sha256 := NULL;
        state := 'not covered';
        RETURN NEXT;
    END IF;
END;
$$;

COMMENT ON FUNCTION verify_audit_log IS
    'Compares audit_log with its seals, in order: intact; expired, where retention has taken the month; changed, where '
    'records were changed, removed or added; out of chain, where the seal before is another or not the one that it was '
    'made after; and a last row, not covered, for records in the sealed range that no seal covers. Reads the whole log.';
