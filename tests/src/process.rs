//! A child process: its output goes to a file, and it does not outlive its owner.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running program of a test. Dropping it kills it (-9) and reaps it. If the test fails, prints
/// the end of the output, because the log is deleted with the folder of the test.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with both outputs appended to `log`.
    ///
    /// # Panics
    ///
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let out = OpenOptions::new().create(true).append(true).open(log);
        let out = out.unwrap_or_else(|e| panic!("open {}: {e}", log.display()));
        let err = out.try_clone().expect("a file descriptor to spare");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        Self { child, name: name.to_owned(), log: log.to_owned() }
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns all output in its log, including that of earlier processes.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Returns whether it is still running.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends `signal`; ignores a process that has just exited.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, signal);
        }
    }

    /// Kills it immediately.
    ///
    /// # Panics
    ///
    /// When it has already exited: then the test did not kill what it wanted to kill.
    pub fn kill(mut self) {
        assert!(self.is_alive(), "{} ended by itself:\n{}", self.name, tail(&self.output()));
        drop(self);
    }

    /// Waits until it exits by itself.
    ///
    /// # Panics
    ///
    /// When it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || self.child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM and expects exit code 0 within `limit`.
    ///
    /// # Panics
    ///
    /// When it takes longer or fails, with the end of its output.
    pub fn stop(mut self, limit: Duration) {
        self.signal(Signal::TERM);
        let status = self.wait(limit);
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, tail(&self.output()));
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the log goes with the folder of the test")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} printed at last:\n{}", self.name, tail(&self.output()));
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns the peak memory of a process, in KiB; `None` if it is not running.
///
/// # Panics
///
/// When the kernel uses another unit.
pub fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().trim_end_matches(" kB").parse().expect("a whole number of KiB"))
}

/// Returns the last lines of `text`, for a message.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
