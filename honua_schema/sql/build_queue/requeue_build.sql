CREATE OR REPLACE FUNCTION requeue_build() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.architecture := coalesce(NEW.architecture, 'amd64');
    IF NEW.status <> 'queued' OR (OLD.status, OLD.priority, OLD.queued_at, OLD.customer_id)
        = (NEW.status, NEW.priority, NEW.queued_at, NEW.customer_id) THEN
        RETURN NEW;
    ELSIF NEW.queued_at > clock_timestamp() THEN
        NEW.admission := 'delayed';
    ELSIF EXISTS (
        SELECT
        FROM licenses AS l
        WHERE l.customer_id = NEW.customer_id AND l.max_concurrent_builds IS NOT NULL
    ) THEN
        -- The trigger after the update gives it a slot, if there is one.
        NEW.admission := 'waiting';
    ELSE
        NEW.admission := 'ready';
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION requeue_build IS
    'Decides anew whether a build may be claimed, when it returns to the queue or changes its place there.';
