//! Inputs of a configuration from the environment: files and variables, within limits.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use pipeline::Env;
use pipeline::env::{FileKind, OpenMode};
use pipeline::settings::SettingsErrorKind as Kind;

use crate::substitute::{Problem, Reference};

/// Maximum size of a configuration with all included files: a larger file is not a configuration.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Maximum size of a referenced file: a password, a token, an address; or a table of `lookup`, the
/// largest ones have some 25 MiB.
const REFERENCE_BYTES_MAX: u64 = 32 << 20;

/// All texts with references together, which stay in memory.
pub(crate) const REFERRED_BYTES_MAX: u64 = 64 << 20;

/// Values of one configuration, with all that it includes.
pub(crate) const VALUES_MAX: usize = 100_000;

/// The problem of a configuration with more values.
pub(crate) fn too_many_values() -> String {
    format!(
        "a configuration must have at most {VALUES_MAX} values, including those of included files"
    )
}

/// Reads a whole file of at most `most` bytes as text.
///
/// # Errors
/// The problem with the file, for the user.
pub fn text(path: &Path, most: u64, env: &Env) -> Result<String, String> {
    String::from_utf8(bytes(path, most, env)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("is not UTF-8 in line {line}; save the file as UTF-8")
    })
}

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// The problem with the file, for the user.
pub fn bytes(path: &Path, most: u64, env: &Env) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait.
    if env.disk.stat(path).map_err(cannot)?.kind != FileKind::File {
        return Err("cannot be read: it is not a regular file".to_owned());
    }
    let file = env.disk.open(path, OpenMode::default()).map_err(cannot)?;
    let length = file.stat().map_err(cannot)?.len;
    if length > most {
        return Err(format!(
            "has {length} bytes; at most {most} are allowed; name another file, or divide it"
        ));
    }
    file.read(0, usize::try_from(length).unwrap_or_default()).map_err(cannot)
}

/// Returns the value of a reference; a path is relative to `directory`.
///
/// # Errors
/// The variable or file does not exist.
pub(crate) fn find(
    reference: Reference<'_>,
    directory: &Path,
    env: &Env,
) -> Result<String, Problem> {
    match reference {
        Reference::Variable { name, default } => {
            let value = env.blocking.variable(name);
            let value = value.map(std::ffi::OsString::into_string).transpose();
            let value = value.map_err(|_| {
                (
                    Kind::Unresolved,
                    format!("environment variable `{name}` is not UTF-8; set it to UTF-8 text"),
                )
            })?;
            match (value, default) {
                (Some(value), None) => Ok(value),
                (Some(value), Some(_)) if !value.is_empty() => Ok(value),
                (_, Some(default)) => Ok(default.to_owned()),
                (None, None) => Err((
                    Kind::Unresolved,
                    format!(
                        "environment variable `{name}` is not set; set it, or write a default: \
                         `${{{name}:-…}}`"
                    ),
                )),
            }
        }
        Reference::File(path) => {
            let read = text(&directory.join(path), REFERENCE_BYTES_MAX, env);
            let mut text =
                read.map_err(|problem| (Kind::Unresolved, format!("file `{path}` {problem}")))?;
            if text.ends_with('\n') {
                text.pop();
                text.truncate(text.strip_suffix('\r').map_or(text.len(), str::len));
            }
            Ok(text)
        }
    }
}

/// Returns `true` if the text is a pattern, and `false` if it names one file.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// Returns the files of a pattern below `directory`, in the order of their names. Names with a
/// leading dot need a pattern with a leading dot.
///
/// # Errors
/// The pattern is invalid, or a directory cannot be read: the problem, for the user.
pub(crate) fn matching(pattern: &str, directory: &Path, env: &Env) -> Result<Vec<PathBuf>, String> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let root = if pattern.starts_with('/') { Path::new("/") } else { directory };
    let mut found = vec![root.to_owned()];
    for (index, part) in parts.iter().enumerate() {
        if !is_pattern(part) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        if part.contains("**") {
            return Err("`**` is not supported; name each level: `*/*.toml`".to_owned());
        }
        let glob = GlobBuilder::new(part).literal_separator(true).build();
        let glob = glob
            .map_err(|error| {
                format!("is not a pattern: {error}; write for example `parts/*.toml`")
            })?
            .compile_matcher();
        let wanted = if index + 1 == parts.len() { FileKind::File } else { FileKind::Directory };
        let mut next = Vec::new();
        for base in found {
            // An empty path is the current directory.
            let listed = if base.as_os_str().is_empty() { Path::new(".") } else { &base };
            let entries = env.disk.list(listed);
            let entries =
                entries.map_err(|error| format!("{} cannot be read: {error}", listed.display()))?;
            for (name, _) in entries {
                let is_hidden = name.starts_with('.') && !part.starts_with('.');
                let path = base.join(&name);
                let is_wanted = || env.disk.stat(&path).is_ok_and(|it| it.kind == wanted);
                if !is_hidden && glob.is_match(&name) && is_wanted() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    Ok(found)
}
