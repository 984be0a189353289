//! The beginning of a program: the library is what the build says, or nothing begins.

use rustls::crypto::CryptoProvider;
use thiserror::Error;

use crate::tls::provider;

/// Why a program of a FIPS build does not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "cannot start this FIPS build: {0}; reinstall a program that was built as described in \
     docs/fips.md"
)]
pub struct NotStarted(&'static str);

/// What the library says of itself.
#[derive(Debug, Clone, Copy)]
struct State {
    is_mode_on: bool,
    has_passed: bool,
    is_tls_approved: bool,
}

/// Called once, before a program uses any cryptography. In a FIPS build the self-tests of the
/// module run (it has checked its own integrity before `main`, and ends the process if that fails),
/// and its provider becomes that of clients which ask for none, such as that of MySQL. Answers the
/// name of the module: `None` in the default build.
///
/// # Errors
/// In a FIPS build: the module is not in its FIPS mode, or fails a self-test, or TLS would be
/// spoken by something else.
pub fn start() -> Result<Option<String>, NotStarted> {
    if crate::IS_FIPS {
        // One that was there before it is looked at below.
        let _ = CryptoProvider::install_default((*provider()).clone());
    }
    begin(state())
}

/// The name of the module of a FIPS build, with its version.
pub fn module() -> Option<String> {
    #[cfg(feature = "fips")]
    return Some(format!("AWS-LC FIPS {}", aws_lc_rs::awslc_version()));
    #[cfg(not(feature = "fips"))]
    None
}

#[cfg(not(feature = "fips"))]
fn state() -> Option<(State, String)> {
    None
}

#[cfg(feature = "fips")]
fn state() -> Option<(State, String)> {
    let state = State {
        is_mode_on: aws_lc_rs::try_fips_mode().is_ok(),
        has_passed: aws_lc_rs::try_fips_self_test().is_ok(),
        is_tls_approved: provider().fips()
            && CryptoProvider::get_default().is_some_and(|it| it.fips()),
    };
    module().map(|name| (state, name))
}

fn begin(module: Option<(State, String)>) -> Result<Option<String>, NotStarted> {
    let Some((state, name)) = module else { return Ok(None) };
    match state {
        State { is_mode_on: false, .. } => {
            Err(NotStarted("its cryptographic module is not in FIPS mode"))
        }
        State { has_passed: false, .. } => {
            Err(NotStarted("its cryptographic module failed its self-tests"))
        }
        State { is_tls_approved: false, .. } => {
            Err(NotStarted("its TLS does not use the cryptographic module"))
        }
        State { .. } => Ok(Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_not_what_it_should_be_starts_nothing() {
        let good = State { is_mode_on: true, has_passed: true, is_tls_approved: true };
        let begun = |state| begin(Some((state, "the module".to_owned())));
        assert_eq!(begun(good), Ok(Some("the module".to_owned())));
        for (bad, part) in [
            (State { is_mode_on: false, ..good }, "not in FIPS mode"),
            (State { has_passed: false, ..good }, "failed its self-tests"),
            (State { is_tls_approved: false, ..good }, "TLS does not use"),
        ] {
            let error = begun(bad).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("docs/fips.md"), "{error}");
        }
    }

    #[test]
    fn a_program_starts_with_the_library_of_its_build() {
        let module = start().unwrap();
        assert_eq!(module.is_some(), crate::IS_FIPS, "{module:?}");
        assert_eq!(provider().fips(), crate::IS_FIPS);
        let is_default = CryptoProvider::get_default().is_some_and(|it| it.fips());
        assert_eq!(is_default, crate::IS_FIPS);
    }
}
