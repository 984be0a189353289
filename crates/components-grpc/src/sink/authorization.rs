//! The header that proves the name of this agent to the next one, where there is a token.

use hyper::header::HeaderValue;
use pipeline::Env;
use tls::{SecretFileError, TokenFile};

/// The header by the file as it is now.
///
/// # Errors
/// The file cannot be used.
pub(super) async fn authorization(
    env: &Env,
    file: Option<&TokenFile>,
) -> Result<Option<HeaderValue>, SecretFileError> {
    let Some(file) = file.cloned() else { return Ok(None) };
    let disk = env.disk.clone();
    let token = env.offload(move || file.read(&*disk)).await?;
    let text = format!("Bearer {}", token.secret.expose());
    let mut value = HeaderValue::from_str(&text).expect("a token is of ASCII");
    // So that no layer shows it, or keeps it for other headers.
    value.set_sensitive(true);
    Ok(Some(value))
}
