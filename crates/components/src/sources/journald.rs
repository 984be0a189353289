//! `journald`: reads each entry of systemd's journal once, through the host's `journalctl`.
//!
//! Only systemd's library can read the journal files, and a static program cannot load it. So the
//! source runs `journalctl --output=export` as a child process and reads its output. The channel
//! stores the cursor of the last entry together with the events in one atomic write: if the agent
//! or the child is killed, reading resumes at that entry, and no entry is lost or repeated.
//!
//! ```text
//!   open: place in the channel ─► journalctl, up to now ─┬─ success ─► journalctl --follow
//!    ▲                                  │                │                  │
//!    │                                entries ─► batch + cursor ─► channel ◄┘
//!    └──── back-off ◄── any other exit, or output that is not the export format
//! ```
//!
//! # Invariants
//!
//! 1. The stored cursor belongs to the last entry that the channel has, or to a skipped entry that
//!    it had already.
//! 2. Each call starts *at* that cursor. The source skips its entry; if the entry is missing, it
//!    reports the gap (`place`).
//! 3. An entry that was not printed to its end never becomes an event.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `command` | the calls of journalctl, and what its errors mean |
//! | `export` | parses the export format |
//! | `place` | the position, and detection of gaps |
//! | `event` | converts an entry to body and headers |
//! | `reading` | one call, from start to end |

mod command;
mod config;
mod event;
pub mod export;
mod place;
mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use kit::follow::{CatchUp, Follow, Followed, Known, Puts, Start};
use metrics::Metrics;
use pipeline::env::{Started, unix_millis};
use pipeline::{
    Batch, BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, Source, SourceContext,
    SourceError,
};

use command::Step;
pub use config::Config;
use config::{Begin, Options};
use place::{Place, Resumed};
use reading::{BATCH_BYTES, Reading};

impl Component for Config {
    const KIND: &'static str = "journald";
    const ANOMALIES: &[&str] = &[
        "cursor_gone",
        "journalctl_failed",
        "journalctl_warned",
        "message_cut",
        "output_malformed",
    ];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let journald = Journald {
            name: cx.name.clone(),
            options: Arc::new(self.options()?),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
        };
        Ok(Box::new(Followed::new(cx, journald)))
    }
}

struct Journald {
    name: Arc<str>,
    options: Arc<Options>,
    env: Env,
    metrics: Metrics,
}

/// Position to resume from, and the first call.
struct Opened {
    place: Place,
    is_known: bool,
    /// The position of the channels that have more.
    until: Option<Place>,
    started: Option<Started>,
}

impl Journald {
    /// Returns the stored position; `false`: the channel has none yet.
    fn place(&self, known: &Known) -> Result<(Place, bool), SourceError> {
        if let Some(place) = Place::read(known).map_err(blocked)? {
            return Ok((place, true));
        }
        let since = match self.options.begin {
            Begin::Start => None,
            Begin::At(micros) => Some(micros),
            Begin::End => Some(unix_millis(self.env.clock.now()).saturating_mul(1000)),
        };
        let of = self.options.selection.digest();
        Ok((Place { of, since, ..Place::default() }, false))
    }

    fn start(&self, step: Step, place: &Place) -> Result<Started, SourceError> {
        let arguments = self.options.selection.arguments(step, place);
        let started = self.env.blocking.start(&self.options.journalctl, &arguments);
        started.map_err(|error| SourceError {
            class: ErrorClass::Transient,
            message: "journalctl cannot be started: install systemd's `journalctl`, or name the \
                      program in `journalctl`"
                .to_owned(),
            source: Some(error.into()),
        })
    }

    async fn entries(&self, opened: &mut Opened, puts: &mut Puts) -> Result<(), SourceError> {
        let place = opened.place.clone();
        let catches_up = opened.until.is_some();
        let until = match opened.until.take() {
            // They have only the start time.
            Some(Place { cursor: None, .. }) => return Ok(()),
            until => until.and_then(|until| until.cursor),
        };
        let until = until.map(|cursor| Resumed::at(cursor, false, true));
        let of = (self.name.clone(), self.metrics.clone(), self.options.clone());
        let mut reading = Reading::new(of, puts, (place, until));
        if !opened.is_known && reading.place.since.is_some() {
            // Store the start time, so that a restart begins at the same time.
            reading.put(Batch::of::<&[u8]>([])).await;
        }
        let started = opened.started.take().expect("a source is opened before it runs");
        reading.call(Step::CatchUp, started).await?;
        if catches_up {
            return Ok(());
        }
        let follow = self.start(Step::Follow, &reading.place)?;
        tracing::info!(source = %self.name, "read all existing entries of the journal; following \
                                             new ones");
        reading.call(Step::Follow, follow).await?;
        // Its file watches ran out, or it was killed.
        let message = "`journalctl --follow` exited without an error; restarting it".to_owned();
        Err(SourceError { class: ErrorClass::Transient, message, source: None })
    }
}

fn blocked(message: String) -> SourceError {
    SourceError { class: ErrorClass::Blocked, message, source: None }
}

impl Follow for Journald {
    const KIND: &'static str = Config::KIND;
    type Link = Opened;

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES as u64
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Exact
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Opened, SourceError> {
        let (place, is_known) = self.place(&start.known)?;
        let until = start.until.as_deref().map(Place::read).transpose().map_err(blocked)?;
        let until = until.flatten();
        let started = Some(self.start(Step::CatchUp, &place)?);
        Ok(Opened { place, is_known, until, started })
    }

    async fn read(&mut self, opened: &mut Opened, puts: &mut Puts) -> Result<(), SourceError> {
        // Entries that are not stored at a stop are read again.
        self.entries(opened, puts).await
    }
}
