//! The source `process`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::testkit::channels::Channels;
use pipeline::testkit::{build, position_context};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::peer::{Honest, LIES, Lie, Plugins, settings};
use crate::source::Config;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;
use crate::v1::{Event, Hello, Produced};

type Change = fn(&mut Produced);

/// Number of events.
const EVENTS: usize = 40;

/// Counts from its position; three events at a time.
struct Counting {
    next: Mutex<usize>,
    change: Change,
}

impl Honest for Counting {
    fn ready(&self, hello: &Hello) {
        let position = std::str::from_utf8(&hello.position).unwrap();
        *self.next.lock().unwrap() = position.parse().unwrap_or(0);
    }

    fn answer(&self, request: Request) -> Answer {
        let Request::Next(request) = request else { panic!("a source is asked for events") };
        let mut next = self.next.lock().unwrap();
        let from = *next;
        *next = EVENTS.min(from + 3);
        let event = |n: usize| Event { body: n.to_string().into(), ..Event::default() };
        let events = (from..*next).map(event).collect();
        let position = next.to_string().into();
        Answer::Produced(Produced { number: request.number, events, position })
    }

    fn changed(&self, request: Request) -> Answer {
        let mut answer = self.answer(request);
        if let Answer::Produced(produced) = &mut answer {
            (self.change)(produced);
        }
        answer
    }
}

/// Runs a source until all events are stored, as the agent does: restarts it after a failure.
/// Returns the errors.
async fn read(lie: Lie, change: Change) -> Vec<String> {
    let plugins = Plugins::new(Arc::new(Counting { next: Mutex::new(0), change }), lie);
    let mut source = build::<Config>(&settings(), &plugins.context()).unwrap();
    let (channels, stop) = (Arc::new(Channels::new(1)), CancellationToken::new());
    let cx = position_context(channels.clone(), stop.clone());
    let running = tokio::spawn(async move {
        let mut errors = Vec::new();
        while !cx.stop.is_cancelled() {
            let ended = match source.open(&cx).await {
                Ok(()) => source.run(cx.clone()).await,
                Err(error) => Err(error),
            };
            errors.extend(ended.err().map(|error| error.to_string()));
            assert!(errors.len() < 9, "no answer after {} attempts: {errors:?}", errors.len());
        }
        errors
    });
    for _ in 0..300 {
        if channels.bodies(0).len() >= EVENTS {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    stop.cancel();
    let errors = running.await.unwrap();
    let expected: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    assert_eq!(channels.bodies(0), expected, "each event is stored once");
    errors
}

#[tokio::test(start_paused = true)]
async fn each_event_is_stored_once_whatever_the_plugin_does() {
    support::mutants::plant_by_environment();
    for (lie, cause) in LIES {
        let errors = read(lie, |_| {}).await;
        let expected = if cause.is_empty() { 0 } else { 2 };
        assert_eq!(errors.len(), expected, "{lie:?}: {errors:?}");
        assert!(errors.iter().all(|error| error.contains(cause)), "{lie:?}: {errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_a_new_position_are_not_stored() {
    support::mutants::plant_by_environment();
    let changes: [(Change, &str); 4] = [
        (|answer| answer.position = "3".into(), "so a restart would repeat the events"),
        (|answer| answer.position.clear(), "so a restart would repeat the events"),
        (|answer| answer.position = vec![b'x'; 4097].into(), "4097 bytes, over the limit of 4096"),
        (
            |answer| answer.events = vec![Event::default(); 1001],
            "the answer has 1001 events, but the request allows 1000",
        ),
    ];
    for (change, cause) in changes {
        let errors = read(Lie::Changes, change).await;
        assert!(!errors.is_empty(), "not reported: {cause}");
        assert!(errors.iter().all(|error| error.contains(cause)), "{cause}: {errors:?}");
    }
}
