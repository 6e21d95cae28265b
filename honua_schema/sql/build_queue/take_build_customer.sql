CREATE OR REPLACE FUNCTION take_build_customer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Without a build the foreign key refuses the row, and says so better than a missing customer would.
    NEW.customer_id := coalesce(
        (SELECT b.customer_id FROM build_queue AS b WHERE b.id = NEW.build_queue_id), ''
    );
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION take_build_customer IS
    'Gives a result the customer of its build. It stands in the result too so that row security need not look up the '
    'build of each result that is read.';
