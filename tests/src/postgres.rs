//! A real PostgreSQL, from Debian's package: one server with all of its files in a folder.
//!
//! It does not run as root, so tests that do start it as another user. Nothing is synced: a killed
//! server keeps its writes, because the machine keeps running.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, geteuid};

use crate::http::free_address;
use crate::process::Process;
use crate::wait;

/// Debian's folder of the server programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// A user and a group without rights.
const PLAIN_USER: u32 = 65534;
const LIMIT: Duration = Duration::from_secs(60);

/// The database user, with all rights and without a password.
pub const USER: &str = "aqueduct";

/// A running or stopped server. Killed on drop.
#[derive(Debug)]
pub struct Postgres {
    /// Its address.
    pub address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

/// Returns a program of the server, run as a user other than root.
fn program(name: &str) -> Command {
    let mut command = Command::new(format!("{PROGRAMS}/{name}"));
    if geteuid().is_root() {
        command.uid(PLAIN_USER).gid(PLAIN_USER);
    }
    // The user may not have access to the working folder of the test.
    command.current_dir("/");
    command
}

impl Postgres {
    /// Starts a server with all of its files in `dir`, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(dir: &Path) -> Self {
        let folder = dir.join("postgres");
        fs::create_dir(&folder).expect("the test's own folder");
        if geteuid().is_root() {
            fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("the test's own folder");
            chown(&folder, Some(PLAIN_USER), Some(PLAIN_USER)).expect("root may give it away");
        }
        let mut initdb = program("initdb");
        initdb.args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-U",
            USER,
            "-D",
        ]);
        let output = initdb.arg(folder.join("data")).output().expect("initdb starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {said}");
        let mut postgres = Self { address: free_address(), folder, process: None };
        postgres.revive();
        postgres
    }

    /// Restarts it after a stop.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn revive(&mut self) {
        let mut command = program("postgres");
        command.arg("-D").arg(self.folder.join("data"));
        let port = format!("port={}", self.address.port());
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", &port]
        {
            command.args(["-c", setting]);
        }
        let log = self.folder.with_extension("out");
        self.process = Some(Process::start("postgres", command, &log));
        wait::until("PostgreSQL to answer", LIMIT, || self.try_ask("postgres", "SELECT 1"));
    }

    /// Stops it without waiting for clients: connections are cut.
    ///
    /// # Panics
    ///
    /// When it is not running, or does not stop.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("a running server");
        process.signal(Signal::INT);
        process.wait(LIMIT);
    }

    /// Kills it with -9, and waits until its processes are gone.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running server").kill();
        // They detect the end of their parent, and hold its shared memory until then.
        thread::sleep(Duration::from_secs(2));
    }

    /// Runs statements in this database. Returns the rows, one per line, with values separated by
    /// `|`.
    ///
    /// # Panics
    ///
    /// When the database rejects them.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["-XqAtc", sql]).output().expect("psql starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Opens a separate connection, for long transactions.
    ///
    /// # Panics
    ///
    /// When `psql` does not start.
    pub fn session(&self, database: &str) -> Session {
        let mut command = self.psql(database);
        let mut psql = command
            .arg("-XqAt")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let statements = psql.stdin.take().expect("a pipe");
        let rows = BufReader::new(psql.stdout.take().expect("a pipe"));
        Session { psql, statements: Some(statements), rows }
    }

    fn try_ask(&self, database: &str, sql: &str) -> Option<()> {
        let output = self.psql(database).args(["-XqAtc", sql]).output().expect("psql starts");
        output.status.success().then_some(())
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-h", "127.0.0.1", "-U", USER, "-p", &self.address.port().to_string()]);
        command.args(["-d", database, "-v", "ON_ERROR_STOP=1"]);
        command
    }
}

/// Runs statements one by one. Dropping it rolls back an open transaction.
#[derive(Debug)]
pub struct Session {
    psql: Child,
    statements: Option<ChildStdin>,
    rows: BufReader<ChildStdout>,
}

impl Session {
    /// Runs statements, and returns the id of their transaction.
    ///
    /// # Panics
    ///
    /// When the database rejects them.
    pub fn run(&mut self, sql: &str) -> String {
        let statements = self.statements.as_mut().expect("an open session");
        writeln!(statements, "{sql}; SELECT txid_current();").expect("psql reads");
        let mut row = String::new();
        self.rows.read_line(&mut row).expect("psql answers");
        assert!(row.ends_with('\n'), "{sql} was refused");
        row.trim_end().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.statements.take());
        let _ended = self.psql.wait();
    }
}
