CREATE OR REPLACE TRIGGER build_queue_check_customer
    BEFORE INSERT OR UPDATE OF customer_id ON build_queue
    FOR EACH ROW
    WHEN (row_security_active('public.build_queue'::regclass))
    EXECUTE FUNCTION refuse_foreign_row();

COMMENT ON TRIGGER build_queue_check_customer ON build_queue IS
    'Refuses another customer''s build before any other trigger looks at it: triggers fire in order of their names';
