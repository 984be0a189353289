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

#[test]
fn statements_for_postgresql_override_identities_and_convert_composites() {
    let of = |name: &str, cast: &str| Column {
        cast: cast.to_owned(),
        ..untyped(&row(name, ""), Kind::Text, true)
    };
    let pair = |name: &str, cast: &str| Column { composite: "s.pair".into(), ..of(name, cast) };
    let columns = vec![
        Column { is_identity: true, ..of("id", "int8") },
        pair("p", "s.pair"),
        pair("ps", "s._pair"),
    ];
    let quoted = Dialect::Postgres.quote_table("t");
    let table = Table { quoted, columns, unique: Vec::new(), takes_copy: true, verb: "" };
    let targets = table.columns.iter().map(|column| Target {
        name: column.name.clone(),
        kind: column.kind,
        from: ValueSource::Field(column.name.clone()),
    });
    let of = (Dialect::Postgres, false);
    let plan = Plan::new(of, &table, Mode::Insert, targets.collect(), Vec::new(), 100);
    let rows = vec![Row { columns: vec![0], values: vec![Value::Null] }; 100];
    assert_eq!(plan.copied(&rows), 0, "a composite needs an expression");
    let insert = plan.statement(&[0, 1, 2], 1);
    for part in [
        "(\"id\", \"p\", \"ps\") OVERRIDING SYSTEM VALUE SELECT u.c0::int8, CASE left(u.c1, 1)",
        "WHEN '{' THEN pg_catalog.json_populate_record(NULL::s.pair, u.c1::json) ELSE \
         u.c1::s.pair END",
        "CASE left(u.c2, 1) WHEN '{' THEN u.c2::s._pair WHEN '[' THEN ARRAY(SELECT CASE",
    ] {
        assert!(insert.contains(part), "{insert}");
    }
}

#[test]
fn hidden_columns_are_written_only_by_name() {
    let column = |name: &str, flags: [i64; 3]| {
        let texts = [name, "int"].map(|it| Value::Text(it.to_owned()));
        of_mysql(&texts.into_iter().chain(flags.map(Value::Int)).collect::<Vec<_>>())
    };
    let columns =
        vec![column("id", [1, 0, 0]), column("twice", [0, 1, 0]), column("hidden", [0, 0, 1])];
    let quoted = Dialect::Mysql.quote_table("t");
    let table = Table { quoted, columns, unique: Vec::new(), takes_copy: false, verb: "" };
    assert_eq!(table.writable(false), [("id".to_owned(), false)]);
    assert_eq!(table.writable(true), [("hidden".to_owned(), false)]);
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert!(table.check_columns(&names(&["id", "hidden"])).is_ok());
    assert!(table.check_columns(&names(&["id", "twice"])).is_err());
}
