CREATE OR REPLACE FUNCTION claim_bound(p_architecture varchar, p_priority integer) RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE
-- Without settings, so that it becomes part of the expression that calls it; and with the sequences as constants, so
-- that none is looked up by its name.
RETURN coalesce(
    timestamptz 'epoch' + interval '1 microsecond' * nullif(
        pg_sequence_last_value((CASE p_architecture WHEN 'amd64' THEN ARRAY[
            'claim_bound_amd64_1'::regclass,
            'claim_bound_amd64_2'::regclass,
            'claim_bound_amd64_3'::regclass,
            'claim_bound_amd64_4'::regclass,
            'claim_bound_amd64_5'::regclass,
            'claim_bound_amd64_6'::regclass,
            'claim_bound_amd64_7'::regclass,
            'claim_bound_amd64_8'::regclass,
            'claim_bound_amd64_9'::regclass,
            'claim_bound_amd64_10'::regclass
        ] WHEN 'arm64' THEN ARRAY[
            'claim_bound_arm64_1'::regclass,
            'claim_bound_arm64_2'::regclass,
            'claim_bound_arm64_3'::regclass,
            'claim_bound_arm64_4'::regclass,
            'claim_bound_arm64_5'::regclass,
            'claim_bound_arm64_6'::regclass,
            'claim_bound_arm64_7'::regclass,
            'claim_bound_arm64_8'::regclass,
            'claim_bound_arm64_9'::regclass,
            'claim_bound_arm64_10'::regclass
        ] END)[p_priority]), 1
    ),
    '-infinity'
);

COMMENT ON FUNCTION claim_bound IS
    'The time in queued_at before which there is nothing to claim of an architecture and a priority, as the sequence '
    'of that name keeps it; -infinity where nothing is known. Claims heed it while claim_bounds_due_at says so.';
