//! A real PostgreSQL or MariaDB of a test, and its own client.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;
use aqueduct_tests::wait;
use rustix::process::Signal;

/// How long a server may take to start or to end.
const LIMIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "of the test";

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Mariadb,
}

impl Kind {
    pub(crate) fn tables(self) -> &'static str {
        match self {
            Self::Postgres => {
                "CREATE TABLE grow_rows (id bigserial PRIMARY KEY, v text);
                 CREATE TABLE late_rows (id bigserial PRIMARY KEY, at timestamptz NOT NULL, v int);
                 CREATE INDEX ON late_rows (at, id);
                 CREATE TABLE whole_rows (id bigint PRIMARY KEY, part int, n numeric(20, 3));
                 CREATE INDEX ON whole_rows (part, id)"
            }
            Self::Mariadb => {
                "CREATE TABLE grow_rows (id bigint AUTO_INCREMENT PRIMARY KEY, v varchar(99));
                 CREATE TABLE late_rows (id bigint AUTO_INCREMENT PRIMARY KEY,
                   at timestamp(6) NOT NULL, v int, KEY (at, id));
                 CREATE TABLE whole_rows (id bigint PRIMARY KEY, part int, n decimal(20, 3),
                   KEY (part, id))"
            }
        }
    }

    /// The table that is read in whole: three of four rows have the same value, a tenth has none.
    pub(crate) fn fill(self, rows: usize) -> String {
        let part = "CASE WHEN i % 10 = 0 THEN NULL WHEN i % 4 = 1 THEN i ELSE 7 END";
        let last = rows - 1;
        let source = match self {
            Self::Postgres => format!("generate_series(0, {last}) AS i"),
            Self::Mariadb => format!("(SELECT seq AS i FROM seq_0_to_{last}) AS s"),
        };
        format!("INSERT INTO whole_rows SELECT i, {part}, i + 0.125 FROM {source}")
    }

    /// More rows of the table that grows.
    pub(crate) fn grow(self, rows: usize) -> String {
        match self {
            Self::Postgres => format!(
                "INSERT INTO grow_rows (v) SELECT 'row ' || i FROM generate_series(1, {rows}) AS i"
            ),
            Self::Mariadb => {
                format!("INSERT INTO grow_rows (v) SELECT concat('row ', seq) FROM seq_1_to_{rows}")
            }
        }
    }

    /// A row that is committed after one with a later time, and one that is changed.
    pub(crate) fn commit_late(self) -> &'static str {
        match self {
            Self::Postgres => {
                "INSERT INTO late_rows (at, v) VALUES (clock_timestamp(), 1);
                 INSERT INTO late_rows (at, v)
                   VALUES (clock_timestamp() - random() * interval '5 seconds', 2);
                 BEGIN; INSERT INTO late_rows (at, v) VALUES (clock_timestamp(), 3);
                 SELECT pg_sleep(0.3); COMMIT"
            }
            Self::Mariadb => {
                "INSERT INTO late_rows (at, v) VALUES (now(6), 1);
                 INSERT INTO late_rows (at, v)
                   VALUES (now(6) - INTERVAL floor(rand() * 5000000) MICROSECOND, 2);
                 BEGIN; INSERT INTO late_rows (at, v) VALUES (now(6), 3);
                 SELECT sleep(0.3); COMMIT"
            }
        }
    }

    /// The rows of a table as they have to be stored.
    fn bodies(self, table: &str) -> &'static str {
        match (self, table) {
            (_, "grow") => "SELECT concat('{\"id\":', id, ',\"v\":\"', v, '\"}') FROM grow_rows",
            (_, "whole") => {
                "SELECT concat('{\"id\":', id, ',\"part\":', coalesce(cast(part AS char(9)), \
                 'null'), ',\"n\":\"', n, '\"}') FROM whole_rows"
            }
            (Self::Postgres, _) => {
                "SELECT concat('{\"id\":', id, ',\"at\":\"', \
                 replace(replace(at::text, ' ', 'T'), '+00', 'Z'), '\",\"v\":', v, '}') \
                 FROM late_rows"
            }
            (Self::Mariadb, _) => {
                "SELECT concat('{\"id\":', id, ',\"at\":\"', \
                 replace(date_format(at, '%Y-%m-%dT%H:%i:%s.%fZ'), '.000000Z', 'Z'), \
                 '\",\"v\":', v, '}') FROM late_rows"
            }
        }
    }
}

/// A server that runs, with a database `shop` and a user `aqueduct`.
pub(crate) struct Server {
    client: Client,
    dir: PathBuf,
    process: Option<Process>,
}

/// Runs statements by the server's own client.
#[derive(Clone)]
pub(crate) struct Client {
    kind: Kind,
    address: SocketAddr,
}

/// The folder of PostgreSQL's programs, which are in no `PATH`.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let newest = versions.map(|entry| entry.expect("an entry").path()).max();
    newest.expect("a version").join("bin")
}

