CREATE OR REPLACE FUNCTION take_build_customer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Without a build the foreign key refuses the row, and says so better than a missing customer would. With one, it
    -- takes this lock anyway; here it lets nobody write for the old customer of a build that is just changing hands.
    NEW.customer_id := coalesce(
        (SELECT b.customer_id FROM build_queue AS b WHERE b.id = NEW.build_queue_id FOR KEY SHARE), ''
    );
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION take_build_customer IS
    'Gives an event, a metric, and a result that has none, the customer of its build. It stands there too so that row '
    'security need not look up the build of each row that is read.';
