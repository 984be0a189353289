//! `job`: saved calls. Each is a file with its options, without a password. The data directory of
//! an import has its position, so a job needs no state of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pipeline::Env;
use pipeline::env::{FileKind, small_file};
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};
use sqoop::{Job, JobCall, Notes, World};

use super::execute;
use crate::ending::HostContext;

/// Ending of the files.
const ENDING: &str = "json";

/// Maximum size of a file.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Runs a call of `job`.
pub(super) fn run(options: &[String], env: &Env) -> ExitCode {
    let mut notes = Notes::default();
    let call = JobCall::read(options, &mut notes);
    notes.0.iter().for_each(|note| cli::print_line(&note.to_string()));
    let call = match call {
        Ok(call) => call,
        Err(problem) => {
            cli::print_line(&format!("refused: job: {problem}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let Some(home) = HostContext(env).variable("HOME") else {
        cli::print_line("job: HOME is not set: set it to the directory that has .aqueduct/jobs");
        return ExitCode::from(EXIT_RUNTIME);
    };
    let jobs = Jobs { directory: Path::new(&home).join(".aqueduct/jobs"), env };
    let done = match call {
        JobCall::Create { name, job } => jobs.create(&name, &job),
        JobCall::Show(name) => jobs.show(&name),
        JobCall::Delete(name) => jobs.delete(&name),
        JobCall::List => jobs.list(),
        JobCall::Exec { name, options } => jobs.read(&name).map(|job| {
            let tool = job.tool.clone();
            execute(&Job { tool, options: job.with(&options) }, env)
        }),
    };
    done.unwrap_or_else(|problem| {
        cli::print_line(&format!("job: {problem}"));
        ExitCode::from(EXIT_RUNTIME)
    })
}

fn missing(name: &str) -> String {
    format!("no job named `{name}` exists: `aqueduct sqoop job --list` prints all names")
}

/// The saved calls of a user.
struct Jobs<'a> {
    directory: PathBuf,
    env: &'a Env,
}

impl Jobs<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{ENDING}"))
    }

    fn failed(&self, name: &str, error: &io::Error) -> String {
        format!("{}: {error}", self.file(name).display())
    }

    fn create(&self, name: &str, job: &Job) -> Result<ExitCode, String> {
        let (file, disk) = (self.file(name), &*self.env.disk);
        if disk.stat(&file).is_ok() {
            return Err(format!(
                "the job `{name}` exists: delete it with `aqueduct sqoop job --delete {name}`, or \
                 use another name"
            ));
        }
        let failed = |error| self.failed(name, &error);
        let text = serde_json::to_string_pretty(job).map_err(|error| error.to_string())?;
        disk.create_dir_all(&self.directory).map_err(failed)?;
        small_file::replace(disk, &file, format!("{text}\n").as_bytes()).map_err(failed)?;
        cli::print_line(&format!("job: saved `{name}` in {}", file.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, name: &str) -> Result<Job, String> {
        let failed = |error| self.failed(name, &error);
        let found = small_file::find(&*self.env.disk, &self.file(name)).map_err(failed)?;
        let file = found.ok_or_else(|| missing(name))?;
        let mut text = vec![0; FILE_BYTES_MAX];
        let length = file.read_at(&mut text, 0).map_err(failed)?;
        serde_json::from_slice(&text[..length]).map_err(|error| {
            format!(
                "{} is damaged: {error}; delete the job with `aqueduct sqoop job --delete {name}` \
                 and create it again",
                self.file(name).display()
            )
        })
    }

    fn show(&self, name: &str) -> Result<ExitCode, String> {
        let Job { tool, options } = self.read(name)?;
        let words = options.iter().map(|word| match word.contains(['\'', ' ', '$', '"', '\\']) {
            true => format!("'{}'", word.replace('\'', "'\\''")),
            false => word.clone(),
        });
        let words: Vec<String> = std::iter::once(tool).chain(words).collect();
        Ok(cli::print(&format!("aqueduct sqoop {}\n", words.join(" "))))
    }

    fn delete(&self, name: &str) -> Result<ExitCode, String> {
        // Without reading it: a damaged one can be deleted, too.
        self.env.disk.remove_file(&self.file(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(name),
            _ => self.failed(name, &error),
        })?;
        cli::print_line(&format!(
            "job: deleted `{name}`; the data directory of its import, which has the position, \
             stays in ~/.aqueduct/import"
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self) -> Result<ExitCode, String> {
        let found = match self.env.disk.list(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found.map_err(|error| format!("{}: {error}", self.directory.display()))?,
        };
        let files = found.into_iter().filter(|(_, kind)| *kind != FileKind::Directory);
        let mut names: Vec<String> = files
            .filter_map(|(name, _)| Some(name.strip_suffix(&format!(".{ENDING}"))?.to_owned()))
            .collect();
        names.sort();
        let text = names.iter().fold(String::new(), |text, name| text + name + "\n");
        Ok(cli::print(&text))
    }
}
