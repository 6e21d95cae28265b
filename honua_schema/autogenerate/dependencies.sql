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
    CASE
        WHEN p.oid IS NOT NULL THEN 'function'
        WHEN a.attname IS NOT NULL THEN 'column'
        WHEN c.relkind = 'v' THEN 'view'
        ELSE 'table'
    END AS needed_kind,
    CASE WHEN a.attname IS NOT NULL THEN c.relname END AS needed_table,
    coalesce(p.proname, a.attname, c.relname) AS needed_name
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
WHERE c.oid IS NOT NULL OR p.oid IS NOT NULL;
