CREATE OR REPLACE FUNCTION write_audit_log(
    p_table_name text,
    p_operation text,
    p_old jsonb,
    p_new jsonb,
    p_columns text[]
) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    -- A change to columns that may not be recorded leaves a record too, with empty objects.
    INSERT INTO audit_log (table_name, operation, row_id, customer_id, actor, transaction_id, old_values, new_values)
    SELECT
        p_table_name,
        p_operation,
        (coalesce(p_new, p_old) ->> 'id')::uuid,
        coalesce(p_new, p_old) ->> 'customer_id',
        left(coalesce(nullif(current_setting('honua.actor', true), ''), session_user), 255),
        pg_current_xact_id()::text::bigint,
        CASE WHEN p_old IS NOT NULL THEN coalesce(jsonb_object_agg(c.name, p_old -> c.name), '{}') END,
        CASE WHEN p_new IS NOT NULL THEN coalesce(jsonb_object_agg(c.name, p_new -> c.name), '{}') END
    FROM unnest(p_columns) AS c (name)
    WHERE nullif(p_old -> c.name, 'null') IS DISTINCT FROM nullif(p_new -> c.name, 'null')
    RETURNING id;
$$;

COMMENT ON FUNCTION write_audit_log IS
    'Writes one record of audit_log: who, when, in which transaction, and the old and new values of what changed, of '
    'the given columns and of no others. The rows are JSON objects; NULL where there is none. The actor is the setting '
    'honua.actor, else the session''s role. Returns the record''s id. Errors: 23502 without a table, an operation or '
    'the id of a row; 22P02 when that is no UUID.';
