//! Bounds of values from outside: how deep they may be nested, and how many there may be.
//!
//! Most libraries decode a value within a value by a recursive call, and keep dozens of bytes for a
//! value of one byte. So the bytes are walked first, without recursion and without memory for the
//! values, and the library sees only those that are within the bounds.

use thiserror::Error;

/// Values within values: a list of a list of texts has 3.
pub const DEPTH_MAX: usize = 64;

/// Values of one message, nested ones included.
pub const VALUES_MAX: usize = 1 << 16;

/// Why values are not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Beyond {
    /// They are nested too deeply.
    #[error("its values are nested deeper than {DEPTH_MAX}")]
    Depth,
    /// There are too many.
    #[error("it has more than {VALUES_MAX} values")]
    Values,
}

/// Values that were met so far.
#[derive(Debug, Clone, Default)]
pub struct Count {
    values: usize,
}

impl Count {
    /// Meets a value within `depth` others.
    ///
    /// # Errors
    /// It is beyond a bound.
    pub fn value(&mut self, depth: usize) -> Result<(), Beyond> {
        self.values += 1;
        if depth >= DEPTH_MAX {
            return Err(Beyond::Depth);
        }
        if self.values > VALUES_MAX { Err(Beyond::Values) } else { Ok(()) }
    }

    /// How many there are.
    pub fn values(&self) -> usize {
        self.values
    }
}
