//! Converts external values to names of directories and files.

use ledger::BOOKS;

/// Maximum length of a rendered value, in bytes.
pub(super) const VALUE_MAX: usize = 128;
/// Maximum length of a name: the limit of HDFS and local file systems.
pub(super) const NAME_MAX: usize = 255;

/// Converts a value to a name, or a part of one.
pub(in crate::hdfs) fn confined(value: Option<&str>) -> String {
    let mut name = String::new();
    for byte in value.unwrap_or_default().bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
        if name.len() + if plain { 1 } else { 3 } > VALUE_MAX {
            break;
        }
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if matches!(name.as_str(), "" | "." | "..") { "_".into() } else { name }
}

/// Converts a rendered name to one that a store accepts and that is not reserved.
pub(super) fn fitted(mut name: String) -> String {
    if name.len() > NAME_MAX {
        name.truncate(name.floor_char_boundary(NAME_MAX));
    }
    if name == BOOKS { format!("%5F{}", &BOOKS[1..]) } else { name }
}

/// Parses a path below the prefix from a setting, such as `/late`.
///
/// # Errors
/// The problem with the path.
pub(in crate::hdfs) fn branch(path: &str) -> Result<String, String> {
    let names = path.strip_prefix('/').ok_or("must begin with `/`, as in `/late`")?;
    let is_plain = |name: &str| {
        confined(Some(name)) == name && name.len() <= VALUE_MAX && !name.starts_with(['_', '.'])
    };
    if !names.split('/').all(is_plain) {
        let problem = "each name of the path may only have letters, digits, `.`, `_`, `=` and `-`, \
                       must not begin with `_` or `.`, and must not be empty";
        return Err(problem.into());
    }
    Ok(names.to_owned())
}
