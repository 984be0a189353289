//! The tools around `import` and `export`: all tables of a database, saved jobs, and queries.

use crate::World;
use crate::given::Given;
use crate::import::Import;
use crate::notes::{Notes, Outcome};

/// Options of `import` that name one table, its rows or its directory.
const OF_ONE_TABLE: [&str; 11] = [
    "table",
    "query",
    "columns",
    "where",
    "split-by",
    "target-dir",
    "incremental",
    "check-column",
    "last-value",
    "key",
    "data-dir",
];

/// An import of all tables of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllTables {
    /// Tables to leave out.
    pub excluded: Vec<String>,
    /// The options of `import`, without `--table` and the login.
    options: Vec<String>,
    /// An import of any table: it has the database, and the password.
    pub import: Import,
}

impl AllTables {
    pub(crate) fn of(given: &Given, world: &dyn World, notes: &mut Notes) -> Self {
        for option in OF_ONE_TABLE.into_iter().filter(|option| given.has(option)) {
            let text = "does not apply to all tables: remove it, or call `import` for one table";
            notes.refuse(&format!("--{option}"), text);
        }
        let excluded = given.list("exclude-tables");
        let options = given.written(&["exclude-tables", "table", "password", "password-prompt"]);
        let import = of_any_table(given, &["exclude-tables"], world, notes);
        Self { excluded, options, import }
    }

    /// Returns the options of `import` for one table. Without the password: the variable
    /// [`crate::PASSWORD_VARIABLE`] has it.
    pub fn options(&self, table: &str) -> Vec<String> {
        [&self.options[..], &["--table".to_owned(), table.to_owned()]].concat()
    }
}

/// A question to a database, whose answer is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its subject.
    pub about: About,
    /// An import of any table: it has the database, and the password.
    pub import: Import,
}

/// The subject of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The result of a statement.
    Statement(String),
    /// The names of the tables.
    Tables,
    /// The names of the databases of the server.
    Databases,
}

impl Question {
    pub(crate) fn of(tool: &str, given: &Given, world: &dyn World, notes: &mut Notes) -> Self {
        let about = match tool {
            "list-tables" => About::Tables,
            "list-databases" => About::Databases,
            _ => {
                let statement = given.get("query").unwrap_or_default().to_owned();
                if statement.is_empty() {
                    notes.refuse("--query", "write the SQL statement to run");
                }
                About::Statement(statement)
            }
        };
        // Nothing is stored.
        let given = given.without(&["query", "target-dir", "warehouse-dir"]);
        let given = given.with("target-dir", "file:///unused");
        Self { about, import: of_any_table(&given, &[], world, notes) }
    }
}

/// Translates an import of a table whose name is not known yet.
fn of_any_table(given: &Given, except: &[&str], world: &dyn World, notes: &mut Notes) -> Import {
    let given = given.without(except).with("table", "all");
    given.answer_import(notes);
    Import::of(&given, world, notes)
}

/// A call of `job`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobCall {
    /// Saves a call.
    Create {
        /// Name of the job.
        name: String,
        /// The saved call.
        job: Job,
    },
    /// Runs a saved call with further options, which precede the saved ones.
    Exec {
        /// Name of the job.
        name: String,
        /// The further options.
        options: Vec<String>,
    },
    /// Prints a saved call.
    Show(String),
    /// Removes a saved call.
    Delete(String),
    /// Prints the names of all saved calls.
    List,
}

/// A saved call. It has no password.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// `import`, `import-all-tables` or `export`.
    pub tool: String,
    /// The arguments after the tool.
    pub options: Vec<String>,
}

impl Job {
    /// Returns the options with which it runs: the last value of an option counts.
    pub fn with(self, more: &[String]) -> Vec<String> {
        [&self.options[..], more].concat()
    }
}

/// Longest name of a job.
const NAME_BYTES_MAX: usize = 64;

