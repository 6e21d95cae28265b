CREATE OR REPLACE FUNCTION announce_builds() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Transactions that notify commit one after the other, in the whole server. So while one is about to notify,
    -- the others need not; but one that stays open keeps them from it for no longer than a tenth of a second.
    IF coalesce(current_setting('honua.builds_announced', true), '') = ''
        AND pg_try_advisory_xact_lock(
            1903571246, mod((date_part('epoch', clock_timestamp()) * 10)::bigint, 2147483647)::integer
        )
        AND set_config('honua.builds_announced', 'true', true) = 'true'
    THEN
        PERFORM pg_notify('honua_build_queue', '');
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION announce_builds IS
    'Wakes workers that listen on the channel honua_build_queue when builds are queued, though not for each one: '
    'builds that are queued while another transaction is about to wake them are found by who was woken, or by '
    'polling, as are retries and builds that become due.';
