//! Programs that are run for what they print.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// More output than this is refused.
const OUTPUT_MAX: u64 = 64 << 10;
/// How often a program that has said everything is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Runs a program to its end; see [`pipeline::env::Blocking::output`]. What it writes to its
/// standard error goes to ours.
pub(crate) fn output(program: &str, arguments: &[String], limit: Duration) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().expect("the output is piped");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.by_ref().take(OUTPUT_MAX + 1).read_to_end(&mut bytes)?;
        // A pipe that is closed before its end would kill the program: that is not what failed.
        io::copy(&mut stdout, &mut io::sink()).map(|_| bytes)
    });
    let ended = wait(&mut child, limit);
    if ended.is_err() {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        // Another process may keep the pipe open: the reader is left alone.
        return ended.map(|()| Vec::new());
    }
    let bytes = reader.join().map_err(|_| io::Error::other("its output could not be read"))??;
    if bytes.len() as u64 > OUTPUT_MAX {
        return Err(io::Error::other(format!("it printed more than {OUTPUT_MAX} bytes")));
    }
    Ok(bytes)
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
            None => thread::sleep(LOOK),
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
    fn what_a_program_prints_comes_back_if_it_ends_well() {
        let long = Duration::from_secs(20);
        assert_eq!(sh("echo one; echo two", long).unwrap(), "one\ntwo\n");
        assert!(sh("echo half; exit 3", long).unwrap_err().to_string().contains('3'));
        assert!(output("/no/such/program", &[], long).is_err());
        assert!(sh("head -c 70000 /dev/zero", long).unwrap_err().to_string().contains("65536"));
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let error = sh("sleep 60", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
