//! `journald`: the entries of systemd's journal, each once, as the host's `journalctl` prints them.
//!
//! The journal's files have one reader, systemd's library, which a static program cannot load. So
//! `journalctl --output=export` runs as a child, and what it prints is read. The cursor of the last
//! entry travels with the events in the channel's own atomic write: wherever the agent or the child
//! is killed, reading goes on at that entry, and nothing is lost or repeated.
//!
//! ```text
//!   open: place in the channel ─► journalctl, up to now ─┬─ success ─► journalctl --follow
//!    ▲                                  │                │                  │
//!    │                                entries ─► batch + cursor ─► channel ◄┘
//!    └──── back-off ◄── any other end, or bytes that are no entries
//! ```
//!
//! # Invariants
//!
//! 1. The stored cursor is that of the last entry that the channel has, or of one that was passed
//!    over because it is stored already.
//! 2. Each call begins *at* that cursor. Its entry is passed over; where it is not there, the gap
//!    is said (`place`).
//! 3. What of an entry was not printed to its end is never an event.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `command` | the calls of journalctl, and what its errors mean |
//! | `export` | bytes ↔ entries |
//! | `place` | the position, and whether something was missed there |
//! | `event` | an entry as body and headers |
//! | `reading` | one call, from its start to its end |

mod command;
mod config;
mod event;
pub mod export;
mod place;
mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use metrics::Metrics;
use pipeline::env::{Started, unix_millis};
use pipeline::{
    Batch, BuildContext, BuildError, Component, Env, ErrorClass, GivesAgain, Guarantee, Source,
    SourceContext, SourceError,
};

use command::Step;
pub use config::Config;
use config::{Begin, Options};
use kit::one_channel::{self, FINISH_WITHIN};
use kit::until_stored::UntilStored;
use place::Place;
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
        Ok(Box::new(Journald {
            name: cx.name.clone(),
            options: Arc::new(self.options()?),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            opened: None,
        }))
    }
}

struct Journald {
    name: Arc<str>,
    options: Arc<Options>,
    env: Env,
    metrics: Metrics,
    /// Between opening and running.
    opened: Option<Opened>,
}

/// Where reading goes on, and the first call.
struct Opened {
    place: Place,
    is_known: bool,
    started: Started,
}

impl Journald {
    /// Where the channel says that the source stands; `false`: it has no position yet.
    fn place(&self, cx: &SourceContext) -> Result<(Place, bool), SourceError> {
        let known = one_channel::known("journald", &self.name, cx)?;
        let place = Place::read(&known).map_err(|message| SourceError {
            class: ErrorClass::Blocked,
            message,
            source: None,
        })?;
        if let Some(place) = place {
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

    async fn read(&mut self, opened: Opened, reading: &mut Reading) -> Result<(), SourceError> {
        if !opened.is_known && reading.place.since.is_some() {
            // From here on a restart begins at the same time, not at a later one.
            reading.put(Batch::of::<&[u8]>([])).await?;
        }
        reading.call(Step::CatchUp, opened.started).await?;
        let follow = self.start(Step::Follow, &reading.place)?;
        tracing::info!(source = %self.name, "the journal is read up to now, and followed");
        reading.call(Step::Follow, follow).await?;
        // It has no more watches of files, or it was ended from outside.
        let message = "`journalctl --follow` has ended without an error".to_owned();
        Err(SourceError { class: ErrorClass::Transient, message, source: None })
    }
}

#[async_trait]
impl Source for Journald {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        let (place, is_known) = self.place(cx)?;
        let started = self.start(Step::CatchUp, &place)?;
        self.opened = Some(Opened { place, is_known, started });
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let opened = self.opened.take().expect("a source is opened before it runs");
        let (name, entropy) = (self.name.clone(), self.env.entropy.clone());
        let until_stored = UntilStored::new(name, entropy, cx.positions.clone());
        let place = opened.place.clone();
        let of = (self.name.clone(), self.metrics.clone(), self.options.clone());
        let mut reading = Reading::new(of, cx.intake.clone(), until_stored, place);
        // What is not stored at a stop is read again.
        let ended = cx.stop.run_until_cancelled(self.read(opened, &mut reading)).await;
        reading.until_stored.finish(FINISH_WITHIN).await;
        ended.unwrap_or(Ok(()))
    }
}
