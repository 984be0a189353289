//! Programs whose output is read while they run, each in a separate process group.
//!
//! A group is signalled only before its leader was waited for: until then the system does not reuse
//! its number.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::env::{Printed, Process, Started};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::net::unix::pipe::Receiver;

/// Pauses between two looks at a process that has closed its output: the first and the longest.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Starts a program; see [`pipeline::env::Blocking::start`].
pub(crate) fn start(program: &str, arguments: &[String]) -> io::Result<Started> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{program}: {error}"));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let leader = Some(command.spawn().map_err(named)?);
    let mut group = Group { leader, is_whole: false };
    let child = group.leader.as_mut().expect("it was just started");
    let output = child.stdout.take().expect("the output is piped");
    let errors = child.stderr.take().expect("the errors are piped");
    let (output, errors) = (printed(output.into())?, printed(errors.into())?);
    Ok(Started { output, errors, process: Box::new(group) })
}

/// Reads a pipe without blocking.
pub(crate) fn printed(pipe: OwnedFd) -> io::Result<Printed> {
    Ok(Box::new(Receiver::from_owned_fd(pipe)?))
}

/// Returns whether a child has exited. It stays in the table of processes, so that its group can be
/// signalled.
fn has_exited(pid: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

/// A program with all that it started and that did not leave its group.
pub(crate) struct Group {
    /// The group's leader, until its end was seen.
    pub(crate) leader: Option<Child>,
    /// Whether the end of the leader ends the others.
    pub(crate) is_whole: bool,
}

#[async_trait]
impl Process for Group {
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let mut pause = POLL_INTERVAL.0;
        loop {
            let Some(leader) = &mut self.leader else {
                return Err(io::Error::other("its end was seen before"));
            };
            let pid = Pid::from_child(leader);
            if !self.is_whole || has_exited(pid)? {
                if self.is_whole {
                    // There may be no other process.
                    let _ = kill_process_group(pid, Signal::KILL);
                }
                if let Some(status) = leader.try_wait()? {
                    self.leader = None;
                    return Ok(status);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_INTERVAL.1);
        }
    }

    fn end(&self, at_once: bool) {
        if let Some(leader) = &self.leader {
            let signal = if at_once { Signal::KILL } else { Signal::TERM };
            // It may have ended in the meantime.
            let _ = kill_process_group(Pid::from_child(leader), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end(true);
        if let Some(mut leader) = self.leader.take() {
            let reap = move || leader.wait();
            // Without a thread it stays in the table of processes until this one ends.
            let _ = thread::Builder::new().name("reap".to_owned()).spawn(reap);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn sh(script: &str) -> Started {
        start("sh", &["-c".to_owned(), script.to_owned()]).unwrap()
    }

    async fn text(mut printed: Printed) -> String {
        let mut text = String::new();
        printed.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn output_errors_and_end_of_a_program_are_seen() {
        let mut started = sh("echo out; echo err >&2; exit 3");
        assert_eq!(text(started.output).await, "out\n");
        assert_eq!(text(started.errors).await, "err\n");
        assert_eq!(started.process.ended().await.unwrap().code(), Some(3));
        let error = start("/no/such/program", &[]).err().unwrap();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }

    #[tokio::test]
    async fn the_whole_group_ends_on_request_and_when_it_is_dropped() {
        // The inner process keeps the output open: its end is the end of the output.
        let inner = "sh -c 'echo ready; exec sleep 600' & wait";
        for at_once in [Some(false), Some(true), None] {
            let Started { mut output, process, .. } = sh(inner);
            let mut ready = [0; 6];
            output.read_exact(&mut ready).await.unwrap();
            match at_once {
                Some(at_once) => process.end(at_once),
                None => drop(process),
            }
            assert_eq!(text(output).await, "");
        }
    }

    #[tokio::test]
    async fn a_program_that_ignores_the_request_is_killed() {
        let Started { mut output, mut process, .. } =
            sh("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        let mut ready = [0; 6];
        output.read_exact(&mut ready).await.unwrap();
        process.end(false);
        process.end(true);
        assert!(!process.ended().await.unwrap().success());
    }
}
