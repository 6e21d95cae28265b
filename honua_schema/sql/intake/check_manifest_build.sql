CREATE OR REPLACE FUNCTION check_manifest_build() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_allowed boolean;
BEGIN
    -- A foreign key on both columns would need another unique index on the queue, to be kept up by every claim.
    IF TG_TABLE_NAME = 'build_manifests' THEN
        -- The foreign key takes this lock anyway; here it lets a build that is just changing hands do so first.
        v_allowed := (
            SELECT b.customer_id FROM build_queue AS b WHERE b.id = NEW.deployment_id FOR KEY SHARE
        ) IS NOT DISTINCT FROM NEW.customer_id;
    ELSE
        -- Waits for those who are pointing a manifest at the build. build_queue_hold_customer does so too, but
        -- fires later: triggers fire in order of their names.
        PERFORM FROM build_queue AS b WHERE b.id = NEW.id FOR UPDATE;
        v_allowed := NOT EXISTS (
            SELECT
            FROM build_manifests AS m
            WHERE m.deployment_id = NEW.id AND m.customer_id <> NEW.customer_id
        );
    END IF;
    IF NOT v_allowed THEN
        RAISE EXCEPTION 'insert or update on table "%" violates the rule that the build of a manifest is its customer''s',
            TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME,
                CONSTRAINT = 'fk_build_manifests_customer_id_deployment_id',
                HINT = 'Give the id of a build of the same customer as deployment_id.';
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION check_manifest_build IS
    'Keeps a manifest from pointing at a build that is not there or is another customer''s, with 23503 for both: who '
    'may not see that build learns nothing from it.';
