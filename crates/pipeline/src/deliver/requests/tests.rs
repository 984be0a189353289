//! Whatever happens to requests, each batch is settled once, and memory and order stay within their
//! bounds.
//!
//! Method: the test answers a delivery, one request at a time, on paused time.

use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::identity::{Epoch, Identity, Sequence};
use crate::testkit::Checked;

#[derive(Debug, Error)]
#[error("the other side said {0}")]
struct Said(ErrorClass);

impl Classify for Said {
    fn class(&self) -> ErrorClass {
        self.0
    }
}

type Answer = Result<Delivered, Said>;

/// Hands each request to the test, with a way to answer it.
struct Asked {
    requests: Mutex<mpsc::UnboundedSender<(Batch, oneshot::Sender<Answer>)>>,
    together_max: usize,
}

#[async_trait]
impl Deliver for Asked {
    type Error = Said;

    async fn deliver(&self, batch: &Batch) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.requests.lock().unwrap().send((batch.clone(), answer)).unwrap();
        answered.await.unwrap()
    }

    fn together_max(&self) -> usize {
        self.together_max
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

struct Fixture {
    sink: Checked,
    requests: mpsc::UnboundedReceiver<(Batch, oneshot::Sender<Answer>)>,
}

impl Fixture {
    fn new(in_flight_max: usize, in_order: bool) -> Self {
        let options = Options { in_flight_max, in_order, timeout: Duration::from_secs(30) };
        Self::with(options, 1)
    }

    /// In order, with requests of up to this many batches.
    fn together(together_max: usize) -> Self {
        let options =
            Options { in_flight_max: 8, in_order: true, timeout: Duration::from_secs(30) };
        Self::with(options, together_max)
    }

    fn with(options: Options, together_max: usize) -> Self {
        let (asked, requests) = mpsc::unbounded_channel();
        let asked = Asked { requests: Mutex::new(asked), together_max };
        Self { sink: Checked::new(Box::new(Requests::new(asked, options))), requests }
    }

    /// Requests that are on their way now, oldest first.
    async fn started(&mut self) -> Vec<(Batch, oneshot::Sender<Answer>)> {
        self.settlement().await;
        let mut started = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            started.push(request);
        }
        started
    }

    /// A settlement, if one is due now.
    async fn settlement(&mut self) -> Option<Settlement> {
        timeout(Duration::from_millis(1), self.sink.settled()).await.ok()
    }
}

fn taken(ticket: Ticket, origin: u8) -> Taken {
    let mut batch = Batch::of([format!("{ticket}-a"), format!("{ticket}-b")]);
    let origin = Origin([origin; 16]);
    batch.envelope.identity =
        Some(Identity { origin, epoch: Epoch(1), sequence: Sequence(ticket) });
    Taken { ticket, batch }
}

