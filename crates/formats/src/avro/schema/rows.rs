//! Avro records as typed rows.
//!
//! | Avro | typed row |
//! |---|---|
//! | a union of null and a type | the type; NULL |
//! | another union | a struct with a field for each type, all but one NULL |
//! | array, map, record | list, map with keys of text, struct |
//! | enum | text |
//! | logical types | date, time, timestamp, timestamp_utc, decimal, uuid |
//! | `duration` | struct of months, days and millis, each uint32 |
//! | `big-decimal` | text |
//!
//! Fields of type null and records without fields have no bytes, and no column.

mod types;

use ::rows::{Decimal, LargeDecimal, Moment, RowWriter, Schema as RowSchema, Value, Wide};

use super::value::Logical;
use super::{Node, Schema};
use crate::avro::datum::Reader;
use types::Types;

const CHECKED: &str = "the whole datum was checked";
/// Digits of a decimal that 128 bits hold.
const DIGITS_SHORT: u8 = 38;
const NANOS: i64 = 1_000_000_000;
const NANOS_OF_DAY: i64 = 86_400 * NANOS;
/// Maximum number of zeros at the end of a `big-decimal`, or of digits after its point.
const BIG_SCALE_MAX: i64 = 1000;
/// Why a value or a type does not fit: the path from inside, and the problem.
struct Misfit {
    path: Vec<String>,
    problem: String,
}

impl From<String> for Misfit {
    fn from(problem: String) -> Self {
        Self { path: Vec::new(), problem }
    }
}

impl From<&str> for Misfit {
    fn from(problem: &str) -> Self {
        problem.to_owned().into()
    }
}

impl Misfit {
    fn within(mut self, name: &str) -> Self {
        self.path.push(name.to_owned());
        self
    }

    fn text(mut self) -> String {
        self.path.reverse();
        match self.path.is_empty() {
            true => self.problem,
            false => format!("`{}`: {}", self.path.join("."), self.problem),
        }
    }
}

impl Schema {
    /// Returns the schema of its records as typed rows.
    ///
    /// # Errors
    /// Rows cannot have one of its types; the error names the field.
    pub fn rows(&self) -> Result<RowSchema, String> {
        let Node::Record(fields) = &self.nodes[self.root] else {
            return Err("the schema is not a record, so its values have no names".to_owned());
        };
        let columns = Types::new(self).fields(fields).map_err(Misfit::text)?;
        RowSchema::new(columns).map_err(|problem| format!("its row {problem}"))
    }

    /// Appends a record as a row of this schema, which [`Schema::rows`] has returned.
    ///
    /// # Errors
    /// The bytes are not a record, or a value does not fit its type; the error names the field.
    /// `out` then ends with a part of the row.
    pub fn put_row(&self, rows: &RowSchema, datum: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.check(datum).map_err(|problem| problem.to_string())?;
        let Node::Record(fields) = &self.nodes[self.root] else { unreachable!("it has rows") };
        let (mut reader, mut row) = (Reader::new(datum), rows.begin(out));
        self.put_fields(fields, &mut reader, &mut row).map_err(Misfit::text)?;
        row.finish().map_err(|problem| problem.to_string())
    }

