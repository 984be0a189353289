//! `aqueduct channel rotate-key`: adds a new key for channels and removes old ones.
//!
//! `channel::durable::rotation` decides what is safe to do and when. This module handles arguments,
//! file ownership and output.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use channel::durable::rotation::{Added, Finished, KeyFile, RotationError};
use clap::Args;
use pipeline::Env;
use program::cli::{self, EXIT_RUNTIME};
use rustix::fs::{Gid, Mode, Uid};

use super::print_json;

pub(super) const EXAMPLES: &str = "\
Examples:
  aqueduct channel rotate-key /etc/aqueduct/channel.keys
  aqueduct channel rotate-key /etc/aqueduct/channel.keys --finish /var/lib/aqueduct
  aqueduct channel rotate-key /etc/aqueduct/channel.keys --finish /var/lib/aqueduct --json

Running agents reread the file within `encryption.reload` (default: 1 minute) and seal each new
segment with the new key. Existing segments keep their key until they are delivered. After that,
--finish removes the keys that no segment of any channel in or below DIR needs. Name the data
directories of all agents that use the file, because a key that only an unnamed one needs is
removed. You can run the command at any time and repeat it; needed keys stay.

If the file does not exist, it is created with a first key. An interruption leaves the file intact.

Exit codes: 0 done, 1 refused or failed (no key is removed), 2 wrong arguments";

#[derive(Debug, Args)]
pub(super) struct RotateKeyArgs {
    /// The key file: `encryption.key_file` of the channels
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Add no key: remove the keys that no channel in or below these directories needs any more
    #[arg(long, value_name = "DIR", num_args = 1..)]
    finish: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Rotates the keys and prints the result.
pub(super) fn run(args: &RotateKeyArgs, env: &Env) -> ExitCode {
    let own = |new: &Path| as_the_old_one(&args.file, new);
    let done = KeyFile::hold(env, &args.file, &own).and_then(|file| match &args.finish[..] {
        [] => file.add().map(|added| show(args, &added, added_text)),
        directories => {
            file.finish(directories).map(|finished| show(args, &finished, finished_text))
        }
    });
    done.unwrap_or_else(|error: RotationError| {
        cli::print_line(&agent::chain(&error));
        ExitCode::from(EXIT_RUNTIME)
    })
}

/// Copies owner and mode of the old file to the new one. Only the owner may read it.
fn as_the_old_one(old: &Path, new: &Path) -> io::Result<()> {
    let private = Mode::RUSR | Mode::WUSR;
    let mode = match rustix::fs::stat(old) {
        Ok(stat) => {
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            let made = rustix::fs::stat(new)?;
            if (made.st_uid, made.st_gid) != (stat.st_uid, stat.st_gid) {
                rustix::fs::chown(new, Some(user), Some(group)).map_err(|error| {
                    let problem = "cannot give the new key file the owner of the old one; run this \
                                   command as root";
                    io::Error::new(io::Error::from(error).kind(), format!("{problem}: {error}"))
                })?;
            }
            Mode::from_raw_mode(stat.st_mode) & private
        }
        Err(rustix::io::Errno::NOENT) => private,
        Err(error) => return Err(error.into()),
    };
    Ok(rustix::fs::chmod(new, mode)?)
}

fn show<T: serde::Serialize>(
    args: &RotateKeyArgs,
    done: &T,
    text: fn(&Path, &T) -> String,
) -> ExitCode {
    if args.json { print_json(done) } else { cli::print(&text(&args.file, done)) }
}

fn list(keys: &[u32]) -> String {
    keys.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn added_text(file: &Path, done: &Added) -> String {
    let (file, added) = (file.display(), done.added);
    format!(
        "{file}: key {added} added; it contains {}\nagents reread the file after at most \
         `encryption.reload`, and then encrypt new segment files with key {added}\n",
        list(&done.keys)
    )
}

fn finished_text(file: &Path, done: &Finished) -> String {
    let mut text = match &done.removed[..] {
        [] => "no key removed".to_owned(),
        [one] => format!("key {one} removed"),
        some => format!("keys {} removed", list(some)),
    };
    text = format!("{}: {text}; it contains {}\n", file.display(), list(&done.keys));
    for (directory, needed) in &done.channels {
        let needed = if needed.is_empty() { "no key".to_owned() } else { list(needed) };
        text += &format!("{directory}  encrypted with {needed}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_lists_removed_and_needed_keys() {
        let file = Path::new("/etc/keys");
        let added = Added { added: 3, keys: vec![1, 3] };
        let text = added_text(file, &added);
        assert!(text.starts_with("/etc/keys: key 3 added; it contains 1, 3\n"), "{text}");
        let channels = [("/a".to_owned(), vec![3]), ("/b".to_owned(), vec![])].into();
        let done = Finished { removed: vec![1, 2], keys: vec![3], channels };
        let expected = "/etc/keys: keys 1, 2 removed; it contains 3\n\
                        /a  encrypted with 3\n/b  encrypted with no key\n";
        assert_eq!(finished_text(file, &done), expected);
    }
}
