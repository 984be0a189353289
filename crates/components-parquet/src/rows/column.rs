//! A column of a row group: the form of its values, and some rows as texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::column::page::PageReader;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::schema::types::ColumnDescPtr;

use super::value;

/// Rows per read of a column without lists.
const STEP_ROWS: usize = 64;

/// Number of entries at which no further rows are read.
const ENTRIES_FULL: usize = 1 << 16;

/// Maximum size of a value as text; longer values exceed the limit of an event.
const VALUE_BYTES_MAX: usize = 32 << 20;

/// How to interpret the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As stored.
    Plain,
    /// Unsigned integers.
    Unsigned,
    /// A decimal with this scale.
    Decimal(usize),
    Day,
    /// A time of day, with this many units per second.
    Time(i64),
    /// A timestamp, with this many units per second.
    Instant {
        parts: i64,
        is_utc: bool,
    },
    Text,
    Uuid,
}

impl Form {
    /// # Errors
    /// The name of an unsupported column type.
    pub(super) fn new(column: &ColumnDescPtr) -> Result<Self, String> {
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
            (Some(other), _) => return Err(format!("the unsupported type {other:?}")),
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
                return Err("the unsupported type INTERVAL".to_owned());
            }
            // Timestamps with a day and nanoseconds, as written by Hive, Impala and Spark.
            (None, _) if column.physical_type() == Physical::INT96 => instant(1_000_000_000),
            (None, _) => Self::Plain,
        })
    }
}

/// A leaf column, with the entries of some rows: values, and missing values.
pub(super) struct Column {
    /// Its path, for messages.
    pub(super) path: String,
    form: Form,
    /// Definition level of a present value.
    levels: i16,
    pages: ColumnReader,
    has_lists: bool,
    /// Entries of the pages read for the last row: see [`super::pages::Bounded`].
    came: Arc<AtomicU64>,
    entries: Entries,
    /// The next entry.
    next: usize,
}

/// Decoded entries of a column.
#[derive(Default)]
struct Entries {
    /// Concatenated JSON values, and the end of each.
    text: String,
    ends: Vec<usize>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    problems: BTreeMap<usize, String>,
}

impl Column {
    pub(super) fn new(
        path: String,
        form: Form,
        (descriptor, came): (ColumnDescPtr, Arc<AtomicU64>),
        pages: Box<dyn PageReader>,
    ) -> Self {
        let (levels, has_lists) = (descriptor.max_def_level(), descriptor.max_rep_level() > 0);
        let pages = get_column_reader(descriptor, pages);
        let entries = Entries::default();
        Self { path, form, levels, pages, has_lists, came, entries, next: 0 }
    }

    /// Returns whether all entries have been consumed.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.entries.ends.len()
    }

    /// Returns the size of the values.
    pub(super) fn bytes(&self) -> usize {
        self.entries.text.len()
    }

    /// Returns the definition level of the next entry.
    pub(super) fn definition(&self) -> i16 {
        self.entries.definitions.get(self.next).copied().unwrap_or(0)
    }

    /// Returns the repetition level of the next entry, 0 for a new row; `None` at the end.
    pub(super) fn repetition(&self) -> Option<i16> {
        self.entries.repetitions.get(self.next).copied()
    }

    /// Appends the next entry as JSON. Sets `problem`, unless it is already set.
    pub(super) fn take(&mut self, out: &mut String, problem: &mut Option<String>) {
        let Entries { text, ends, problems, .. } = &self.entries;
        let begin = self.next.checked_sub(1).and_then(|before| ends.get(before)).unwrap_or(&0);
        let end = ends.get(self.next).unwrap_or(begin);
        out.push_str(if begin == end { "null" } else { &text[*begin..*end] });
        if let (Some(found), None) = (problems.get(&self.next), &problem) {
            *problem = Some(found.clone());
        }
        self.next += 1;
    }

    /// Skips the next entry.
    pub(super) fn pass_over(&mut self) {
        self.next += 1;
    }

    /// Returns whether all entries of a row are consumed, and none of the next one.
    pub(super) fn is_between_rows(&self) -> bool {
        match self.repetition() {
            Some(repetition) => repetition == 0,
            None => self.is_empty(),
        }
    }

    /// Reads the values of up to this many further rows: at least one, and no more after `full`
    /// bytes.
    ///
    /// # Errors
    /// The pages are damaged, or the values have more than `most` bytes.
    pub(super) fn read(&mut self, rows: usize, (full, most): (usize, usize)) -> ParquetResult<()> {
        self.entries.clear();
        self.next = 0;
        let (form, levels) = (self.form, self.levels);
        let step = if self.has_lists { 1 } else { STEP_ROWS };
        let (came, entries) = (&*self.came, &mut self.entries);
        let mut values = Values { rows, step, full, most, came, levels, entries };
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
                values.read(it, |it, out| bytes(form, it.data(), out))
            }
            ColumnReader::FixedLenByteArrayColumnReader(it) => {
                values.read(it, |it, out| bytes(form, it.data(), out))
            }
        }
    }
}

impl Entries {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.definitions.clear();
        self.repetitions.clear();
        self.problems.clear();
    }
}

/// Collects values.
struct Values<'a> {
    rows: usize,
    /// Rows per call.
    step: usize,
    full: usize,
    most: usize,
    came: &'a AtomicU64,
    levels: i16,
    entries: &'a mut Entries,
}

impl Values<'_> {
    fn read<T: DataType>(
        &mut self,
        pages: &mut ColumnReaderImpl<T>,
        put: impl Fn(&T::T, &mut String) -> Result<(), String>,
    ) -> ParquetResult<()> {
        let (mut values, mut read) = (Vec::new(), 0);
        let Entries { text, ends, definitions, repetitions, problems } = &mut *self.entries;
        let is_full = |entries: usize, bytes: usize| entries >= ENTRIES_FULL || bytes >= self.full;
        while read < self.rows && (read == 0 || !is_full(ends.len(), text.len())) {
            values.clear();
            self.came.store(0, Ordering::Relaxed);
            let rows = self.step.min(self.rows - read);
            let levels = (Some(&mut *definitions), Some(&mut *repetitions));
            let (found, ..) = pages.read_records(rows, levels.0, levels.1, &mut values)?;
            if found == 0 {
                return Err(ParquetError::EOF("the column has fewer values than rows".to_owned()));
            }
            read += found;
            // A column that is never null has no levels.
            let entries = match self.levels {
                0 => ends.len() + values.len(),
                _ => definitions.len(),
            };
            definitions.resize(entries, 0);
            repetitions.resize(entries, 0);
            let mut values = values.iter();
            let new = ends.len();
            for (entry, definition) in definitions.iter().enumerate().skip(new) {
                let is_there = *definition == self.levels;
                if let Some(value) = is_there.then(|| values.next()).flatten()
                    && let Err(problem) = put(value, text)
                {
                    problems.insert(entry, problem);
                }
                ends.push(text.len());
                if text.len() > self.most {
                    return Err(ParquetError::General(format!(
                        "the values take more than {} bytes of memory",
                        self.most
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Converts bytes to text, up to a limit.
fn bytes(form: Form, bytes: &[u8], out: &mut String) -> Result<(), String> {
    if bytes.len() > VALUE_BYTES_MAX {
        out.push_str("null");
        return Err(format!(
            "a value of {} bytes exceeds the limit of {VALUE_BYTES_MAX}",
            bytes.len()
        ));
    }
    value::bytes(form, bytes, out)
}
