//! The start of a program: checks that its cryptography matches the build.

use std::process::ExitCode;

use super::{EXIT_RUNTIME, print_line};

/// Must be called first in each program: checks that its cryptography matches the build. Returns
/// `version` with the name of the module of a FIPS build.
///
/// # Errors
/// The exit code if it is not; the reason is printed on standard error.
pub fn begin(version: &'static str) -> Result<&'static str, ExitCode> {
    match crypto::start() {
        Ok(None) => Ok(version),
        // Once in the life of a process.
        Ok(Some(module)) => Ok(Box::leak(format!("{version}, {module}").into_boxed_str())),
        Err(error) => {
            print_line(&error.to_string());
            Err(ExitCode::from(EXIT_RUNTIME))
        }
    }
}

/// Says in the log which module a FIPS build has.
pub(super) fn log_module() {
    if let Some(module) = crypto::module() {
        tracing::info!(module, "FIPS build: the cryptographic module has passed its self-tests");
    }
}
