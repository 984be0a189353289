//! Tables that change at random, and a record of every change, which the database keeps.

use std::collections::BTreeMap;

use aqueduct_tests::postgres::Postgres;
use serde_json::Value;

use super::collector::DATABASE;
use super::stored::Event;

/// The body of a row with values of all types. Changes do not contain a generated column.
macro_rules! kinds {
    ($id:literal) => {
        concat!(
            r#"{"id":"#,
            $id,
            r#","b":true,"i8":9223372036854775807,"o":7,"d":"1.1000000000","r":0.1"#,
            r#","f":"-Infinity","c":"x  ","y":"AP8=","j":{"k":[1,null]}"#,
            r#","u":"6f1c1d2e-0000-4000-8000-000000000001","da":"9999-12-31","ti":"12:00:00.5""#,
            r#","ts":"2026-01-31T12:00:00.5","tz":"2026-01-31T12:00:00Z","iv":"P1DT2H""#,
            r#","ip":"10.0.0.1/32","m":"bad","na":[[1,2],[3,null]],"nn":[1.10,"NaN"]"#,
            r#","ta":["a","b,\"c",null,"NULL"],"ba":[true,false]"#,
            r#","za":["2026-01-31T12:00:00+00:00"],"ma":["good","bad"]}"#
        )
    };
}

