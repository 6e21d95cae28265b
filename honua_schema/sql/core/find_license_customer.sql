-- requires: license_ends_at
CREATE OR REPLACE FUNCTION find_license_customer(p_license_key_hash varchar) RETURNS varchar
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT l.customer_id
    FROM licenses AS l
    WHERE l.license_key_hash = p_license_key_hash
      AND l.status IN ('active', 'trial')
      AND license_ends_at(l) > now();
$$;

COMMENT ON FUNCTION find_license_customer IS
    'The customer whose licence, active or trial and unexpired, has a key with this SHA-256; NULL when there is none. '
    'How an application that is shown a key learns in whose scope to work: it needs no scope itself, for nobody '
    'guesses a key of 160 random bits.';
