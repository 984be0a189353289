//! The sink `process`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::testkit::build;
use pipeline::{
    Batch, Epoch, Guarantee, Identity, Origin, Outcome, Sequence, Settlement, Sink, Taken,
};
use tokio::time::timeout;

use super::peer::{Honest, LIES, Lie, Plugins, settings};
use crate::sink::Config;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;
use crate::v1::{self, Settled, Verdict};

type Change = fn(&mut Vec<v1::Outcome>);

/// Stores events under their identity. Refuses `bad`, and defers `later` once.
#[derive(Default)]
struct Storing {
    change: Option<Change>,
    /// How often each event was stored.
    stored: Mutex<BTreeMap<String, u32>>,
    deferred: Mutex<u32>,
    /// Settled events of a request; all unless set. The others stay untried.
    settles: Option<usize>,
    /// Events of each request.
    requests: Mutex<Vec<usize>>,
}

impl Storing {
    /// Returns the outcome of an event, and stores it if there is an identity.
    fn outcome(&self, event: &v1::Event, identity: Option<&str>) -> v1::Outcome {
        let body = String::from_utf8(event.body.to_vec()).unwrap();
        let mut outcome =
            v1::Outcome { first: event.index, last: event.index, ..v1::Outcome::default() };
        let mut deferred = self.deferred.lock().unwrap();
        match &*body {
            "bad" => outcome.set_verdict(Verdict::Refused),
            "later" if *deferred == 0 => {
                *deferred += 1;
                outcome.set_verdict(Verdict::Retry);
                outcome.retry_after_ms = 2500;
            }
            _ => {
                let Some(identity) = identity else { return outcome };
                let key = format!("{identity} {} {body}", event.index);
                *self.stored.lock().unwrap().entry(key).or_default() += 1;
            }
        }
        outcome.reason = format!("it is {body}");
        outcome
    }
}

impl Honest for Storing {
    fn answer(&self, request: Request) -> Answer {
        let Request::Batch(batch) = request else { panic!("a sink gets batches") };
        self.requests.lock().unwrap().push(batch.events.len());
        let settled = self.settles.unwrap_or(usize::MAX).min(batch.events.len());
        let (now, later) = batch.events.split_at(settled);
        let mut outcomes: Vec<v1::Outcome> =
            now.iter().map(|event| self.outcome(event, Some(&batch.identity))).collect();
        if let (Some(first), Some(last)) = (later.first(), later.last()) {
            let mut untried =
                v1::Outcome { first: first.index, last: last.index, ..v1::Outcome::default() };
            untried.set_verdict(Verdict::Untried);
            outcomes.push(untried);
        }
        Answer::Settled(Settled { number: batch.number, outcomes })
    }

    /// Reports outcomes, and stores nothing.
    fn changed(&self, request: Request) -> Answer {
        let Request::Batch(batch) = request else { panic!("a sink gets batches") };
        let mut outcomes = batch.events.iter().map(|event| self.outcome(event, None)).collect();
        if let Some(change) = self.change {
            change(&mut outcomes);
        }
        Answer::Settled(Settled { number: batch.number, outcomes })
    }
}

fn plugin(lie: Lie, change: Option<Change>) -> (Arc<Plugins>, Arc<Storing>, Box<dyn Sink>) {
    let storing = Arc::new(Storing { change, ..Storing::default() });
    let plugins = Plugins::new(storing.clone(), lie);
    let sink = build::<Config>(&settings(), &plugins.context()).unwrap();
    assert_eq!(sink.guarantee(), Guarantee::AtLeastOnce);
    (plugins, storing, sink)
}

fn taken(sequence: u64, lines: &[&str]) -> Taken {
    let mut batch = Batch::of(lines);
    let (origin, epoch) = (Origin([7; 16]), Epoch(3));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
    Taken { ticket: sequence, batch }
}

/// Delivers batches as a group does: reopens the sink and offers a batch again after a failure.
/// Returns the errors.
async fn deliver(sink: &mut dyn Sink, batches: &[Taken]) -> Vec<String> {
    let mut errors = Vec::new();
    for taken in batches {
        loop {
            assert!(errors.len() < 9, "no answer after {} attempts: {errors:?}", errors.len());
            if let Err(error) = sink.open().await {
                errors.push(error.to_string());
                continue;
            }
            sink.write(taken.clone()).await.unwrap();
            let Settlement { outcome, .. } = sink.settled().await;
            match outcome {
                Outcome::Delivered => break,
                Outcome::Again(error) => errors.push(error.unwrap().to_string()),
                other => panic!("{other:?}"),
            }
        }
    }
    errors
}

fn three() -> Vec<Taken> {
    (1..=3).map(|sequence| taken(sequence, &["a", "b", "c", "d"])).collect()
}

/// Compares the stored events with those of [`three`].
fn check(storing: &Storing, times: std::ops::RangeInclusive<u32>, about: &str) {
    let stored = storing.stored.lock().unwrap();
    let mut expected = BTreeSet::new();
    for taken in three() {
        for event in taken.batch.iter() {
            let body = String::from_utf8_lossy(event.body());
            let identity = taken.batch.envelope.identity.unwrap();
            expected.insert(format!("{identity} {} {body}", event.index()));
        }
    }
    let found: BTreeSet<String> = stored.keys().cloned().collect();
    assert_eq!(found, expected, "{about}: each event is stored");
    assert!(stored.values().all(|found| times.contains(found)), "{about}: {stored:?}");
}

