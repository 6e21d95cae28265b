CREATE OR REPLACE FUNCTION give_customer_number() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    UPDATE customers AS c
    SET customer_number = nextval('customer_numbers')
    WHERE c.id = NEW.id;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION give_customer_number IS
    'Gives a new customer the next customer_number. A default would use one up whenever INSERT ... ON CONFLICT finds the '
    'customer there, and the maps of customers that got an image are as long as these numbers are large.';
