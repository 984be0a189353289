//! The condition in a language: which events an expression holds for.
//!
//! The plain conditions of `filter`, `route`, `sample` and `mask` are settings of these
//! interceptors. A condition of another kind is a component, so that what its language brings with
//! it is only in the programs that have it.

use crate::batch::Events;

/// Says for which events it holds.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::{Batch, Condition, Events};
///
/// /// Holds for bodies of at most so many bytes.
/// struct Short(usize);
///
/// impl Condition for Short {
///     fn narrow(&self, events: &Events, wanted: &mut [bool]) {
///         for (event, wanted) in events.iter().zip(wanted) {
///             *wanted = *wanted && event.body().len() <= self.0;
///         }
///     }
/// }
///
/// let batch = Batch::of(["a", "abcd", "ab"]);
/// let mut wanted = [true, true, false];
/// Short(2).narrow(&batch, &mut wanted);
/// assert_eq!(wanted, [true, false, false]);
/// ```
pub trait Condition: Send + Sync {
    /// Clears the flag of each event for which it does not hold. `wanted` has one flag for each
    /// event. An event whose flag is not set is not looked at, and its flag stays as it is.
    ///
    /// Cannot fail and does not panic. Takes bounded time for an event, whatever is in it, and
    /// allocates nothing for it. Is a function of the event and the settings alone.
    fn narrow(&self, events: &Events, wanted: &mut [bool]);
}
