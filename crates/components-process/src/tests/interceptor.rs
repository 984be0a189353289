//! The interceptor `process`.

use std::sync::Arc;

use pipeline::testkit::build;
use pipeline::{Batch, Interceptor, Rejects};
use serde_json::json;

use super::peer::{Honest, LIES, Lie, Plugins, settings};
use crate::interceptor::Config;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;
use crate::v1::{self, Event, Header, Intercepted};

type Change = fn(&mut Vec<v1::Result>);

/// Drops `drop`, refuses `bad`, splits `a b`, keeps `keep`, and marks everything else.
struct Marking(Change);

impl Honest for Marking {
    fn answer(&self, request: Request) -> Answer {
        let Request::Batch(batch) = request else { panic!("an interceptor gets batches") };
        let mark = |text: &str, event: &Event| {
            let mut headers = batch.headers.clone();
            headers.extend(event.headers.iter().cloned());
            headers.push(Header { name: "seen".into(), value: "yes".into() });
            Event { body: format!("{text}!").into(), headers, index: 0 }
        };
        let results = batch.events.iter().map(|event| {
            let body = String::from_utf8(event.body.to_vec()).unwrap();
            let mut result = v1::Result { index: event.index, ..v1::Result::default() };
            match &*body {
                "drop" => {}
                "bad" => result.refused = Some("it is bad".to_owned()),
                "keep" => result.unchanged = true,
                text => result.events = text.split(' ').map(|text| mark(text, event)).collect(),
            }
            result
        });
        Answer::Intercepted(Intercepted { number: batch.number, results: results.collect() })
    }

    fn changed(&self, request: Request) -> Answer {
        let mut answer = self.answer(request);
        if let Answer::Intercepted(intercepted) = &mut answer {
            self.0(&mut intercepted.results);
        }
        answer
    }
}

fn plugin(lie: Lie, change: Change) -> (Arc<Plugins>, Box<dyn Interceptor>) {
    let plugins = Plugins::new(Arc::new(Marking(change)), lie);
    let built = build::<Config>(&settings(), &plugins.context()).unwrap();
    (plugins, built)
}

fn bodies(batch: &pipeline::Events) -> Vec<String> {
    batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
}

/// Passes three batches through an interceptor, each until it has a result. Returns the errors.
async fn pass(interceptor: &dyn Interceptor) -> Vec<String> {
    let remote = interceptor.remote().unwrap();
    let mut errors = Vec::new();
    for number in 0..3 {
        let lines: Vec<String> = (0..1500).map(|n| format!("{number}-{n}")).collect();
        let batch = Batch::of(&lines);
        let mut rejects = Rejects::default();
        let marked = loop {
            match remote.intercept(batch.events.clone(), &mut rejects).await {
                Ok(marked) => break marked,
                Err(error) => errors.push(error.to_string()),
            }
            assert!(errors.len() < 9, "no answer after {} attempts: {errors:?}", errors.len());
        };
        assert!(rejects.is_empty());
        let expected: Vec<String> = lines.iter().map(|line| format!("{line}!")).collect();
        assert_eq!(bodies(&marked), expected, "each event has its result once");
    }
    errors
}

#[tokio::test(start_paused = true)]
async fn each_event_has_its_result_once_whatever_the_plugin_does() {
    support::mutants::plant_by_environment();
    for (lie, cause) in LIES {
        let (plugins, interceptor) = plugin(lie, |_| {});
        let errors = pass(&*interceptor).await;
        if cause.is_empty() {
            assert_eq!((errors.len(), plugins.starts()), (0, 1), "{lie:?}: {errors:?}");
            continue;
        }
        assert_eq!((errors.len(), plugins.starts()), (2, 3), "{lie:?}: {errors:?}");
        for error in errors {
            assert!(error.starts_with("plug-in `plugin` "), "{error}");
            assert!(error.contains(cause), "{lie:?}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answer_with_other_results_is_not_used() {
    support::mutants::plant_by_environment();
    let changes: [(Change, &str); 5] = [
        (|results| drop(results.pop()), "results for"),
        (|results| results.push(results[0].clone()), "results for"),
        (|results| results.swap(0, 1), "the answer has a result for event"),
        (|results| results[3].index = 4000, "the answer has a result for event 4000 instead of"),
        (|results| results[3].unchanged = true, "has several results"),
    ];
    for (change, cause) in changes {
        let (plugins, interceptor) = plugin(Lie::Changes, change);
        let errors = pass(&*interceptor).await;
        assert_eq!((errors.len(), plugins.starts()), (2, 3), "{cause}: {errors:?}");
        assert!(errors.iter().all(|error| error.contains(cause)), "{cause}: {errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_dropped_split_kept_and_rejected() {
    let (_plugins, interceptor) = plugin(Lie::Slow, |_| {});
    let remote = interceptor.remote().unwrap();
    let mut events = Batch::of(["a b", "drop", "keep", "bad", "c"]).events;
    events.set_header("host", "web-1", pipeline::Existing::Replace);
    let mut rejects = Rejects::default();
    let kept = remote.intercept(events.clone(), &mut rejects).await.unwrap();
    assert_eq!(bodies(&kept), ["a!", "b!", "keep", "c!"]);
    let seen: Vec<Option<&str>> = kept.values("seen").collect();
    assert_eq!(seen, [Some("yes"), Some("yes"), None, Some("yes")]);
    assert_eq!(kept.shared_header("host"), Some("web-1"));
    let rejected: Vec<_> = rejects.into_iter().collect();
    assert_eq!(bodies(&rejected[0].events), ["bad"]);
    assert_eq!((rejected[0].reason, &*rejected[0].detail), ("refused", "it is bad"));

    let large = "x".repeat(70_000);
    let mut rejects = Rejects::default();
    let events = Batch::of(["a", &large, "b"]).events;
    let kept = remote.intercept(events, &mut rejects).await.unwrap();
    assert_eq!(bodies(&kept), ["a!", "b!"]);
    let rejected: Vec<_> = rejects.into_iter().collect();
    assert_eq!((rejected[0].reason, rejected[0].events.len()), ("too_large", 1));
}

#[tokio::test(start_paused = true)]
async fn restarts_have_a_growing_pause_and_settings_are_checked() {
    let plugins = Plugins::new(Arc::new(Marking(|_| {})), Lie::OldVersion);
    let plugins = Arc::new(Plugins { liars: 9, ..Arc::into_inner(plugins).unwrap() });
    let interceptor = build::<Config>(&settings(), &plugins.context()).unwrap();
    let remote = interceptor.remote().unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..9 {
        let events = Batch::of(["a"]).events;
        remote.intercept(events, &mut Rejects::default()).await.unwrap_err();
    }
    assert!(began.elapsed().as_secs() >= 6, "{:?}", began.elapsed());

    for (setting, value) in
        [("command", json!([])), ("frame_max", json!("1KiB")), ("timeout", json!("0s"))]
    {
        let mut wrong = settings();
        wrong[setting] = value;
        let error = build::<Config>(&wrong, &plugins.context()).err().unwrap();
        assert_eq!(error.path, setting);
    }
}
