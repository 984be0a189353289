//! `aqueduct channel positions`: prints how far `tail_dir` sources have read their files, as text
//! or as the position file for a Flume agent that continues there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use channel::durable::inspect::Inspection;
use clap::Args;
use pipeline::file_position::{FlumePosition, Position, shown};
use pipeline::{ChannelError, Env, SourcePosition};
use program::cli;
use serde_json::{Value, json};

use super::{Keys, print_json};

pub(super) const EXAMPLES: &str = "\
Examples:
  aqueduct channel positions /var/lib/aqueduct/channels/main
  aqueduct channel positions /var/lib/aqueduct/channels/main --flume > taildir_position.json
  aqueduct channel positions /var/lib/aqueduct/channels/{a,b} --source access --flume

Name all required channels of the source: the position of a file is the lowest of all channels. To
go back to Flume: let the agent deliver the events of its channels (`aqueduct channel stats` shows
how many are left), stop it, write Flume's `positionFile` with --flume, and start Flume. A renamed
file is printed with its current name.";

#[derive(Debug, Args)]
pub(super) struct PositionsArgs {
    /// The channels' directories: DATA_DIR/channels/NAME
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    /// Only files of this source; may be given several times [default: all sources]
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// Print the `positionFile` of Flume's source `taildir`
    #[arg(long)]
    flume: bool,
    /// Print a list of objects in JSON
    #[arg(long, conflicts_with = "flume")]
    json: bool,
    #[command(flatten)]
    keys: Keys,
}

/// The position of one source in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FilePosition {
    source: Arc<str>,
    position: Position,
    /// Path of the file when the position was stored.
    place: PathBuf,
}

/// Prints the positions.
pub(super) fn run(args: &PositionsArgs, env: &Env) -> Result<ExitCode, ChannelError> {
    let encryption = args.keys.encryption();
    let open = |directory: &PathBuf| Inspection::open(env, directory, encryption.as_ref());
    let opened = args.directories.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let known: Vec<_> = opened.iter().map(Inspection::positions).collect();
    let mut standings = lowest(&known);
    standings.retain(|it| args.source.is_empty() || args.source.iter().any(|s| **s == *it.source));
    if args.json {
        let objects: Vec<_> = standings.iter().map(as_json).collect();
        return Ok(print_json(&objects));
    }
    if !args.flume {
        return Ok(cli::print(&text(&standings)));
    }
    let entries: Vec<FlumePosition> =
        standings.iter().filter_map(|standing| flume_position(standing, env)).collect();
    Ok(print_json(&entries))
}

/// Returns the lowest position of each file over all channels.
fn lowest(known: &[Vec<SourcePosition>]) -> Vec<FilePosition> {
    let mut files: BTreeMap<(Arc<str>, Bytes), (usize, FilePosition)> = BTreeMap::new();
    for position in known.iter().flatten() {
        let Some((at, place)) = position.value.as_deref().and_then(Position::decode) else {
            continue;
        };
        let standing = FilePosition { source: position.source.clone(), position: at, place };
        let file = files.entry((position.source.clone(), position.key.clone()));
        let (channels, least) = file.or_insert_with(|| (0, standing.clone()));
        *channels += 1;
        if standing.position.offset < least.position.offset {
            *least = standing;
        }
    }
    let all = files.into_values().map(|(channels, mut standing)| {
        if channels < known.len() {
            (standing.position.offset, standing.position.skipping) = (0, false);
        }
        standing
    });
    let mut all: Vec<FilePosition> = all.collect();
    all.sort_by(|a, b| (&a.source, &a.position.path).cmp(&(&b.source, &b.position.path)));
    all
}

fn text(standings: &[FilePosition]) -> String {
    let line = |it: &FilePosition| {
        let (offset, inode) = (it.position.offset, it.position.inode);
        format!("{:<12} {offset:>14} {inode:>12} {}\n", it.source, shown(&it.place).escape_debug())
    };
    let head = format!("{:<12} {:>14} {:>12} {}\n", "source", "offset", "inode", "file");
    head + &standings.iter().map(line).collect::<String>()
}

