//! Putting dead letters back, and dropping them.
//!
//! A letter leaves after its events are in their channel again. If this process dies in between,
//! the next one finds the batch waiting there and only takes the letter out.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use agent::cli::{self, EXIT_RUNTIME};
use agent::dead_letters::{self, Label, OPERATOR};
use channel::durable::{Config, IndexKind, PutBack};
use pipeline::{
    Batch, BuildContext, Channel, ChannelError, Component, Env, Identity, IntervalSet, KeySet,
    TakeTransaction, Ticket,
};

use serde::Serialize;

use super::{Target, has_letters};
use crate::channel::print_json;

/// One look through all letters of an agent. Those that are not removed stay.
struct Pass<'a> {
    take: Box<dyn TakeTransaction>,
    left: u64,
    target: &'a Target,
}

impl<'a> Pass<'a> {
    fn new(letters: &dyn Channel, target: &'a Target) -> Self {
        Self { take: letters.begin_take(OPERATOR), left: letters.status().events, target }
    }

    /// The next letter that is meant.
    async fn next(&mut self) -> Result<Option<(Ticket, Label, Batch)>, ChannelError> {
        while self.left > 0 {
            let taken = self.take.take().await?;
            self.left = self.left.saturating_sub(taken.batch.len() as u64);
            if let Some((label, events)) = Label::take_off(taken.batch)
                && self.target.means(&label)
            {
                return Ok(Some((taken.ticket, label, events)));
            }
        }
        Ok(None)
    }

