//! Goal: statements for databases that are not available here match their dialects.

use super::*;
use crate::sink::row::Target;
use crate::sink::statements::Plan;

fn row(name: &str, kind: &str) -> Vec<Value> {
    let texts = [name, kind].map(|it| Value::Text(it.to_owned()));
    texts.into_iter().chain([Value::Int(0), Value::Int(0)]).collect()
}

/// Returns the statements for a table with a key, a number, a time and bytes.
fn statements(dialect: Dialect, columns: Vec<Column>) -> [String; 3] {
    let quoted = dialect.quote_table("s.t");
    let table = Table { quoted, columns, unique: Vec::new(), takes_copy: false, verb: "" };
    [Mode::Insert, Mode::Update, Mode::Upsert].map(|mode| {
        let target = |column: &Column| Target {
            name: column.name.clone(),
            kind: column.kind,
            from: ValueSource::Field(column.name.clone()),
        };
        let targets: Vec<Target> = table.columns.iter().map(target).collect();
        let plan = Plan::new((dialect, true), &table, mode, targets, vec![0], 100);
        plan.statement(&[0, 1, 2], 1)
    })
}

#[test]
fn statements_for_sql_server_are_those_of_its_dialect() {
    let columns = [("id", "bigint"), ("at", "datetime2"), ("b", "varbinary")];
    let columns = columns.map(|(name, kind)| of_sql_server(&row(name, kind)));
    let [insert, update, upsert] = statements(Dialect::SqlServer, columns.into());
    assert_eq!(
        insert,
        "INSERT INTO [s].[t] ([id], [at], [b]) VALUES (?, CAST(? AS datetime2(7)), CAST(? AS \
         varbinary(max)))"
    );
    assert_eq!(
        update,
        "UPDATE [s].[t] SET [at] = CAST(? AS datetime2(7)), [b] = CAST(? AS varbinary(max)) \
         WHERE [id] = ?"
    );
    assert_eq!(
        upsert,
        "MERGE INTO [s].[t] WITH (HOLDLOCK) AS r USING (VALUES (?, CAST(? AS datetime2(7)), \
         CAST(? AS varbinary(max)))) AS u ([id], [at], [b]) ON (r.[id] = u.[id]) \
         WHEN MATCHED THEN UPDATE SET r.[at] = u.[at], r.[b] = u.[b] WHEN NOT MATCHED THEN \
         INSERT ([id], [at], [b]) VALUES (u.[id], u.[at], u.[b]);"
    );
}

#[test]
fn statements_for_oracle_are_those_of_its_dialect() {
    let columns = [("ID", "NUMBER"), ("AT", "DATE"), ("Z", "TIMESTAMP(6) WITH TIME ZONE")];
    let columns = columns.map(|(name, kind)| of_oracle(&row(name, kind)));
    let [insert, update, upsert] = statements(Dialect::Oracle, columns.into());
    assert_eq!(
        insert,
        "INSERT INTO \"s\".\"t\" (\"ID\", \"AT\", \"Z\") VALUES (?, CAST(TO_TIMESTAMP(?) AS \
         DATE), FROM_TZ(TO_TIMESTAMP(?), 'UTC'))"
    );
    assert_eq!(
        update,
        "UPDATE \"s\".\"t\" SET \"AT\" = CAST(TO_TIMESTAMP(?) AS DATE), \"Z\" = \
         FROM_TZ(TO_TIMESTAMP(?), 'UTC') WHERE \"ID\" = ?"
    );
    assert_eq!(
        upsert,
        "MERGE INTO \"s\".\"t\" r USING (SELECT ? AS \"ID\", CAST(TO_TIMESTAMP(?) AS DATE) AS \
         \"AT\", FROM_TZ(TO_TIMESTAMP(?), 'UTC') AS \"Z\" FROM dual) u ON (r.\"ID\" = \
         u.\"ID\") WHEN MATCHED THEN UPDATE SET r.\"AT\" = u.\"AT\", r.\"Z\" = u.\"Z\" WHEN NOT \
         MATCHED THEN INSERT (\"ID\", \"AT\", \"Z\") VALUES (u.\"ID\", u.\"AT\", u.\"Z\")"
    );
}

#[test]
fn statements_for_postgresql_by_odbc_name_the_types_of_their_values() {
    let of = |name: &str, cast: &str| Column {
        cast: cast.to_owned(),
        ..untyped(&row(name, ""), Kind::Text, true)
    };
    let columns = vec![of("id", "int8"), of("at", "timestamptz"), of("b", "bytea")];
    let [_, update, upsert] = statements(Dialect::Postgres, columns);
    assert_eq!(
        update,
        "UPDATE \"s\".\"t\" SET \"at\" = CAST(? AS text)::timestamptz, \"b\" = CAST(? AS \
         text)::bytea WHERE \"id\" = CAST(? AS text)::int8"
    );
    assert!(upsert.ends_with(
        " ON CONFLICT (\"id\") DO UPDATE SET \"at\" = excluded.\"at\", \"b\" = excluded.\"b\""
    ));
}
