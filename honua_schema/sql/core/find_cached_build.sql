CREATE OR REPLACE FUNCTION find_cached_build(
    p_customer_id varchar,
    p_manifest_hash varchar,
    p_architecture varchar DEFAULT NULL
) RETURNS TABLE (
    id uuid,
    full_image_url text,
    tier varchar,
    architecture varchar,
    modules text[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_tiers varchar[] := admitted_tiers(p_customer_id);
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (e.architecture)
        e.id, e.full_image_url, e.tier::varchar, e.architecture::varchar, e.modules::text[]
    FROM build_cache_registry AS e
    WHERE e.manifest_hash = p_manifest_hash
      AND e.deleted_at IS NULL
      AND (e.expires_at IS NULL OR e.expires_at > now())
      AND (p_architecture IS NULL OR e.architecture = p_architecture)
      AND e.tier = ANY (v_tiers)
    ORDER BY e.architecture, tier_rank(e.tier) DESC;
END;
$$;

COMMENT ON FUNCTION find_cached_build IS
    'The cached image of a manifest that a customer may use, one per architecture or only that of p_architecture: '
    'live, unexpired, and of the customer''s own tier or else the next lower one. The tier is the licence''s while '
    'that is in force, otherwise the customer''s. No row for a customer who is unknown, deleted, suspended or '
    'cancelled.';
