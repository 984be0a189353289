//! The version of the program.

/// The version of the program, as pages, metrics and traces show it.
pub(crate) const VERSION: &str = if crypto::IS_FIPS {
    concat!(env!("CARGO_PKG_VERSION"), " FIPS")
} else {
    env!("CARGO_PKG_VERSION")
};
