//! Queries for the description of a table, by dialect.

pub(super) const POSTGRES: &str = "\
SELECT a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(t.typname), \
 coalesce(b.typname, t.typname)::text, coalesce(b.typcategory, t.typcategory)::text, \
 (a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '')::int::bigint, \
 (a.attgenerated <> '')::int::bigint, (a.attidentity = 'a')::int::bigint, \
 coalesce((SELECT quote_ident(m.nspname) || '.' || quote_ident(c.typname) \
  FROM pg_catalog.pg_type c JOIN pg_catalog.pg_namespace m ON m.oid = c.typnamespace \
  WHERE c.typtype = 'c' AND c.oid IN (t.oid, t.typelem)), '') \
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
 LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped \
ORDER BY a.attnum";

/// `COPY` ignores rules, and is rejected on tables with row security. Into an identity column, it
/// writes the given values.
pub(super) const POSTGRES_COPY: &str = "\
SELECT (c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND NOT c.relhasrules)::int::bigint \
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1::text)";

/// `DEFAULT_GENERATED` in `extra` means a default.
pub(super) const MYSQL: &str = "\
SELECT CAST(column_name AS CHAR), CAST(data_type AS CHAR), \
 is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' \
  AND extra NOT LIKE '%VIRTUAL%' AND extra NOT LIKE '%STORED GENERATED%' \
  AND extra NOT LIKE '%PERSISTENT%', \
 extra LIKE '%VIRTUAL%' OR extra LIKE '%STORED GENERATED%' OR extra LIKE '%PERSISTENT%', \
 extra LIKE '%INVISIBLE%' \
FROM information_schema.columns \
WHERE table_schema = coalesce(?, database()) AND table_name = ? ORDER BY ordinal_position";

pub(super) const MYSQL_UNIQUE: &str = "\
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.statistics \
WHERE non_unique = 0 AND table_schema = coalesce(?, database()) AND table_name = ? \
ORDER BY index_name, seq_in_index";

pub(super) const MYSQL_ENGINE: &str = "\
SELECT CAST(engine AS CHAR) FROM information_schema.tables \
WHERE table_schema = coalesce(?, database()) AND table_name = ?";

pub(super) const SQLITE: &str = "\
SELECT name, type, \"notnull\" = 1 AND dflt_value IS NULL AND NOT (pk = 1 AND \
 upper(type) = 'INTEGER'), hidden IN (2, 3), hidden = 1 \
FROM pragma_table_xinfo(?, coalesce(?, 'main'))";

pub(super) const SQL_SERVER: &str = "\
SELECT c.name, t.name, \
 CASE WHEN c.is_nullable = 0 AND c.default_object_id = 0 THEN 1 ELSE 0 END, \
 CASE WHEN c.is_computed = 1 OR c.is_identity = 1 OR t.name = 'timestamp' THEN 1 ELSE 0 END \
FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.system_type_id \
WHERE c.object_id = OBJECT_ID(?) ORDER BY c.column_id";

pub(super) const ORACLE: &str = "\
SELECT column_name, data_type, \
 CASE WHEN nullable = 'N' AND default_length IS NULL AND identity_column = 'NO' THEN 1 ELSE 0 END, \
 CASE WHEN virtual_column = 'YES' THEN 1 ELSE 0 END \
FROM all_tab_cols \
WHERE owner = coalesce(CAST(? AS VARCHAR2(128)), SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) \
 AND table_name = ? AND hidden_column = 'NO' ORDER BY column_id";

pub(super) const STANDARD: &str = "\
SELECT column_name, data_type, \
 CASE WHEN is_nullable = 'NO' AND column_default IS NULL THEN 1 ELSE 0 END, 0 \
FROM information_schema.columns WHERE table_name = ? \
 AND (CAST(? AS VARCHAR(128)) IS NULL OR table_schema = ?) ORDER BY ordinal_position";
