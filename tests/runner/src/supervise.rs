//! Runs a command so that none of its processes remain.
//!
//! The runner starts itself as the supervisor of each job, in a separate process group. As a child
//! subreaper, the supervisor is an ancestor of every process of the job, even of those that left
//! the group or lost their parent. It kills them all when the command exits, at the time limit, and
//! when its standard input closes: this is a pipe from the runner, which closes whenever the runner
//! ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// The exit code after a timeout, as in `timeout`.
pub(crate) const TIMED_OUT: i32 = 124;
/// The exit code when the runner is gone.
const ABANDONED: i32 = 125;
/// Prefix of the line that lists remaining processes.
pub(crate) const LEFT: &str = "left running, now killed: ";

/// This program, even if a build has replaced its file in the meantime.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

const PAUSE: Duration = Duration::from_millis(20);
/// Time for stopped servers to exit.
const GRACE: Duration = Duration::from_secs(3);

/// A command that runs the remaining arguments under a supervisor.
pub(crate) fn command(limit: Duration, nice: bool, folder: Option<&str>) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg("supervise").arg(limit.as_secs().to_string());
    command.arg(if nice { "10" } else { "0" }).arg(folder.unwrap_or("")).arg("--");
    command.stdin(Stdio::piped()).process_group(0);
    command
}

/// Runs the command of `arguments` for at most `limit`. Returns its exit code. Finally deletes
/// `folder` unless it is empty text.
pub(crate) fn run(limit: u64, nice: i32, folder: &str, arguments: &[OsString]) -> i32 {
    let set = set_child_subreaper(Some(getpid()));
    let niced = if nice > 0 { rustix::process::nice(nice).map(|_| ()) } else { Ok(()) };
    let code = match (set.and(niced), spawn(arguments)) {
        (Ok(()), Ok(child)) => attend(child, Duration::from_secs(limit)),
        (_, Err(error)) => {
            eprintln!("cannot start {arguments:?}: {error}");
            127
        }
        (Err(error), Ok(_)) => {
            eprintln!("cannot supervise {arguments:?}: {error}");
            127
        }
    };
    kill_descendants();
    if !folder.is_empty() {
        let _gone = fs::remove_dir_all(folder);
    }
    code
}

fn spawn(arguments: &[OsString]) -> std::io::Result<Child> {
    let (program, rest) = arguments.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    // An open pipe, for servers that stop when it closes.
    Command::new(program).args(rest).stdin(Stdio::piped()).spawn()
}

/// Waits for the end of `child`, the time limit or the end of the runner.
fn attend(mut child: Child, limit: Duration) -> i32 {
    let runner = runner();
    let started = Instant::now();
    let _stdin = child.stdin.take();
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                report_left(&runner);
                let killed = || 128 + status.signal().unwrap_or(0);
                return status.code().unwrap_or_else(killed);
            }
            Err(error) => {
                eprintln!("cannot wait: {error}");
                return 127;
            }
        }
        if started.elapsed() >= limit {
            eprintln!("timed out after {} s", limit.as_secs());
            return TIMED_OUT;
        }
        if !matches!(runner.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout)) {
            return ABANDONED;
        }
    }
}

/// Returns a channel that closes when the runner ends.
fn runner() -> Receiver<()> {
    let (alive, runner) = channel();
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        drop(alive);
    });
    runner
}

/// Waits briefly for descendants that are exiting, and reports the others.
fn report_left(runner: &Receiver<()>) {
    let started = Instant::now();
    let mut left = names(&descendants());
    while !left.is_empty() && started.elapsed() < GRACE {
        reap();
        if !matches!(runner.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout)) {
            return;
        }
        left = names(&descendants());
    }
    if !left.is_empty() {
        eprintln!("{LEFT}{}", left.join(", "));
    }
}

/// Kills all descendants of this process with -9, including new ones.
pub(crate) fn kill_descendants() {
    for _ in 0..500 {
        let found = descendants();
        if found.is_empty() {
            return;
        }
        for process in found.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
            let _ended = kill_process(process, Signal::KILL);
        }
        reap();
        thread::sleep(PAUSE);
    }
}

/// Reaps adopted processes.
fn reap() {
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
}

/// Returns the descendants with their names; the name is empty for exited ones.
fn descendants() -> Vec<(i32, String)> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let stat = pid.and_then(|_| fs::read_to_string(entry.path().join("stat")).ok());
        if let Some((pid, (parent, name))) = pid.zip(stat.as_deref().and_then(parent_and_name)) {
            processes.insert(pid, (parent, name));
        }
    }
    let mut found: Vec<(i32, String)> = Vec::new();
    let mut parents = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for (pid, (of, name)) in &processes {
            if *of == parent {
                parents.push(*pid);
                found.push((*pid, name.clone()));
            }
        }
    }
    found
}

/// Parses `PID (NAME) STATE PARENT …`; a name can contain parentheses.
fn parent_and_name(stat: &str) -> Option<(i32, String)> {
    let (front, rest) = stat.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let is_alive = fields.next()? != "Z";
    let parent = fields.next()?.parse().ok()?;
    Some((parent, if is_alive { name.to_owned() } else { String::new() }))
}

fn names(processes: &[(i32, String)]) -> Vec<String> {
    let alive = processes.iter().filter(|(_, name)| !name.is_empty());
    alive.map(|(pid, name)| format!("{name} ({pid})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parent_of_a_process_with_an_odd_name() {
        let stat = "17 (a) (b c) S 4 17 17 0";
        assert_eq!(parent_and_name(stat), Some((4, "a) (b c".to_owned())));
        assert_eq!(parent_and_name("17 (a) Z 4 17"), Some((4, String::new())));
    }
}
