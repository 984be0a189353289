//! Values within a value: a list, a struct or a map.
//!
//! ```text
//!   list     count | a bit for each item: NULL  | items
//!   map      count | a bit for each value: NULL | key, value, key, value, …
//!   struct           a bit for each field: NULL | values of the fields, as in a row
//! ```

use crate::decode::{Cursor, is_null};
use crate::{Type, Value};

/// A list, struct or map. Its bytes were checked, so that reading it cannot fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nested<'a> {
    pub(crate) kind: &'a Type,
    /// Number of items, entries or fields.
    pub(crate) count: u32,
    /// NULL bits and values, without the count.
    pub(crate) bytes: &'a [u8],
}

/// A value within a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key<'a> {
    /// An item of a list.
    None,
    /// A field of a struct: its name.
    Field(&'a str),
    /// An entry of a map: its key.
    Value(Value<'a>),
}

/// Values of a list, struct or map, in order.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    kind: &'a Type,
    nulls: &'a [u8],
    values: Cursor<'a>,
    next: usize,
    count: usize,
}

const CHECKED: &str = "the value was checked when its row was read";

impl<'a> Nested<'a> {
    /// Returns the type.
    pub fn kind(&self) -> &'a Type {
        self.kind
    }

    /// Returns the number of items, entries or fields.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether it is an empty list or map.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the values, each with its key.
    ///
    /// # Panics
    /// Never: the bytes were checked.
    pub fn items(self) -> Items<'a> {
        let count = self.len();
        let (nulls, rest) = self.bytes.split_at_checked(count.div_ceil(8)).expect(CHECKED);
        Items { kind: self.kind, nulls, values: Cursor::new(rest), next: 0, count }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (Key<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next;
        if at == self.count {
            return None;
        }
        self.next += 1;
        let (key, kind) = match self.kind {
            Type::List(item) => (Key::None, &**item),
            Type::Map { key, value } => {
                (Key::Value(self.values.value(key).expect(CHECKED)), &**value)
            }
            Type::Struct(fields) => (Key::Field(&fields[at].name), &fields[at].kind),
            _ => unreachable!("only these types are nested"),
        };
        let is_null = is_null(self.nulls, at);
        let value = if is_null { Value::Null } else { self.values.value(kind).expect(CHECKED) };
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}
