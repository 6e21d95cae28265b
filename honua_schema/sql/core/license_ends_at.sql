CREATE OR REPLACE FUNCTION license_ends_at(p_license licenses) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Without settings, so that it becomes part of the expression that calls it; RETURN was bound when it was created.
RETURN CASE
    WHEN p_license.status = 'trial' THEN coalesce(p_license.trial_expires_at, p_license.expires_at)
    ELSE p_license.expires_at
END;

COMMENT ON FUNCTION license_ends_at IS
    'When a licence ends: a trial at trial_expires_at where that is given, any other at expires_at.';
