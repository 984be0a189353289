//! Credential stores of Hadoop, for the config filter `hadoop`.

mod bytes;
mod java;
mod jceks;

use crate::World;

/// The default password of a store, as in Hadoop.
const PASSWORD: &str = "none";

/// The variable that Hadoop checks first for the password.
const VARIABLE: &str = "HADOOP_CREDSTORE_PASSWORD";

/// Returns the secret with a name, from the first store that has it. `paths` is the value of
/// `credential.provider.path`, separated by commas; `password_file` is the file of the password.
///
/// # Errors
/// A store cannot be read, or no store has the secret: the problem and the remedy.
pub(crate) fn secret(
    paths: &str,
    password_file: Option<&str>,
    name: &str,
    world: &dyn World,
) -> Result<String, String> {
    let password = password(password_file, world)?;
    for path in paths.split(',').map(str::trim).filter(|path| !path.is_empty()) {
        let file = local(path)?;
        let store = world.file(&file).map_err(|problem| format!("{file}: {problem}"))?;
        let wrong = |problem| {
            format!(
                "cannot read the credential store {file}: {problem}; set {VARIABLE}, or \
                 `credstore.java-keystore-provider.password-file`"
            )
        };
        let Some(found) = jceks::secret(&store, &password, name).map_err(wrong)? else { continue };
        return String::from_utf8(found).map_err(|_| {
            format!("the credential `{name}` in {file} is not UTF-8; store it again as text")
        });
    }
    let provider = paths.split(',').next().unwrap_or_default().trim();
    Err(format!(
        "the credential `{name}` is missing in `{paths}`; create it with `hadoop credential \
         create {name} -provider {provider}`"
    ))
}

fn password(file: Option<&str>, world: &dyn World) -> Result<String, String> {
    if let Some(password) = world.variable(VARIABLE) {
        return Ok(password);
    }
    let Some(file) = file else { return Ok(PASSWORD.to_owned()) };
    let text = world.file(file).map_err(|problem| format!("{file}: {problem}"))?;
    let text =
        String::from_utf8(text).map_err(|_| format!("the password file {file} is not UTF-8"))?;
    Ok(text.trim().to_owned())
}

/// The file of `jceks://file/PATH` and `localjceks://file/PATH`.
fn local(path: &str) -> Result<String, String> {
    let rest = path.strip_prefix("jceks://").or_else(|| path.strip_prefix("localjceks://"));
    let file = rest.and_then(|rest| rest.strip_prefix("file/"));
    file.map(|file| format!("/{file}")).ok_or_else(|| {
        format!(
            "cannot read the remote credential store `{path}`; copy it to this host and write \
             jceks://file/PATH"
        )
    })
}
