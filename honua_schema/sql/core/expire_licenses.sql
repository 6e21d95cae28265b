CREATE OR REPLACE FUNCTION expire_licenses(p_limit integer DEFAULT NULL) RETURNS TABLE (
    license_id uuid,
    customer_id varchar,
    expired_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of licences to expire at most.';
    END IF;

    -- A licence that somebody has locked is being renewed or built with; the next run sees to it. Until then it
    -- allows nothing, for whoever asks a licence looks at its end too.
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT l.id, license_ends_at(l) AS ended_at
        FROM licenses AS l
        WHERE (
                (l.status IN ('active', 'trial') AND l.expires_at <= now())
                OR (l.status = 'trial' AND l.trial_expires_at <= now())
            )
          AND license_ends_at(l) <= now()
        ORDER BY l.id
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE licenses AS l
    SET status = 'expired'
    FROM due AS d
    WHERE l.id = d.id
    RETURNING l.id, l.customer_id, d.ended_at;
END;
$$;

COMMENT ON FUNCTION expire_licenses IS
    'Sets active and trial licences that have ended to expired, and returns them with the time at which they ended: '
    'a trial at trial_expires_at where that is given, any other licence at expires_at. Errors: 22023 when the limit is '
    'less than 1.';
