//! Runs programs for their output.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// More output than this is refused.
const OUTPUT_MAX: u64 = 64 << 10;
/// Interval of checks of a program that has closed its output.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait for the last output.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// Maximum length of a program's error text that is shown: its end.
const STDERR_SHOWN_MAX: usize = 1 << 10;

/// Runs a program to its end; see [`pipeline::env::Blocking::output`]. If it fails, the error
/// includes the end of its standard error; otherwise that is dropped.
pub(crate) fn output(program: &str, arguments: &[String], limit: Duration) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().expect("the output is piped");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.by_ref().take(OUTPUT_MAX + 1).read_to_end(&mut bytes)?;
        // Closing the pipe early would kill the program, which would hide the real error.
        io::copy(&mut stdout, &mut io::sink()).map(|_| bytes)
    });
    let complaint = Arc::new(Mutex::new(Vec::new()));
    let mut stderr = child.stderr.take().expect("the errors are piped");
    let stderr_end = complaint.clone();
    let listener = thread::spawn(move || read_stderr(&mut stderr, &stderr_end));
    if let Err(error) = wait(&mut child, limit) {
        // It may have ended in the meantime.
        let _ = child.kill();
        let _ = child.wait();
        // Another process may keep the pipes open: leave the reader running, and wait only briefly
        // for the last output.
        let until = Instant::now() + OUTPUT_GRACE;
        while !listener.is_finished() && Instant::now() < until {
            thread::sleep(POLL_INTERVAL);
        }
        return Err(with_stderr(error, &complaint));
    }
    let bytes = reader.join().map_err(|_| io::Error::other("cannot read its output"))??;
    if bytes.len() as u64 > OUTPUT_MAX {
        return Err(io::Error::other(format!("it printed more than {OUTPUT_MAX} bytes")));
    }
    Ok(bytes)
}

/// Keeps the end of the input.
fn read_stderr(stderr: &mut impl Read, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4 << 10];
    // Ignore read errors.
    while let Ok(len @ 1..) = stderr.read(&mut buffer) {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(&buffer[..len]);
        let surplus = heard.len().saturating_sub(STDERR_SHOWN_MAX);
        heard.drain(..surplus);
    }
}

/// Adds the program's error text, on one line.
fn with_stderr(error: io::Error, heard: &Mutex<Vec<u8>>) -> io::Error {
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&heard);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    match text.trim().chars().map(plain).collect::<String>() {
        none if none.is_empty() => error,
        said => io::Error::new(error.kind(), format!("{error}: {said}")),
    }
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<()> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(status.to_string())),
            None if Instant::now() >= until => {
                let message = format!("it ran for more than {} ms", limit.as_millis());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            None => thread::sleep(POLL_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> io::Result<String> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        output("sh", &arguments, limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn output_of_a_successful_program_is_returned() {
        let long = Duration::from_secs(20);
        assert_eq!(sh("echo one; echo two", long).unwrap(), "one\ntwo\n");
        assert!(sh("echo half; exit 3", long).unwrap_err().to_string().contains('3'));
        assert!(output("/no/such/program", &[], long).is_err());
        assert!(sh("head -c 70000 /dev/zero", long).unwrap_err().to_string().contains("65536"));
    }

    #[test]
    fn failed_program_reports_its_reason() {
        let long = Duration::from_secs(20);
        let error = sh("echo no such key >&2; echo secret; exit 3", long).unwrap_err().to_string();
        assert!(error.contains("3: no such key") && !error.contains("secret"), "{error}");
        let error = sh("head -c 70000 /dev/zero | tr '\\0' x >&2; echo end >&2; false", long);
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("xend") && error.len() < 2 * STDERR_SHOWN_MAX, "{error}");
        assert_eq!(sh("echo noise >&2; echo one", long).unwrap(), "one\n");
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let error = sh("sleep 60", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