fn first_body(batch: &Batch) -> String {
    String::from_utf8(batch.iter().next().unwrap().body().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_run_at_the_same_time_up_to_the_limit_and_settle_as_they_end() {
    let mut fixture = Fixture::new(2, false);
    for ticket in 0..2 {
        fixture.sink.write(taken(ticket, 1)).await.unwrap();
    }
    let mut requests = fixture.started().await;
    assert_eq!(requests.len(), 2);
    let third = timeout(Duration::from_secs(1), fixture.sink.write(taken(2, 1))).await;
    assert!(third.is_err(), "there is no room for a third one");
    requests.pop().unwrap().1.send(Ok(Delivered::All)).unwrap();
    let settlement = fixture.settlement().await.unwrap();
    assert_eq!(settlement.tickets, IntervalSet::from(1..2));
    assert!(matches!(settlement.outcome, Outcome::Delivered));
    fixture.sink.write(taken(2, 1)).await.unwrap();
    assert_eq!(fixture.started().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_of_one_origin_keep_their_order_and_others_do_not_wait() {
    let mut fixture = Fixture::new(8, true);
    for (ticket, origin) in [(0, 1), (1, 1), (2, 2), (3, 1)] {
        fixture.sink.write(taken(ticket, origin)).await.unwrap();
    }
    let mut requests = fixture.started().await;
    let started: Vec<String> = requests.iter().map(|(batch, _)| first_body(batch)).collect();
    assert_eq!(started, ["0-a", "2-a"]);
    requests.remove(0).1.send(Ok(Delivered::All)).unwrap();
    assert_eq!(fixture.settlement().await.unwrap().tickets, IntervalSet::from(0..1));
    let next = fixture.started().await;
    assert_eq!(first_body(&next[0].0), "1-a");
}

#[tokio::test(start_paused = true)]
async fn returns_batches_that_wait_behind_a_failure() {
    let mut fixture = Fixture::new(8, true);
    for ticket in 0..3 {
        fixture.sink.write(taken(ticket, 1)).await.unwrap();
    }
    let mut requests = fixture.started().await;
    requests.remove(0).1.send(Err(Said(ErrorClass::Transient))).unwrap();
    let failed = fixture.settlement().await.unwrap();
    assert!(matches!(failed.outcome, Outcome::Again(Some(e)) if e.class == ErrorClass::Transient));
    for ticket in 1..3 {
        let back = fixture.settlement().await.unwrap();
        assert_eq!(back.tickets, IntervalSet::from(ticket..ticket + 1));
        assert!(matches!(back.outcome, Outcome::Again(None)));
    }
    assert_eq!(fixture.sink.unacknowledged_bytes(), 0);
    fixture.sink.write(taken(0, 1)).await.unwrap();
    assert_eq!(fixture.started().await.len(), 1, "the origin is free again");
}

#[tokio::test(start_paused = true)]
async fn refused_events_become_letters_and_the_rest_is_delivered() {
    support::mutants::plant_by_environment();
    let mut fixture = Fixture::new(1, false);
    fixture.sink.write(taken(5, 1)).await.unwrap();
    let mut requests = fixture.started().await;
    let detail = "line 2: no number".to_owned();
    let except = Delivered::Except { events: vec![1], reason: "malformed", detail };
    requests.remove(0).1.send(Ok(except)).unwrap();
    let letter = fixture.settlement().await.unwrap();
    let Outcome::Refused(letter) = letter.outcome else { panic!("{letter:?}") };
    assert_eq!((first_body(&letter.events), letter.whole), ("5-b".into(), false));
    assert!(matches!(fixture.settlement().await.unwrap().outcome, Outcome::Delivered));

    fixture.sink.write(taken(6, 1)).await.unwrap();
    fixture.started().await.remove(0).1.send(Err(Said(ErrorClass::Poison))).unwrap();
    let letter = fixture.settlement().await.unwrap();
    let Outcome::Refused(letter) = letter.outcome else { panic!("{letter:?}") };
    assert!(letter.whole && letter.events.len() == 2);
    assert!(fixture.settlement().await.is_none(), "the letter of a whole batch settles it");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_its_outcome_is_unknown() {
    let mut fixture = Fixture::new(1, false);
    fixture.sink.write(taken(0, 1)).await.unwrap();
    let request = fixture.started().await;
    let settlement = fixture.sink.settled().await;
    let Outcome::Again(Some(error)) = settlement.outcome else { panic!("{settlement:?}") };
    assert_eq!(error.class, ErrorClass::Indeterminate);
    assert!(error.to_string().contains("30s"), "{error}");
    drop(request);
}

/// Answers the only request in flight. Returns the settled tickets, and whether they were
/// delivered.
async fn answer(fixture: &mut Fixture, body: &str, answer: Answer) -> Vec<(Ticket, bool)> {
    let before = settled(fixture).await;
    let mut started = fixture.started().await;
    assert_eq!(started.len(), 1);
    let (batch, to) = started.remove(0);
    assert_eq!(first_body(&batch), body);
    to.send(answer).unwrap();
    before
}

async fn settled(fixture: &mut Fixture) -> Vec<(Ticket, bool)> {
    let mut settled = Vec::new();
    while let Some(settlement) = fixture.settlement().await {
        let is_delivered = matches!(settlement.outcome, Outcome::Delivered);
        settled.extend(settlement.tickets.iter().map(|ticket| (ticket, is_delivered)));
    }
    settled
}

#[tokio::test(start_paused = true)]
async fn joins_waiting_batches_of_an_origin_up_to_the_limit() {
    let mut fixture = Fixture::together(3);
    for ticket in 0..5 {
        fixture.sink.write(taken(ticket, 1)).await.unwrap();
    }
    answer(&mut fixture, "0-a", Ok(Delivered::All)).await;
    assert_eq!(answer(&mut fixture, "1-a", Ok(Delivered::All)).await, [(0, true)]);
    for body in ["2-a", "3-a"] {
        let settled = answer(&mut fixture, body, Ok(Delivered::All)).await;
        assert_eq!(settled, [], "one of three is not delivered");
    }
    let of_three = [(1, true), (2, true), (3, true)];
    assert_eq!(answer(&mut fixture, "4-a", Ok(Delivered::All)).await, of_three);
    assert_eq!(settled(&mut fixture).await, [(4, true)]);
}

#[tokio::test(start_paused = true)]
async fn returns_all_batches_after_a_failed_one_in_a_joined_request() {
    let mut fixture = Fixture::together(3);
    for ticket in 0..6 {
        fixture.sink.write(taken(ticket, 1)).await.unwrap();
    }
    answer(&mut fixture, "0-a", Ok(Delivered::All)).await;
    answer(&mut fixture, "1-a", Ok(Delivered::All)).await;
    answer(&mut fixture, "2-a", Err(Said(ErrorClass::Transient))).await;
    let expected = [(1, true), (2, false), (3, false), (4, false), (5, false)];
    assert_eq!(settled(&mut fixture).await, expected);
    assert_eq!(fixture.sink.unacknowledged_bytes(), 0);
    for ticket in 2..10 {
        let written = fixture.sink.write(taken(ticket, 1));
        timeout(Duration::from_secs(1), written).await.expect("there is room").unwrap();
    }
}
