//! What changes or drops events on their way in.

use pipeline::{Entry, Interceptor};

/// All of them.
pub static ALL: &[Entry<dyn Interceptor>] = &[];
