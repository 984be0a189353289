//! Goal: the downstream agent's reports reveal that its commit ledger was replaced or is an older
//! copy, even across a restart of the sender; and a relay passes the reports on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::peers::LedgerBoard;
use metrics::SinkLabel;
use pipeline::testkit::build;
use pipeline::{BuildContext, Env, Extensions, LedgerId, LedgerState, Sink};
use tokio::time::Instant;

use super::*;

fn ledger(identity: u8, entries: u64, read: Instant) -> LedgerState {
    let identity = LedgerId([identity; 16]);
    LedgerState { dataset: "logs".into(), identity, follows: Vec::new(), entries, read }
}

/// A process of an agent with data directory `directory` and a sink to `address`.
struct Process {
    cx: BuildContext,
    sink: Box<dyn Sink>,
}

impl Process {
    async fn start(env: &Env, directory: &Path, address: &str) -> Self {
        let board = LedgerBoard::with_file(env.clone(), directory.join("ledgers/main"));
        let cx = BuildContext::alone("out", directory, env.clone());
        let cx = BuildContext { extensions: Extensions::default().with(board), ..cx };
        let settings = json!({ "address": address });
        let sink = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
        let mut process = Self { cx, sink };
        within(async { while process.sink.open().await.is_err() {} }).await;
        process
    }

    /// Waits until this ledger is the only known one.
    async fn knows(&self, identity: u8, entries: u64) {
        let known = |board: &LedgerBoard| -> Vec<_> {
            board.all().iter().map(|one| (one.identity.0[0], one.entries)).collect()
        };
        within(async {
            while known(&self.cx.get()) != [(identity, entries)] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// The gauge is updated a moment later.
    async fn shows_a_change(&self) {
        within(async {
            while !self.is_changed() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    fn is_changed(&self) -> bool {
        let label = SinkLabel { sink: self.cx.name.to_string() };
        self.cx.metrics.sink_ledger_changed.get_or_create(&label).get() == 1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_another_downstream_ledger_once_and_remembers_it() {
    let (env, directory) = (env::real(), tempfile::tempdir().unwrap());
    let memory = Memory::new();
    let stores: Arc<str> = "stores".into();
    memory.ledgers.set(&stores, vec![ledger(1, 10, Instant::now())]);
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let start = || Process::start(&env, directory.path(), &source.address);

    let mut first = start().await;
    first.knows(1, 10).await;
    assert!(!first.is_changed());
    // A relay passes it on with its age: at least the age of the connection that delivered it.
    assert!(first.cx.get::<LedgerBoard>().all()[0].read < Instant::now());
    first.sink.close().await;
    assert_eq!(first.cx.get::<LedgerBoard>().all(), [], "nothing is known behind a closed sink");

    memory.ledgers.set(&stores, vec![ledger(2, 3, Instant::now())]);
    let mut second = start().await;
    second.knows(2, 3).await;
    // The first process remembered the other ledger.
    second.shows_a_change().await;
    second.sink.close().await;

    let third = start().await;
    third.knows(2, 3).await;
    assert!(!third.is_changed(), "it was shown once");
    memory.ledgers.set(&stores, vec![ledger(1, 10, Instant::now())]);
    third.knows(1, 10).await;
    // It also works on an open connection.
    third.shows_a_change().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_shows_and_a_collector_that_has_not_read_since_does_not() {
    let (env, directory) = (env::real(), tempfile::tempdir().unwrap());
    let (memory, stores): (_, Arc<str>) = (Memory::new(), "stores".into());
    let long_ago = Instant::now();
    memory.ledgers.set(&stores, vec![ledger(1, 10, long_ago)]);
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let start = || Process::start(&env, directory.path(), &source.address);
    let mut first = start().await;
    first.knows(1, 10).await;
    first.sink.close().await;

    for is_read_again in [false, true] {
        memory.ledgers.set(&stores, vec![ledger(1, 10, long_ago)]);
        let mut process = start().await;
        process.knows(1, 10).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let read = if is_read_again { Instant::now() } else { long_ago };
        memory.ledgers.set(&stores, vec![ledger(1, 4, read)]);
        process.knows(1, 4).await;
        // Its age counts from the beginning of the connection.
        process.sink.close().await;
        within(async { while process.sink.open().await.is_err() {} }).await;
        process.knows(1, 4).await;
        assert_eq!(process.is_changed(), is_read_again);
        process.sink.close().await;
    }
}
