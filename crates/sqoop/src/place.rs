//! The locations of a call: the database, and the directory of the files.

use std::fmt;

use crate::World;
use crate::given::Given;
use crate::jdbc;
use crate::notes::{Notes, Outcome};

/// The variable that has the password, if it is not in a file.
pub const PASSWORD_VARIABLE: &str = "SQOOP_PASSWORD";

/// The origin of a password. A configuration refers to a file, or to [`PASSWORD_VARIABLE`].
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// A file of this host.
    File(String),
    /// The variable of the environment.
    Variable,
    /// The terminal, or standard input.
    Prompt,
    /// The command line.
    Given(String),
}

/// Without the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Variable => f.write_str("Variable"),
            Self::Prompt => f.write_str("Prompt"),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

/// The connection to a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) tls: bool,
}

/// Returns the connection to the database, and the schema in the URL.
pub(crate) fn database(
    given: &Given,
    world: &dyn World,
    notes: &mut Notes,
) -> (Database, Option<String>) {
    let Some(url) = given.get("connect") else {
        notes.refuse("--connect", "name the database: `jdbc:postgresql://host:port/name`");
        return (Database::default(), None);
    };
    let place = match jdbc::place(url) {
        Ok(place) => place,
        Err(problem) => {
            notes.refuse("--connect", problem);
            return (Database::default(), None);
        }
    };
    if place.has_password {
        let text = "a password in a URL is shown in logs; write it to a file that only its owner \
                    can read, and pass --password-file";
        notes.refuse("--connect", text);
    }
    if !place.ignored.is_empty() {
        let text = format!("parameters of the driver have no effect: {}", place.ignored.join(", "));
        notes.add(Outcome::Ignored, "--connect", text);
    }
    let password_file = given.get("password-file").and_then(|path| {
        let local = path.strip_prefix("file://").or_else(|| path.strip_prefix("file:"));
        match local.unwrap_or(path) {
            remote if remote.contains("://") => {
                let text = format!(
                    "`{remote}` is not a file on this host; copy it from there to this host, and \
                     give its absolute path"
                );
                notes.refuse("--password-file", text);
                None
            }
            relative if !relative.starts_with('/') => {
                let text = format!(
                    "`{relative}` is a relative path, which Sqoop looks up in HDFS; give the \
                     absolute path of a file on this host, such as `/etc/aqueduct/password`"
                );
                notes.refuse("--password-file", text);
                None
            }
            local => Some(local.to_owned()),
        }
    });
    let database = Database {
        url: place.url,
        user: given.get("username").map(str::to_owned).or(place.user),
        password: password_file.map(Password::File).or_else(|| password(given, world)),
        tls: place.tls,
    };
    (database, place.schema)
}

/// Returns the origin of a password that is not in a file.
fn password(given: &Given, world: &dyn World) -> Option<Password> {
    let on_command_line = given.get("password").map(|value| Password::Given(value.to_owned()));
    let prompt = || given.has("password-prompt").then_some(Password::Prompt);
    let variable = || world.variable(PASSWORD_VARIABLE).map(|_| Password::Variable);
    on_command_line.or_else(prompt).or_else(variable)
}

/// The URL of the directory.
pub(crate) fn target(
    given: &Given,
    table: Option<&str>,
    world: &dyn World,
    notes: &mut Notes,
) -> String {
    let (option, path) = match (given.get("target-dir"), given.get("warehouse-dir"), table) {
        (Some(path), _, _) => ("--target-dir", path.to_owned()),
        (None, Some(below), Some(table)) => {
            ("--warehouse-dir", format!("{}/{table}", below.trim_end_matches('/')))
        }
        (None, None, Some(table)) => ("--target-dir", table.to_owned()),
        _ => {
            notes.refuse("--target-dir", "name the target directory");
            return String::new();
        }
    };
    if path.contains('%') {
        notes.refuse(option, "`%` starts an escape in a URL: use another name");
    }
    located(given, option, &path, world, notes)
}

/// The URL of a path as Hadoop has it.
pub(crate) fn located(
    given: &Given,
    option: &str,
    path: &str,
    world: &dyn World,
    notes: &mut Notes,
) -> String {
    let path = path.trim_end_matches('/');
    if let Some((scheme, rest)) = path.split_once("://") {
        let scheme = if scheme == "s3a" || scheme == "s3n" { "s3" } else { scheme };
        if !rest.starts_with('/') || scheme == "file" {
            return format!("{scheme}://{rest}");
        }
        return below(given, option, rest, world, notes);
    }
    if let Some(path) = path.strip_prefix("file:") {
        return format!("file://{path}");
    }
    // Without an authority, Hadoop takes that of its default file system.
    let path = path.strip_prefix("hdfs:").unwrap_or(path);
    if path.starts_with('/') {
        return below(given, option, path, world, notes);
    }
    // cron sets only LOGNAME.
    let user =
        ["HADOOP_USER_NAME", "USER", "LOGNAME"].into_iter().find_map(|it| world.variable(it));
    let Some(user) = user else {
        notes.refuse(option, "the path is relative, and USER is not set: use an absolute path");
        return String::new();
    };
    below(given, option, &format!("/user/{user}/{path}"), world, notes)
}

/// A path in the default file system.
fn below(given: &Given, option: &str, path: &str, world: &dyn World, notes: &mut Notes) -> String {
    let default = given.get("default-fs").or_else(|| given.get("fs"));
    let default = default.or_else(|| given.properties.get("fs.defaultFS").map(|it| &**it));
    let site = if default.is_none() { world.default_fs() } else { None };
    match default.or(site.as_deref()) {
        Some("local" | "file:///" | "file://") => format!("file://{path}"),
        Some(store) => format!("{}{path}", store.trim_end_matches('/')),
        None => {
            let text = "it has no scheme: write `hdfs://namenode:8020/…`, pass --default-fs \
                        hdfs://namenode:8020, or set `fs.defaultFS` in the core-site.xml of \
                        HADOOP_CONF_DIR";
            notes.refuse(option, text);
            path.to_owned()
        }
    }
}

/// Maximum size of a name: a digest of 9 bytes is appended, and 64 bytes are allowed.
const NAME_BYTES_MAX: usize = 55;

/// A name for parts of a configuration: it begins with a letter or a digit. Tables may share one.
pub(crate) fn name_of(table: &str) -> String {
    let last = table.rsplit('.').next().unwrap_or(table);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name = last.chars().map(plain).skip_while(|c| *c == '_');
    let name: String = name.take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "rows".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn each_table_has_a_name_that_a_configuration_takes() {
        for (table, expected) in [
            ("shop.Orders", "orders"),
            ("_prisma_migrations", "prisma_migrations"),
            ("Überweisung", "berweisung"),
            ("Größe", "gr__e"),
            ("注文", "rows"),
            ("__", "rows"),
            ("2026 orders", "2026_orders"),
        ] {
            assert_eq!(name_of(table), expected, "{table}");
        }
        assert_eq!(name_of(&"x".repeat(63)), "x".repeat(55));
    }
}
