//! The header that proves the name of this agent to the downstream agent, if a token is configured.

use hyper::header::HeaderValue;
use pipeline::Env;
use tls::{SecretFileError, TokenFile};

/// Creates the header from the current content of the file.
///
/// # Errors
/// Fails if the file cannot be used.
pub(super) async fn authorization(
    env: &Env,
    file: Option<&TokenFile>,
) -> Result<Option<HeaderValue>, SecretFileError> {
    let Some(file) = file.cloned() else { return Ok(None) };
    let disk = env.disk.clone();
    let token = env.offload(move || file.read(&*disk)).await?;
    let text = format!("Bearer {}", token.secret.expose());
    let mut value = HeaderValue::from_str(&text).expect("a token is of ASCII");
    // Keeps it out of debug output and of header compression tables.
    value.set_sensitive(true);
    Ok(Some(value))
}
