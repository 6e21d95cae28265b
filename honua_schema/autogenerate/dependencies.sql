-- Which view, trigger, policy or function of the schema named by main needs what else of it.
WITH dependent AS (
    SELECT CAST('pg_rewrite' AS regclass) AS classid, w.oid, 'view' AS kind, NULL AS table_name, c.relname AS name
    FROM pg_rewrite AS w
    JOIN pg_class AS c ON c.oid = w.ev_class
    WHERE c.relnamespace = CAST(:main AS regnamespace) AND w.rulename = '_RETURN'
    UNION ALL
    SELECT CAST('pg_trigger' AS regclass), g.oid, 'trigger', c.relname, g.tgname
    FROM pg_trigger AS g
    JOIN pg_class AS c ON c.oid = g.tgrelid
    WHERE c.relnamespace = CAST(:main AS regnamespace) AND NOT g.tgisinternal
    UNION ALL
    SELECT CAST('pg_policy' AS regclass), p.oid, 'policy', c.relname, p.polname
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    WHERE c.relnamespace = CAST(:main AS regnamespace)
    UNION ALL
    SELECT CAST('pg_proc' AS regclass), p.oid, 'function', NULL, p.proname
    FROM pg_proc AS p
    WHERE p.pronamespace = CAST(:main AS regnamespace)
)
SELECT DISTINCT
    dependent.kind,
    dependent.table_name,
    dependent.name,
    needed.kind AS needed_kind,
    needed.table_name AS needed_table,
    needed.name AS needed_name
FROM dependent
JOIN pg_depend AS d ON d.classid = dependent.classid AND d.objid = dependent.oid AND d.deptype IN ('n', 'a')
LEFT JOIN pg_type AS t ON d.refclassid = CAST('pg_type' AS regclass) AND t.oid = d.refobjid
LEFT JOIN pg_type AS element ON element.oid = t.typelem AND element.typarray = t.oid
LEFT JOIN pg_class AS c ON c.relnamespace = CAST(:main AS regnamespace) AND c.oid = CASE
    WHEN d.refclassid = CAST('pg_class' AS regclass) THEN d.refobjid
    ELSE coalesce(element.typrelid, t.typrelid)
END
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
LEFT JOIN pg_proc AS p ON d.refclassid = CAST('pg_proc' AS regclass) AND p.oid = d.refobjid
    AND p.pronamespace = CAST(:main AS regnamespace)
CROSS JOIN LATERAL (
    VALUES
        ('function', NULL, p.proname),
        ('column', c.relname, a.attname),
        (CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, NULL, c.relname)  -- also where a column is needed
) AS needed (kind, table_name, name)
WHERE needed.name IS NOT NULL;
