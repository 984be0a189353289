//! Goal: a batch that only some required channels have stored is completed in the others, and
//! counts as accepted once.
//!
//! Method: two durable channels on a simulated disk that fails a write.

use channel::testkit::{SimDisk, world};

use super::*;

const CONFIGURATION: &str = "[agent]\ndata_dir = \"/agent\"\n\
    [sources.in]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\nchannels = [\"a\", \"b\"]\n\
    [channels.a]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
    [channels.b]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
    [sinks.one]\ntype = \"discard\"\nchannel = \"a\"\n\
    [sinks.other]\ntype = \"discard\"\nchannel = \"b\"\n";

fn rest_of(stored: Result<(), IntakeError>) -> Rest {
    match stored {
        Err(IntakeError::Partly { rest, .. }) => *rest,
        other => panic!("not partly stored: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_batch_goes_into_the_channel_that_lacks_it() {
    let disk = SimDisk::new(1);
    let life = Life::of(CONFIGURATION, Path::new("/agent"), world(&disk, 1), |_| {}).await;
    let mut batch = lines(0..10);
    batch.envelope.positions.clear();
    disk.fail_writes(1);
    let rest = rest_of(life.intake.accept(batch).await);
    assert_eq!((rest.parts.len(), life.intake.flow().batches), (1, 0));
    disk.fail_writes(1);
    let rest = rest_of(life.intake.accept_rest(rest).await);
    life.intake.accept_rest(rest).await.unwrap();
    let flow = life.intake.flow();
    assert_eq!((flow.accepted.total().events, flow.batches), (10, 1));
    let all: Vec<String> = (0..10).map(|number| format!("line {number:04}")).collect();
    assert_eq!(life.held().await, [all.clone(), all]);
}
