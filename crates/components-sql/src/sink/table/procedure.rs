//! A procedure, as its database describes it: parameters instead of columns.
//!
//! | database | call | parameters |
//! |---|---|---|
//! | PostgreSQL | `CALL`, or `SELECT` for a function | by name; those with a default are optional |
//! | MySQL, MariaDB | `CALL` | all, in order |
//!
//! Procedures with output parameters, and overloaded names, are rejected: nothing uses the output,
//! and nothing could choose an overload.

use super::{Column, Table, given, of_mysql, of_postgres, parts, text};
use crate::dialect::Dialect;
use crate::sink::problem::SinkProblem;
use crate::sink::session::Session;
use crate::sink::value::Value;

const POSTGRES: &str = "\
SELECT p.oid::text, p.prokind::text, quote_ident(n.nspname) || '.' || quote_ident(p.proname) \
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
WHERE p.prokind IN ('p', 'f') AND p.proname = $1::text \
 AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_function_is_visible(p.oid) \
  ELSE n.nspname = $2::text END";

/// Columns in the order of [`of_postgres`]; non-input parameters count as generated.
const POSTGRES_PARAMETERS: &str = "\
SELECT coalesce(a.name, ''), quote_ident(n.nspname) || '.' || quote_ident(t.typname), \
 coalesce(b.typname, t.typname)::text, coalesce(b.typcategory, t.typcategory)::text, \
 (a.place <= p.pronargs - p.pronargdefaults)::int::bigint, \
 (coalesce(a.mode, 'i') <> 'i')::int::bigint \
FROM pg_catalog.pg_proc p CROSS JOIN LATERAL unnest(\
  coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes::text[]) \
  WITH ORDINALITY AS a(type, name, mode, place) \
 JOIN pg_catalog.pg_type t ON t.oid = a.type \
 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
 LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
WHERE p.oid = $1::text::oid AND coalesce(a.mode, 'i') <> 't' ORDER BY a.place";

/// Columns in the order of [`of_mysql`].
const MYSQL_PARAMETERS: &str = "\
SELECT CAST(parameter_name AS CHAR), CAST(data_type AS CHAR), 1, parameter_mode <> 'IN' \
FROM information_schema.parameters \
WHERE routine_type = 'PROCEDURE' AND specific_schema = coalesce(?, database()) \
 AND specific_name = ? ORDER BY ordinal_position";

/// Describes the procedure of this name.
///
/// # Errors
/// It is missing, its parameters cannot represent rows, or the database does not answer.
pub(super) async fn procedure(session: &mut Session, name: &str) -> Result<Table, SinkProblem> {
    let settled = |problem: String| SinkProblem::Table { problem };
    let (schema, alone) = parts(name);
    let (quoted, verb, columns) = match session.dialect() {
        Dialect::Postgres if !session.is_odbc() => {
            let names = vec![given(Some(alone)), given(schema)];
            let found = session.query(POSTGRES, names).await?;
            let one = match &found[..] {
                [] => return Err(lacking(name)),
                [one] => one,
                several => {
                    return Err(settled(format!(
                        "the database has {} procedures and functions named `{name}`: give the \
                         procedure a unique name",
                        several.len()
                    )));
                }
            };
            let verb = if text(one, 1) == "p" { "CALL" } else { "SELECT" };
            let oid = Value::Text(text(one, 0).to_owned());
            let rows = session.query(POSTGRES_PARAMETERS, vec![oid]).await?;
            let columns: Vec<Column> = rows.iter().map(|row| of_postgres(row)).collect();
            (text(one, 2).to_owned(), verb, columns)
        }
        Dialect::Mysql if !session.is_odbc() => {
            let names = vec![given(schema), given(Some(alone))];
            let rows = session.query(MYSQL_PARAMETERS, names).await?;
            let columns: Vec<Column> = rows.iter().map(|row| of_mysql(row)).collect();
            if columns.is_empty() {
                return Err(lacking(name));
            }
            (session.dialect().quote_table(name), "CALL", columns)
        }
        _ => {
            return Err(settled(
                "`mode = \"call\"` needs PostgreSQL, MySQL or MariaDB, with `postgres://` or \
                 `mysql://`; otherwise insert into a table with a trigger"
                    .to_owned(),
            ));
        }
    };
    if columns.is_empty() {
        return Err(settled(format!("`{name}` has no parameters, so it cannot receive values")));
    }
    if let Some(Column { name: parameter, .. }) = columns.iter().find(|it| it.is_generated) {
        return Err(settled(format!(
            "the parameter `{parameter}` of `{name}` returns a value or is variadic: set `table` \
             to a procedure with IN parameters only"
        )));
    }
    if columns.iter().any(|it| it.name.is_empty()) {
        return Err(settled(format!(
            "`{name}` has an unnamed parameter, but fields are assigned by name: name every \
             parameter"
        )));
    }
    Ok(Table { quoted, columns, unique: Vec::new(), takes_copy: false, verb })
}

fn lacking(name: &str) -> SinkProblem {
    let problem = format!(
        "the database has no procedure `{name}` with parameters, or its user may not see it: \
         create it, set `table`, or grant access"
    );
    SinkProblem::Table { problem }
}
