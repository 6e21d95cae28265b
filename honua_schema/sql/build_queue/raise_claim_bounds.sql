CREATE OR REPLACE FUNCTION raise_claim_bounds(p_anew boolean, p_architecture varchar DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- As in get_next_build_for_worker(): the claim index, in its order, whatever the statistics say.
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_heeded boolean := coalesce(pg_sequence_last_value('claim_bounds_due_at'::regclass) > 1, false);
    v_started timestamptz := clock_timestamp();
    v_ended timestamptz;
    v_passed bigint := pg_stat_get_xact_tuples_returned('ix_build_queue_claim'::regclass);
    v_pages bigint := pg_stat_get_xact_blocks_fetched('ix_build_queue_claim'::regclass);
BEGIN
    -- An older snapshot does not show what was queued since.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN v_heeded;
    END IF;
    IF p_anew AND v_heeded THEN
        -- So that no other claim does the same meanwhile.
        PERFORM setval(
            'claim_bounds_due_at', (extract(epoch FROM v_started + interval '1 second') * 1000000)::bigint
        );
    END IF;

    -- Builds that others are claiming count, for they may give them back. The time before the present is for
    -- orders that are not committed yet.
    PERFORM setval(
        ('claim_bound_' || lane.architecture || '_' || lane.priority)::regclass,
        greatest(
            1, extract(epoch FROM least(oldest.queued_at, v_started - interval '50 milliseconds')) * 1000000
        )::bigint
    )
    FROM (
        SELECT a.architecture, p.priority,
            CASE WHEN p_anew THEN '-infinity' ELSE claim_bound(a.architecture, p.priority) END AS bound
        FROM unnest('{amd64,arm64}'::varchar[]) AS a (architecture)
        CROSS JOIN generate_series(1, 10) AS p (priority)
        WHERE p_architecture IS NULL OR a.architecture = p_architecture
    ) AS lane
    LEFT JOIN LATERAL (
        SELECT q.queued_at
        FROM build_queue AS q
        WHERE q.architecture = lane.architecture
          AND q.priority = lane.priority
          AND q.status = 'queued'
          AND q.admission = 'ready'
          AND q.queued_at >= lane.bound
        ORDER BY q.queued_at
        LIMIT 1
    ) AS oldest ON true;

    IF p_anew THEN
        -- Two or three pages of each lane are those on the way to it.
        v_heeded := pg_stat_get_xact_tuples_returned('ix_build_queue_claim'::regclass) - v_passed > 1000
            OR pg_stat_get_xact_blocks_fetched('ix_build_queue_claim'::regclass) - v_pages > 100;
        v_ended := clock_timestamp();
        PERFORM setval('claim_bounds_due_at', CASE
            WHEN v_heeded THEN extract(epoch FROM v_ended + least(
                greatest(20 * (v_ended - v_started), interval '1 second'), interval '1 minute'
            )) * 1000000
            ELSE 1
        END::bigint);
    END IF;
    RETURN v_heeded;
END;
$$;

COMMENT ON FUNCTION raise_claim_bounds IS
    'Finds the oldest claimable build of each priority, for one architecture or all, so that claims need not pass over the '
    'entries that vacuum can''t remove while an old snapshot is held. Anew, it starts from the beginning, also finds '
    'builds that were committed late, and lets claims heed the bounds only while there are many such entries. '
    'Returns whether they heed them. Claims call it when they passed over many. Does nothing in a transaction that is '
    'not READ COMMITTED.';