impl JobCall {
    /// Reads the arguments of `job`. Adds notes about those that have no effect.
    ///
    /// # Errors
    /// The call is not one of `job`: the reason and the remedy.
    pub fn read(arguments: &[String], notes: &mut Notes) -> Result<Self, String> {
        let split = arguments.iter().position(|it| it == "--").unwrap_or(arguments.len());
        let (own, rest) = (&arguments[..split], arguments.get(split + 1..).unwrap_or_default());
        let mut found = None;
        let mut own = own.iter();
        while let Some(argument) = own.next() {
            let (option, attached) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                let value = attached.clone().or_else(|| own.next().cloned());
                value.ok_or_else(|| format!("{option}: needs a value"))
            };
            match option {
                "--list" => found = Some(Self::List),
                "--show" => found = Some(Self::Show(named(value()?)?)),
                "--delete" => found = Some(Self::Delete(named(value()?)?)),
                "--exec" => {
                    found = Some(Self::Exec { name: named(value()?)?, options: rest.to_vec() });
                }
                "--create" => {
                    let name = named(value()?)?;
                    found = Some(Self::Create { name, job: saved(rest, notes)? });
                }
                "--meta-connect" | "--meta-username" | "--meta-password" => {
                    value()?;
                    let text = "jobs are files below ~/.aqueduct/jobs, without a metastore";
                    notes.add(Outcome::Ignored, option, text);
                }
                "--verbose" => {}
                _ => {
                    return Err(format!(
                        "{option}: not an option of `job`: write --create, --exec, --list, --show \
                         or --delete, and options of the saved tool after `--`"
                    ));
                }
            }
        }
        found.ok_or_else(|| {
            "name a job: --create NAME -- import …, --exec NAME, --show NAME, --delete NAME, or \
             --list"
                .to_owned()
        })
    }
}

/// Checks the name of a job, which is the name of a file.
fn named(name: String) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_valid =
        name.chars().all(is_plain) && !name.starts_with('.') && name.len() <= NAME_BYTES_MAX;
    match is_valid && !name.is_empty() {
        true => Ok(name),
        false => Err(format!(
            "`{name}` is not a valid name of a job: use at most {NAME_BYTES_MAX} letters, digits, \
             `.`, `_` and `-`"
        )),
    }
}

/// Returns the call to save. Its password is asked for at each run, as Sqoop does.
fn saved(words: &[String], notes: &mut Notes) -> Result<Job, String> {
    let missing = || "write the call to save after `--`: -- import --connect …".to_owned();
    let (tool, rest) = words.split_first().ok_or_else(missing)?;
    if !matches!(tool.as_str(), "import" | "import-all-tables" | "export") {
        return Err(format!(
            "`{tool}` cannot be saved: use `import`, `import-all-tables` or `export`"
        ));
    }
    let mut options = Vec::new();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let is_password = option == "--password" || option.starts_with("--password=");
        if !is_password {
            options.push(option.clone());
            continue;
        }
        if option == "--password" {
            rest.next();
        }
        options.push("-P".to_owned());
        let text = "not saved: each run asks for it; use --password-file for runs without a \
                    terminal";
        notes.add(Outcome::Differs, "--password", text);
    }
    Ok(Job { tool: tool.clone(), options })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn read(text: &str) -> (Result<JobCall, String>, Notes) {
        let mut notes = Notes::default();
        (JobCall::read(&words(text), &mut notes), notes)
    }

    #[test]
    fn a_job_is_saved_without_its_password() {
        for password in ["--password s3cret", "--password=s3cret"] {
            let call = format!("--create nightly -- import --connect c {password} --table t");
            let (found, notes) = read(&call);
            let Ok(JobCall::Create { name, job }) = found else { panic!("{found:?}") };
            assert_eq!((&*name, &*job.tool), ("nightly", "import"));
            assert_eq!(job.options, words("--connect c -P --table t"));
            assert_eq!(notes.0.len(), 1, "{notes:?}");
            assert!(!format!("{notes:?}").contains("s3cret"));
            let run = job.with(&words("--table u"));
            assert_eq!(run, words("--connect c -P --table t --table u"));
        }
    }

    #[test]
    fn each_form_of_job_is_read_and_others_are_refused_with_the_remedy() {
        let name = || "a.b-1".to_owned();
        for (text, expected) in [
            ("--list", JobCall::List),
            ("--show a.b-1", JobCall::Show(name())),
            ("--delete=a.b-1", JobCall::Delete(name())),
            (
                "--meta-connect jdbc:hsqldb:x --exec a.b-1 -- --username u",
                JobCall::Exec { name: name(), options: words("--username u") },
            ),
        ] {
            assert_eq!(read(text).0.as_ref(), Ok(&expected), "{text}");
        }
        for (text, expected) in [
            ("", "--create NAME"),
            ("--create a -- eval --query x", "`eval` cannot be saved"),
            ("--create a", "after `--`"),
            ("--exec ../a", "not a valid name"),
            ("--exec .a", "not a valid name"),
            ("--exec", "needs a value"),
            ("--table t", "not an option of `job`"),
        ] {
            let problem = read(text).0.expect_err(text);
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
