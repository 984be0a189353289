//! `POST /dlq/replay` and `/dlq/drop`: puts dead letters back into the channels of the running
//! agent, or deletes them.

use std::sync::Arc;

use agent::actor::Actor;
use agent::dead_letters::operations::{Channels, Replay, Selection};
use agent::running::Running;
use agent::status::words::count;
use async_trait::async_trait;
use control::audit::{Line, Outcome};
use hyper::StatusCode;
use pipeline::settings::unknown;
use pipeline::{Channel, ChannelError};
use serde::Serialize;
use support::causes::chain;

use super::answer::{Answer, json, page};
use super::pages::Pages;
use super::query::parameters;

/// The names of the parameters of both.
const NAMES: [&str; 5] = ["reason", "sink", "channel", "source", "identity"];

/// Letters and their events, for the audit log.
fn counts(letters: u64, events: u64) -> String {
    format!("{} with {}", count(letters, "letter"), count(events, "event"))
}

/// The letters that the query of a request names, and whether they get new identities.
fn parse_replay(action: &str, query: &str) -> Result<Replay, String> {
    let mut replay = Replay::default();
    let Selection { reason, sink, channel, source, identity } = &mut replay.which;
    for parameter in parameters(query) {
        let (key, value) = parameter?;
        match key {
            "reason" => *reason = Some(value),
            "sink" => *sink = Some(value),
            "channel" => *channel = Some(value),
            "source" => *source = Some(value),
            "identity" => {
                let known = value.parse().map_err(|_| {
                    format!("`identity` must be ORIGIN/EPOCH/SEQUENCE, not `{value}`")
                });
                *identity = Some(known?);
            }
            "new_identity" if action == "dlq/replay" => replay.new_identity = true,
            _ => return Err(unknown("parameter", key, &NAMES)),
        }
    }
    Ok(replay)
}

/// The open channels of the agent.
struct Open(Arc<Running>);

#[async_trait]
impl Channels for Open {
    async fn open(&mut self, name: &str) -> Result<Arc<dyn Channel>, ChannelError> {
        let parts = self.0.parts();
        let open = parts.channels.get(name).and_then(|handle| handle.opened()).cloned();
        open.ok_or_else(|| ChannelError::Closed { channel: name.to_owned() })
    }
}

impl Pages {
    /// Replays or drops letters; the answer has the result.
    pub(super) async fn change_letters(
        self: &Arc<Self>,
        action: &str,
        query: &str,
        actor: Actor,
    ) -> Answer {
        let audited = action.replace('/', " ");
        let replay = match parse_replay(action, query) {
            Ok(replay) => replay,
            Err(problem) => {
                let line = Line::new(&audited, None, actor, Outcome::Failed);
                self.audit.add(line.because(Some(problem.clone()))).await;
                return page(StatusCode::BAD_REQUEST, problem + "\n");
            }
        };
        let (this, is_drop) = (self.clone(), action == "dlq/drop");
        // A client that disconnects must not end it between two steps of a letter.
        let work = tokio::spawn(async move {
            if is_drop {
                this.drop_letters(&replay.which, &audited, actor).await
            } else {
                this.replay_letters(&replay, &audited, actor).await
            }
        });
        work.await.unwrap_or_else(|_| {
            page(StatusCode::INTERNAL_SERVER_ERROR, "the agent is stopping\n".to_owned())
        })
    }

    async fn drop_letters(&self, which: &Selection, action: &str, actor: Actor) -> Answer {
        let done = self.monitor.dead_letters.drop_all(which).await;
        let done = done.map_err(|error| chain(&error));
        let detail = done.as_ref().ok().map(|done| counts(done.letters, done.events));
        self.letters_changed((which, action, actor), detail, done, StatusCode::OK).await
    }

    async fn replay_letters(&self, replay: &Replay, action: &str, actor: Actor) -> Answer {
        let mut channels = Open(self.monitor.running.clone());
        let done = self.monitor.dead_letters.replay(replay, &mut channels).await;
        let done = done.map_err(|error| chain(&error));
        let detail = done.as_ref().ok().map(|done| {
            let sum = counts(done.letters, done.events);
            [&[sum][..], &done.problems].concat().join("; ")
        });
        let is_whole = done.as_ref().is_ok_and(|done| done.problems.is_empty());
        let code = if is_whole { StatusCode::OK } else { StatusCode::CONFLICT };
        self.letters_changed((&replay.which, action, actor), detail, done, code).await
    }

    /// Adds the line to the audit log, and answers.
    async fn letters_changed<T: Serialize>(
        &self,
        (which, action, actor): (&Selection, &str, Actor),
        detail: Option<String>,
        done: Result<T, String>,
        code: StatusCode,
    ) -> Answer {
        let part = which.channel.as_ref().map(|name| format!("channels.{name}"));
        let outcome =
            if code == StatusCode::OK && done.is_ok() { Outcome::Done } else { Outcome::Failed };
        let line = Line::new(action, part, actor, outcome);
        match done {
            Ok(done) => {
                self.audit.add(line.because(detail)).await;
                let mut answer = json(&done);
                *answer.status_mut() = code;
                answer
            }
            Err(problem) => {
                self.audit.add(line.because(Some(problem.clone()))).await;
                page(StatusCode::INTERNAL_SERVER_ERROR, problem + "\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_letters() {
        let identity = format!("{}/5/9", "ab".repeat(16));
        let query = format!("reason=too_large&channel=a%20b&identity={identity}&new_identity");
        let replay = parse_replay("dlq/replay", &query).unwrap();
        assert!(replay.new_identity);
        let Selection { reason, channel, sink, .. } = replay.which;
        assert_eq!((reason.as_deref(), channel.as_deref()), (Some("too_large"), Some("a b")));
        assert_eq!(sink, None);
        assert_eq!(parse_replay("dlq/drop", ""), Ok(Replay::default()));
        for query in ["new_identity", "resaon=x", "identity=5"] {
            assert!(parse_replay("dlq/drop", query).is_err(), "{query}");
        }
    }
}
