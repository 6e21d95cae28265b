CREATE OR REPLACE TRIGGER registry_credentials_check_customer
    BEFORE INSERT OR UPDATE OF customer_id ON registry_credentials
    FOR EACH ROW
    WHEN (row_security_active('public.registry_credentials'::regclass))
    EXECUTE FUNCTION refuse_foreign_row();

COMMENT ON TRIGGER registry_credentials_check_customer ON registry_credentials IS
    'Refuses another customer''s credential before any other trigger looks at it: triggers fire in order of their names';
