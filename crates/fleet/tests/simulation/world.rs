//! An agent of the simulation: events, the text in force, and the planted kinds of bad texts.

use std::collections::BTreeMap;

use aqueduct_fleet::{Counts, Failure, Level, Report};
use rand::prelude::*;

pub(crate) const POLL_MS: u64 = 30_000;

/// Time for which an agent has no network: longer than any outage of the server.
pub(crate) const VANISHED_MS: u64 = 1_500_000;

/// Planted kinds of bad texts, by a word in them. The agent behaves as it would with such a
/// configuration.
pub(crate) const BAD: [&str; 22] = [
    // The agent refuses it.
    "unknown-setting",
    "missing-tls-file",
    "drops-channel-with-events",
    "needs-a-restart",
    // Events are lost.
    "drops-half",
    "drops-a-few",
    "dead-letters-all",
    "dead-letters-some",
    "leaks",
    "duplicates",
    // Events do not move.
    "stalls",
    "stalls-most",
    "wrong-path",
    "path-of-a-small-file",
    "leaks-into-the-channel",
    "wrong-peer-certificate",
    // The agent is not well.
    "unhealthy",
    "warns",
    "restarts",
    "hangs",
    "vanishes",
    "flips-back",
];

/// Kinds that the agent refuses when it checks them.
const REFUSED: [&str; 4] = [BAD[0], BAD[1], BAD[2], BAD[3]];

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Hash and text in force.
    pub(crate) text: Option<(String, String)>,
    /// The planted kind of the text in force.
    pub(crate) kind: Option<&'static str>,
    pub(crate) failure: Option<Failure>,
    pub(crate) counts: Counts,
    pub(crate) started_ms: u64,
    pub(crate) cut_until_ms: u64,
    /// When the text in force was applied.
    pub(crate) applied_ms: u64,
    /// How often each hash was applied.
    pub(crate) applied: BTreeMap<String, u32>,
    /// How often each hash was refused.
    pub(crate) refused: BTreeMap<String, u32>,
}

impl World {
    /// Returns `true` if the text in force has this word.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.text.as_ref().is_some_and(|(_, text)| text.contains(word))
    }

    /// A second with these events.
    pub(crate) fn work(&mut self, now_ms: u64, events: u64, rng: &mut StdRng) {
        let kind = self.kind.unwrap_or_default();
        if kind == "wrong-path" {
            return;
        }
        let events = if kind == "path-of-a-small-file" { events / 50 } else { events };
        let (counts, part) = (&mut self.counts, |share: u64| events * share / 100);
        counts.accepted += events;
        let mut moved = events;
        match kind {
            "drops-half" => counts.dropped += part(50),
            "drops-a-few" => counts.dropped += part(5),
            "dead-letters-all" => counts.dead_letters += part(100),
            "dead-letters-some" => counts.dead_letters += part(5),
            "leaks" => counts.difference += i64::try_from(part(10)).expect("a small number"),
            "duplicates" => counts.difference -= i64::try_from(part(10)).expect("a small number"),
            _ => {}
        }
        moved -= match kind {
            "drops-half" => part(50),
            "drops-a-few" | "dead-letters-some" => part(5),
            "dead-letters-all" => part(100),
            "leaks" => part(10),
            _ => 0,
        };
        match kind {
            "stalls" | "wrong-peer-certificate" => counts.held += moved,
            "leaks-into-the-channel" => {
                counts.held += part(20);
                counts.delivered += moved - part(20);
            }
            "stalls-most" => {
                counts.held += part(80);
                counts.delivered += moved - part(80);
            }
            _ => {
                counts.delivered += moved + counts.held;
                counts.held = 0;
            }
        }
        if kind == "restarts" && now_ms > self.applied_ms + 5_000 && rng.random_bool(0.05) {
            self.restart(now_ms);
        }
    }

    /// The process starts again.
    pub(crate) fn restart(&mut self, now_ms: u64) {
        (self.counts, self.started_ms) = (Counts::default(), now_ms);
        self.failure = None;
    }

    pub(crate) fn report(&self, uid: &str, now_ms: u64) -> Report {
        let level = match self.kind {
            Some("unhealthy" | "wrong-peer-certificate") => Level::Bad,
            Some("warns") => Level::Warn,
            _ => Level::Good,
        };
        // Another program puts its own text back.
        let flips = self.kind == Some("flips-back") && now_ms > self.applied_ms + 60_000;
        let in_force = self.text.as_ref().map(|(hash, _)| hash.clone());
        Report {
            uid: uid.to_owned(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            counts: Some(self.counts),
            level,
            started_ms: self.started_ms,
            poll_ms: POLL_MS,
            in_force: in_force.filter(|_| !flips),
            failure: self.failure.clone(),
            ..Report::default()
        }
    }

    /// The agent gets an offer.
    pub(crate) fn offered(&mut self, now_ms: u64, hash: &str, text: &str) {
        if self.failure.as_ref().is_some_and(|it| it.hash == hash) {
            return;
        }
        let has = |word: &&'static str| text.contains(&format!("\"{word}\""));
        if REFUSED.iter().any(has) {
            *self.refused.entry(hash.to_owned()).or_default() += 1;
            self.failure = Some(Failure { hash: hash.to_owned(), error: "wrong".into() });
            return;
        }
        self.failure = None;
        if has(&"hangs") || self.text.as_ref().is_some_and(|(own, _)| own == hash) {
            // It checks the text forever, or it has it.
            return;
        }
        *self.applied.entry(hash.to_owned()).or_default() += 1;
        self.text = Some((hash.to_owned(), text.to_owned()));
        self.kind = BAD.into_iter().find(has);
        self.applied_ms = now_ms;
        if self.kind == Some("vanishes") {
            // Its network needs what the text has changed.
            self.cut_until_ms = now_ms + VANISHED_MS;
        }
    }
}
