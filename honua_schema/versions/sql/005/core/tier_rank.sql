CREATE OR REPLACE FUNCTION tier_rank(p_tier varchar) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Without settings, so that it becomes part of the expression that calls it; RETURN was bound when it was created.
RETURN array_position(ARRAY['core', 'pro', 'enterprise', 'asp'], p_tier::text);

COMMENT ON FUNCTION tier_rank IS
    'The place of a product tier, from 1 for core to 4 for asp: each admits what the ones before it admit. '
    'NULL for anything else.';
