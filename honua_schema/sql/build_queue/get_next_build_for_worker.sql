CREATE OR REPLACE FUNCTION get_next_build_for_worker(
    p_worker_id varchar,
    p_worker_hostname varchar,
    p_architecture varchar DEFAULT NULL,
    p_batch_size integer DEFAULT 1
) RETURNS TABLE (
    build_id uuid,
    manifest_json jsonb,
    customer_id varchar,
    priority integer,
    retry_count integer,
    manifest_hash varchar,
    build_args jsonb,
    target_registry_id uuid,
    timeout_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- The claim index holds just what can be claimed, in order. After a burst the statistics say that the queue is
-- empty, and the planner would rather sort it.
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
-- Before PostgreSQL 18 these count as a huge cost, and the server would compile each claim, for most of a second.
SET jit = off
-- Else the claim is planned anew each time, which takes longer than the claim itself.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_builds uuid[];
    v_bounded boolean := coalesce(pg_sequence_last_value('claim_bounds_due_at'::regclass) > 1, false);
    v_passed bigint;
    v_pages bigint;
BEGIN
    IF coalesce(p_worker_id, '') = '' THEN
        RAISE EXCEPTION 'p_worker_id must not be %', CASE WHEN p_worker_id IS NULL THEN 'NULL' ELSE 'empty' END
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name that no other worker uses.';
    END IF;
    IF p_architecture NOT IN ('amd64', 'arm64') THEN
        RAISE EXCEPTION 'p_architecture must be amd64, arm64 or NULL, not %', quote_literal(p_architecture)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL claims builds of every architecture.';
    END IF;
    IF p_batch_size IS NULL OR p_batch_size NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'p_batch_size must be between 1 and 1000, not %', coalesce(p_batch_size::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of builds to claim at most.';
    END IF;

    IF EXISTS (
        SELECT
        FROM build_queue AS b
        WHERE b.status = 'queued' AND b.admission = 'delayed' AND b.queued_at <= v_now
    ) THEN
        PERFORM release_delayed_builds();
    END IF;

    IF v_bounded AND extract(epoch FROM v_now) * 1000000 NOT BETWEEN
        pg_sequence_last_value('claim_bounds_due_at'::regclass) - 60000000
        AND pg_sequence_last_value('claim_bounds_due_at'::regclass)
    THEN
        v_bounded := raise_claim_bounds(true);
    END IF;

    v_passed := pg_stat_get_xact_tuples_returned('ix_build_queue_claim'::regclass);
    v_pages := pg_stat_get_xact_blocks_fetched('ix_build_queue_claim'::regclass);
    LOOP
        IF v_bounded THEN
            -- Entries of builds that are gone stay in the index while a snapshot is held that sees them. Each
            -- priority is looked at from its bound on, and no further than needed.
            v_builds := ARRAY(
                SELECT next.id
                FROM generate_series(10, 1, -1) AS p (priority)
                CROSS JOIN LATERAL (
                    SELECT first.id
                    FROM (
                        SELECT a.architecture, claim_bound(a.architecture, p.priority) AS bound
                        FROM unnest(
                            CASE WHEN p_architecture IS NULL THEN '{amd64,arm64}' ELSE ARRAY[p_architecture] END
                        ) AS a (architecture)
                    ) AS lane
                    CROSS JOIN LATERAL (
                        SELECT q.id, q.queued_at
                        FROM build_queue AS q
                        WHERE q.architecture = lane.architecture
                          AND q.priority = p.priority
                          AND q.status = 'queued'
                          AND q.admission = 'ready'
                          AND q.queued_at >= lane.bound
                        ORDER BY q.queued_at
                        LIMIT p_batch_size
                        FOR NO KEY UPDATE SKIP LOCKED
                    ) AS first
                    ORDER BY first.queued_at
                    LIMIT p_batch_size
                ) AS next
                LIMIT p_batch_size
            );
        ELSIF p_architecture IS NOT NULL THEN
            v_builds := ARRAY(
                SELECT q.id
                FROM build_queue AS q
                WHERE q.architecture = p_architecture AND q.status = 'queued' AND q.admission = 'ready'
                ORDER BY q.priority DESC, q.queued_at
                LIMIT p_batch_size
                FOR NO KEY UPDATE SKIP LOCKED
            );
        ELSE
            v_builds := ARRAY(
                SELECT next.id
                FROM unnest('{amd64,arm64}'::varchar[]) AS lane (architecture)
                CROSS JOIN LATERAL (
                    SELECT q.id, q.priority, q.queued_at
                    FROM build_queue AS q
                    WHERE q.architecture = lane.architecture AND q.status = 'queued' AND q.admission = 'ready'
                    ORDER BY q.priority DESC, q.queued_at
                    LIMIT p_batch_size
                    FOR NO KEY UPDATE SKIP LOCKED
                ) AS next
                ORDER BY next.priority DESC, next.queued_at
                LIMIT p_batch_size
            );
        END IF;

        -- One after the other, and so returned in their order: no join but a nested loop is allowed.
        RETURN QUERY
        UPDATE build_queue AS b
        SET status = 'building',
            started_at = v_now,
            timeout_at = v_now + make_interval(secs => b.max_duration_seconds),
            heartbeat_at = v_now,
            worker_id = p_worker_id,
            worker_hostname = p_worker_hostname,
            worker_assigned_at = v_now,
            progress_percent = 0,
            current_step = NULL,
            steps_completed = 0,
            updated_at = v_now
        FROM unnest(v_builds) AS next (id)
        WHERE b.id = next.id
        RETURNING b.id, b.manifest_json::jsonb, b.customer_id, b.priority::integer, b.retry_count::integer,
            b.manifest_hash, b.build_args::jsonb, b.target_registry_id, b.timeout_at;
        IF FOUND THEN
            -- Entries that lead nowhere, and pages of such that are known to be; those cost less.
            IF pg_stat_get_xact_tuples_returned('ix_build_queue_claim'::regclass) - v_passed - p_batch_size
                > (CASE WHEN v_bounded THEN 100 ELSE 1000 END)
                OR NOT v_bounded
                AND pg_stat_get_xact_blocks_fetched('ix_build_queue_claim'::regclass) - v_pages > 80 + p_batch_size
            THEN
                PERFORM raise_claim_bounds(NOT v_bounded, CASE WHEN v_bounded THEN p_architecture END);
            END IF;
            RETURN;
        END IF;
        EXIT WHEN NOT v_bounded AND admit_waiting_builds() = 0;
        -- What the bounds hid, if there is anything, is found now.
        v_bounded := false;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION get_next_build_for_worker IS
    'Claims the next builds for a worker, by priority and then by queued_at, and starts their timeout clock. '
    'Builds that are not due and builds of customers at max_concurrent_builds are not in its index at all. Returns '
    'no row when there is nothing to claim. The worker names itself and the retry_count when it reports progress '
    'or completes. Errors: 22023 for an empty worker, an unknown architecture or a batch size outside 1 to 1000.';
