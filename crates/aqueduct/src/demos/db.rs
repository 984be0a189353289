//! `aqueduct demo db`: imports a table into files and exports it into another table. Both commands
//! are killed (-9) half-way and called again.
//!
//! ```text
//!   orders ─► aqueduct import ─► files ─► aqueduct export ─► orders_back
//!      │            ✗ killed, called again      ✗ killed, called again  │
//!      └───────────────────────── row by row ──────────────────────────┘
//! ```
//!
//! The database is a SQLite file, so nothing needs to be installed. Both commands run as processes
//! of this executable, like a user would call them.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use demo::{DemoError, Progress, grouped, open_log, read_end, say_kept};
use pipeline::Env;
use pipeline::env::FileKind;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::OtherError;

/// Rows in the table.
const ROWS: u64 = 300_000;
/// Interval between progress checks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Timeout of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// Timeout for a lock that a command has on the database.
const LOCKED: Duration = Duration::from_secs(60);

/// Values that text files must preserve: quotes, delimiters, empty text, NULL and its name.
const TABLES: &str = "\
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, items INTEGER, price REAL, \
 note TEXT);
CREATE TABLE orders_back (id INTEGER, customer TEXT NOT NULL, items INTEGER, price REAL, note TEXT);
INSERT INTO orders WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
 SELECT i, 'customer-' || (i * 7919 % 10007), CASE WHEN i % 11 THEN i % 13 END, i * 0.25,
  CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'null' WHEN 3 THEN 'a, b' ELSE
   'say \"' || i || '\"' END FROM n;";

const EXAMPLES: &str = "\
Examples:
  aqueduct demo db            a table of SQLite into files and back into another table
  aqueduct demo db --keep     keeps the database, the files and the logs

The exit code is 0 only if no row is missing, changed or repeated.";

/// Arguments of the demo with a database.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct DbArgs {
    /// Keep the database, the files and the logs
    #[arg(long)]
    keep: bool,
}

/// Runs the demo. Returns whether every row arrived exactly once.
pub(super) async fn play(args: &DbArgs) -> Result<bool, OtherError> {
    let mut scene = Scene::set(args)?;
    let result = scene.play().await;
    if result.is_err() {
        say_kept(scene.keep());
    }
    result
}

/// State of the demo.
struct Scene {
    env: Env,
    folder: TempDir,
    keeps: bool,
    progress: Progress,
}

