-- requires: hash_audit_log
CREATE OR REPLACE FUNCTION seal_audit_log(p_limit integer DEFAULT 100000) RETURNS TABLE (
    after_id bigint,
    last_id bigint,
    month date,
    records bigint,
    sha256 text
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- Who waits for the lock below holds up every change that is recorded.
SET lock_timeout = '1s'
AS $$
DECLARE
    v_seal jsonb;
BEGIN
    IF p_limit IS NULL OR p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1, not %', coalesce(p_limit::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of records to seal at most.';
    END IF;
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'the audit log cannot be sealed at isolation level %', current_setting('transaction_isolation')
            USING ERRCODE = 'active_sql_transaction',
                HINT = 'Seal it in a READ COMMITTED transaction, which sees what was written before the lock.';
    END IF;

    -- Numbers are taken under a lock that conflicts with this one: none below the highest can come later.
    LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE;
    SELECT l.new_values INTO v_seal
    FROM audit_log AS l
    WHERE l.operation = 'SEAL'
    ORDER BY l.id DESC
    LIMIT 1;
    after_id := coalesce((v_seal ->> 'last_id')::bigint, 0);
    SELECT max(l.id) INTO last_id
    FROM (SELECT a.id FROM audit_log AS a WHERE a.id > after_id ORDER BY a.id LIMIT p_limit) AS l;
    -- Not just among the next records: these may all be seals, of a backlog.
    IF NOT EXISTS (
        SELECT FROM audit_log AS l WHERE l.id > after_id AND l.operation <> 'SEAL'
    ) THEN
        RETURN;
    END IF;

    -- A seal covers one month, so that retention takes all that it covers, or nothing.
    FOR month IN
        SELECT DISTINCT date_trunc('month', l.occurred_at AT TIME ZONE 'UTC')::date
        FROM audit_log AS l
        WHERE l.id > after_id AND l.id <= last_id
        ORDER BY 1
    LOOP
        SELECT h.records, h.sha256 INTO records, sha256
        FROM hash_audit_log(after_id, last_id, month, v_seal ->> 'sha256') AS h;
        v_seal := jsonb_build_object(
            'after_id', after_id, 'last_id', last_id, 'month', to_char(month, 'YYYY-MM-DD'), 'records', records,
            'previous_sha256', v_seal ->> 'sha256', 'sha256', sha256
        );
        INSERT INTO audit_log (table_name, operation, row_id, actor, transaction_id, new_values)
        VALUES (
            'audit_log', 'SEAL', gen_random_uuid(),
            left(coalesce(nullif(current_setting('honua.actor', true), ''), session_user), 255),
            pg_current_xact_id()::text::bigint, v_seal
        );
        RETURN NEXT;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION seal_audit_log IS
    'Seals the records of audit_log that are not sealed yet, at most p_limit of them: a record of the operation SEAL '
    'holds their number and SHA-256, which goes on from that of the seal before. Returns the new seals; keep the last '
    'sha256 outside of the database, and not even the owner can rewrite what came before unnoticed. Errors: 22023 '
    'when p_limit is NULL or less than 1; 25001 at another isolation level than READ COMMITTED; 55P03 when a '
    'transaction that was recorded is still under way after a second: try again later.';
