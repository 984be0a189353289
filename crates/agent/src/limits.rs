//! The file `limits` of the data directory: the largest batch that each downstream agent accepts.
//!
//! ```text
//! {"channels":{"main":{"collector-1:4141":65536,"relay:4141":[16777216,65536]}}}
//! 5f0e91c2a1b3d4e6                                    xxh3 of the line above
//! ```
//!
//! Of two numbers, the first is the limit of the downstream agent, and the second the limit of the
//! agents downstream of it.
//!
//! The file is read before the sources start, so that they limit their batches to the size that was
//! agreed before the restart. It only saves time: if it is missing or damaged, no limit is known
//! before the first Welcome.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::select_all;
use peers::LimitBoard;
use peers::limits::PeerLimit;
use pipeline::Env;
use pipeline::env::{Disk, small_file};
use serde::{Deserialize, Serialize};
use support::failure_log::FailureLog;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::checked;

/// Its name.
const FILE: &str = "limits";

/// Pause after it could not be written.
const RETRY: Duration = Duration::from_secs(30);

/// The board of each channel, by the channel's name.
pub type Boards = Vec<(Arc<str>, LimitBoard)>;

/// The boards of the channels that there are now. Clones are the same.
#[derive(Clone)]
pub struct LimitBoards {
    boards: Arc<Mutex<Boards>>,
    /// For the one that keeps the file.
    changed: Arc<Notify>,
}

impl LimitBoards {
    /// Follows these boards.
    pub fn new(boards: Boards) -> Self {
        Self { boards: Arc::new(Mutex::new(boards)), changed: Arc::default() }
    }

    /// Replaces the channels.
    pub fn exchange(&self, boards: Boards) {
        // Each change is whole.
        *self.boards.lock().unwrap_or_else(PoisonError::into_inner) = boards;
        self.changed.notify_one();
    }

    fn boards(&self) -> Boards {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a limit may have changed, or the channels have.
    async fn changed(&self) {
        let boards = self.boards();
        let limits = async {
            // An agent of a fleet may have no channel yet.
            if boards.is_empty() {
                return std::future::pending().await;
            }
            select_all(boards.iter().map(|(_, board)| Box::pin(board.changed()))).await;
        };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            () = limits => {}
        }
    }
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Content {
    channels: BTreeMap<String, BTreeMap<String, Row>>,
}

/// The limits of one peer.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Row {
    /// Both limits are equal.
    One(u64),
    /// Its limit, and the limit of the agents downstream of it.
    Two(u64, u64),
}

impl Row {
    fn from_limit(PeerLimit { takes, cut }: PeerLimit) -> Self {
        if takes == cut { Self::One(cut) } else { Self::Two(takes, cut) }
    }

    /// Returns `None` if a number is not one that a peer may send.
    fn limit(self) -> Option<PeerLimit> {
        let (takes, cut) = match self {
            Self::One(bytes) => (bytes, bytes),
            Self::Two(takes, cut) => (takes, cut),
        };
        (cut > 0 && takes >= cut).then_some(PeerLimit { takes, cut })
    }
}

impl Content {
    fn from_boards(boards: &Boards) -> Self {
        let rows = |board: &LimitBoard| {
            board
                .known()
                .into_iter()
                .map(|(peer, limit)| (peer.to_string(), Row::from_limit(limit)))
                .collect()
        };
        let channels = boards.iter().map(|(name, board)| (name.to_string(), rows(board)));
        let channels = channels.filter(|(_, rows): &(_, BTreeMap<_, _>)| !rows.is_empty());
        Self { channels: channels.collect() }
    }
}

/// Replaces the file, durably.
fn write(disk: &dyn Disk, path: &Path, content: &Content) -> io::Result<()> {
    small_file::replace(disk, path, checked::text(content).as_bytes())
}

/// Initialises each channel's board with the limits that were agreed before this process started.
pub fn restore(boards: &Boards, data_dir: &Path, env: &Env) {
    let path = data_dir.join(FILE);
    let content = match checked::read::<Content>(&*env.disk, &path) {
        Ok(Some(content)) => content,
        Ok(None) => {
            warn!(
                path = %path.display(),
                "the file of size limits is damaged; no action needed: downstream agents send \
                 their limits again",
            );
            return;
        }
        Err(error) => {
            warn!(
                path = %path.display(), %error,
                "cannot read the file of size limits; no action needed: downstream agents send \
                 their limits again",
            );
            return;
        }
    };
    for (name, board) in boards {
        let rows = content.channels.get(&**name).into_iter().flatten();
        let rows = rows.filter_map(|(peer, row)| Some((peer.as_str().into(), row.limit()?)));
        board.restore(rows.collect());
    }
}

