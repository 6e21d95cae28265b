CREATE OR REPLACE TRIGGER customers_give_number
    BEFORE INSERT ON customers
    FOR EACH ROW
    WHEN (NEW.customer_number IS NULL)
    EXECUTE FUNCTION give_customer_number();

COMMENT ON TRIGGER customers_give_number ON customers IS
    'The place of a new customer in the maps of those that got an image from the cache';
