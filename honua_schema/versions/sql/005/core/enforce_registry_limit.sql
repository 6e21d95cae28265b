CREATE OR REPLACE FUNCTION enforce_registry_limit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_limit integer;
    v_active bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.is_active AND OLD.revoked_at IS NULL AND OLD.customer_id = NEW.customer_id THEN
        RETURN NEW;
    END IF;

    v_limit := (lock_license(NEW.customer_id)).max_registries;
    IF v_limit IS NULL THEN
        RETURN NEW;
    END IF;

    SELECT count(*) INTO v_active
    FROM registry_credentials AS r
    WHERE r.customer_id = NEW.customer_id AND r.is_active AND r.revoked_at IS NULL AND r.id <> NEW.id;
    IF v_active >= v_limit THEN
        -- A second default is answered by its unique key, so that INSERT ... ON CONFLICT can change the one that is there.
        IF TG_OP = 'INSERT' AND NEW.is_default THEN
            PERFORM
            FROM registry_credentials AS r
            WHERE r.customer_id = NEW.customer_id AND r.is_default AND r.revoked_at IS NULL
            FOR NO KEY UPDATE SKIP LOCKED;
            IF FOUND THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE EXCEPTION 'customer % has % active registry credentials, and its licence allows %',
            NEW.customer_id, v_active, v_limit
            USING ERRCODE = 'check_violation', CONSTRAINT = 'max_registries', TABLE = 'registry_credentials',
                HINT = 'Revoke a credential of the customer, or raise licenses.max_registries.';
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION enforce_registry_limit IS
    'Refuses a credential that would bring a customer''s active, unrevoked credentials above max_registries of its '
    'licence; exact under concurrency, for the licence is locked. A customer without a licence is not limited, and '
    'credentials that are there already stay when the limit is lowered.';
