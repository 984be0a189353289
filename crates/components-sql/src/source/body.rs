//! The body of an event: the values of a row, in the format of the settings.

use std::sync::Arc;

use ::rows::{Column as TypedColumn, Moment, Schema, Value as Typed};
use formats::{calendar, csv};
use tokio_postgres::types::{FromSql, Type};

use super::array::Array;
use super::datum::unscaled;
use super::kind::Kind;
use super::query::Column;
use super::wire::Wire;
use crate::error::SqlError;
use crate::meaning::Meaning;
use crate::value::{Encoder, Form, Value};

/// The values of a row.
pub(super) enum Values {
    /// Interpreted values.
    Plain(Vec<Value>),
    /// Values as PostgreSQL sent them, from this column on.
    Binary(tokio_postgres::Row, usize),
}

/// Encodes rows as bodies.
pub(super) struct BodyEncoder {
    plain: Encoder,
    form: Form,
    columns: Vec<Column>,
    typed: Option<TypedForm>,
}

/// Typed rows.
struct TypedForm {
    schema: Schema,
    header: Arc<str>,
}

/// Headers that belong to a body.
#[derive(Default)]
pub(super) struct BodyHeaders {
    /// The schema of a typed row.
    pub(super) schema: Option<Arc<str>>,
    /// Why the row does not have its form. Its body is JSON then.
    pub(super) problem: Option<String>,
}

/// The bytes of a value in the binary format.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Kind {
    /// Returns the type in a row.
    pub(super) fn in_row(self) -> ::rows::Type {
        use ::rows::Type;
        match self {
            Self::Bool => Type::Bool,
            Self::Int32 => Type::Int32,
            Self::Int64 => Type::Int64,
            Self::Float => Type::Float32,
            Self::Double => Type::Float64,
            Self::Decimal { precision, scale } => {
                Type::Decimal { precision: precision as u8, scale: scale as u8 }
            }
            Self::Date => Type::Date,
            Self::Timestamp => Type::TimestampUtc,
            Self::Json => Type::Json,
            Self::Text => Type::Text,
        }
    }

    /// Converts a value that a database returned as text; `None` if it does not fit. `scratch`
    /// holds its text.
    fn typed<'a>(self, value: &Value, scratch: &'a mut String) -> Option<Typed<'a>> {
        if *value == Value::Null {
            return Some(Typed::Null);
        }
        *scratch = value.text();
        let text = &**scratch;
        Some(match self {
            Self::Bool => Typed::Bool(text.parse().ok()?),
            Self::Int32 => Typed::Int32(text.parse().ok()?),
            Self::Int64 => Typed::Int64(text.parse().ok()?),
            Self::Float => Typed::Float32(text.parse().ok()?),
            Self::Double => Typed::Float64(text.parse().ok()?),
            Self::Decimal { precision, scale } => {
                let digits = unscaled(text, precision, scale)?;
                Typed::Decimal(::rows::Decimal { digits, scale: scale as u8 })
            }
            Self::Date => Typed::Date(calendar::day(text)?),
            Self::Timestamp => Typed::TimestampUtc(match text {
                "infinity" => Moment::INFINITY,
                "-infinity" => Moment::NEG_INFINITY,
                _ => Moment::from_nanos(calendar::nanos(text)?)?,
            }),
            Self::Json => Typed::Json(text),
            Self::Text => Typed::Text(text),
        })
    }
}

impl Column {
    /// Returns the type in a row.
    pub(super) fn in_row(&self) -> ::rows::Type {
        let kind = self.wire.kind(self.kind).unwrap_or_else(|| self.kind.in_row());
        if self.is_list { ::rows::Type::List(Box::new(kind)) } else { kind }
    }

    /// Reads a value, or an item of a list, in the binary format; `None` if it is malformed.
    fn value<'a>(&self, raw: Option<&'a [u8]>, scratch: &'a mut String) -> Option<Typed<'a>> {
        match raw {
            Some(raw) => self.typed(raw, scratch),
            None => Some(Typed::Null),
        }
    }

    fn typed<'a>(&self, raw: &'a [u8], scratch: &'a mut String) -> Option<Typed<'a>> {
        if self.wire != Wire::Cast {
            return self.wire.value(raw, scratch);
        }
        let text = std::str::from_utf8(raw).ok()?;
        match (&self.meaning, self.kind) {
            (Meaning::Native, Kind::Text) => Some(Typed::Text(text)),
            (meaning, kind) => kind.typed(&meaning.value(text.to_owned()), scratch),
        }
    }
}

