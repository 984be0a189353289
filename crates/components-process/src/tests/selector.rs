//! The selector `process`.

use std::sync::Arc;

use pipeline::testkit::build;
use pipeline::{Batch, ChannelSelector, Events};

use super::peer::{FRAME_MAX, Honest, LIES, Lie, Plugins, settings};
use crate::selector::Config;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;
use crate::v1::{Choice, Hello, Selected};

type Change = fn(&mut Vec<Choice>);

/// Chooses the channels whose names are in the body.
struct ByName(Change);

const CHANNELS: [&str; 3] = ["a", "b", "c"];

impl Honest for ByName {
    fn answer(&self, request: Request) -> Answer {
        let Request::Batch(batch) = request else { panic!("a selector gets batches") };
        let choices = batch.events.iter().map(|event| {
            let body = String::from_utf8(event.body.to_vec()).unwrap();
            let chosen = (0..).zip(CHANNELS).filter(|(_, name)| body.contains(name));
            Choice { channels: chosen.map(|(index, _)| index).collect() }
        });
        Answer::Selected(Selected { number: batch.number, choices: choices.collect() })
    }

    fn changed(&self, request: Request) -> Answer {
        let mut answer = self.answer(request);
        if let Answer::Selected(selected) = &mut answer {
            self.0(&mut selected.choices);
        }
        answer
    }

    fn ready(&self, hello: &Hello) {
        assert_eq!(hello.channels, CHANNELS);
    }
}

fn plugin(lie: Lie, change: Change) -> (Arc<Plugins>, Box<dyn ChannelSelector>) {
    let plugins = Plugins::new(Arc::new(ByName(change)), lie);
    let mut settings = settings();
    settings["channels"] = CHANNELS.into();
    let built = build::<Config>(&settings, &plugins.context()).unwrap();
    (plugins, built)
}

fn bodies(part: &Option<Events>) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    part.iter().flat_map(Events::iter).map(|event| text(event.body())).collect()
}

/// Selects as an intake does: offers a batch again after a failure. Returns the errors.
async fn select(selector: &dyn ChannelSelector, batch: &Batch) -> (Vec<Vec<String>>, Vec<String>) {
    let mut errors = Vec::new();
    loop {
        assert!(errors.len() < 9, "no answer after {} attempts: {errors:?}", errors.len());
        match selector.remote().unwrap().select(batch).await {
            Ok(parts) => return (parts.iter().map(bodies).collect(), errors),
            Err(error) => errors.push(error.to_string()),
        }
    }
}

const EVENTS: [&str; 4] = ["a", "b c", "none", "a c"];
const CHOSEN: [&[&str]; 3] = [&["a", "a c"], &["b c"], &["b c", "a c"]];

#[tokio::test(start_paused = true)]
async fn each_event_has_its_channels_whatever_the_plugin_does() {
    for (lie, problem) in LIES {
        let (plugins, selector) = plugin(lie, |_| {});
        let mut all = Vec::new();
        for _ in 0..3 {
            let (parts, errors) = select(&*selector, &Batch::of(EVENTS)).await;
            // "none" has an n, an o and an e only.
            assert_eq!(parts, CHOSEN, "{lie:?}");
            all.extend(errors);
        }
        let is_error = !problem.is_empty();
        assert_eq!(!all.is_empty(), is_error, "{lie:?}: {all:?}");
        assert!(all.iter().all(|error| error.contains(problem)), "{lie:?}: {all:?}");
        assert_eq!(plugins.starts() > 1, is_error, "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answer_with_other_choices_is_not_used() {
    support::mutants::plant_by_environment();
    let changes: [(Change, &str); 3] = [
        (|choices| choices.truncate(3), "it has 3 choices for 4 events"),
        (|choices| choices.push(Choice::default()), "it has 5 choices for 4 events"),
        (|choices| choices[1].channels.push(3), "it chooses channel 3 of 3"),
    ];
    for (change, problem) in changes {
        let (_plugins, selector) = plugin(Lie::Changes, change);
        let (_, none) = select(&*selector, &Batch::of(EVENTS)).await;
        assert!(none.is_empty(), "the first answer is honest");
        let (parts, errors) = select(&*selector, &Batch::of(EVENTS)).await;
        assert_eq!(parts, CHOSEN, "each event has its channels");
        assert!(errors.iter().any(|error| error.contains(problem)), "{errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_event_fails_its_batch_with_the_remedy() {
    let (_plugins, selector) = plugin(Lie::Slow, |_| {});
    let batch = Batch::of([&*"x".repeat(FRAME_MAX)]);
    let error = selector.remote().unwrap().select(&batch).await.err();
    assert!(error.expect("it does not fit").to_string().contains("raise `frame_max`"));
}