/// A running command; killed on drop.
struct Call {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Drop for Call {
    fn drop(&mut self) {
        // Both fail only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scene {
    /// Creates the folder.
    fn set(args: &DbArgs) -> Result<Self, OtherError> {
        let folder = tempfile::Builder::new().prefix("aqueduct-demo-").tempdir();
        let folder = folder.map_err(DemoError::Folder)?;
        Ok(Self { env: env::real(), folder, keeps: args.keep, progress: Progress::new() })
    }

    /// Keeps the folder for an investigation.
    fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Plays the demo. Returns whether every row arrived exactly once.
    async fn play(&mut self) -> Result<bool, OtherError> {
        let root = self.folder.path().to_owned();
        let file = root.join("shop.db");
        let database = Connection::open(&file)?;
        database.busy_timeout(LOCKED)?;
        for statement in TABLES.split_inclusive(";\n") {
            match statement.contains("?1") {
                true => database.execute(statement, [ROWS as i64])?,
                false => database.execute(statement, [])?,
            };
        }
        let rows = grouped(ROWS);
        self.progress.say(&format!("a table of {rows} rows, in {}", file.display()));
        let (url, target) = (format!("sqlite:{}", file.display()), root.join("files"));
        let directory = format!("file://{}", target.display());
        let data = |name: &str| root.join("data").join(name).display().to_string();
        let import = [
            "--connect",
            &url,
            "--table",
            "orders",
            "--target-dir",
            &directory,
            "--data-dir",
            &data("import"),
        ];
        let begin = Instant::now();
        // A store file that is being written already contains rows.
        let stores = || self.bytes_below(&target).map(|bytes| bytes > 0);
        self.twice("import", &import, "its first rows are on their way", stores).await?;
        let imported = begin.elapsed();
        let export = [
            "--connect",
            &url,
            "--table",
            "orders_back",
            "--export-dir",
            &directory,
            "--data-dir",
            &data("export"),
        ];
        let begin = Instant::now();
        let is_half = || Ok(count(&database, "SELECT count(*) FROM orders_back")? >= ROWS / 2);
        self.twice("export", &export, "half of the rows are in the other table", is_half).await?;
        self.report(&database, imported, begin.elapsed())
    }

    /// Calls a command, kills it when `is_midway`, and calls it again.
    async fn twice(
        &self,
        name: &'static str,
        arguments: &[&str],
        what: &str,
        is_midway: impl Fn() -> Result<bool, OtherError>,
    ) -> Result<(), OtherError> {
        let mut first = self.call(name, arguments)?;
        let since = Instant::now();
        let ended = loop {
            if let Some(status) = first.ended()? {
                break Some(status);
            }
            if is_midway()? {
                break None;
            }
            too_long(since)?;
            sleep(POLL_INTERVAL).await;
        };
        if let Some(status) = ended {
            self.succeeded(&first, status)?;
            let text = "finished before it could be killed";
            self.progress.say(&format!("aqueduct {name} {text}"));
            return Ok(());
        }
        let pid = first.child.id();
        drop(first);
        self.progress.say(&format!("kill -9 {pid} (aqueduct {name}): {what}"));
        let mut again = self.call(name, arguments)?;
        let since = Instant::now();
        let status = loop {
            if let Some(status) = again.ended()? {
                break status;
            }
            too_long(since)?;
            sleep(POLL_INTERVAL).await;
        };
        self.succeeded(&again, status)?;
        self.progress.say(&format!("the same call of aqueduct {name} resumed, and is complete"));
        Ok(())
    }

    fn call(&self, name: &'static str, arguments: &[&str]) -> Result<Call, OtherError> {
        let failed = |source| DemoError::Start { name, source };
        let program = std::env::current_exe().map_err(failed)?;
        let log = self.folder.path().join(format!("{name}.log"));
        let out = open_log(&log).map_err(failed)?;
        let errors = out.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(name).args(arguments).stdin(Stdio::null()).stdout(out).stderr(errors);
        // A separate process group: Ctrl-C goes to the demo, which stops its commands itself.
        command.process_group(0);
        Ok(Call { name, log, child: command.spawn().map_err(failed)? })
    }

    fn succeeded(&self, call: &Call, status: ExitStatus) -> Result<(), OtherError> {
        if status.success() {
            return Ok(());
        }
        Err(DemoError::Ended { name: call.name, log: read_end(&self.env, &call.log) }.into())
    }

    /// Returns the total size of all files below a directory; 0 if it does not exist.
    fn bytes_below(&self, directory: &Path) -> Result<u64, OtherError> {
        let Ok(entries) = self.env.disk.list(directory) else { return Ok(0) };
        let mut bytes = 0;
        for (name, kind) in entries {
            let path = directory.join(&name);
            bytes += match kind {
                FileKind::Directory => self.bytes_below(&path)?,
                // Renames can remove the file in the meantime.
                FileKind::File => self.env.disk.stat(&path).map_or(0, |stat| stat.len),
                FileKind::Link | FileKind::Other => 0,
            };
        }
        Ok(bytes)
    }

    /// Compares the tables and prints the result.
    fn report(
        &mut self,
        database: &Connection,
        imported: Duration,
        exported: Duration,
    ) -> Result<bool, OtherError> {
        let differing = |left: &str, right: &str| {
            let rows = format!("SELECT * FROM {left} EXCEPT SELECT * FROM {right}");
            count(database, &format!("SELECT count(*) FROM ({rows})"))
        };
        let back = count(database, "SELECT count(*) FROM orders_back")?;
        let distinct = count(database, "SELECT count(DISTINCT id) FROM orders_back")?;
        let missing = differing("orders", "orders_back")?;
        let foreign = differing("orders_back", "orders")?;
        let repeated = back - distinct;
        let mut text = String::new();
        for (name, number, unit) in [
            ("rows", ROWS, " in the table"),
            ("back", back, " in the other table"),
            ("missing", missing, ""),
            ("repeated", repeated, ""),
            ("changed", foreign, ""),
        ] {
            text += &format!("{name:<9} {:>12}{unit}\n", grouped(number));
        }
        for (name, took) in [("import", imported), ("export", exported)] {
            let rate = grouped((ROWS as f64 / took.as_secs_f64()) as u64);
            text += &format!("{name:<9} {rate:>12} rows/s, with the kill and the second call\n");
        }
        let is_right = (back, missing, repeated, foreign) == (ROWS, 0, 0, 0);
        text += match is_right {
            true => "both tables are the same: every row arrived once\n",
            false => "the tables are NOT the same\n",
        };
        if self.keeps || !is_right {
            let folder = self.keep().display();
            text += &format!("all files:  {folder}; remove them with: rm -r {folder}\n");
        }
        self.progress.say(&format!("\n{}", text.trim_end()));
        Ok(is_right)
    }
}

impl Call {
    /// Returns the exit status; `None` while the process runs.
    fn ended(&mut self) -> Result<Option<ExitStatus>, DemoError> {
        let failed = |source: io::Error| DemoError::Start { name: self.name, source };
        self.child.try_wait().map_err(failed)
    }
}

fn too_long(since: Instant) -> Result<(), DemoError> {
    match since.elapsed() > COMMAND_TIMEOUT {
        true => Err(DemoError::TooLong { what: "a command", seconds: COMMAND_TIMEOUT.as_secs() }),
        false => Ok(()),
    }
}

fn count(database: &Connection, sql: &str) -> Result<u64, OtherError> {
    let number: i64 = database.query_row(sql, [], |row| row.get(0))?;
    Ok(number.unsigned_abs())
}
