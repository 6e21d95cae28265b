-- Everything that a schema consists of, as PostgreSQL itself spells it: one row for each object, with its properties.
-- The parameters: main, the schema to read; partitions, the one with the partitions of its tables; tables, names of
-- tables whose owner owns the schema; roles, the group roles. A property that begins with _ helps to make changes;
-- it is no difference by itself.
WITH namespace AS (
    SELECT n.oid, CASE WHEN n.nspname = :main THEN '' ELSE quote_ident(n.nspname) || '.' END AS prefix
    FROM pg_namespace AS n
    WHERE n.nspname IN (:main, :partitions)
),
foreign_object AS (  -- belongs to an extension
    SELECT d.classid, d.objid FROM pg_depend AS d WHERE d.deptype = 'e'
),
relation AS (
    SELECT
        c.*,
        CASE WHEN n.nspname = :main THEN '' ELSE quote_ident(n.nspname) || '.' END || c.relname AS name,
        parent.relname AS parent
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
    LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
    LEFT JOIN pg_namespace AS home ON home.oid = parent.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND (n.nspname IN (:main, :partitions) OR home.nspname IN (:main, :partitions))
      AND c.relname <> 'alembic_version'
      AND (CAST('pg_class' AS regclass), c.oid) NOT IN (SELECT f.classid, f.objid FROM foreign_object AS f)
),
schema_owner AS (
    SELECT mode() WITHIN GROUP (ORDER BY r.relowner) AS oid FROM relation AS r WHERE r.relname = ANY (:tables)
),
-- Who may do what. The owner goes by no name: another database may have another owner.
access AS (
    SELECT grants.classid, grants.objid, grants.subid, string_agg(grants.line, '; ' ORDER BY grants.line) AS list
    FROM (
        SELECT
            o.classid,
            o.objid,
            o.subid,
            CASE
                WHEN a.grantee = o.owner THEN 'owner'
                WHEN a.grantee = 0 THEN 'PUBLIC'
                ELSE quote_ident(pg_get_userbyid(a.grantee))
            END
            || ': ' || string_agg(
                a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
                ', ' ORDER BY a.privilege_type
            ) AS line
        FROM (
            SELECT CAST('pg_class' AS regclass), r.oid, 0, r.relowner,
                coalesce(r.relacl, acldefault(CAST(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END AS "char"), r.relowner))
            FROM relation AS r
            UNION ALL
            SELECT CAST('pg_class' AS regclass), r.oid, c.attnum, r.relowner, c.attacl
            FROM relation AS r
            JOIN pg_attribute AS c ON c.attrelid = r.oid AND c.attacl IS NOT NULL
            UNION ALL
            SELECT CAST('pg_proc' AS regclass), p.oid, 0, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_proc AS p
            JOIN namespace AS n ON n.oid = p.pronamespace
            UNION ALL
            SELECT CAST('pg_namespace' AS regclass), n.oid, 0, n.nspowner,
                coalesce(n.nspacl, acldefault('n', n.nspowner))
            FROM pg_namespace AS n
            WHERE n.nspname = :partitions
            UNION ALL  -- what others may do in the schema public, such as upgrading, is not declared
            SELECT CAST('pg_namespace' AS regclass), n.oid, 0, n.nspowner, array_agg(a.item)
            FROM pg_namespace AS n
            CROSS JOIN LATERAL unnest(n.nspacl) AS a (item)
            CROSS JOIN LATERAL aclexplode(ARRAY[a.item]) AS e
            WHERE n.nspname = :main AND (e.grantee = 0 OR pg_get_userbyid(e.grantee) = ANY (:roles))
            GROUP BY n.oid, n.nspowner
            UNION ALL
            SELECT CAST('pg_type' AS regclass), t.oid, 0, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
            FROM pg_type AS t
            JOIN namespace AS n ON n.oid = t.typnamespace
        ) AS o (classid, objid, subid, owner, acl)
        CROSS JOIN LATERAL aclexplode(o.acl) AS a
        GROUP BY o.classid, o.objid, o.subid, o.owner, a.grantee
    ) AS grants
    GROUP BY grants.classid, grants.objid, grants.subid
),
object (kind, table_name, name, classid, objid, subid, owner, properties) AS (
    SELECT
        CASE r.relkind
            WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view'
            WHEN 'f' THEN 'foreign table'
            WHEN 'S' THEN 'sequence'
            ELSE 'table'
        END,
        r.parent,
        r.name,
        CAST('pg_class' AS regclass),
        r.oid,
        0,
        r.relowner,
        jsonb_build_object(
            'persistence', CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' WHEN 't' THEN 'TEMPORARY' ELSE 'LOGGED' END,
            'access method', (SELECT m.amname FROM pg_am AS m WHERE m.oid = r.relam),
            'tablespace', (SELECT t.spcname FROM pg_tablespace AS t WHERE t.oid = r.reltablespace),
            'storage options', (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(r.reloptions) AS o),
            '_storage options', array_to_string(r.reloptions, ', '),
            'TOAST storage options', (
                SELECT string_agg(o, ', ' ORDER BY o)
                FROM pg_class AS t
                CROSS JOIN unnest(t.reloptions) AS o
                WHERE t.oid = r.reltoastrelid
            ),
            'row security', CASE WHEN r.relrowsecurity THEN 'ENABLED' ELSE 'DISABLED' END,
            'row security for the owner', CASE WHEN r.relforcerowsecurity THEN 'FORCED' ELSE 'NOT FORCED' END,
            'replica identity', r.relreplident,
            'partition key', pg_get_partkeydef(r.oid),
            'partition bound', pg_get_expr(r.relpartbound, r.oid),
            'inherits from', CASE WHEN NOT r.relispartition THEN (
                SELECT string_agg(CAST(CAST(i.inhparent AS regclass) AS text), ', ' ORDER BY i.inhseqno)
                FROM pg_inherits AS i
                WHERE i.inhrelid = r.oid
            ) END,
            'row type', CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END,
            'definition', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid, true) END,
            'options', (
                SELECT concat_ws(
                    ' ', format_type(s.seqtypid, NULL), 'START', s.seqstart, 'INCREMENT', s.seqincrement,
                    'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax, 'CACHE', s.seqcache,
                    CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END
                )
                FROM pg_sequence AS s
                WHERE s.seqrelid = r.oid
            ),
            'owned by', (
                SELECT CAST(d.refobjid AS regclass) || '.' || quote_ident(a.attname)
                FROM pg_depend AS d
                JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                WHERE r.relkind = 'S' AND d.objid = r.oid AND d.classid = CAST('pg_class' AS regclass)
                  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
            )
        )
    FROM relation AS r

    UNION ALL
    SELECT
        'column',
        r.name,
        quote_ident(a.attname),
        CAST('pg_class' AS regclass),
        r.oid,
        a.attnum,
        NULL,
        jsonb_build_object(
            '_position', a.attnum,
            'type', format_type(a.atttypid, a.atttypmod),
            'null', CASE WHEN a.attnotnull THEN 'NOT NULL' ELSE 'NULL' END,
            'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
            'generated', CASE a.attgenerated
                WHEN 's' THEN 'AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
                WHEN 'v' THEN 'AS (' || pg_get_expr(d.adbin, d.adrelid) || ') VIRTUAL'
            END,
            'identity', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN
                (SELECT CAST(a.attcollation AS regcollation)::text)
            END,
            'storage', CASE WHEN r.relkind IN ('r', 'p', 'm') THEN
                CASE a.attstorage
                    WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED'
                END
            END,
            'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
            'statistics target', nullif(CAST(a.attstattarget AS integer), -1),
            'options', (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(a.attoptions) AS o)
        )
    FROM relation AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE r.relkind <> 'S'

    UNION ALL
    SELECT
        'constraint',
        r.name,
        quote_ident(coalesce(p.conname, c.conname)),
        CAST('pg_constraint' AS regclass),
        c.oid,
        0,
        NULL,
        jsonb_build_object(
            'definition', pg_get_constraintdef(c.oid, true),
            'triggers', (  -- those that enforce a foreign key
                SELECT string_agg(DISTINCT CASE g.tgenabled WHEN 'O' THEN 'ENABLED' WHEN 'D' THEN 'DISABLED'
                    WHEN 'R' THEN 'ENABLED REPLICA' ELSE 'ENABLED ALWAYS' END, ', ')
                FROM pg_trigger AS g
                WHERE g.tgconstraint = c.oid AND g.tgisinternal
            )
        )
    FROM relation AS r
    JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype <> 't'
    LEFT JOIN pg_constraint AS p ON p.oid = c.conparentid

    UNION ALL
    SELECT
        'index',
        r.name,
        quote_ident(coalesce(p.relname, c.relname)),
        CAST('pg_class' AS regclass),
        c.oid,
        0,
        NULL,
        jsonb_build_object(
            -- Without the names: those in a partition are PostgreSQL's own.
            'definition', regexp_replace(
                pg_get_indexdef(i.indexrelid, 0, true), '^(CREATE (UNIQUE )?INDEX) .*? (USING \w+ \()', '\1 \3'
            ),
            'valid', CASE WHEN i.indisvalid AND i.indisready THEN 'VALID' ELSE 'INVALID' END,
            'tablespace', (SELECT t.spcname FROM pg_tablespace AS t WHERE t.oid = c.reltablespace),
            'replica identity', nullif(i.indisreplident, false),
            'clustered', nullif(i.indisclustered, false),
            'statistics targets', (
                SELECT string_agg(a.attnum || ': ' || a.attstattarget, ', ' ORDER BY a.attnum)
                FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attstattarget >= 0
            )
        )
    FROM relation AS r
    JOIN pg_index AS i ON i.indrelid = r.oid
    JOIN pg_class AS c ON c.oid = i.indexrelid
    LEFT JOIN pg_inherits AS h ON h.inhrelid = c.oid
    LEFT JOIN pg_class AS p ON p.oid = h.inhparent

    UNION ALL
    SELECT
        'trigger',
        r.name,
        quote_ident(g.tgname),
        CAST('pg_trigger' AS regclass),
        g.oid,
        0,
        NULL,
        jsonb_build_object(
            'definition', pg_get_triggerdef(g.oid, true),
            'enabled', CASE g.tgenabled WHEN 'O' THEN 'ENABLED' WHEN 'D' THEN 'DISABLED'
                WHEN 'R' THEN 'ENABLED REPLICA' ELSE 'ENABLED ALWAYS' END
        )
    FROM relation AS r
    JOIN pg_trigger AS g ON g.tgrelid = r.oid AND (NOT g.tgisinternal OR g.tgparentid <> 0 AND g.tgconstraint = 0)

    UNION ALL
    SELECT
        'rule',
        r.name,
        quote_ident(w.rulename),
        CAST('pg_rewrite' AS regclass),
        w.oid,
        0,
        NULL,
        jsonb_build_object('definition', pg_get_ruledef(w.oid, true), 'enabled', w.ev_enabled)
    FROM relation AS r
    JOIN pg_rewrite AS w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'

    UNION ALL
    SELECT
        'policy',
        r.name,
        quote_ident(p.polname),
        CAST('pg_policy' AS regclass),
        p.oid,
        0,
        NULL,
        jsonb_build_object(
            'command', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            'kind', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            'roles', (
                SELECT string_agg(CASE u WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(u) END, ', ' ORDER BY u)
                FROM unnest(p.polroles) AS u
            ),
            'using', pg_get_expr(p.polqual, p.polrelid, true),
            'check', pg_get_expr(p.polwithcheck, p.polrelid, true)
        )
    FROM relation AS r
    JOIN pg_policy AS p ON p.polrelid = r.oid

    UNION ALL
    SELECT
        'statistics',
        r.name,
        quote_ident(s.stxname),
        CAST('pg_statistic_ext' AS regclass),
        s.oid,
        0,
        s.stxowner,
        jsonb_build_object(
            'definition', pg_get_statisticsobjdef(s.oid),
            'target', nullif(CAST(s.stxstattarget AS integer), -1)
        )
    FROM relation AS r
    JOIN pg_statistic_ext AS s ON s.stxrelid = r.oid

    UNION ALL
    SELECT
        CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
        NULL,
        n.prefix || quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')',
        CAST('pg_proc' AS regclass),
        p.oid,
        0,
        p.proowner,
        jsonb_build_object(
            'arguments', pg_get_function_arguments(p.oid),
            'result', pg_get_function_result(p.oid),
            'language', l.lanname,
            'volatility', CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
            'parallel', CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END,
            'on NULL', CASE WHEN p.proisstrict THEN 'STRICT' ELSE 'CALLED ON NULL INPUT' END,
            'leakproof', CASE WHEN p.proleakproof THEN 'LEAKPROOF' ELSE 'NOT LEAKPROOF' END,
            'security', CASE WHEN p.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END,
            'cost', p.procost,
            'rows', p.prorows,
            'support function', nullif(CAST(p.prosupport AS text), '-'),
            'settings', array_to_string(p.proconfig, '; '),
            'body', coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)
        )
    FROM pg_proc AS p
    JOIN namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
    WHERE (CAST('pg_proc' AS regclass), p.oid) NOT IN (SELECT f.classid, f.objid FROM foreign_object AS f)

    UNION ALL
    SELECT
        'type',
        NULL,
        n.prefix || t.typname,
        CAST('pg_type' AS regclass),
        t.oid,
        0,
        t.typowner,
        jsonb_build_object(
            'definition', CASE t.typtype
                WHEN 'e' THEN 'ENUM (' || (
                    SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                    FROM pg_enum AS e
                    WHERE e.enumtypid = t.oid
                ) || ')'
                WHEN 'd' THEN concat_ws(
                    ' ', 'DOMAIN AS', format_type(t.typbasetype, t.typtypmod),
                    CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault
                )
                WHEN 'c' THEN '(' || (
                    SELECT string_agg(
                        quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum
                    )
                    FROM pg_attribute AS a
                    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                ) || ')'
                ELSE CAST(t.typtype AS text)
            END
        )
    FROM pg_type AS t
    JOIN namespace AS n ON n.oid = t.typnamespace
    WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (
            SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c'
        ))
      AND (CAST('pg_type' AS regclass), t.oid) NOT IN (SELECT f.classid, f.objid FROM foreign_object AS f)

    UNION ALL
    SELECT
        'constraint',
        n.prefix || t.typname,
        quote_ident(c.conname),
        CAST('pg_constraint' AS regclass),
        c.oid,
        0,
        NULL,
        jsonb_build_object('definition', pg_get_constraintdef(c.oid, true))
    FROM pg_type AS t
    JOIN namespace AS n ON n.oid = t.typnamespace
    JOIN pg_constraint AS c ON c.contypid = t.oid AND c.contype = 'c'
    WHERE (CAST('pg_type' AS regclass), t.oid) NOT IN (SELECT f.classid, f.objid FROM foreign_object AS f)

    UNION ALL  -- what is too rare for properties of its own: operators, collations, text search configurations ...
    SELECT
        o.type,
        NULL,
        o.identity,
        d.classid,
        d.objid,
        0,
        NULL,
        '{}'
    FROM pg_depend AS d
    JOIN namespace AS n ON n.oid = d.refobjid AND d.refclassid = CAST('pg_namespace' AS regclass)
    CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS o
    WHERE d.classid NOT IN (
            CAST('pg_class' AS regclass), CAST('pg_proc' AS regclass), CAST('pg_type' AS regclass),
            CAST('pg_statistic_ext' AS regclass), CAST('pg_default_acl' AS regclass), CAST('pg_extension' AS regclass)
        )
      AND (d.classid, d.objid) NOT IN (SELECT f.classid, f.objid FROM foreign_object AS f)

    UNION ALL
    SELECT
        'default privileges',
        NULL,
        concat_ws(
            ' ', 'for', CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                WHEN 'T' THEN 'types' ELSE 'schemas' END, 'in', n.prefix
        ),
        CAST('pg_default_acl' AS regclass),
        d.oid,
        0,
        d.defaclrole,
        jsonb_build_object('grants', CAST(d.defaclacl AS text))
    FROM pg_default_acl AS d
    JOIN namespace AS n ON n.oid = d.defaclnamespace

    UNION ALL
    SELECT
        'schema',
        NULL,
        quote_ident(n.nspname),
        CAST('pg_namespace' AS regclass),
        n.oid,
        0,
        CASE WHEN n.nspname = :partitions THEN n.nspowner END,  -- the other one is PostgreSQL's own
        '{}'
    FROM pg_namespace AS n
    WHERE n.nspname IN (:main, :partitions)

    UNION ALL
    SELECT
        'role',
        NULL,
        quote_ident(r.rolname),
        CAST('pg_authid' AS regclass),
        r.oid,
        0,
        NULL,
        jsonb_build_object(
            'attributes', concat_ws(
                ' ',
                CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
                CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END
            ),
            'member of', (
                SELECT string_agg(quote_ident(pg_get_userbyid(m.roleid)), ', ' ORDER BY m.roleid)
                FROM pg_auth_members AS m
                WHERE m.member = r.oid
            )
        )
    FROM pg_roles AS r
    WHERE r.rolname = ANY (:roles)
)
SELECT
    o.kind,
    o.table_name,
    o.name,
    o.subid,
    jsonb_strip_nulls(
        o.properties || jsonb_build_object(
            'comment', CASE
                WHEN o.subid > 0 THEN col_description(o.objid, o.subid)
                WHEN o.kind = 'role' OR o.kind = 'schema' AND o.owner IS NULL THEN NULL
                ELSE obj_description(o.objid, CAST(CAST(o.classid AS regclass) AS name))
            END,
            'owner', CASE
                WHEN o.owner IS NULL THEN NULL
                WHEN o.owner = s.oid THEN 'the owner of the schema'
                ELSE pg_get_userbyid(o.owner)
            END,
            'grants', coalesce(a.list, o.properties ->> 'grants')
        )
    ) AS properties
FROM object AS o
CROSS JOIN schema_owner AS s
LEFT JOIN access AS a ON a.classid = o.classid AND a.objid = o.objid AND a.subid = o.subid
ORDER BY o.kind, o.table_name NULLS FIRST, o.name;