    fn remove(&mut self, ticket: Ticket) {
        self.take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
}

async fn open(target: &Target, env: &Env) -> Result<Box<dyn Channel>, ChannelError> {
    let config = Config { encryption: target.keys.encryption(), ..dead_letters::settings() };
    let letters = config.build(&dead_letters::context(&target.data_dir, env));
    let letters = letters.expect("nothing is set but the keys, which open without it");
    letters.open().await?;
    letters.register(&[OPERATOR.into()]).await?;
    Ok(letters)
}

fn block_on<T>(work: impl Future<Output = Result<T, ChannelError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a thread: {error}"))?;
    runtime.block_on(work).map_err(|error| agent::chain(&error))
}

/// What was dropped.
#[derive(Debug, Default, Serialize)]
pub(super) struct Dropped {
    letters: u64,
    /// Those are lost.
    events: usize,
}

pub(super) fn drop_letters(target: &Target, env: &Env) -> Result<Dropped, String> {
    let mut done = Dropped::default();
    if has_letters(&target.data_dir, env)? {
        block_on(async {
            let channel = open(target, env).await?;
            let mut pass = Pass::new(&*channel, target);
            while let Some((ticket, _, batch)) = pass.next().await? {
                pass.remove(ticket);
                done.letters += 1;
                done.events += batch.len();
            }
            drop(pass);
            channel.close().await
        })?;
    }
    Ok(done)
}

pub(super) fn show_dropped(done: &Dropped, json: bool) -> ExitCode {
    let Dropped { letters, events } = done;
    match json {
        true => print_json(done),
        false => cli::print(&format!("{letters} letters dropped, {events} events lost\n")),
    }
}

/// What became of the letters.
#[derive(Debug, Default, Serialize)]
pub(super) struct Replayed {
    letters: u64,
    events: usize,
    /// Those that wait in their channel already.
    waiting: u64,
    /// Why others stay.
    problems: Vec<String>,
}

/// Where letters go back to: channel and group, with their names.
type Ways = BTreeMap<(String, String), KeySet>;

/// The name under which a letter goes back.
fn back_as(label: &Label, new_identity: bool) -> Option<Identity> {
    let renamed = new_identity && label.is_of_closed_epoch();
    if renamed { label.renamed() } else { label.put_back_as() }
}

pub(super) fn replay(target: &Target, new_identity: bool, env: &Env) -> Result<Replayed, String> {
    let mut done = Replayed::default();
    if has_letters(&target.data_dir, env)? {
        block_on(async {
            let letters = open(target, env).await?;
            for ((channel, group), keys) in ways(&*letters, target, new_identity, &mut done).await?
            {
                let way = (channel.as_str(), group.as_str());
                if let Err(error) =
                    send(&*letters, (target, new_identity), way, &keys, env, &mut done).await
                {
                    done.problems.push(agent::chain(&error));
                }
            }
            letters.close().await
        })?;
    }
    Ok(done)
}

pub(super) fn show_replayed(done: &Replayed, json: bool) -> ExitCode {
    let Replayed { letters, events, waiting, problems } = done;
    let printed = if json {
        print_json(done)
    } else {
        problems.iter().for_each(|problem| cli::say(problem));
        cli::print(&format!(
            "{letters} letters with {events} events put back; {waiting} waited there already\n"
        ))
    };
    if problems.is_empty() { printed } else { ExitCode::from(EXIT_RUNTIME) }
}

/// Where the letters that are meant belong. One that cannot go back is a problem.
async fn ways(
    letters: &dyn Channel,
    target: &Target,
    new_identity: bool,
    done: &mut Replayed,
) -> Result<Ways, ChannelError> {
    let mut ways = Ways::new();
    let (mut nameless, mut closed, mut rejected) = (0, 0, 0);
    let mut pass = Pass::new(letters, target);
    while let Some((_, label, _)) = pass.next().await? {
        if label.is_rejected() {
            rejected += 1;
            continue;
        }
        if label.is_of_closed_epoch() && !new_identity {
            closed += 1;
            continue;
        }
        match back_as(&label, new_identity) {
            Some(key) => {
                ways.entry((label.channel, label.group)).or_default().insert(key);
            }
            None => nameless += 1,
        }
    }
    if nameless > 0 {
        done.problems.push(format!(
            "{nameless} letters come from a channel that gives no identities, and would be \
             repeated; `aqueduct dlq show` prints them"
        ));
    }
    if rejected > 0 {
        done.problems.push(format!(
            "{rejected} letters were rejected by an interceptor and stay: they were in no channel \
             that they could go back to. Mend the interceptor, print them with `aqueduct dlq show \
             --format json`, send them to a source again, and drop them with `aqueduct dlq drop \
             --source NAME --yes`"
        ));
    }
    if closed > 0 {
        done.problems.push(format!(
            "{closed} letters were refused as epoch_closed and stay: another copy of this data \
             directory (a backup, a clone) has gone on, so what they hold was delivered by it, or \
             is nowhere. If they were written after the copy was made, put them back with \
             `--new-identity`; what was delivered by it would be there twice. Else `aqueduct dlq \
             drop`"
        ));
    }
    Ok(ways)
}

/// Puts the letters of one channel and group back.
async fn send(
    letters: &dyn Channel,
    (target, new_identity): (&Target, bool),
    (channel, group): (&str, &str),
    keys: &KeySet,
    env: &Env,
    done: &mut Replayed,
) -> Result<(), ChannelError> {
    let cx = context(&target.data_dir, channel, env);
    let encryption = target.keys.encryption();
    let config = Config { index: IndexKind::None, encryption, ..Config::default() };
    let back = PutBack::open(config, &cx, group, keys).await?;
    let mut pass = Pass::new(letters, target);
    while let Some((ticket, label, mut events)) = pass.next().await? {
        let stays = label.is_rejected() || label.is_of_closed_epoch() && !new_identity;
        let key = back_as(&label, new_identity).filter(|_| !stays);
        if key.is_none() || (label.channel.as_str(), label.group.as_str()) != (channel, group) {
            continue;
        }
        let count = events.len();
        events.envelope.identity = key;
        if back.put(events).await? {
            done.letters += 1;
            done.events += count;
        } else {
            done.waiting += 1;
        }
        pass.remove(ticket);
    }
    drop(pass);
    back.close().await
}

/// The channel `name` of the agent.
fn context(data_dir: &Path, name: &str, env: &Env) -> BuildContext {
    BuildContext::alone(name, &data_dir.join("channels").join(name), env.clone())
}