#[tokio::test(start_paused = true)]
async fn each_event_is_delivered_whatever_the_plugin_does() {
    support::mutants::plant_by_environment();
    for (lie, cause) in LIES {
        let (plugins, storing, mut sink) = plugin(lie, None);
        let errors = deliver(&mut *sink, &three()).await;
        let (failures, times) = match lie {
            Lie::Slow => (0, 1..=1),
            // It stores a batch without a valid answer, so it gets the batch again.
            Lie::OtherRequest => (2, 1..=2),
            // Its second answer is read after the next batch was sent. The second start has only
            // one batch.
            Lie::AnswersTwice => (1, 1..=2),
            _ => (2, 1..=1),
        };
        check(&storing, times, &format!("{lie:?}"));
        let starts = failures + 1;
        assert_eq!((errors.len(), plugins.starts()), (failures, starts), "{lie:?}: {errors:?}");
        assert!(errors.iter().all(|error| error.contains(cause)), "{lie:?}: {errors:?}");
        sink.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn answer_with_other_outcomes_is_not_used() {
    support::mutants::plant_by_environment();
    let changes: [(Change, &str); 6] = [
        (
            |outcomes| outcomes.iter_mut().for_each(|it| it.set_verdict(Verdict::Untried)),
            "the answer leaves events untried, but delivers or refuses no event",
        ),
        (|outcomes| drop(outcomes.pop()), "the answer has no outcome for event 3"),
        (|outcomes| outcomes.push(outcomes[3].clone()), "but no event is next"),
        (|outcomes| outcomes.swap(0, 1), "an outcome is for events 1 to 1, but event 0 is next"),
        (|outcomes| outcomes[3].last = 4000, "an outcome is for events 3 to 4000"),
        (|outcomes| outcomes[3].verdict = 9, "an outcome has the unknown verdict 9"),
    ];
    for (change, cause) in changes {
        let (plugins, storing, mut sink) = plugin(Lie::Changes, Some(change));
        let errors = deliver(&mut *sink, &three()).await;
        check(&storing, 1..=1, cause);
        assert!(errors.iter().all(|error| error.contains(cause)), "{cause}: {errors:?}");
        assert_eq!((errors.len(), plugins.starts()), (2, 3), "{cause}: {errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn delivered_events_of_a_batch_are_not_sent_again() {
    support::mutants::plant_by_environment();
    let (plugins, storing, mut sink) = plugin(Lie::Slow, None);
    let batch = taken(1, &["a", "later", "bad", "b"]);
    sink.open().await.unwrap();
    sink.write(batch.clone()).await.unwrap();
    let Outcome::Again(Some(error)) = sink.settled().await.outcome else { panic!("not again") };
    assert!(error.to_string().contains("cannot deliver 1 events: it is later;"), "{error}");
    assert_eq!(error.retry_after, Some(Duration::from_millis(2500)));
    sink.open().await.unwrap();
    sink.write(batch).await.unwrap();
    let Outcome::Refused(letter) = sink.settled().await.outcome else { panic!("not refused") };
    assert_eq!((letter.reason, &*letter.detail, letter.whole), ("refused", "it is bad", false));
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    let stored = storing.stored.lock().unwrap();
    let is_once = stored.len() == 3 && stored.values().all(|times| *times == 1);
    assert!(is_once, "a delivered event is not sent again: {stored:?}");
    assert_eq!(plugins.starts(), 1, "a retry is no failure of the process");
}

/// A plug-in that settles three events of a request dies twice at its second request.
#[tokio::test(start_paused = true)]
async fn untried_events_are_sent_immediately_in_smaller_requests() {
    let storing = Arc::new(Storing { settles: Some(3), ..Storing::default() });
    let plugins = Plugins::new(storing.clone(), Lie::Dies);
    let mut sink = build::<Config>(&settings(), &plugins.context()).unwrap();
    let lines: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let errors = deliver(&mut *sink, &[taken(1, &lines)]).await;
    assert_eq!((errors.len(), plugins.starts()), (2, 3), "{errors:?}");
    let stored = storing.stored.lock().unwrap();
    assert!(stored.len() == 20 && stored.values().all(|times| *times == 1), "{stored:?}");
    assert_eq!(*storing.requests.lock().unwrap(), [20, 3, 6, 3, 6, 3, 2]);
}

/// A group opens a sink after a failure while its next request is in flight, and polls that one
/// only afterwards.
#[tokio::test(start_paused = true)]
async fn opens_while_a_request_is_in_flight() {
    let (_, storing, mut sink) = plugin(Lie::Dies, None);
    sink.open().await.unwrap();
    for taken in three() {
        sink.write(taken).await.unwrap();
    }
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert!(matches!(sink.settled().await.outcome, Outcome::Again(Some(_))));
    // The third batch waits for the restart.
    assert!(timeout(Duration::from_millis(1), sink.settled()).await.is_err());
    timeout(Duration::from_secs(60), sink.open()).await.expect("no deadlock").unwrap();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(storing.stored.lock().unwrap().len(), 8);
}
