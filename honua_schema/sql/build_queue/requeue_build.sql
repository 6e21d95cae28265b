CREATE OR REPLACE FUNCTION requeue_build() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.architecture := coalesce(NEW.architecture, 'amd64');
    IF NEW.status <> 'queued' THEN
        RETURN NEW;
    END IF;

    IF (OLD.status, OLD.priority, OLD.queued_at, OLD.customer_id)
        <> (NEW.status, NEW.priority, NEW.queued_at, NEW.customer_id) THEN
        NEW.admission := CASE
            WHEN NEW.queued_at > clock_timestamp() THEN 'delayed'
            -- The trigger after the update gives it a slot, if there is one.
            WHEN EXISTS (
                SELECT
                FROM licenses AS l
                WHERE l.customer_id = NEW.customer_id AND l.max_concurrent_builds IS NOT NULL
            ) THEN 'waiting'
            ELSE 'ready'
        END;
    END IF;
    IF NEW.admission = 'ready' AND pg_sequence_last_value('claim_bounds_due_at'::regclass) > 1 THEN
        PERFORM lower_claim_bound(NEW.architecture, NEW.priority, NEW.queued_at);
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION requeue_build IS
    'Decides anew whether a build may be claimed, when it returns to the queue or changes its place there, and sees '
    'to it that claims find one that may.';