/// Tables, the record of their changes, and a procedure that changes them at random. `items` has
/// complete old rows and long values stored out of line; `drafts` is emptied from time to time.
const SCHEMA: &str = "
CREATE TABLE orders (id int PRIMARY KEY, v int, note text);
CREATE TABLE items (id int PRIMARY KEY, v int, note text);
ALTER TABLE items REPLICA IDENTITY FULL;
ALTER TABLE items ALTER note SET STORAGE EXTERNAL;
CREATE TABLE drafts (id int PRIMARY KEY, v int, note text);
CREATE TABLE noise (id int);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN small AS int CHECK (value < 100);
CREATE TABLE kinds (id int PRIMARY KEY, b boolean, i8 bigint, o small, d numeric(30, 10),
  r real, f double precision, c char(3), y bytea, j jsonb, u uuid, da date, ti time, ts timestamp,
  tz timestamptz, iv interval, ip inet, m mood, na int[], nn numeric[], ta text[], ba boolean[],
  za timestamptz[], ma mood[], twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE book (n bigserial PRIMARY KEY, xid bigint, tab text, op text, id int, v int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO book (xid, tab, op) VALUES (txid_current(), TG_TABLE_NAME, 'truncate');
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO book (xid, tab, op, id) VALUES (txid_current(), TG_TABLE_NAME, 'delete', OLD.id);
  ELSE
    INSERT INTO book (xid, tab, op, id, v)
      VALUES (txid_current(), TG_TABLE_NAME, lower(TG_OP), NEW.id, NEW.v);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER rows AFTER INSERT OR UPDATE OR DELETE ON orders
  FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER rows AFTER INSERT OR UPDATE OR DELETE ON items
  FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER rows AFTER INSERT OR UPDATE OR DELETE ON drafts
  FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER whole AFTER TRUNCATE ON drafts FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE PROCEDURE churn(steps int, lane int) LANGUAGE plpgsql AS $$
DECLARE tab text; at int; to_id int; dice float;
BEGIN
  FOR step IN 1..steps LOOP
    tab := (ARRAY['orders', 'items', 'drafts'])[1 + floor(random() * 3)];
    -- Callers do not wait for each other's rows.
    at := floor(random() * 130) * 3 + lane;
    to_id := floor(random() * 130) * 3 + lane;
    dice := random();
    BEGIN
      IF dice < 0.4 THEN
        EXECUTE format('INSERT INTO %I (id, v, note) VALUES ($1, $2, $3) ON CONFLICT (id)
          DO UPDATE SET v = excluded.v', tab)
          USING at, step, repeat(md5(random()::text), 1 + (at % 100));
      ELSIF dice < 0.7 THEN
        EXECUTE format('UPDATE %I SET v = coalesce(v, 0) + 1 WHERE id = $1', tab) USING at;
      ELSIF dice < 0.8 THEN
        EXECUTE format('UPDATE %I SET id = $2 WHERE id = $1', tab) USING at, to_id;
      ELSIF dice < 0.99 THEN
        EXECUTE format('DELETE FROM %I WHERE id = $1', tab) USING at;
      ELSIF dice < 0.995 THEN
        TRUNCATE drafts;
      ELSE
        -- What is rolled back is not sent.
        DELETE FROM orders WHERE id = at;
        RAISE EXCEPTION 'no';
      END IF;
    -- Two callers that have changed a table may both want all of it.
    EXCEPTION WHEN unique_violation OR raise_exception OR deadlock_detected THEN NULL;
    END;
  END LOOP;
END $$;
";

/// Rows with values of all types.
const FIRST_KINDS: &str = "INSERT INTO kinds VALUES (1, true, 9223372036854775807, 7, 1.10, 0.1,
  '-Infinity', 'x', '\\x00ff', '{\"k\": [1, null]}', '6f1c1d2e-0000-4000-8000-000000000001',
  '9999-12-31', '12:00:00.5', '2026-01-31 12:00:00.5', '2026-01-31 14:00:00+02', '1 day 2 hours',
  '10.0.0.1', 'bad', '{{1,2},{3,NULL}}', '{1.10,NaN}', '{a,\"b,\\\"c\",NULL,\"NULL\"}', '{t,f}',
  '{2026-01-31 14:00:00+02}', '{good,bad}')";
pub(crate) const SECOND_KINDS: &str =
    "INSERT INTO kinds SELECT 2, b, i8, o, d, r, f, c, y, j, u, da,
  ti, ts, tz, iv, ip, m, na, nn, ta, ba, za, ma FROM kinds WHERE id = 1";
/// Their bodies.
pub(crate) const KINDS: [&str; 2] = [kinds!("1"), kinds!("2")];

/// Creates the tables with rows. The server sends no changes yet.
pub(crate) fn make(server: &Postgres) {
    server.ask("postgres", &format!("CREATE DATABASE {DATABASE}"));
    server.ask(DATABASE, SCHEMA);
    server.ask(DATABASE, FIRST_KINDS);
    server.ask(DATABASE, "CALL churn(3000, 0)");
    server.ask(DATABASE, "INSERT INTO orders SELECT i, 0 FROM generate_series(1000, 15000) AS i");
}

/// Returns the rows of a table, by key.
pub(crate) fn rows(server: &Postgres, table: &str) -> BTreeMap<i64, Value> {
    let text = server.ask(DATABASE, &format!("SELECT to_jsonb(t) FROM {table} t"));
    let row = |line: &str| serde_json::from_str::<Value>(line).expect("JSON of the database");
    text.lines().map(row).map(|row| (row["id"].as_i64().expect("a key"), row)).collect()
}

/// The operations of a transaction, in order: table, operation, key, value.
pub(crate) type Book = BTreeMap<u64, Vec<(String, String, Option<i64>, Option<i64>)>>;

/// Returns every recorded change.
pub(crate) fn book(server: &Postgres) -> Book {
    let text = server.ask(DATABASE, "SELECT xid, tab, op, id, v FROM book ORDER BY n");
    let mut book = Book::new();
    for line in text.lines() {
        let values: Vec<&str> = line.split('|').collect();
        let [xid, table, operation, id, v] = values[..] else { panic!("{line}") };
        let entry = (table.to_owned(), operation.to_owned(), id.parse().ok(), v.parse().ok());
        book.entry(xid.parse().expect("a number")).or_default().push(entry);
    }
    book
}

/// Returns the rows of a table, rebuilt from the events.
pub(crate) fn rebuilt(events: &[Event], table: &str) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    let key = |body: &Value| body["id"].as_i64().expect("a key");
    for event in events.iter().filter(|event| event.header("table") == table) {
        match event.header("operation") {
            "truncate" => rows.clear(),
            "delete" => {
                let gone = rows.remove(&key(&event.body));
                assert!(gone.is_some(), "a row that is not there is deleted: {event:?}");
            }
            "update" => {
                let old: Option<Value> = Some(event.header("old"))
                    .filter(|old| !old.is_empty())
                    .map(|old| serde_json::from_str(old).expect("JSON"));
                let old = rows.remove(&key(old.as_ref().unwrap_or(&event.body)));
                let mut row: Value = old.unwrap_or_else(|| panic!("no row to change: {event:?}"));
                let (row_members, new) = (row.as_object_mut(), event.body.as_object());
                let new = new.expect("an object").clone();
                row_members.expect("an object").extend(new);
                rows.insert(key(&row), row);
            }
            _ => {
                let before = rows.insert(key(&event.body), event.body.clone());
                assert!(before.is_none(), "a row that is there comes again: {event:?}");
            }
        }
    }
    rows
}

/// Returns the operations of each transaction, according to the events.
pub(crate) fn made_book(events: &[Event]) -> Book {
    let mut book = Book::new();
    for event in events.iter().filter(|event| !event.header("xid").is_empty()) {
        let xid = event.header("xid").parse().expect("a number");
        let is_delete = event.header("operation") == "delete";
        let v = event.body["v"].as_i64().filter(|_| !is_delete);
        let entry = (
            event.header("table").to_owned(),
            event.header("operation").to_owned(),
            event.body["id"].as_i64(),
            v,
        );
        book.entry(xid).or_default().push(entry);
    }
    book
}
