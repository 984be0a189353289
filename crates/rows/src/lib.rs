//! Typed rows: values that keep their type from a database to a file.
//!
//! ```text
//!   schema (header `rows.schema`)   {"version":1,"columns":[{"name":"id","type":"int64"}, …]}
//!   row (body of an event)          C1 | a bit for each column: NULL | values, in order
//! ```
//!
//! Numbers have a fixed width, little-endian. Texts and bytes begin with their length (LEB128). A
//! list or map begins with its count, and has NULL bits of its own; a struct is like a row. The
//! first byte, 0xC1, is not part of any UTF-8 text, so that a reader of text or JSON rejects a row.
//!
//! | module | contents |
//! |---|---|
//! | `schema` | columns and their types |
//! | `value` | a value of each type |
//! | `wide` | whole numbers of 256 bits |
//! | `nested` | lists, structs and maps |
//! | `limits` | values at the limits of their types |
//! | `encode` | writes a row |
//! | `decode` | reads a row; any bytes are safe |
//! | `text` | values as text and JSON |
//! | `calendar` | dates and times as text |
//!
//! ```
//! # use aqueduct_rows as rows;
//! use rows::{Column, Schema, Type, Value};
//!
//! let column = |name: &str, kind| Column { name: name.to_owned(), kind };
//! let columns = vec![column("id", Type::Int64), column("note", Type::Text)];
//! let schema = Schema::new(columns).unwrap();
//! let mut body = Vec::new();
//! schema.write([Value::Int64(7), Value::Null], &mut body).unwrap();
//!
//! let schema = Schema::parse(&schema.to_text()).unwrap();
//! let values: Result<Vec<Value<'_>>, _> = schema.read(&body).unwrap().collect();
//! assert_eq!(values.unwrap(), [Value::Int64(7), Value::Null]);
//! ```

pub mod calendar;
mod decode;
mod encode;
mod limits;
mod nested;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod wide;

pub use decode::{Malformed, Row};
pub use encode::{Mismatch, RowWriter};
pub use nested::{Items, Key, Nested};
pub use schema::{Column, InvalidSchema, Schema, Type};
pub use value::{Decimal, LargeDecimal, Moment, Value};
pub use wide::Wide;

/// Header of an event whose body is a row: its schema.
pub const SCHEMA_HEADER: &str = "rows.schema";

/// First byte of each row.
const MAGIC: u8 = 0xc1;

/// Nanoseconds of a second.
const NANOS: u32 = 1_000_000_000;
/// Nanoseconds from midnight to `24:00:00`, the largest time of day.
const NANOS_OF_DAY: i64 = 86_400 * NANOS as i64;
