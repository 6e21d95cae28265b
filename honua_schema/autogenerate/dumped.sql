-- Statements that make objects of the current schema again as a restored dump would. PostgreSQL does not read back all
-- that it writes: IN ('a', 'b') on a varchar becomes = ANY (ARRAY['a', 'b']::text[]), and that, read again, another cast.
SELECT format(
    'ALTER TABLE %1$s DROP CONSTRAINT %2$I; ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s',
    CAST(c.conrelid AS regclass), c.conname, pg_get_constraintdef(c.oid)
)
FROM pg_constraint AS c
WHERE c.connamespace = current_schema()::regnamespace AND c.contype = 'c' AND c.conname = ANY (:names)
  AND c.contypid = 0
UNION ALL
SELECT format(
    'ALTER DOMAIN %1$s DROP CONSTRAINT %2$I; ALTER DOMAIN %1$s ADD CONSTRAINT %2$I %3$s',
    CAST(c.contypid AS regtype), c.conname, pg_get_constraintdef(c.oid)
)
FROM pg_constraint AS c
WHERE c.connamespace = current_schema()::regnamespace AND c.contype = 'c' AND c.conname = ANY (:names)
  AND c.contypid <> 0
UNION ALL
SELECT format(
    'DROP INDEX %s; %s',
    CAST(i.indexrelid AS regclass),
    replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY (:names)
  AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
UNION ALL
SELECT format('CREATE OR REPLACE VIEW %s AS %s', CAST(c.oid AS regclass), pg_get_viewdef(c.oid))
FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'v' AND c.relname = ANY (:names)
UNION ALL
SELECT format(
    'DROP TRIGGER %I ON %s; %s', g.tgname, CAST(g.tgrelid AS regclass), pg_get_triggerdef(g.oid)
)
FROM pg_trigger AS g
JOIN pg_class AS c ON c.oid = g.tgrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT g.tgisinternal AND g.tgname = ANY (:names)
UNION ALL
SELECT format('ALTER POLICY %I ON %s', p.polname, CAST(p.polrelid AS regclass))
    || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
    || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = current_schema()::regnamespace AND p.polname = ANY (:names);
