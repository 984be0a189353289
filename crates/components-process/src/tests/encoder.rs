//! The encoder `process`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pipeline::testkit::build;
use pipeline::{Batch, Encoder, RemoteFile};

use super::peer::{FRAME_MAX, Honest, LIES, Lie, Plugins, settings};
use crate::encoder::Config;
use crate::v1::Encoded;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;

/// Files `[a,b,c]`. The separator needs the state of the file, which ends with the process.
#[derive(Default)]
struct Lists {
    files: Mutex<BTreeMap<u64, bool>>,
}

impl Honest for Lists {
    fn answer(&self, request: Request) -> Answer {
        let Request::Encode(encode) = request else { panic!("an encoder gets files") };
        let mut files = self.files.lock().unwrap();
        encode.dropped.iter().for_each(|dropped| {
            files.remove(dropped);
        });
        let mut content = String::new();
        let has_events = files.entry(encode.file).or_insert_with(|| {
            content.push('[');
            false
        });
        let batch = encode.batch.unwrap();
        for event in &batch.events {
            content.push_str(if *has_events { "," } else { "" });
            content.push_str(std::str::from_utf8(&event.body).unwrap());
            *has_events = true;
        }
        if encode.ends {
            content.push(']');
            files.remove(&encode.file);
        }
        Answer::Encoded(Encoded { number: batch.number, content: content.into() })
    }

    fn changed(&self, request: Request) -> Answer {
        self.answer(request)
    }

    fn ready(&self, _: &crate::v1::Hello) {
        self.files.lock().unwrap().clear();
    }
}

fn plugin(lie: Lie) -> (Arc<Plugins>, Arc<Lists>, Box<dyn Encoder>) {
    let lists = Arc::new(Lists::default());
    let plugins = Plugins::new(lists.clone(), lie);
    let built = build::<Config>(&settings(), &plugins.context()).unwrap();
    (plugins, lists, built)
}

/// An unfinished file of a sink, and its content.
struct Written {
    file: Box<dyn RemoteFile>,
    content: Vec<u8>,
}

impl Written {
    fn new(encoder: &dyn Encoder) -> Self {
        Self { file: encoder.remote().unwrap().begin(), content: Vec::new() }
    }

    /// Adds a batch, or the end of the file.
    async fn add(&mut self, batch: Option<&Batch>) -> Result<(), String> {
        let bytes = match batch {
            Some(batch) => self.file.encode(batch).await,
            None => self.file.finish().await,
        };
        self.content.extend_from_slice(&bytes.map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// Writes two files in turn, as a sink does: after an error it begins both again. Returns their
/// content and the errors.
async fn files(encoder: &dyn Encoder, batches: &[Batch]) -> (Vec<String>, Vec<String>) {
    let mut errors = Vec::new();
    'attempts: loop {
        assert!(errors.len() < 9, "no files after {} attempts: {errors:?}", errors.len());
        let mut written = [Written::new(encoder), Written::new(encoder)];
        for batch in batches.iter().map(Some).chain([None]) {
            for file in &mut written {
                if let Err(error) = file.add(batch).await {
                    errors.push(error);
                    continue 'attempts;
                }
            }
        }
        let content = written.map(|file| String::from_utf8(file.content).unwrap());
        return (content.into(), errors);
    }
}

#[tokio::test(start_paused = true)]
async fn each_file_is_whole_whatever_the_plugin_does() {
    for (lie, problem) in LIES {
        let (plugins, lists, encoder) = plugin(lie);
        let batches = [&["a", "b"][..], &["c"], &["d"]].map(Batch::of);
        let (content, errors) = files(&*encoder, &batches).await;
        assert_eq!(content, ["[a,b,c,d]"; 2], "{lie:?}: each event once");
        let is_error = !problem.is_empty();
        assert_eq!(!errors.is_empty(), is_error, "{lie:?}: {errors:?}");
        assert!(errors.iter().all(|error| error.contains(problem)), "{lie:?}: {errors:?}");
        assert_eq!(plugins.starts() > 1, is_error, "{lie:?}");
        assert!(lists.files.lock().unwrap().is_empty(), "{lie:?}: the plug-in forgets them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_not_continued_by_another_process() {
    support::mutants::plant_by_environment();
    let (_plugins, _lists, encoder) = plugin(Lie::Dies);
    let (mut first, mut second) = (Written::new(&*encoder), Written::new(&*encoder));
    first.add(Some(&Batch::of(["a"]))).await.unwrap();
    second.add(Some(&Batch::of(["b"]))).await.unwrap_err();
    let error = first.add(Some(&Batch::of(["c"]))).await.err();
    let error = error.expect("the state of the first file is lost");
    assert!(error.contains("has ended with the state of this file"), "{error}");
    // A third file is begun by the next process.
    Written::new(&*encoder).add(Some(&Batch::of(["d"]))).await.unwrap();
    assert!(first.add(None).await.is_err(), "it stays lost");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_file_is_forgotten_and_a_large_event_is_unwritable() {
    let (_plugins, lists, encoder) = plugin(Lie::Slow);
    let mut dropped = Written::new(&*encoder);
    dropped.add(Some(&Batch::of(["a"]))).await.unwrap();
    drop(dropped);
    let mut next = Written::new(&*encoder);
    next.add(Some(&Batch::of(["b"]))).await.unwrap();
    assert_eq!(lists.files.lock().unwrap().len(), 1);
    let large = "x".repeat(FRAME_MAX);
    let unwritable = encoder.unwritable(&Batch::of(["c", &*large]));
    assert_eq!(unwritable.len(), 1);
    assert!(unwritable[0].index == 1 && unwritable[0].reason.contains("does not fit"));
}
