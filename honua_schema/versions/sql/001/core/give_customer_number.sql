CREATE OR REPLACE FUNCTION give_customer_number() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    -- INSERT ... ON CONFLICT may find the customer there, and then uses up no number.
    NEW.customer_number := coalesce(
        (
            SELECT c.customer_number
            FROM customers AS c
            WHERE c.customer_id = NEW.customer_id OR c.id = NEW.id
            LIMIT 1
        ),
        nextval('customer_numbers')::integer
    );
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION give_customer_number IS
    'Gives a new customer the next customer_number. A default would use one up whenever INSERT ... ON CONFLICT finds the '
    'customer there, and the maps of customers that got an image are as long as these numbers are large.';
