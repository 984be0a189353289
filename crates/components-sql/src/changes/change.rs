//! The parts of a change in any log: positions, transaction names, values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// A position in the server's log.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Lsn {
    /// Parses PostgreSQL's notation.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |digits| u32::from_str_radix(digits, 16).ok().map(u64::from);
        Some(Self(half(high)? << 32 | half(low)?))
    }
}

/// The database's name of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Xid {
    /// PostgreSQL.
    Number(u32),
    /// MariaDB.
    Gtid(Gtid),
    /// MySQL: the server that committed it first, and its number there.
    Numbered { server: u128, number: u64 },
}

/// Domain, server and number of a MariaDB transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gtid {
    pub(super) domain: u32,
    pub(super) server: u32,
    pub(super) number: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.number)
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Gtid(gtid) => write!(f, "{gtid}"),
            Self::Numbered { server, number } => {
                let digits = format!("{server:032x}");
                let (first, rest) = digits.split_at(8);
                let part = |at: usize| &rest[4 * at..4 * at + 4];
                write!(f, "{first}-{}-{}-{}-{}:{number}", part(0), part(1), part(2), &rest[12..])
            }
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    /// A long value that did not change: the server does not send it.
    Unchanged,
    /// Text in PostgreSQL's format.
    Text(String),
    /// A decoded value.
    Value(Value),
}

pub(super) type Row = Vec<Cell>;

/// A row before a change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Old {
    /// Whether it is the whole row; otherwise only the key.
    pub(super) is_whole: bool,
    pub(super) row: Row,
}
