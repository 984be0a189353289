//! An expression as a tree in which every part has a type, and what it is for an event.

use std::cmp::Ordering;

use memchr::memmem::{self, Finder};
use pipeline::EventRef;
use regex::bytes::Regex;

use super::numbers::{Double, Int};

/// Bytes of an event that all parts of an expression together look at.
pub(super) const LOOKED_AT_MAX: usize = 4 << 20;

/// The expression cannot be worked out for this event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// An event that is looked at, and how much of it may still be.
pub(super) struct Look<'a> {
    event: EventRef<'a>,
    left: usize,
}

impl<'a> Look<'a> {
    pub(super) fn at(event: EventRef<'a>) -> Self {
        Self { event, left: LOOKED_AT_MAX }
    }

    /// Counts a text that is looked at.
    pub(super) fn takes(&mut self, bytes: usize) -> Result<(), Failed> {
        self.left = self.left.checked_sub(bytes).ok_or(Failed)?;
        Ok(())
    }
}

/// `condition ? one : other`.
pub(super) type Choice<T> = Box<(Bool, T, T)>;

/// The part that counts.
pub(super) fn chosen<'t, T>(choice: &'t Choice<T>, look: &mut Look<'t>) -> Result<&'t T, Failed> {
    let (condition, one, other) = &**choice;
    Ok(if condition.of(look)? { one } else { other })
}

/// `==`, `!=`, `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Compare {
    /// Whether it holds. With a number that is none, only `!=` does.
    fn holds(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (Self::NotEqual, None) => true,
            (_, None) => false,
            (Self::Equal, Some(order)) => order.is_eq(),
            (Self::NotEqual, Some(order)) => order.is_ne(),
            (Self::Less, Some(order)) => order.is_lt(),
            (Self::AtMost, Some(order)) => order.is_le(),
            (Self::Greater, Some(order)) => order.is_gt(),
            (Self::AtLeast, Some(order)) => order.is_ge(),
        }
    }
}

/// A text: bytes, which are mostly UTF-8.
#[derive(Debug)]
pub(super) enum Text {
    Constant(Box<[u8]>),
    Body,
    Header(Box<str>),
    Choice(Choice<Text>),
}

impl Text {
    fn of<'a>(&'a self, look: &mut Look<'a>) -> Result<&'a [u8], Failed> {
        match self {
            Self::Constant(text) => Ok(text),
            Self::Body => Ok(look.event.body()),
            Self::Header(name) => look.event.header(name).map(str::as_bytes).ok_or(Failed),
            Self::Choice(choice) => chosen(choice, look)?.of(look),
        }
    }

    /// The text, all of which is looked at.
    pub(super) fn whole<'a>(&'a self, look: &mut Look<'a>) -> Result<&'a [u8], Failed> {
        let text = self.of(look)?;
        look.takes(text.len())?;
        Ok(text)
    }
}

/// Both texts; of each, as much is looked at as the shorter one has.
fn both<'a>(texts: &'a (Text, Text), look: &mut Look<'a>) -> Result<[&'a [u8]; 2], Failed> {
    let (one, other) = (texts.0.of(look)?, texts.1.of(look)?);
    look.takes(one.len().min(other.len()))?;
    Ok([one, other])
}

/// Something that is true or false.
#[derive(Debug)]
pub(super) enum Bool {
    Constant(bool),
    Not(Box<Bool>),
    And(Box<(Bool, Bool)>),
    Or(Box<(Bool, Bool)>),
    Choice(Choice<Bool>),
    Same(Box<(Bool, Bool)>),
    Has(Box<str>),
    Texts(Compare, Box<(Text, Text)>),
    Ints(Compare, Box<(Int, Int)>),
    Doubles(Compare, Box<(Double, Double)>),
    TextIn(Text, Box<[Box<[u8]>]>),
    IntIn(Int, Box<[i64]>),
    /// `contains` with a constant.
    Finds(Text, Box<Finder<'static>>),
    Contains(Box<(Text, Text)>),
    StartsWith(Box<(Text, Text)>),
    EndsWith(Box<(Text, Text)>),
    Matches(Text, Regex),
}

impl Bool {
    /// What it is for the event.
    pub(super) fn of<'a>(&'a self, look: &mut Look<'a>) -> Result<bool, Failed> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Not(inner) => Ok(!inner.of(look)?),
            // As CEL has it: one side can decide where the other fails.
            Self::And(sides) => either(sides, false, look),
            Self::Or(sides) => either(sides, true, look),
            Self::Choice(choice) => chosen(choice, look)?.of(look),
            Self::Same(sides) => Ok(sides.0.of(look)? == sides.1.of(look)?),
            Self::Has(name) => Ok(look.event.header(name).is_some()),
            Self::Texts(compare, texts) => {
                let [one, other] = both(texts, look)?;
                Ok(compare.holds(Some(one.cmp(other))))
            }
            Self::Ints(compare, sides) => {
                Ok(compare.holds(Some(sides.0.of(look)?.cmp(&sides.1.of(look)?))))
            }
            Self::Doubles(compare, sides) => {
                Ok(compare.holds(sides.0.of(look)?.partial_cmp(&sides.1.of(look)?)))
            }
            Self::TextIn(text, list) => {
                let text = text.whole(look)?;
                Ok(list.iter().any(|one| **one == *text))
            }
            Self::IntIn(number, list) => {
                let number = number.of(look)?;
                Ok(list.contains(&number))
            }
            Self::Finds(text, wanted) => Ok(wanted.find(text.whole(look)?).is_some()),
            Self::Contains(texts) => {
                let (text, wanted) = (texts.0.whole(look)?, texts.1.whole(look)?);
                Ok(memmem::find(text, wanted).is_some())
            }
            Self::StartsWith(texts) => {
                let [text, wanted] = both(texts, look)?;
                Ok(text.starts_with(wanted))
            }
            Self::EndsWith(texts) => {
                let [text, wanted] = both(texts, look)?;
                Ok(text.ends_with(wanted))
            }
            Self::Matches(text, pattern) => Ok(pattern.is_match(text.whole(look)?)),
        }
    }
}

/// `decides` where one side is that, the other value where both are the other; fails else.
fn either<'a>(sides: &'a (Bool, Bool), decides: bool, look: &mut Look<'a>) -> Result<bool, Failed> {
    let first = sides.0.of(look);
    if first == Ok(decides) {
        return first;
    }
    match sides.1.of(look) {
        Ok(second) if second == decides => Ok(decides),
        second => first.and(second),
    }
}
