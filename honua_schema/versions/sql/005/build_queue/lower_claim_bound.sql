CREATE OR REPLACE FUNCTION lower_claim_bound(p_architecture varchar, p_priority integer, p_queued_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF p_queued_at IS NULL OR p_queued_at >= claim_bound(p_architecture, p_priority) THEN
        RETURN false;
    END IF;
    PERFORM setval(
        ('claim_bound_' || p_architecture || '_' || p_priority)::regclass,
        greatest(1, extract(epoch FROM p_queued_at) * 1000000)::bigint
    );
    RETURN true;
END;
$$;

COMMENT ON FUNCTION lower_claim_bound IS
    'Lets claims look for a build that takes a place in the queue which they would pass over, and returns whether '
    'they would have. Triggers call it.';
