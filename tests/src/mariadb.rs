//! A real MariaDB or MySQL, from Debian's packages: one server with all of its files in a folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;

use crate::http::free_address;
use crate::process::Process;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// The database user, with all rights.
pub const USER: &str = "aqueduct";
/// Its password.
pub const PASSWORD: &str = "open sesame";

/// A running or stopped server. Killed on drop.
#[derive(Debug)]
pub struct MariaDb {
    /// Its address.
    pub address: SocketAddr,
    folder: PathBuf,
    /// For MySQL: where its packages are unpacked.
    mysql: Option<PathBuf>,
    options: Vec<String>,
    process: Option<Process>,
}

impl MariaDb {
    /// Starts a server with all of its files in `dir`, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// Same with options of the server.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_with(dir: &Path, options: &[&str]) -> Self {
        let mut install = Command::new("mariadb-install-db");
        install.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        Self::install(dir, None, options, install)
    }

    /// Same for MySQL, which MariaDB's client supports, too.
    ///
    /// # Panics
    ///
    /// When it is not available, or does not start.
    pub fn start_mysql(dir: &Path, options: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mysql-server");
        let provided = Command::new(script).output().expect("tests/mysql-server starts");
        let said = String::from_utf8_lossy(&provided.stderr);
        assert!(provided.status.success(), "tests/mysql-server: {said}");
        let packages = PathBuf::from(String::from_utf8_lossy(&provided.stdout).trim_end());
        let mut install = mysqld(&packages);
        install.arg("--initialize-insecure");
        Self::install(dir, Some(packages), options, install)
    }

    fn install(dir: &Path, mysql: Option<PathBuf>, options: &[&str], mut install: Command) -> Self {
        let folder = dir.join("mariadb");
        fs::create_dir(&folder).expect("the test's own folder");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut mariadb = Self { address: free_address(), folder, mysql, options, process: None };
        mariadb.for_user(&mut install);
        let output = install.output().expect("the server's own installation starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{install:?}: {said}");
        mariadb.revive();
        let user = format!("'{USER}'@'%'");
        mariadb.ask("mysql", &format!("CREATE USER {user} IDENTIFIED BY '{PASSWORD}'"));
        mariadb.ask("mysql", &format!("GRANT ALL ON *.* TO {user}"));
        mariadb
    }

    fn for_user(&self, command: &mut Command) {
        command.arg(format!("--datadir={}", self.folder.join("data").display()));
        if geteuid().is_root() {
            command.arg("--user=root");
        }
    }

    /// Restarts it after a stop.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn revive(&mut self) {
        let mut command = match &self.mysql {
            Some(packages) => {
                let mut command = mysqld(packages);
                command.args(["--mysqlx=OFF", "--secure-file-priv=NULL"]);
                command
            }
            None => {
                let mut command = Command::new("mariadbd");
                command.arg("--no-defaults");
                command
            }
        };
        command.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--default-time-zone=+00:00",
        ]);
        command.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"]);
        command.args(&self.options);
        self.for_user(&mut command);
        command.arg(format!("--port={}", self.address.port()));
        command.arg(format!("--socket={}", self.folder.join("socket").display()));
        command.arg(format!("--pid-file={}", self.folder.join("pid").display()));
        let log = self.folder.with_extension("out");
        self.process = Some(Process::start("mariadbd", command, &log));
        wait::until("MariaDB to answer", LIMIT, || {
            self.client("mysql", "SELECT 1").output().ok().filter(|output| output.status.success())
        });
    }

    /// Shuts it down; connections are cut.
    ///
    /// # Panics
    ///
    /// When it is not running, or does not stop.
    pub fn stop(&mut self) {
        self.process.take().expect("a running server").stop(LIMIT);
    }

    /// Kills it (-9).
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running server").kill();
    }

    /// Runs statements in this database. Returns the rows, one per line, with values separated by
    /// tabs.
    ///
    /// # Panics
    ///
    /// When the database rejects them.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let output = self.client(database, sql).output().expect("mariadb starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Runs statements that may fail because of another caller's locks, possibly after the first
    /// ones.
    ///
    /// # Panics
    ///
    /// When the client does not start.
    pub fn attempt(&self, database: &str, sql: &str) {
        let done = self.client(database, sql).output().expect("mariadb starts");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() || said.contains("ERROR 1213"), "{sql}: {said}");
    }

    fn client(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-u", "root", "-N", "-B", "-D", database, "-e", sql]);
        command.arg(format!("--socket={}", self.folder.join("socket").display()));
        command
    }
}

/// Returns the server of these packages, with the dynamic linker of the same Debian suite.
fn mysqld(packages: &Path) -> Command {
    let libraries = packages.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(packages.join("usr/sbin/mysqld"));
    command.arg("--no-defaults");
    command.arg(format!("--basedir={}", packages.join("usr").display()));
    command.arg(format!("--plugin-dir={}", packages.join("usr/lib/mysql/plugin").display()));
    command
}