    fn put_fields(
        &self,
        fields: &[(Box<str>, usize)],
        reader: &mut Reader<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Misfit> {
        let mut fields = fields.iter();
        fields.try_for_each(|(name, node)| {
            self.put(*node, reader, row).map_err(|misfit| misfit.within(name))
        })
    }

    /// Copies the next value of a datum into the row.
    fn put(
        &self,
        node: usize,
        reader: &mut Reader<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Misfit> {
        let logical = self.logical.get(&node);
        let value = match &self.nodes[node] {
            Node::Null => Value::Null,
            Node::Boolean => Value::Bool(reader.boolean().expect(CHECKED)),
            Node::Int => {
                let number = i32::try_from(reader.long().expect(CHECKED)).expect(CHECKED);
                match logical {
                    Some(Logical::Date) => Value::Date(number),
                    Some(Logical::TimeOfDay(parts)) => time_of_day(number.into(), *parts)?,
                    _ => Value::Int32(number),
                }
            }
            Node::Long => {
                let number = reader.long().expect(CHECKED);
                match logical {
                    Some(Logical::Timestamp(parts)) => Value::TimestampUtc(at(number, *parts)),
                    Some(Logical::LocalTimestamp(parts)) => Value::Timestamp(at(number, *parts)),
                    Some(Logical::TimeOfDay(parts)) => time_of_day(number, *parts)?,
                    _ => Value::Int64(number),
                }
            }
            Node::Float => Value::Float32(f32::from_le_bytes(array(reader))),
            Node::Double => Value::Float64(f64::from_le_bytes(array(reader))),
            Node::Text => match (reader.text().expect(CHECKED), logical) {
                (text, Some(Logical::TextUuid)) => uuid(text)?,
                (text, _) => return Ok(row.push(Value::Text(text)).map_err(mismatch)?),
            },
            Node::Enum(symbols) => {
                let symbol = reader.branch(symbols.len()).expect(CHECKED);
                return Ok(row.push(Value::Text(&symbols[symbol])).map_err(mismatch)?);
            }
            Node::Bytes => return bytes(reader.bytes().expect(CHECKED), logical, row),
            Node::Fixed(length) => {
                return bytes(reader.take(*length).expect(CHECKED), logical, row);
            }
            Node::Record(fields) => {
                let mut inner = row.nest().map_err(mismatch)?;
                self.put_fields(fields, reader, &mut inner)?;
                return Ok(inner.finish().map_err(mismatch)?);
            }
            Node::Array(item) | Node::Map(item) => {
                let is_map = matches!(&self.nodes[node], Node::Map(_));
                return self.put_items(*item, is_map, reader, row);
            }
            Node::Union(branches) => return self.put_branch(branches, reader, row),
        };
        Ok(row.push(value).map_err(mismatch)?)
    }

    /// Copies an array or a map.
    fn put_items(
        &self,
        item: usize,
        is_map: bool,
        reader: &mut Reader<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Misfit> {
        let mut inner = row.nest().map_err(mismatch)?;
        loop {
            let count = reader.block().expect(CHECKED);
            if count == 0 {
                return Ok(inner.finish().map_err(mismatch)?);
            }
            for _ in 0..count {
                if is_map {
                    let key = reader.text().expect(CHECKED);
                    inner.push(Value::Text(key)).map_err(mismatch)?;
                }
                self.put(item, reader, &mut inner)?;
            }
        }
    }

    /// Copies a union: the value of its only type, or a struct with a field for each type.
    fn put_branch(
        &self,
        branches: &[usize],
        reader: &mut Reader<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Misfit> {
        let chosen = branches[reader.branch(branches.len()).expect(CHECKED)];
        let is_value = |branch: &&usize| self.nodes[**branch] != Node::Null;
        let values = branches.iter().filter(is_value).count();
        if self.nodes[chosen] == Node::Null || values == 1 {
            return self.put(chosen, reader, row);
        }
        let mut inner = row.nest().map_err(mismatch)?;
        for branch in branches.iter().filter(is_value) {
            if *branch == chosen {
                self.put(*branch, reader, &mut inner)?;
            } else {
                inner.push(Value::Null).map_err(mismatch)?;
            }
        }
        Ok(inner.finish().map_err(mismatch)?)
    }
}

fn mismatch(mismatch: ::rows::Mismatch) -> String {
    mismatch.to_string()
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> [u8; N] {
    reader.take(N).expect(CHECKED).try_into().expect("so many bytes")
}

/// Returns a time of `count` units since 1970. The largest and smallest number are the infinities.
fn at(count: i64, parts: i64) -> Moment {
    match count {
        i64::MAX => Moment::INFINITY,
        i64::MIN => Moment::NEG_INFINITY,
        count => {
            let nanos = count.rem_euclid(parts) * (NANOS / parts);
            Moment { seconds: count.div_euclid(parts), nanos: nanos as u32 }
        }
    }
}

fn time_of_day(count: i64, parts: i64) -> Result<Value<'static>, String> {
    let nanos = count.checked_mul(NANOS / parts).filter(|it| (0..=NANOS_OF_DAY).contains(it));
    let time = nanos.map(Value::Time);
    time.ok_or_else(|| format!("{count}/{parts} s is not a time of day"))
}

fn uuid(text: &str) -> Result<Value<'static>, String> {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let is_valid = |(at, byte): (usize, u8)| match byte {
        b'-' => is_dash(at),
        byte => byte.is_ascii_hexdigit() && !is_dash(at),
    };
    if text.len() != 36 || !text.bytes().enumerate().all(is_valid) {
        return Err("a text that is not a UUID".to_owned());
    }
    let number = u128::from_str_radix(&text.replace('-', ""), 16);
    let number = number.map_err(|_| "a text that is not a UUID")?;
    Ok(Value::Uuid(number.to_be_bytes()))
}

/// Appends bytes of fixed or variable length.
fn bytes(bytes: &[u8], logical: Option<&Logical>, row: &mut RowWriter<'_>) -> Result<(), Misfit> {
    let value = match logical {
        Some(Logical::Decimal { precision, scale }) => decimal(bytes, *precision, *scale)?,
        Some(Logical::Uuid) => Value::Uuid(bytes.try_into().expect("its size is 16")),
        Some(Logical::Duration) => {
            let mut parts = row.nest().map_err(mismatch)?;
            for part in bytes.as_chunks().0 {
                parts.push(Value::Uint32(u32::from_le_bytes(*part))).map_err(mismatch)?;
            }
            return Ok(parts.finish().map_err(mismatch)?);
        }
        Some(Logical::BigDecimal) => {
            let text = big_decimal(bytes).ok_or(
                "a malformed `big-decimal`, or one with over 76 digits or over 1000 zeros",
            )?;
            return Ok(row.push(Value::Text(&text)).map_err(mismatch)?);
        }
        _ => Value::Bytes(bytes),
    };
    Ok(row.push(value).map_err(mismatch)?)
}

fn decimal(bytes: &[u8], precision: u8, scale: u8) -> Result<Value<'static>, String> {
    let digits = Wide::from_be_bytes(bytes).filter(|digits| digits.fits(precision));
    let digits = digits.ok_or_else(|| format!("a decimal with more than {precision} digits"))?;
    Ok(match digits.to_i128().filter(|_| precision <= DIGITS_SHORT) {
        Some(digits) => Value::Decimal(Decimal { digits, scale }),
        None => Value::LargeDecimal(LargeDecimal { digits, scale }),
    })
}

/// Returns the text of a decimal that contains its scale.
fn big_decimal(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let digits = Wide::from_be_bytes(reader.bytes().ok()?).filter(|digits| digits.fits(76))?;
    let scale = reader.long().ok().filter(|scale| scale.abs() <= BIG_SCALE_MAX)?;
    if !reader.rest().is_empty() {
        return None;
    }
    let mut text = Vec::new();
    Value::LargeDecimal(LargeDecimal { digits, scale: 0 }).put_text(&mut text);
    let text = String::from_utf8(text).ok()?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
    let zeros = usize::try_from(-scale).unwrap_or(0);
    let places = usize::try_from(scale).unwrap_or(0);
    let digits = match digits {
        "0" => format!("{:0>1$}", "", places + 1),
        digits => format!("{:0>1$}{2}", digits, places + 1, "0".repeat(zeros)),
    };
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let point = if places > 0 { "." } else { "" };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests;