/// Runs as the user that the packages make where this is root: PostgreSQL refuses that one.
fn as_user(command: &mut Command) -> &mut Command {
    match owner() {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

/// Numbers of that user and its group.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let number = |flag: &str| {
        let output = Command::new("id").args([flag, "postgres"]).output().expect("id runs");
        let text = String::from_utf8(output.stdout).expect("a number");
        text.trim().parse().expect("the user `postgres`")
    };
    Some((number("-u"), number("-g")))
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Server {
    pub(crate) fn start(kind: Kind, dir: &Path) -> Self {
        // The server may be another user.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("the test's own folder");
        let dir = dir.join("server");
        fs::create_dir(&dir).expect("the test's own folder");
        let client = Client { kind, address: free_address() };
        let data = dir.join("data");
        match kind {
            Kind::Postgres => {
                let password = dir.join("password");
                fs::write(&password, PASSWORD).expect("the test's own folder");
                if let Some((user, group)) = owner() {
                    chown(&dir, Some(user), Some(group)).expect("root may do that");
                }
                let mut initdb = Command::new(postgres_programs().join("initdb"));
                initdb.args(["-A", "scram-sha-256", "-U", "aqueduct", "-N", "-D"]).arg(&data);
                initdb.arg("--pwfile").arg(&password);
                succeeds(as_user(&mut initdb));
            }
            Kind::Mariadb => {
                let mut install = Command::new("mariadb-install-db");
                install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                install.arg("--skip-test-db").arg(format!("--datadir={}", data.display()));
                install.args(rustix::process::getuid().is_root().then_some("--user=root"));
                succeeds(&mut install);
            }
        }
        let mut server = Self { client, dir, process: None };
        server.revive();
        server.prepare();
        server
    }

    /// The user and the database.
    fn prepare(&self) {
        let Client { kind, address } = &self.client;
        match kind {
            Kind::Postgres => {
                let create = self.client.command("postgres", "CREATE DATABASE shop");
                succeeds(&mut { create });
            }
            Kind::Mariadb => {
                let port = address.port().to_string();
                let mut root = Command::new("mariadb");
                root.args(["--no-defaults", "-h127.0.0.1", "-uroot", "-P", &port, "-e"]);
                root.arg(format!(
                    "CREATE DATABASE shop; CREATE USER aqueduct@'127.0.0.1' IDENTIFIED BY \
                     '{PASSWORD}'; GRANT ALL ON shop.* TO aqueduct@'127.0.0.1'"
                ));
                succeeds(&mut root);
            }
        }
    }

    fn revive(&mut self) {
        let (data, port) = (self.dir.join("data"), self.client.address.port().to_string());
        let mut command = match self.client.kind {
            Kind::Postgres => {
                let mut command = Command::new(postgres_programs().join("postgres"));
                command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port, "-F", "-k"]);
                command.arg(&self.dir);
                as_user(&mut command);
                command
            }
            Kind::Mariadb => {
                let mut command = Command::new("mariadbd");
                command.args(["--no-defaults", "--bind-address=127.0.0.1"]);
                command.args(["--port", &port, "--innodb-flush-log-at-trx-commit=0"]);
                command.arg(format!("--datadir={}", data.display()));
                command.arg(format!("--socket={}", self.dir.join("socket").display()));
                command.arg(format!("--pid-file={}", self.dir.join("pid").display()));
                command.args(rustix::process::getuid().is_root().then_some("--user=root"));
                command
            }
        };
        command.current_dir(&self.dir);
        let log = self.dir.with_extension("out");
        self.process = Some(Process::start("the database", command, &log));
        let kind = self.client.kind;
        wait::until("the database to listen", LIMIT, || match kind {
            // It listens before it takes connections.
            Kind::Postgres => self
                .client
                .command("postgres", "SELECT 1")
                .output()
                .ok()
                .filter(|it| it.status.success())
                .map(|_| ()),
            Kind::Mariadb => TcpStream::connect(self.client.address).ok().map(|_| ()),
        });
    }

    /// Ends it at once, as far as it may without a loss, and starts it again.
    pub(crate) fn restart(&mut self) {
        let mut process = self.process.take().expect("a running database");
        let signal = match self.client.kind {
            // Connections are cut, and nothing is written at the end.
            Kind::Postgres => Signal::QUIT,
            Kind::Mariadb => Signal::TERM,
        };
        process.signal(signal);
        process.wait(LIMIT);
        self.revive();
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn run(&self, sql: &str) {
        let sql = sql.replace('\n', " ");
        succeeds(&mut self.client.command("shop", &sql));
    }

    /// The settings of `database`.
    pub(crate) fn settings(&self) -> String {
        let Client { kind, address } = &self.client;
        let scheme = match kind {
            Kind::Postgres => "postgres",
            Kind::Mariadb => "mysql",
        };
        format!(
            "url = \"{scheme}://{address}/shop\"\nuser = \"aqueduct\"\npassword = \"{PASSWORD}\""
        )
    }

    /// The rows of a table, as they have to be stored.
    pub(crate) fn lines(&self, table: &str) -> BTreeMap<String, usize> {
        let output = self.client.command("shop", self.client.kind.bodies(table)).output();
        let output = output.expect("the client runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let mut lines = BTreeMap::new();
        text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
        lines
    }
}

impl Client {
    /// Runs statements, which may fail.
    pub(crate) fn attempt(&self, sql: &str) -> bool {
        let output = self.command("shop", &sql.replace('\n', " ")).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn command(&self, database: &str, sql: &str) -> Command {
        let port = self.address.port().to_string();
        match self.kind {
            Kind::Postgres => {
                let mut command = Command::new(postgres_programs().join("psql"));
                command.args(["-X", "-q", "-t", "-A", "-h", "127.0.0.1", "-U", "aqueduct"]);
                command.args(["-v", "ON_ERROR_STOP=1", "-p", &port, "-d", database]);
                command.env("PGPASSWORD", PASSWORD).env("PGTZ", "UTC");
                // Each statement on its own: a transaction is one that says so.
                sql.split(';').for_each(|sql| {
                    command.args(["-c", sql]);
                });
                command
            }
            Kind::Mariadb => {
                let mut command = Command::new("mariadb");
                command.args(["--no-defaults", "-h127.0.0.1", "-uaqueduct", "-N", "-B", "-r"]);
                command.arg(format!("-p{PASSWORD}")).args(["-P", &port, database]);
                command.arg("--init-command=SET time_zone = '+00:00'");
                command.args(["-e", sql]);
                command
            }
        }
    }
}
