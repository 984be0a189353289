//! Consumers that join and leave while batches are put and taken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipeline::{Backlog, Batch, Channel, ChannelError};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::{PATIENCE, SEED, Suite, World, body, next, next_body, only, open_for, put, put_one};

/// Number of concurrent tasks with puts, and the puts of each.
const PUTTERS: usize = 4;
const PUTS: usize = 60;

/// A consumer that leaves blocks nothing any more; a new one gets all batches that others still
/// need.
pub async fn consumers_may_change<W: World>(suite: Suite<W>) {
    let channel = open_for(suite, &W::begin(SEED), &["a", "b"]).await;
    for body in ["1", "2"] {
        put_one(&*channel, body).await;
    }
    let mut a = channel.begin_take("a");
    let first = next(&mut *a).await;
    a.commit(&only(&first));
    channel.register(&[Arc::from("a")]).await.unwrap();
    assert_eq!(channel.status().events, 1);
    let identity = first.batch.envelope.identity.unwrap();
    assert!(channel.settled(identity.origin, identity.epoch).contains(0));
    channel.register(&[Arc::from("a"), Arc::from("c")]).await.unwrap();
    assert_eq!(next_body(&mut *channel.begin_take("c")).await, "2");
    assert_eq!(next_body(&mut *a).await, "2");
}

/// The backlog of a consumer has its uncommitted batches; without registration it is empty.
pub async fn the_backlog_of_a_consumer_is_what_it_has_not_committed<W: World>(suite: Suite<W>) {
    let channel = open_for(suite, &W::begin(SEED), &["a", "b"]).await;
    for body in ["1", "2", "3"] {
        put_one(&*channel, body).await;
    }
    let mut a = channel.begin_take("a");
    let (first, _second) = (next(&mut *a).await, next(&mut *a).await);
    assert_eq!(channel.backlog("a"), Backlog { ready: 1, held: 2 });
    a.commit(&only(&first));
    assert_eq!(channel.backlog("a"), Backlog { ready: 1, held: 1 });
    drop(a);
    assert_eq!(channel.backlog("a"), Backlog { ready: 2, held: 0 });
    assert_eq!(channel.backlog("b"), Backlog { ready: 3, held: 0 });
    assert_eq!(channel.backlog("nothing"), Backlog::default());
}

/// A take of a removed consumer ends, even if it is waiting.
pub async fn a_take_of_a_consumer_that_left_ends<W: World>(suite: Suite<W>) {
    let channel: Arc<dyn Channel> = open_for(suite, &W::begin(SEED), &["a", "b"]).await.into();
    let waiting = {
        let channel = channel.clone();
        tokio::spawn(async move { channel.begin_take("b").take().await.map(|_| ()) })
    };
    yield_now().await;
    channel.register(&[Arc::from("a")]).await.unwrap();
    let ended = timeout(PATIENCE, waiting).await.expect("a take that waits is answered").unwrap();
    assert!(matches!(ended, Err(ChannelError::Closed { .. })));
    put_one(&*channel, "1").await;
    let refused = timeout(PATIENCE, channel.begin_take("b").take()).await.expect("it is answered");
    assert!(matches!(refused, Err(ChannelError::Closed { .. })));
    assert_eq!(next_body(&mut *channel.begin_take("a")).await, "1");
}

/// The progress of the tasks of [`a_consumer_that_joins_among_puts_gets_all_from_then_on`].
#[derive(Default)]
struct Done {
    begun: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    committed: BTreeSet<String>,
}

type Books = Arc<Mutex<Done>>;

fn read(books: &Books) -> MutexGuard<'_, Done> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts numbered, incompressible batches while other tasks do.
fn putter(channel: &Arc<dyn Channel>, books: &Books, round: usize, of: usize) -> JoinHandle<()> {
    let (channel, books) = (channel.clone(), books.clone());
    tokio::spawn(async move {
        for number in 0..PUTS {
            let name = format!("{round}-{of}-{number}");
            read(&books).begun.insert(name.clone());
            let padding = format!("{number}").repeat(500);
            put(&*channel, Batch::of([format!("{name} {padding}")])).await.unwrap();
            read(&books).acknowledged.insert(name);
            for _ in 0..(of + number) % 3 {
                yield_now().await;
            }
        }
    })
}

/// Commits the batches that it takes, until its consumer is removed or `enough` is true; returns
/// them.
fn taker(
    channel: &Arc<dyn Channel>,
    consumer: &str,
    books: Option<Books>,
    enough: &Arc<AtomicBool>,
) -> JoinHandle<Vec<String>> {
    let (mut take, enough) = (channel.begin_take(consumer), enough.clone());
    tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            match timeout(PATIENCE, take.take()).await {
                Ok(Ok(taken)) => {
                    let name = body(&taken).split(' ').next().unwrap_or_default().to_owned();
                    if let Some(books) = &books {
                        // Recorded before the commit: a batch that is not recorded is certainly not
                        // committed.
                        read(books).committed.insert(name.clone());
                    }
                    seen.push(name);
                    take.commit(&only(&taken));
                    yield_now().await;
                }
                Ok(Err(_)) => return seen,
                Err(_) if enough.load(Ordering::Relaxed) => return seen,
                Err(_) => {}
            }
        }
    })
}

/// A consumer that joins while batches are put gets each of them from then on, and once each batch
/// that another consumer has not committed.
pub async fn a_consumer_that_joins_among_puts_gets_all_from_then_on<W: World>(suite: Suite<W>) {
    let channel: Arc<dyn Channel> = open_for(suite, &W::begin(SEED), &["a"]).await.into();
    for round in 0..8 {
        let (books, enough) = (Books::default(), Arc::new(AtomicBool::new(false)));
        let putters: Vec<_> = (0..PUTTERS).map(|of| putter(&channel, &books, round, of)).collect();
        let a = taker(&channel, "a", Some(books.clone()), &enough);
        while read(&books).acknowledged.len() < 10 + 20 * round {
            yield_now().await;
        }
        let before = read(&books).acknowledged.clone();
        let joined = format!("b{round}");
        channel.register(&[Arc::from("a"), joined.as_str().into()]).await.unwrap();
        let (begun, committed) = {
            let done = read(&books);
            (done.begun.clone(), done.committed.clone())
        };
        let b = taker(&channel, &joined, None, &enough);
        for putter in putters {
            putter.await.unwrap();
        }
        enough.store(true, Ordering::Relaxed);
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        let all = read(&books).acknowledged.clone();
        assert_eq!(a.iter().cloned().collect::<BTreeSet<_>>(), all, "the first one got each");
        assert_eq!(a.len(), all.len(), "and once");
        let got: BTreeSet<String> = b.iter().cloned().collect();
        assert_eq!(got.len(), b.len(), "nothing comes twice");
        let later = all.difference(&begun);
        let uncommitted = before.difference(&committed);
        let missing: Vec<&String> =
            later.chain(uncommitted).filter(|name| !got.contains(*name)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?}");
        assert!(all.len() > begun.len(), "some were put after it had joined");
        channel.register(&[Arc::from("a")]).await.unwrap();
        assert_eq!(channel.status().events, 0);
    }
}
