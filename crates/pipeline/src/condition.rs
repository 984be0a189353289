//! The condition: selects events by an expression.
//!
//! The plain conditions of `filter`, `route`, `sample` and `mask` are settings of these
//! interceptors. A condition in another language is a component, so that only programs that use it
//! contain the dependencies of its language.

use crate::batch::Events;

/// Decides for which events it is true.
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
    /// Clears the flag of each event for which it is not true. `wanted` has one flag for each
    /// event. Events whose flag is not set are skipped, and their flag stays as it is.
    ///
    /// Cannot fail and does not panic. Takes bounded time for an event, whatever its contents, and
    /// allocates nothing for it. Depends only on the event and the settings.
    fn narrow(&self, events: &Events, wanted: &mut [bool]);
}
