//! Bounds for external values: nesting depth and number.
//!
//! Most libraries decode nested values recursively, and use dozens of bytes for a value of one
//! byte. So the bytes are checked first, without recursion and without memory for the values, and
//! the library gets only values within the bounds.

use thiserror::Error;

/// Maximum nesting depth: a list of a list of texts has depth 3.
pub const DEPTH_MAX: usize = 64;

/// Maximum number of values in a message, including nested ones.
pub const VALUES_MAX: usize = 1 << 16;

/// Reason why values are not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Beyond {
    /// They are nested too deep.
    #[error(
        "the values in the message are nested deeper than {DEPTH_MAX} levels; correct the program \
         that sends it"
    )]
    Depth,
    /// There are too many.
    #[error(
        "the message contains more than {VALUES_MAX} values; correct the program that sends it"
    )]
    Values,
}

/// Number of values so far.
#[derive(Debug, Clone, Default)]
pub struct Count {
    values: usize,
}

impl Count {
    /// Counts a value within `depth` others.
    ///
    /// # Errors
    /// Fails if it exceeds a bound.
    pub fn value(&mut self, depth: usize) -> Result<(), Beyond> {
        self.values += 1;
        if depth >= DEPTH_MAX {
            return Err(Beyond::Depth);
        }
        if self.values > VALUES_MAX { Err(Beyond::Values) } else { Ok(()) }
    }

    /// Returns the number of values.
    pub fn values(&self) -> usize {
        self.values
    }
}
