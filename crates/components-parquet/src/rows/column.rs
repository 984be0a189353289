//! A column of a row group: which form its values have, and those of some rows as texts.

use std::collections::BTreeMap;

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::schema::types::ColumnDescPtr;

use super::value;

/// What the values of a column are, beyond how they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are stored.
    Plain,
    /// Whole numbers without a sign.
    Unsigned,
    /// So many digits stand behind the point.
    Decimal(usize),
    Day,
    /// Of a day; a second has so many parts.
    Time(i64),
    /// A second has so many parts.
    Instant {
        parts: i64,
        is_utc: bool,
    },
    Text,
    Uuid,
}

impl Form {
    /// # Errors
    /// Why values of the column are not read: what it is.
    pub(super) fn of(column: &ColumnDescPtr) -> Result<Self, String> {
        if column.path().parts().len() > 1 || column.max_rep_level() > 0 {
            return Err(
                "within another one, or has several values in a row: cast it to a text, or \
                        leave it out where the file is written"
                    .to_owned(),
            );
        }
        let parts = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        let instant = |parts| Self::Instant { parts, is_utc: true };
        let decimal = || usize::try_from(column.type_scale()).map(Self::Decimal);
        let negative = |_| "a decimal with a negative scale".to_owned();
        Ok(match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _) => Self::Text,
            (Some(LogicalType::Date), _) => Self::Day,
            (Some(LogicalType::Time(it)), _) => Self::Time(parts(&it.unit)),
            (Some(LogicalType::Timestamp(it)), _) => {
                Self::Instant { parts: parts(&it.unit), is_utc: it.is_adjusted_to_u_t_c }
            }
            (Some(LogicalType::Integer(it)), _) if it.is_signed => Self::Plain,
            (Some(LogicalType::Integer(_)), _) => Self::Unsigned,
            (Some(LogicalType::Uuid), _) => Self::Uuid,
            (Some(LogicalType::Decimal(_)), _) | (_, ConvertedType::DECIMAL) => {
                decimal().map_err(negative)?
            }
            (Some(LogicalType::Unknown | LogicalType::Bson), _) => Self::Plain,
            (Some(other), _) => return Err(format!("of the type {other:?}, which is not read")),
            (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => Self::Text,
            (None, ConvertedType::DATE) => Self::Day,
            (None, ConvertedType::TIME_MILLIS) => Self::Time(1_000),
            (None, ConvertedType::TIME_MICROS) => Self::Time(1_000_000),
            (None, ConvertedType::TIMESTAMP_MILLIS) => instant(1_000),
            (None, ConvertedType::TIMESTAMP_MICROS) => instant(1_000_000),
            (
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Self::Unsigned,
            (None, ConvertedType::INTERVAL) => {
                return Err("of the type INTERVAL, which is not read".to_owned());
            }
            // Days of nanoseconds, as Hive, Impala and Spark wrote times.
            (None, _) if column.physical_type() == Physical::INT96 => instant(1_000_000_000),
            (None, _) => Self::Plain,
        })
    }
}

/// A column, and its values of some rows.
pub(super) struct Column {
    /// Its name, as JSON.
    pub(super) name: String,
    form: Form,
    /// The level of a value that is there.
    levels: i16,
    pages: ColumnReader,
    /// The values as JSON, one behind the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    problems: BTreeMap<usize, String>,
}

impl Column {
    pub(super) fn new(name: &str, form: Form, levels: i16, pages: ColumnReader) -> Self {
        Self {
            name: serde_json::Value::from(name).to_string(),
            form,
            levels,
            pages,
            text: String::new(),
            ends: Vec::new(),
            problems: BTreeMap::new(),
        }
    }

    /// The value of a row that was read, and what is wrong with it.
    pub(super) fn value(&self, row: usize) -> (&str, Option<&str>) {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let problem = self.problems.get(&row).map(String::as_str);
        (&self.text[begin..self.ends[row]], problem)
    }

    /// Reads the values of so many rows over those that were read before.
    ///
    /// # Errors
    /// The pages are damaged.
    pub(super) fn read(&mut self, rows: usize) -> ParquetResult<()> {
        self.text.clear();
        self.ends.clear();
        self.problems.clear();
        let (form, levels) = (self.form, self.levels);
        let mut values = Values {
            rows,
            levels,
            text: &mut self.text,
            ends: &mut self.ends,
            problems: &mut self.problems,
        };
        match &mut self.pages {
            ColumnReader::BoolColumnReader(it) => values.read(it, |it, out| {
                out.push_str(if *it { "true" } else { "false" });
                Ok(())
            }),
            ColumnReader::Int32ColumnReader(it) => {
                values.read(it, |it, out| value::whole(form, i64::from(*it), *it as u32, out))
            }
            ColumnReader::Int64ColumnReader(it) => {
                values.read(it, |it, out| value::whole(form, *it, *it as u64, out))
            }
            ColumnReader::Int96ColumnReader(it) => {
                values.read(it, |it, out| value::nanos(it.data(), out))
            }
            ColumnReader::FloatColumnReader(it) => values.read(it, |it, out| {
                value::number(&it.to_string(), it.is_finite(), out);
                Ok(())
            }),
            ColumnReader::DoubleColumnReader(it) => values.read(it, |it, out| {
                value::number(&it.to_string(), it.is_finite(), out);
                Ok(())
            }),
            ColumnReader::ByteArrayColumnReader(it) => {
                values.read(it, |it, out| value::bytes(form, it.data(), out))
            }
            ColumnReader::FixedLenByteArrayColumnReader(it) => {
                values.read(it, |it, out| value::bytes(form, it.data(), out))
            }
        }
    }
}

/// Where values go.
struct Values<'a> {
    rows: usize,
    levels: i16,
    text: &'a mut String,
    ends: &'a mut Vec<usize>,
    problems: &'a mut BTreeMap<usize, String>,
}

impl Values<'_> {
    fn read<T: DataType>(
        &mut self,
        pages: &mut ColumnReaderImpl<T>,
        put: impl Fn(&T::T, &mut String) -> Result<(), String>,
    ) -> ParquetResult<()> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        while self.ends.len() < self.rows {
            values.clear();
            levels.clear();
            let rows = self.rows - self.ends.len();
            let (found, ..) = pages.read_records(rows, Some(&mut levels), None, &mut values)?;
            if found == 0 {
                return Err(ParquetError::EOF("it has fewer values than rows".to_owned()));
            }
            let mut values = values.iter();
            for row in 0..found {
                let is_there = self.levels == 0 || levels.get(row) == Some(&self.levels);
                match is_there.then(|| values.next()).flatten() {
                    None => self.text.push_str("null"),
                    Some(value) => {
                        if let Err(problem) = put(value, self.text) {
                            self.problems.insert(self.ends.len(), problem);
                        }
                    }
                }
                self.ends.push(self.text.len());
            }
        }
        Ok(())
    }
}
