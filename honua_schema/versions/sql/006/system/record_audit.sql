CREATE OR REPLACE FUNCTION record_audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    v_row jsonb := coalesce(v_new, v_old);
BEGIN
    IF v_old - 'updated_at' = v_new - 'updated_at' THEN
        RETURN NULL;
    END IF;

    -- A change to columns that may not be recorded leaves a record too, with empty objects.
    INSERT INTO audit_log (table_name, operation, row_id, customer_id, actor, transaction_id, old_values, new_values)
    SELECT
        TG_TABLE_NAME,
        TG_OP,
        (v_row ->> 'id')::uuid,
        v_row ->> 'customer_id',
        left(coalesce(nullif(current_setting('honua.actor', true), ''), session_user), 255),
        pg_current_xact_id()::text::bigint,
        CASE WHEN TG_OP <> 'INSERT' THEN coalesce(jsonb_object_agg(c.name, v_old -> c.name), '{}') END,
        CASE WHEN TG_OP <> 'DELETE' THEN coalesce(jsonb_object_agg(c.name, v_new -> c.name), '{}') END
    FROM unnest(TG_ARGV) AS c (name)
    WHERE nullif(v_old -> c.name, 'null') IS DISTINCT FROM nullif(v_new -> c.name, 'null');
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_audit IS
    'Records a change in audit_log: who, when, in which transaction, and the old and new values of what changed, of '
    'the columns given as the trigger''s arguments and of no others. An update that changes nothing, or updated_at '
    'alone, is not recorded. The actor is the setting honua.actor, else the session''s role.';