fn as_json(standing: &FilePosition) -> Value {
    let FilePosition { source, position, place } = standing;
    let (offset, inode) = (position.offset, position.inode);
    let (source, file) = (&**source, place.to_string_lossy());
    json!({ "source": source, "file": file, "offset": offset, "inode": inode })
}

/// Returns Flume's entry for the file, or `None` if the file no longer exists.
fn flume_position(standing: &FilePosition, env: &Env) -> Option<FlumePosition> {
    let FilePosition { position, place, .. } = standing;
    let Position { inode, offset: pos, skipping, path, .. } = position;
    let Some(file) = current_path(position, place, env) else {
        cli::print_line(&format!("omitting {}: the file no longer exists", shown(path)));
        return None;
    };
    if *skipping {
        cli::print_line(&format!(
            "{} is at byte {pos}, in a line longer than `line_max`: Flume will read the rest of \
             the line as an event",
            shown(&file)
        ));
    }
    if file.to_str().is_none() {
        cli::print_line(&format!(
            "omitting {}: its name is not UTF-8, so Flume reads the file from the beginning; \
             rename it",
            shown(&file)
        ));
        return None;
    }
    Some(FlumePosition { inode: *inode, pos: *pos, file })
}

/// Returns the current path of the file: the stored path if it still leads there.
fn current_path(position: &Position, place: &Path, env: &Env) -> Option<PathBuf> {
    let inode = (position.device, position.inode);
    let is_it = |path: &PathBuf| {
        let stat = env.disk.stat(path);
        stat.is_ok_and(|it| (it.device, it.inode) == inode && it.len >= position.offset)
    };
    let known = [position.path.clone(), place.to_owned()];
    known.into_iter().find(is_it).or_else(|| {
        let directory = place.parent()?;
        let names = env.disk.entries(directory).ok()?;
        names.into_iter().map(|(name, _)| directory.join(name)).find(is_it)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use pipeline::file_position::Fingerprint;

    use super::*;

    fn standing(path: &Path, offset: u64, inode: u64, device: u64) -> Position {
        let (head, tail) = (Fingerprint::default(), Fingerprint::default());
        Position { device, inode, offset, skipping: false, head, tail, path: path.to_owned() }
    }

    fn stored(key: &'static str, position: &Position) -> SourcePosition {
        let (key, value) = (Bytes::from(key), Some(position.encode(&position.path)));
        SourcePosition { source: "access".into(), key, value, after: None }
    }

    #[test]
    fn position_of_a_file_is_the_lowest_of_its_channels() {
        let at = |path: &str, offset| standing(Path::new(path), offset, 7, 1);
        let known = [
            vec![stored("a", &at("/a", 90)), stored("b", &at("/b", 40))],
            vec![stored("a", &at("/a", 70))],
        ];
        let found = lowest(&known);
        let found: Vec<_> = found.iter().map(|it| (it.position.offset, &it.place)).collect();
        assert_eq!(found, [(70, &"/a".into()), (0, &"/b".into())]);
        let foreign =
            SourcePosition { value: Some(Bytes::from_static(b"?")), ..known[0][0].clone() };
        assert!(lowest(&[vec![foreign]]).is_empty());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn flume_gets_the_name_that_a_file_has_now_and_none_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, renamed) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        fs::write(&renamed, "four\n").unwrap();
        let meta = fs::metadata(&renamed).unwrap();
        let entry = |offset, inode| {
            let position = standing(&path, offset, inode, meta.dev());
            let standing = FilePosition { source: "s".into(), position, place: path.clone() };
            flume_position(&standing, &env::real())
        };
        let expected = FlumePosition { inode: meta.ino(), pos: 5, file: renamed };
        assert_eq!(entry(5, meta.ino()), Some(expected));
        assert_eq!(entry(6, meta.ino()), None);
        assert_eq!(entry(5, meta.ino() + 1), None);
    }
}
