-- A template. Batches go by the primary key, whatever it consists of, and each is committed.
DO $backfill$
DECLARE
    v_keys text;      -- t.id
    v_literals text;  -- an expression for the same as it can be written into a statement
    v_after text := '';
    v_last text;
    v_rows bigint;
    v_total bigint := 0;
BEGIN
    SELECT
        string_agg(format('t.%I', a.attname), ', ' ORDER BY k.position),
        string_agg(
            format('quote_literal(t.%I) || %L', a.attname, '::' || format_type(a.atttypid, a.atttypmod)),
            ' || '', '' || ' ORDER BY k.position
        )
    INTO v_keys, v_literals
    FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = '{table}'::regclass AND i.indisprimary;

    LOOP
        EXECUTE format(
            'WITH batch AS MATERIALIZED ('
            ' SELECT %1$s FROM {table} AS t WHERE (%2$s) %3$s ORDER BY %1$s LIMIT {batch_size} FOR NO KEY UPDATE'
            '), changed AS ('
            ' UPDATE {table} AS t SET %4$s WHERE (%1$s) IN (SELECT %1$s FROM batch AS t) RETURNING 1'
            ') SELECT (SELECT count(*) FROM changed), (SELECT %5$s FROM batch AS t ORDER BY (%1$s) DESC LIMIT 1)',
            v_keys, $where${condition}$where$, v_after, $set${assignments}$set$, v_literals
        ) INTO v_rows, v_last;
        EXIT WHEN v_last IS NULL;
        COMMIT;
        v_total := v_total + v_rows;
        v_after := format('AND (%s) > (%s)', v_keys, v_last);
        RAISE NOTICE '{table}: % rows filled', v_total;
        PERFORM pg_sleep({pause});
    END LOOP;
END;
$backfill$;
