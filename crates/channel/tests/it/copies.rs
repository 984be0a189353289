//! Goal: two copies of one directory never assign the same identity to two batches, and a copy can
//! get a new origin without losing anything. Method: a channel on a real disk, whose directory is
//! copied while it is not in use.

use std::path::Path;

use aqueduct_channel::durable::inspect::renew;
use aqueduct_channel::durable::{Config, IndexKind};
use pipeline::{Batch, BuildContext, Channel, Component, Identity, IntervalSet, Taken};

async fn open(directory: &Path) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", directory, env::real());
    let config = Config { index: IndexKind::None, ..Config::default() };
    let channel = config.build(&cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&["sink".into()]).await.unwrap();
    channel
}

async fn put(channel: &dyn Channel, body: &str) {
    let batch = Batch::of([body]);
    let mut put = channel.begin_put(batch.size()).await.unwrap();
    put.put(batch);
    put.commit().await.unwrap();
}

/// Takes `count` batches and commits them.
async fn drain(channel: &dyn Channel, count: usize) -> Vec<(Identity, String)> {
    let mut take = channel.begin_take("sink");
    let mut taken = Vec::new();
    for _ in 0..count {
        let Taken { ticket, batch } = take.take().await.unwrap();
        let body = String::from_utf8(batch.iter().next().unwrap().body().to_vec()).unwrap();
        taken.push((batch.envelope.identity.unwrap(), body));
        take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
    taken
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A directory with one batch in it, and its copy.
async fn twins(folder: &Path) -> [std::path::PathBuf; 2] {
    let [one, other] = ["one", "other"].map(|name| folder.join(name));
    let channel = open(&one).await;
    put(&*channel, "before").await;
    channel.close().await.unwrap();
    drop(channel);
    copy(&one, &other);
    [one, other]
}

#[tokio::test]
async fn copies_share_old_identities_and_get_new_ones_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut drained = Vec::new();
    for (directory, body) in twins(folder.path()).await.iter().zip(["here", "there"]) {
        let channel = open(directory).await;
        put(&*channel, body).await;
        drained.push(drain(&*channel, 2).await);
        channel.close().await.unwrap();
    }
    let [one, other] = &drained[..] else { unreachable!("there are two") };
    assert_eq!(one[0], other[0]);
    assert_eq!(one[0].1, "before");
    assert_eq!([&*one[1].1, &*other[1].1], ["here", "there"]);
    assert_eq!(one[1].0.origin, other[1].0.origin);
    assert_eq!(one[1].0.epoch.starts(), other[1].0.epoch.starts());
    assert_ne!(one[1].0, other[1].0, "the same name would make one of them a repetition");
}

#[tokio::test]
async fn a_renewed_copy_keeps_what_it_holds_and_goes_on_as_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = twins(folder.path()).await;
    let (old, new) = renew(&env::real(), &other, None, None).unwrap();
    assert_ne!(old, new);
    let channel = open(&other).await;
    put(&*channel, "after").await;
    let drained = drain(&*channel, 2).await;
    let origins = drained.iter().map(|(identity, body)| (identity.origin, body.as_str()));
    assert_eq!(origins.collect::<Vec<_>>(), [(old, "before"), (new, "after")]);
    channel.close().await.unwrap();
    drop(channel);
    assert_eq!(renew(&env::real(), &other, None, None).unwrap().0, new);

    let used = open(&one).await;
    let refused = renew(&env::real(), &one, None, None).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    used.close().await.unwrap();
}