impl BodyEncoder {
    /// Creates the encoder for rows of these columns.
    ///
    /// # Errors
    /// Typed rows cannot have these columns.
    pub(super) fn new(form: Form, columns: Vec<Column>) -> Result<Self, SqlError> {
        let form = match form {
            Form::Avro(_) => Form::Avro(columns.iter().map(|it| it.kind).collect()),
            form => form,
        };
        let names: Vec<String> = columns.iter().map(|it| it.name.clone()).collect();
        let typed = (form == Form::Rows).then(|| TypedForm::new(&columns)).transpose()?;
        // A row that does not fit becomes JSON.
        let plain = if form == Form::Rows { Form::Json } else { form.clone() };
        Ok(Self { plain: Encoder::new(plain, &names), form, columns, typed })
    }

    /// Overwrites `body` with the row. Returns its headers.
    ///
    /// # Errors
    /// The server sent a malformed value.
    pub(super) fn encode(
        &self,
        values: &Values,
        body: &mut Vec<u8>,
    ) -> Result<BodyHeaders, SqlError> {
        body.clear();
        let schema = self.typed.as_ref().map(|it| it.header.clone());
        match (values, &self.typed, &self.form) {
            (Values::Binary(row, first), Some(typed), _) => {
                let problem = self.put_binary(row, *first, &typed.schema, body)?;
                Ok(BodyHeaders { schema: schema.filter(|_| problem.is_none()), problem })
            }
            (Values::Binary(row, first), None, Form::Csv { delimiter, null }) => {
                self.put_line(row, *first, (*delimiter, null.as_bytes()), body)?;
                Ok(BodyHeaders::default())
            }
            (Values::Binary(..), None, _) => unreachable!("other formats read texts"),
            (Values::Plain(values), Some(typed), _) => {
                let Err(at) = self.put_typed(values, &typed.schema, body) else {
                    return Ok(BodyHeaders { schema, problem: None });
                };
                self.plain.encode(values, body);
                let Column { name, kind, .. } = &self.columns[at];
                let problem = format!(
                    "column \"{name}\": a value does not fit the type {kind} of the column; \
                     correct the row in the database, or cast the column in a `query`"
                );
                Ok(BodyHeaders { schema: None, problem: Some(problem) })
            }
            (Values::Plain(values), None, _) => {
                Ok(BodyHeaders { schema: None, problem: self.plain.encode(values, body) })
            }
        }
    }

    /// Passes each column and its value in the binary format to `take`.
    fn each(
        &self,
        row: &tokio_postgres::Row,
        first: usize,
        mut take: impl FnMut(&Column, Option<&[u8]>, &mut String) -> Option<()>,
    ) -> Result<(), SqlError> {
        let mut scratch = String::new();
        for (at, column) in self.columns.iter().enumerate() {
            let value = row.try_get::<_, Option<Raw<'_>>>(first + at).ok();
            let raw = value.map(|value| value.map(|Raw(raw)| raw));
            raw.and_then(|raw| take(column, raw, &mut scratch)).ok_or_else(|| {
                SqlError::Misfit {
                    problem: format!(
                        "the server sent a malformed value of the column `{}`; cast the column to \
                         text in a `query`, and report this as a bug",
                        column.name
                    ),
                }
            })?;
        }
        Ok(())
    }

    /// Appends a typed row. If an array is not a list, writes a JSON object instead, and returns
    /// the reason.
    fn put_binary(
        &self,
        row: &tokio_postgres::Row,
        first: usize,
        schema: &Schema,
        body: &mut Vec<u8>,
    ) -> Result<Option<String>, SqlError> {
        let (mut problem, mut writer) = (None, schema.begin(body));
        self.each(row, first, |column, raw, scratch| {
            let Some(raw) = raw.filter(|_| column.is_list) else {
                return writer.push(column.value(raw, scratch)?).ok();
            };
            let array = Array::read(raw)?;
            if array.dimensions() > 1 {
                problem.get_or_insert_with(|| {
                    let (name, dimensions) = (&column.name, array.dimensions());
                    format!(
                        "column \"{name}\": an array with {dimensions} dimensions is not a list; \
                         set `arrays = \"json\"`, or select `to_json({name})`"
                    )
                });
                return writer.push(Typed::Null).ok();
            }
            let mut list = writer.nest().ok()?;
            array.each(|item| list.push(column.value(item, scratch)?).ok())?;
            list.finish().ok()
        })?;
        writer.finish().expect("a value for each column");
        if problem.is_some() {
            body.clear();
            self.put_object(row, first, body)?;
        }
        Ok(problem)
    }

