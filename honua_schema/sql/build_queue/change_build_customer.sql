CREATE OR REPLACE FUNCTION change_build_customer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_WHEN = 'BEFORE' THEN
        -- Waits for those who are adding something to the build. Who comes later waits, and finds its new customer.
        PERFORM FROM build_queue AS b WHERE b.id = NEW.id FOR UPDATE;
        RETURN NEW;
    END IF;

    UPDATE build_results AS r SET customer_id = NEW.customer_id WHERE r.build_queue_id = NEW.id;
    UPDATE build_events AS e SET customer_id = NEW.customer_id WHERE e.build_queue_id = NEW.id;
    UPDATE build_metrics AS m SET customer_id = NEW.customer_id WHERE m.build_queue_id = NEW.id;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION change_build_customer IS
    'Gives the result, the events and the metrics of a build that changes hands its new customer, those included that '
    'others are adding at this moment.';
