//! The numbers of an expression: whole ones and those with a fraction, which are not mixed.

use super::tree::{Choice, Failed, Look, Text, chosen};

/// A whole number of 64 bits. What does not fit fails, as CEL has it.
#[derive(Debug)]
pub(super) enum Int {
    Constant(i64),
    /// `int(…)` of a text.
    Parsed(Text),
    /// `int(…)` of a number with a fraction, which is cut off.
    Cut(Box<Double>),
    /// `size(…)`: characters.
    Size(Text),
    Negated(Box<Int>),
    Worked(Arithmetic, Box<(Int, Int)>),
    Choice(Choice<Int>),
}

/// A number with a fraction, as IEEE 754 has it.
#[derive(Debug)]
pub(super) enum Double {
    Constant(f64),
    /// `double(…)` of a text.
    Parsed(Text),
    /// `double(…)` of a whole number.
    Widened(Box<Int>),
    Negated(Box<Double>),
    Worked(Arithmetic, Box<(Double, Double)>),
    Choice(Choice<Double>),
}

/// `+`, `-`, `*`, `/` and, of whole numbers, `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Int {
    pub(super) fn of<'a>(&'a self, look: &mut Look<'a>) -> Result<i64, Failed> {
        match self {
            Self::Constant(number) => Ok(*number),
            Self::Parsed(text) => parsed(text, look),
            Self::Cut(number) => {
                let number = number.of(look)?;
                // The bound is the first number that does not fit; what is none fits nowhere.
                let fits = number.abs() < 9_223_372_036_854_775_808.0;
                if fits { Ok(number as i64) } else { Err(Failed) }
            }
            Self::Size(text) => {
                let chunks = text.whole(look)?.utf8_chunks();
                let characters = chunks.map(|chunk| {
                    chunk.valid().chars().count() + usize::from(!chunk.invalid().is_empty())
                });
                i64::try_from(characters.sum::<usize>()).map_err(|_| Failed)
            }
            Self::Negated(number) => number.of(look)?.checked_neg().ok_or(Failed),
            Self::Worked(how, sides) => {
                let (one, other) = (sides.0.of(look)?, sides.1.of(look)?);
                let worked = match how {
                    Arithmetic::Add => one.checked_add(other),
                    Arithmetic::Subtract => one.checked_sub(other),
                    Arithmetic::Multiply => one.checked_mul(other),
                    Arithmetic::Divide => one.checked_div(other),
                    Arithmetic::Remainder => one.checked_rem(other),
                };
                worked.ok_or(Failed)
            }
            Self::Choice(choice) => chosen(choice, look)?.of(look),
        }
    }
}

impl Double {
    pub(super) fn of<'a>(&'a self, look: &mut Look<'a>) -> Result<f64, Failed> {
        match self {
            Self::Constant(number) => Ok(*number),
            Self::Parsed(text) => parsed(text, look),
            Self::Widened(number) => Ok(number.of(look)? as f64),
            Self::Negated(number) => Ok(-number.of(look)?),
            Self::Worked(how, sides) => {
                let (one, other) = (sides.0.of(look)?, sides.1.of(look)?);
                Ok(match how {
                    Arithmetic::Add => one + other,
                    Arithmetic::Subtract => one - other,
                    Arithmetic::Multiply => one * other,
                    Arithmetic::Divide => one / other,
                    Arithmetic::Remainder => one % other,
                })
            }
            Self::Choice(choice) => chosen(choice, look)?.of(look),
        }
    }
}

/// The number that a text is, without blanks around it.
fn parsed<'a, T: std::str::FromStr>(text: &'a Text, look: &mut Look<'a>) -> Result<T, Failed> {
    let text = std::str::from_utf8(text.whole(look)?).map_err(|_| Failed)?;
    text.parse().map_err(|_| Failed)
}
