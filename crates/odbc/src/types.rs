//! Values, columns and problems.

use std::fmt;

/// A value on its way to or from a driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A bit.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number of four bytes with a fraction.
    Single(f32),
    /// The same of eight.
    Double(f64),
    /// A text, and all that drivers write as one: decimals, dates, times, GUIDs.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The type of a column, as its driver describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bit.
    Bool,
    /// A whole number of 32 bits or fewer.
    Int32,
    /// A whole number that `i64` holds.
    Int64,
    /// A whole number of 64 bits without a sign: a text.
    Unsigned,
    /// A decimal number: a text.
    Decimal {
        /// All digits; 0 if the driver does not say.
        precision: u32,
        /// Those behind the point.
        scale: u32,
    },
    /// A number of four bytes with a fraction.
    Single,
    /// The same of eight.
    Double,
    /// A date: a text.
    Date,
    /// A time of the day: a text.
    Time,
    /// Date and time: a text.
    Timestamp,
    /// The same with its offset from UTC, a type of SQL Server: a text.
    Offset,
    /// A GUID: a text.
    Guid,
    /// Bytes.
    Bytes,
    /// A text.
    Text,
    /// A type of the database's own: a text.
    Other,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Most characters or bytes of a value; `None` if there is no bound that is known.
    pub length: Option<usize>,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The SQLSTATE; empty if there is none.
    pub state: String,
    /// The database's own number.
    pub native: i32,
    /// What the driver or the driver manager says.
    pub message: String,
}

impl Problem {
    /// One without a number.
    pub(crate) fn new(state: &str, message: impl Into<String>) -> Self {
        Self { state: state.to_owned(), native: 0, message: message.into() }
    }

    /// As that of a connection that is gone, which a driver may call an error like any other.
    pub fn of_dead(mut self) -> Self {
        if !self.is_of_connection() {
            self.message = format!("{}: {}", self.state, self.message);
            "08S01".clone_into(&mut self.state);
        }
        self
    }

    /// The connection is gone: what was sent last may be done or not.
    pub fn is_of_connection(&self) -> bool {
        self.state.starts_with("08") && self.state != "08004"
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.state, self.message)
    }
}
