//! Replays and drops dead letters: in the data directory of a stopped agent, or through the admin
//! address of a running one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use agent::dead_letters::operations::{Channels, Dropped, Letters, Replay, Replayed, Selection};
use agent::dead_letters::{self, OPERATOR};
use agent::status::words::count;
use async_trait::async_trait;
use channel::durable::{Config, Encryption, IndexKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipeline::{BuildContext, Channel, ChannelError, Component, Env};
use program::cli::{self, EXIT_RUNTIME};
use serde::de::DeserializeOwned;

use super::{Place, Target, has_letters};
use crate::admin::Admin;
use crate::channel::print_json;
use crate::runtime::block_on;

/// Opens the dead letters of a stopped agent.
async fn open(
    data_dir: &Path,
    encryption: Option<Encryption>,
    env: &Env,
) -> Result<Box<dyn Channel>, ChannelError> {
    let config = Config { encryption, ..dead_letters::settings() };
    let letters = config.build(&dead_letters::context(data_dir, env));
    let letters = letters.expect("nothing is set but the keys, which open without it");
    letters.open().await?;
    letters.register(&[OPERATOR.into()]).await?;
    Ok(letters)
}

/// The durable channels of a stopped agent, opened on demand.
struct StoppedChannels {
    data_dir: PathBuf,
    encryption: Option<Encryption>,
    env: Env,
    open: BTreeMap<String, Arc<dyn Channel>>,
}

#[async_trait]
impl Channels for StoppedChannels {
    async fn open(&mut self, name: &str) -> Result<Arc<dyn Channel>, ChannelError> {
        if let Some(channel) = self.open.get(name) {
            return Ok(channel.clone());
        }
        let directory = self.data_dir.join("channels").join(name);
        if self.env.disk.stat(&directory.join("log")).is_err() {
            let path = directory.display().to_string();
            let problem = "it has no directory `log`, so it is not a durable channel; start the \
                           agent, and replay the dead letters with its admin address"
                .to_owned();
            return Err(ChannelError::Unusable { channel: name.to_owned(), path, problem });
        }
        let config = Config {
            index: IndexKind::None,
            encryption: self.encryption.clone(),
            ..Config::default()
        };
        let built = config.build(&BuildContext::alone(name, &directory, self.env.clone()));
        let channel = built.expect("nothing is set but the keys, which open without it");
        channel.open().await?;
        let channel: Arc<dyn Channel> = Arc::from(channel);
        self.open.insert(name.to_owned(), channel.clone());
        Ok(channel)
    }
}

fn error_text(error: &ChannelError) -> String {
    format!("{}; while the agent is running, use its admin address instead", agent::chain(error))
}

/// Drops dead letters.
///
/// # Errors
/// The letters cannot be read, or the agent rejects the request.
pub(super) fn drop_letters(target: &Target, env: &Env) -> Result<Dropped, String> {
    let data_dir = match target.place() {
        Place::Address(address) => return ask(target, address, "dlq/drop", &[], env),
        Place::DataDir(data_dir) => data_dir,
    };
    if !has_letters(data_dir, env)? {
        return Ok(Dropped::default());
    }
    block_on(async {
        let channel = open(data_dir, target.keys.encryption(), env).await;
        let channel = channel.map_err(|error| error_text(&error))?;
        let done = Letters::from_channel(&*channel).drop_all(&target.selection()).await;
        let closed = channel.close().await;
        let done = done.and_then(|done| closed.map(|()| done));
        done.map_err(|error| agent::chain(&error))
    })
}

/// Replays dead letters.
///
/// # Errors
/// The letters cannot be read, or the agent rejects the request.
pub(super) fn replay(target: &Target, new_identity: bool, env: &Env) -> Result<Replayed, String> {
    let data_dir = match target.place() {
        Place::Address(address) => {
            let more: &[&str] = if new_identity { &["new_identity"] } else { &[] };
            return ask(target, address, "dlq/replay", more, env);
        }
        Place::DataDir(data_dir) => data_dir,
    };
    if !has_letters(data_dir, env)? {
        return Ok(Replayed::default());
    }
    block_on(async {
        let encryption = target.keys.encryption();
        let letters = open(data_dir, encryption.clone(), env).await;
        let letters = letters.map_err(|error| error_text(&error))?;
        let (data_dir, env) = (data_dir.to_owned(), env.clone());
        let mut channels = StoppedChannels { data_dir, encryption, env, open: BTreeMap::new() };
        let replay = Replay { which: target.selection(), new_identity };
        let done = Letters::from_channel(&*letters).replay(&replay, &mut channels).await;
        let mut done = done.map_err(|error| agent::chain(&error))?;
        let mut closed = Vec::new();
        for channel in channels.open.values() {
            closed.push(channel.close().await);
        }
        closed.push(letters.close().await);
        let failed = closed.into_iter().filter_map(Result::err);
        done.problems.extend(failed.map(|error| agent::chain(&error)));
        Ok(done)
    })
}

/// Sends a request to a running agent.
fn ask<T: DeserializeOwned>(
    target: &Target,
    address: &str,
    action: &str,
    more: &[&str],
    env: &Env,
) -> Result<T, String> {
    let query = query(&target.selection(), more);
    let admin = Admin::new(env, address, &target.access)?;
    block_on(async { admin.changed(action, &query).await.map(|(_, done)| done) })
}

/// Builds the query that selects dead letters.
fn query(which: &Selection, more: &[&str]) -> String {
    let Selection { reason, sink, channel, source, identity } = which;
    let identity = identity.map(|identity| identity.to_string());
    let named = [
        ("reason", reason),
        ("sink", sink),
        ("channel", channel),
        ("source", source),
        ("identity", &identity),
    ];
    let named = named.into_iter().filter_map(|(name, value)| {
        let value = utf8_percent_encode(value.as_ref()?, NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    });
    let all: Vec<String> = named.chain(more.iter().map(|name| (*name).to_owned())).collect();
    if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
}

/// Prints the dropped letters.
pub(super) fn show_dropped(done: &Dropped, json: bool) -> ExitCode {
    let Dropped { letters, events } = done;
    match json {
        true => print_json(done),
        false => {
            let (letters, events) = (count(*letters, "letter"), count(*events, "event"));
            cli::print(&format!("{letters} dropped, {events} lost\n"))
        }
    }
}

/// Prints the result of a replay.
pub(super) fn show_replayed(done: &Replayed, json: bool) -> ExitCode {
    let Replayed { letters, events, waiting, problems } = done;
    let printed = if json {
        print_json(done)
    } else {
        problems.iter().for_each(|problem| cli::print_line(problem));
        let (letters, events) = (count(*letters, "letter"), count(*events, "event"));
        cli::print(&format!("{letters} with {events} replayed; {waiting} were already waiting\n"))
    };
    if problems.is_empty() { printed } else { ExitCode::from(EXIT_RUNTIME) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_the_letters() {
        let which = Selection {
            reason: Some("too_large".into()),
            channel: Some("a b".into()),
            ..Selection::default()
        };
        assert_eq!(
            query(&which, &["new_identity"]),
            "?reason=too%5Flarge&channel=a%20b&new_identity"
        );
        assert_eq!(query(&Selection::default(), &[]), "");
    }
}
