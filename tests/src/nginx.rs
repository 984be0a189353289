//! A real nginx, real requests from wrk, and logrotate for its access log.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::getuid;

use crate::http;
use crate::process::Process;
use crate::wait;

/// Requests have a serial number, so that no two log lines are equal. Connections pause between
/// requests, which limits the rate: 24 connections with 5 ms make about 4,000 per second.
const SCRIPT: &str = r#"
local round, serial = "0", 0
function init(args) round = args[1] end
function delay() return 5 end
function request()
  serial = serial + 1
  return wrk.format("GET", "/item/" .. round .. "/" .. serial .. "?q=" .. (serial * 7919 % 10007))
end
"#;

/// A web server with its own folder; its access log is below `log/`.
#[derive(Debug)]
pub struct WebServer {
    dir: PathBuf,
    address: SocketAddr,
    process: Process,
    rotations: u32,
}

impl WebServer {
    /// Writes its configuration below `dir` and starts it.
    ///
    /// # Panics
    ///
    /// When nginx is not installed or does not start.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, "")
    }

    /// Like [`start`](Self::start), with additional lines for the `http` block of its
    /// configuration.
    ///
    /// # Panics
    ///
    /// When nginx is not installed or does not start.
    pub fn start_with(dir: &Path, http_block: &str) -> Self {
        let address = http::free_address();
        for folder in ["log", "tmp"] {
            fs::create_dir_all(dir.join(folder)).expect("a folder in the test's own");
        }
        write(&dir.join("nginx.conf"), &configuration(dir, address, http_block));
        write(&dir.join("requests.lua"), SCRIPT);
        write(&dir.join("logrotate.conf"), &rotation(dir));
        let mut command = Command::new("nginx");
        command.arg("-c").arg(dir.join("nginx.conf")).arg("-p").arg(dir);
        command.arg("-e").arg(dir.join("error.log"));
        let process = Process::start("nginx", command, &dir.join("nginx.out"));
        wait::until("nginx to answer", Duration::from_secs(60), || {
            http::get(address, "/ready").filter(|(status, _)| *status == 200)
        });
        Self { dir: dir.to_owned(), address, process, rotations: 0 }
    }

    /// Returns the pattern of the log and all of its renamed files, for an edge.
    pub fn glob(&self) -> String {
        self.dir.join("log/access.log*").display().to_string()
    }

    /// Sends requests over this many connections with wrk, in the background, until the process is
    /// interrupted; each path contains `round`.
    ///
    /// # Panics
    ///
    /// When wrk is not installed.
    pub fn load(&self, connections: u32, round: &str) -> Process {
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--connections", &connections.to_string()]);
        command.args(["--duration", "1h", "--script"]);
        command.arg(self.dir.join("requests.lua")).arg(format!("http://{}", self.address));
        command.args(["--", round]);
        Process::start("wrk", command, &self.dir.join("wrk.out"))
    }

    /// Renames the log with logrotate, which then makes nginx open a new one; waits until it
    /// exists.
    ///
    /// # Panics
    ///
    /// When logrotate fails or nginx opens no new log.
    pub fn rotate(&mut self) {
        let mut command = Command::new("logrotate");
        command.arg("--force").arg("--state").arg(self.dir.join("logrotate.state"));
        let output = command.arg(self.dir.join("logrotate.conf")).stdin(Stdio::null()).output();
        let output = output.expect("logrotate is installed");
        assert!(output.status.success(), "logrotate: {output:?}");
        self.rotations += 1;
        let log = self.dir.join("log/access.log");
        wait::until("nginx to open its new log", Duration::from_secs(60), || {
            log.is_file().then_some(())
        });
        assert_eq!(self.logs().len(), self.rotations as usize + 1, "every old log is kept");
    }

    /// Returns how often `rotate` was called.
    pub fn rotations(&self) -> u32 {
        self.rotations
    }

    /// Returns all bytes that it has logged, in all files.
    ///
    /// # Panics
    ///
    /// When a log cannot be read.
    pub fn logged(&self) -> Vec<u8> {
        let read = |path: PathBuf| fs::read(&path).expect("an access log can be read");
        self.logs().into_iter().flat_map(read).collect()
    }

    /// Returns the total size of its logs: cheap enough to poll.
    pub fn logged_bytes(&self) -> u64 {
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.logs().into_iter().map(length).sum()
    }

    /// Shuts it down, so that it writes its last lines.
    pub fn stop(mut self) -> Vec<u8> {
        self.process.signal(rustix::process::Signal::QUIT);
        let status = self.process.wait(Duration::from_secs(10));
        assert!(status.success(), "nginx ended with {status}");
        self.logged()
    }

    fn logs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.join("log")).expect("the folder of the logs");
        entries.map(|entry| entry.expect("an entry of the folder").path()).collect()
    }
}

fn configuration(dir: &Path, address: SocketAddr, http_block: &str) -> String {
    let dir = dir.display();
    // Its workers reopen the log after each rotation, in a folder that only the user can access.
    let user = if getuid().is_root() { "user root;" } else { "" };
    format!(
        r#"{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log {dir}/log/access.log combined;
  client_body_temp_path {dir}/tmp;
  proxy_temp_path {dir}/tmp;
  fastcgi_temp_path {dir}/tmp;
  uwsgi_temp_path {dir}/tmp;
  scgi_temp_path {dir}/tmp;
  keepalive_requests 1000000;
  server {{
    listen {address};
    location = /ready {{ access_log off; return 200 "ready\n"; }}
    location / {{ return 200 "ok\n"; }}
  }}
  {http_block}
}}
"#
    )
}

fn rotation(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"{dir}/log/access.log {{
  rotate 1000
  nocompress
  nocreate
  sharedscripts
  postrotate
    kill -USR1 "$(cat {dir}/nginx.pid)"
  endscript
}}
"#
    )
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}
