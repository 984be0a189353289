//! Goal: the put of a sampled batch is a span with the name by which every other agent knows the
//! batch, and other batches make no span.
//!
//! Method: real channels. A take shows the name of a batch; the spans must have the same one.

use metrics::Counter;
use pipeline::traces::{Span, TraceId};
use tokio::sync::mpsc::Receiver;

use super::*;

/// A life whose batches are traced at this rate, with its spans.
async fn traced(dir: &Path, selector: Option<Other>, rate: f64) -> (Life, Receiver<Span>) {
    let life = Life::with_sinks(dir, selector, SINK).await;
    let spans = life.topology.traces.begin(rate, Counter::default(), env::real().clock.clone());
    (life, spans)
}

/// A sink that recognises repeated batches: its channels name their parts.
const SINK: &str = "type = \"grpc\"\naddress = \"127.0.0.1:1\"";

/// The names of all batches in the channels, with the channel.
async fn names(life: &Life) -> Vec<(Arc<str>, Identity)> {
    let mut all = Vec::new();
    for built in &life.topology.channels {
        let mut take = built.channel.begin_take(&built.consumers[0]);
        let mut events = 0;
        while events != built.channel.status().events {
            let batch = take.take().await.unwrap().batch;
            events += batch.len() as u64;
            all.push((built.name.clone(), batch.envelope.identity.unwrap()));
        }
    }
    all
}

fn all(spans: &mut Receiver<Span>) -> Vec<Span> {
    std::iter::from_fn(|| spans.try_recv().ok()).collect()
}

#[tokio::test]
async fn a_batch_that_is_born_here_is_the_root_of_its_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (life, mut spans) = traced(dir.path(), None, 1.0).await;
    for number in 0..20 {
        life.intake.accept(Batch::of([format!("line {number}")])).await.unwrap();
    }
    let (mut named, spans) = (names(&life).await, all(&mut spans));
    let mut seen: Vec<TraceId> = spans.iter().map(|span| span.trace).collect();
    let mut expected: Vec<TraceId> =
        named.iter().map(|(_, name)| TraceId::from_identity(*name)).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(spans.iter().all(|span| span.is_root && span.name == "put" && span.error.is_none()));
    assert!(spans.iter().all(|span| span.part_of.is_none() && span.ended >= span.began));
    let (channel, name) = named.remove(0);
    let span = spans.iter().find(|span| span.trace == TraceId::from_identity(name)).unwrap();
    let text = format!("{span:?}");
    assert!(text.contains(&name.to_string()) && text.contains(&format!("{:?}", &*channel)));
    life.end().await;
}

#[tokio::test]
async fn of_batches_with_names_those_that_are_sampled_have_spans_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (life, mut spans) = traced(dir.path(), None, 0.25).await;
    let key = |n| Identity { origin: ORIGIN, epoch: Epoch(1 << 20), sequence: Sequence(n) };
    for number in 0..200 {
        let mut batch = Batch::of([format!("line {number}")]);
        batch.envelope.identity = Some(key(number));
        life.intake.accept(batch).await.unwrap();
    }
    let traces = &life.topology.traces;
    let named = names(&life).await;
    let expected = named.iter().filter(|(_, name)| traces.trace_id(*name).is_some()).count();
    let spans = all(&mut spans);
    assert_eq!(spans.len(), expected);
    assert!((20..=80).contains(&expected), "{expected} of 200");
    for span in spans {
        let part = named.iter().find(|(_, name)| TraceId::from_identity(*name) == span.trace);
        let (channel, part) = part.expect("a span is of a batch that is there");
        // The channels of this source name their parts.
        let origin = PartNames::new(channel).original(part.origin);
        assert_eq!(origin, ORIGIN);
        assert!(
            span.is_root
                && span.part_of == Some(TraceId::from_identity(Identity { origin, ..*part }))
        );
    }
    life.end().await;
}
