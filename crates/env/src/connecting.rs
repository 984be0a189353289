//! Programs that connect to this process: a private Unix socket, and a limit of memory.
//!
//! The directory of the socket is below the directory for temporary files, because the path of a
//! Unix socket has at most 107 bytes. It is removed after the first connection, or when the
//! connection is not waited for any more.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipeline::env::{Child, Connecting, Stream};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::UnixListener;

use crate::process::{Group, printed};

/// Starts a program; see [`pipeline::env::Blocking::start_connecting`].
pub(crate) fn start(program: &Connecting<'_>, random: u64) -> io::Result<Child> {
    let Some((name, arguments)) = program.command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
    };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let directory = PrivateDirectory::create(random)?;
    let socket = directory.0.join("socket");
    let listener = UnixListener::bind(&socket)?;
    let (output, input) = io::pipe()?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    command.stdout(input.try_clone()?).stderr(input).env(program.variable, &socket);
    let child = command.spawn().map_err(named)?;
    // The command keeps this process's end of the pipe open.
    drop(command);
    let limit = Rlimit { current: Some(program.memory_max), maximum: Some(program.memory_max) };
    let pid = Pid::from_child(&child);
    let group = Group { leader: Some(child), is_whole: true };
    prlimit(Some(pid), Resource::Data, limit)?;
    let printed = printed(OwnedFd::from(output))?;
    let connected = Box::pin(async move {
        let (stream, _) = listener.accept().await?;
        drop(directory);
        Ok(Box::new(stream) as Box<dyn Stream>)
    });
    Ok(Child { printed, process: Box::new(group), connected })
}

/// A directory that only this user can enter. It is removed when this is dropped.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn create(random: u64) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("aqueduct-{random:016x}"));
        // Fails if the path exists, so that no other user can have made it.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| at(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // A directory that is left is empty or has a socket without a listener.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str, random: u64) -> io::Result<Child> {
        let command = ["sh", "-c", script].map(str::to_owned);
        start(&Connecting { command: &command, variable: "AT", memory_max: 1 << 30 }, random)
    }

    async fn line(child: &mut Child) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') {
            line.push(char::from(child.printed.read_u8().await.unwrap()));
        }
        line.trim_end().to_owned()
    }

    #[tokio::test]
    async fn only_this_user_reaches_the_socket_until_its_first_connection() {
        let random = u64::from(std::process::id()) << 32 | 1;
        let mut child = sh("echo $AT; exec sleep 600", random).unwrap();
        let socket = PathBuf::from(line(&mut child).await);
        let directory = socket.parent().unwrap().to_owned();
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mut plugin = UnixStream::connect(&socket).await.unwrap();
        let mut stream = timeout(LIMIT, child.connected).await.unwrap().unwrap();
        assert!(!directory.exists());
        plugin.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        assert!(sh("true", random).is_ok_and(|child| {
            drop(child.connected);
            !directory.exists()
        }));
    }

    #[tokio::test]
    async fn the_end_of_the_leader_ends_its_group() {
        let random = u64::from(std::process::id()) << 32 | 2;
        let mut child = sh("sleep 600 & exit 3", random).unwrap();
        let status = timeout(LIMIT, child.process.ended()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        // `sleep` has it open, too.
        let mut rest = Vec::new();
        timeout(LIMIT, child.printed.read_to_end(&mut rest)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn memory_is_limited() {
        let random = u64::from(std::process::id()) << 32 | 3;
        let mut child = sh("sleep 0.2; ulimit -d", random).unwrap();
        assert_eq!(timeout(LIMIT, line(&mut child)).await.unwrap(), (1 << 20).to_string());
    }
}
