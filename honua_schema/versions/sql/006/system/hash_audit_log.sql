CREATE OR REPLACE FUNCTION hash_audit_log(
    p_after_id bigint,
    p_last_id bigint,
    p_month date,
    p_previous_sha256 text
) RETURNS TABLE (records bigint, sha256 text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    SELECT
        count(*),
        encode(
            sha256(
                convert_to(
                    format('%s %s %s %s', p_previous_sha256, p_after_id, p_last_id, to_char(p_month, 'YYYY-MM')), 'UTF8'
                )
                || coalesce(string_agg(sha256(convert_to(a.record, 'UTF8')), ''::bytea ORDER BY a.id), ''::bytea)
            ),
            'hex'
        )
    FROM (
        SELECT
            l.id,
            jsonb_build_array(
                l.id, (extract(epoch FROM l.occurred_at) * 1000000)::bigint, l.table_name, l.operation, l.row_id,
                l.customer_id, l.actor, l.transaction_id, l.old_values, l.new_values
            )::text AS record
        FROM audit_log AS l
        WHERE l.id > p_after_id
          AND l.id <= p_last_id
          AND l.occurred_at >= p_month::timestamp AT TIME ZONE 'UTC'
          AND l.occurred_at < (p_month + INTERVAL '1 month') AT TIME ZONE 'UTC'
    ) AS a;
$$;

COMMENT ON FUNCTION hash_audit_log IS
    'How many records of audit_log a seal covers, and their SHA-256, which goes on from that of the seal before.';
