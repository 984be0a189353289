//! A real MIT Kerberos KDC on loopback, started by `deploy/hadoop/kdc`. Its realm is
//! `EXAMPLE.TEST`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A KDC: a separate one, or that of an HDFS with Kerberos.
#[derive(Debug)]
pub struct Kdc {
    dir: PathBuf,
    /// The script that stops it when its standard input closes.
    server: Option<(Child, ChildStdin)>,
}

impl Kdc {
    /// Starts a KDC with all of its files in `dir`. It stops on drop.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(dir: &Path) -> Self {
        let mut command = script("serve", dir);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash runs");
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        let _length = BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line.trim(), "ready", "the KDC did not start; see {}/log", dir.display());
        Self { dir: dir.to_owned(), server: Some((child, stdin)) }
    }

    /// Returns a KDC that was started elsewhere in `dir`.
    pub(crate) fn of(dir: PathBuf) -> Self {
        Self { dir, server: None }
    }

    /// Creates a principal, or a new key for it, with the key in `keytab`. Its tickets are valid
    /// for `life`, as in `10 seconds`.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    pub fn add(&self, principal: &str, keytab: &Path, life: &str) {
        self.run("add", &[principal.as_ref(), keytab.as_os_str(), life.as_ref()]);
    }

    /// Deletes a principal.
    ///
    /// # Panics
    ///
    /// When it cannot be deleted.
    pub fn remove(&self, principal: &str) {
        self.run("remove", &[principal.as_ref()]);
    }

    fn run(&self, action: &str, arguments: &[&std::ffi::OsStr]) {
        let output = script(action, &self.dir).args(arguments).output().expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kdc {action} {arguments:?}: {said}");
    }

    /// Returns the file for `KRB5_CONFIG`.
    pub fn config(&self) -> PathBuf {
        self.dir.join("krb5.conf")
    }

    /// Returns how many tickets it has issued to `principal` for its password or key.
    pub fn logins(&self, principal: &str) -> usize {
        let log = fs::read_to_string(self.dir.join("requests")).unwrap_or_default();
        let issued = |line: &&str| line.contains("AS_REQ") && line.contains(": ISSUE:");
        let asked = format!(" {principal}@EXAMPLE.TEST for krbtgt/");
        log.lines().filter(issued).filter(|line| line.contains(&asked)).count()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.server.take() {
            drop(stdin);
            let _ended = child.wait();
        }
    }
}

fn script(action: &str, dir: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hadoop/kdc"));
    command.arg(action).arg(dir);
    command
}