/// Keeps the file up to date until the agent stops.
pub fn save_changes(
    boards: LimitBoards,
    data_dir: &Path,
    env: &Env,
    stopping: &CancellationToken,
) -> JoinHandle<Option<()>> {
    let keeping = keep_file(boards, data_dir.join(FILE), env.clone());
    tokio::spawn(stopping.clone().run_until_cancelled_owned(keeping))
}

async fn keep_file(boards: LimitBoards, path: PathBuf, env: Env) {
    let mut trouble = FailureLog::default();
    let mut stands: Content = checked::read(&*env.disk, &path).ok().flatten().unwrap_or_default();
    loop {
        let content = Content::from_boards(&boards.boards());
        if content == stands {
            boards.changed().await;
            continue;
        }
        let (disk, at) = (env.disk.clone(), path.clone());
        let writing = move || write(&*disk, &at, &content).map(|()| content);
        match env.offload(writing).await {
            Ok(content) => {
                stands = content;
                trouble = FailureLog::default();
            }
            Err(error) => {
                let now = Instant::now();
                trouble.count(now);
                if trouble.should_log(now, &error.to_string()).is_some() {
                    warn!(
                        path = %path.display(), %error, pause_seconds = RETRY.as_secs(),
                        "cannot write the file of size limits of the downstream agents; events are \
                         not affected; retrying",
                    );
                }
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use pipeline::env::OpenMode;

    use super::*;

    fn boards() -> Boards {
        let boards = ["main", "side"].map(|name| (name.into(), LimitBoard::default()));
        boards.iter().for_each(|(_, board)| {
            board.expect("a:1");
            board.expect("b:2");
        });
        boards.into()
    }

    async fn until(mut so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < Duration::from_secs(20), "it takes too long");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn limits_are_known_after_a_restart_by_channel_and_peer() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let relay = PeerLimit { takes: 16 << 20, cut: 64 << 10 };
        let before = boards();
        restore(&before, dir.path(), &env);
        assert!(before.iter().all(|(_, board)| board.smallest().is_none()), "there is no file yet");
        let keeping = save_changes(
            LimitBoards::new(before.clone()),
            dir.path(),
            &env,
            &CancellationToken::new(),
        );
        before[0].1.named(&"a:1".into(), Some(relay));
        before[0].1.named(&"b:2".into(), Some(PeerLimit::new(1 << 20)));
        before[1].1.named(&"b:2".into(), Some(PeerLimit::new(7)));
        let recalled = || {
            let after = boards();
            restore(&after, dir.path(), &env);
            let limits = |board: &LimitBoard| board.known().into_values().collect();
            after.iter().map(|(_, board)| limits(board)).collect::<Vec<Vec<PeerLimit>>>()
        };
        until(|| recalled() == [vec![relay, PeerLimit::new(1 << 20)], vec![PeerLimit::new(7)]])
            .await;
        before[1].1.withdraw("b:2");
        until(|| recalled() == [vec![relay, PeerLimit::new(1 << 20)], vec![]]).await;
        keeping.abort();
    }

    #[tokio::test]
    async fn a_damaged_file_means_that_nothing_is_known_and_is_replaced() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = dir.path().join(FILE);
        let content =
            Content { channels: [("main".into(), [("a:1".into(), Row::One(512))].into())].into() };
        write(&*env.disk, &path, &content).unwrap();
        let mode = OpenMode { write: true, ..OpenMode::default() };
        let file = env.disk.open(&path, mode).unwrap();
        let digit = checked::text(&content).find('5').unwrap() as u64;
        for (damage, at) in [(&b"9"[..], digit), (b"\xff", 0)] {
            write(&*env.disk, &path, &content).unwrap();
            let file = env.disk.open(&path, mode).unwrap();
            file.write_at(&[IoSlice::new(damage)], at, true).unwrap();
            let after = boards();
            restore(&after, dir.path(), &env);
            assert_eq!(after[0].1.smallest(), None);
        }
        file.set_len(0).unwrap();
        let after = boards();
        after[0].1.named(&"a:1".into(), Some(PeerLimit::new(512)));
        let keeping =
            save_changes(LimitBoards::new(after), dir.path(), &env, &CancellationToken::new());
        until(|| {
            checked::read(&*env.disk, &path).unwrap().is_some_and(|it: Content| it == content)
        })
        .await;
        keeping.abort();
    }
}
