-- requires: license_ends_at, tier_rank
CREATE OR REPLACE FUNCTION admitted_tiers(p_customer_id varchar) RETURNS varchar[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    -- What is paid for counts; without a licence that is in force, what the subscription says.
    SELECT (ARRAY['core', 'pro', 'enterprise', 'asp']::varchar[])[:tier_rank(coalesce(l.tier, c.tier))]
    FROM customers AS c
    LEFT JOIN licenses AS l
        ON l.customer_id = c.customer_id AND l.status IN ('active', 'trial') AND license_ends_at(l) > now()
    WHERE c.customer_id = p_customer_id
      AND c.deleted_at IS NULL
      AND c.subscription_status IN ('active', 'trial');
$$;

COMMENT ON FUNCTION admitted_tiers IS
    'The tiers of cached builds that a customer may use: that of its licence while one is in force, otherwise its '
    'own, and those below. NULL for a customer who is unknown, deleted, suspended or cancelled.';
