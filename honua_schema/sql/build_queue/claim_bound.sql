CREATE OR REPLACE FUNCTION claim_bound(p_architecture varchar, p_priority integer) RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE
-- Without settings, so that it becomes part of the expression that calls it.
RETURN coalesce(
    timestamptz 'epoch' + interval '1 microsecond' * nullif(
        pg_sequence_last_value(to_regclass(quote_ident('claim_bound_' || p_architecture || '_' || p_priority))), 1
    ),
    '-infinity'
);

COMMENT ON FUNCTION claim_bound IS
    'The time in queued_at before which there is nothing to claim of an architecture and a priority, as the sequence '
    'of that name keeps it; -infinity where nothing is known. Claims heed it while claim_bounds_due_at says so.';