    fn put_object(
        &self,
        row: &tokio_postgres::Row,
        first: usize,
        body: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        self.each(row, first, |column, raw, scratch| {
            body.push(if body.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut *body, &column.name).ok()?;
            body.push(b':');
            let mut put = |raw: Option<&[u8]>, body: &mut Vec<u8>| {
                column.value(raw, scratch)?.put_json(body);
                Some(())
            };
            match raw.filter(|_| column.is_list) {
                Some(raw) => Array::read(raw)?.put_json(body, put),
                None => put(raw, body),
            }
        })?;
        body.push(b'}');
        Ok(())
    }

    fn put_line(
        &self,
        row: &tokio_postgres::Row,
        first: usize,
        (delimiter, null): (u8, &[u8]),
        body: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        let (mut text, mut is_first) = (Vec::new(), true);
        self.each(row, first, |column, raw, scratch| {
            if !std::mem::take(&mut is_first) {
                body.push(delimiter);
            }
            match column.value(raw, scratch)? {
                // Distinguish NULL from a text that looks like it.
                Typed::Null => body.extend_from_slice(null),
                Typed::Text(text) => csv::put(body, text.as_bytes(), delimiter, null),
                value => {
                    text.clear();
                    value.put_text(&mut text);
                    csv::put(body, &text, delimiter, null);
                }
            }
            Some(())
        })
    }

    /// # Errors
    /// The index of a column whose value does not fit.
    fn put_typed(
        &self,
        values: &[Value],
        schema: &Schema,
        body: &mut Vec<u8>,
    ) -> Result<(), usize> {
        let (mut row, mut scratch) = (schema.begin(body), String::new());
        for (at, (column, value)) in self.columns.iter().zip(values).enumerate() {
            let value = column.kind.typed(value, &mut scratch).ok_or(at)?;
            row.push(value).map_err(|_| at)?;
        }
        row.finish().map_err(|mismatch| mismatch.column)
    }
}

impl TypedForm {
    fn new(columns: &[Column]) -> Result<Self, SqlError> {
        let typed =
            |column: &Column| TypedColumn { name: column.name.clone(), kind: column.in_row() };
        let schema = Schema::new(columns.iter().map(typed).collect());
        let schema = schema.map_err(|problem| SqlError::Misfit {
            problem: format!("the schema of typed rows {problem}; use another `format`"),
        })?;
        let header = schema.to_text().into();
        Ok(Self { schema, header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind) -> Column {
        let selected = String::new();
        let (name, meaning, wire) = (name.to_owned(), Meaning::Native, Wire::Cast);
        Column { name, kind, selected, meaning, wire, is_list: false }
    }

    #[test]
    fn rows_of_every_database_are_typed_and_others_become_json_with_a_reason() {
        let decimal = Kind::Decimal { precision: 5, scale: 2 };
        let columns = [
            column("b", Kind::Bool),
            column("i", Kind::Int64),
            column("f", Kind::Float),
            column("d", decimal),
            column("day", Kind::Date),
            column("at", Kind::Timestamp),
            column("j", Kind::Json),
            column("t", Kind::Text),
        ];
        let encoder = BodyEncoder::new(Form::Rows, columns.to_vec()).unwrap();
        let text = |it: &str| Value::Text(it.to_owned());
        let mut values = vec![
            Value::Bool(true),
            Value::Int(i64::MIN),
            text("-Infinity"),
            text("-1.50"),
            text("0044-03-15 BC"),
            text("9999-12-31T23:59:59.999999Z"),
            Value::Raw("null".into()),
            Value::Bytes(vec![0, 255]),
        ];
        let mut body = Vec::new();
        let headers = encoder.encode(&Values::Plain(values.clone()), &mut body).unwrap();
        assert_eq!(headers.problem, None);
        let schema = Schema::parse(&headers.schema.unwrap()).unwrap();
        let mut json = Vec::new();
        schema.put_object(&body, &mut json).unwrap();
        let expected = "{\"b\":true,\"i\":-9223372036854775808,\"f\":\"-Infinity\",\"d\":\"-1.50\",\
            \"day\":\"0044-03-15 BC\",\"at\":\"9999-12-31T23:59:59.999999Z\",\"j\":null,\
            \"t\":\"AP8=\"}";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
        values[5] = text("0000-00-00 00:00:00");
        let headers = encoder.encode(&Values::Plain(values), &mut body).unwrap();
        assert_eq!(headers.schema, None);
        assert!(headers.problem.unwrap().contains("column \"at\""));
        assert!(body.starts_with(b"{\"b\":true"));
        let nulls = vec![const { Value::Null }; columns.len()];
        encoder.encode(&Values::Plain(nulls), &mut body).unwrap();
        assert!(schema.read(&body).unwrap().all(|value| value == Ok(Typed::Null)));
    }
}
