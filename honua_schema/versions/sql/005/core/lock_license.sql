CREATE OR REPLACE FUNCTION lock_license(p_customer_id varchar) RETURNS licenses
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_license licenses;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        -- Here a count made after the lock would still see the database as it was before the wait, and could
        -- exceed a limit. A write, even of the same value, makes the transaction that waited fail instead.
        UPDATE licenses AS l
        SET updated_at = l.updated_at
        WHERE l.customer_id = p_customer_id
        RETURNING l.* INTO v_license;
    ELSE
        SELECT l.* INTO v_license
        FROM licenses AS l
        WHERE l.customer_id = p_customer_id
        FOR NO KEY UPDATE;
    END IF;
    RETURN v_license;
END;
$$;

COMMENT ON FUNCTION lock_license IS
    'Locks a customer''s licence until the transaction ends, and returns it as it is then; NULL when there is '
    'none. Whoever counts towards a limit of the licence calls it first, so that limits hold under concurrency. '
    'Under REPEATABLE READ and SERIALIZABLE, of two such transactions at once one fails with 40001; for that, all who '
    'write for a customer must use these levels, or none.';
