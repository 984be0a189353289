//! Reports sources that resend events because their positions are elsewhere.
//!
//! A source keeps its positions in its channels, under its own name. After a source or a channel is
//! renamed, or a source is moved to another channel, it finds no positions and starts from the
//! beginning. `aqueduct check`, a reload and the log of a start report that, with the amount.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use channel::durable::Encryption;
use channel::stored_positions;
use config::{ChannelPlan, Plan};
use pipeline::env::FileKind;
use pipeline::file_position::Position;
use pipeline::units::ByteSize;
use pipeline::{Env, ResendMode};
use support::causes::chain;
use tracing::warn;

use crate::status::words::count;
use crate::topology::Topology;

/// A source with positions, and its required channels.
struct PositionedSource {
    source: String,
    channels: Vec<String>,
}

/// The positions of one source in one channel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct StoredPositions {
    positions: u64,
    /// Bytes of files that were read.
    bytes: u64,
}

/// The positions in the directory of a channel, by source; or why they cannot be read.
type Stored = Result<BTreeMap<String, StoredPositions>, String>;

/// The known state of the channels.
struct ChannelStates {
    /// The parent of their directories.
    directory: PathBuf,
    /// Of all that have a directory.
    stored: BTreeMap<String, Stored>,
    /// Names of the configuration.
    channels: Vec<String>,
    sources: Vec<String>,
}

/// A source that starts from the beginning in a channel.
#[derive(Debug, PartialEq, Eq)]
struct Resend {
    source: String,
    /// The amount that is resent, the cause and the remedy.
    report: String,
}

/// The resends of a configuration, by the directories of its channels. Blocks.
pub fn find(topology: &Topology, plan: &Plan, env: &Env) -> Vec<String> {
    resends(&positioned_sources(topology), &ChannelStates::read(plan, env))
        .into_iter()
        .map(|it| it.report)
        .collect()
}

/// Logs and returns the resends of sources that will start, except those in `run`.
pub fn log(
    topology: &Topology,
    plan: &Plan,
    run: &BTreeSet<Arc<str>>,
    env: &Env,
) -> impl Future<Output = Vec<String>> + Send + use<> {
    let opened = topology.channels.iter().filter(|built| built.boards.opened.is_open());
    let opened: BTreeMap<&str, _> = opened.map(|built| (&*built.name, &built.channel)).collect();
    let has = |fed: &PositionedSource, channel: &String| {
        opened.get(&**channel).is_some_and(|it| !it.positions(&fed.source).is_empty())
    };
    let mut starting = positioned_sources(topology);
    starting.retain(|fed| !run.contains(&*fed.source));
    starting.retain(|fed| !fed.channels.iter().all(|channel| has(fed, channel)));
    for fed in &mut starting {
        let channels = std::mem::take(&mut fed.channels).into_iter();
        fed.channels = channels.filter(|channel| !has(fed, channel)).collect();
    }
    let open: Vec<String> = opened.keys().map(|name| (*name).to_owned()).collect();
    let (plan, env) = (plan.clone(), env.clone());
    async move {
        if starting.is_empty() {
            return Vec::new();
        }
        let world = env.clone();
        let find = move || {
            let mut states = ChannelStates::read(&plan, &world);
            for name in open {
                // It was read, and does not have these positions.
                if let Some(stored @ Err(_)) = states.stored.get_mut(&name) {
                    *stored = Ok(BTreeMap::new());
                }
            }
            resends(&starting, &states)
        };
        let found = env.offload(find).await;
        found.iter().for_each(|resend| warn!(source = resend.source, "{}", resend.report));
        found.into_iter().map(|resend| resend.report).collect()
    }
}

fn positioned_sources(topology: &Topology) -> Vec<PositionedSource> {
    let by_position = topology
        .sources
        .iter()
        .filter(|built| built.source.resend_mode() == ResendMode::ByPosition);
    let fed = by_position.map(|built| PositionedSource {
        source: built.name.to_string(),
        channels: built.required.clone(),
    });
    fed.collect()
}

impl ChannelStates {
    fn read(plan: &Plan, env: &Env) -> Self {
        let directory = plan.agent.data_dir.join("channels");
        let found = env.disk.list(&directory).unwrap_or_default();
        let names = found.into_iter().filter(|(_, kind)| *kind == FileKind::Directory);
        let stored = names.map(|(name, _)| {
            let stored = stocks(&directory.join(&name), &keys(plan, &name), env);
            (name, stored)
        });
        let stored = stored.collect();
        let channels = plan.channels.iter().map(|it| it.component.name.clone()).collect();
        let sources = plan.sources.iter().map(|it| it.component.name.clone()).collect();
        Self { directory, stored, channels, sources }
    }

    /// Returns `true` if the channel certainly has no position of the source.
    fn lacks(&self, channel: &str, source: &str) -> bool {
        match self.stored.get(channel) {
            Some(Ok(sources)) => !sources.contains_key(source),
            Some(Err(_)) => false,
            None => true,
        }
    }

    fn is_removed(&self, channel: &str) -> bool {
        !self.channels.iter().any(|name| name == channel)
    }

    /// The positions in another channel that the source had there, or may have had under another
    /// name.
    fn candidates<'a>(
        &'a self,
        channel: &'a str,
        source: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, StoredPositions)> {
        let readable = self
            .stored
            .iter()
            .filter_map(|(name, stored)| stored.as_ref().ok().map(|sources| (name, sources)));
        let all = readable.flat_map(|(name, sources)| {
            sources.iter().map(move |(of, stock)| (&**name, &**of, *stock))
        });
        all.filter(move |(name, of, _)| {
            let is_renamed_source = !self.sources.iter().any(|source| source == of);
            let is_here = *name == channel || self.is_removed(name);
            *of == source && *name != channel || is_renamed_source && is_here
        })
    }
}

/// Returns the keys that may open a sealed channel: its own, or all if it is not configured.
/// Excludes keys from programs, which are not run for this.
fn keys(plan: &Plan, channel: &str) -> Vec<Encryption> {
    let is_own = |it: &&ChannelPlan| it.component.name == channel;
    let own = plan.channels.iter().find(is_own);
    let channels = own.map_or(&plan.channels[..], std::slice::from_ref).iter();
    let keys = channels.filter_map(|it| it.component.settings.get("encryption")?.read().ok());
    keys.filter(|keys: &Encryption| keys.key_command.is_empty()).collect()
}

/// The positions in the directory of a channel, with the first keys that open it.
fn stocks(directory: &Path, keys: &[Encryption], env: &Env) -> Stored {
    let mut found = stored_positions(env, directory, None);
    for keys in keys {
        if found.is_err() {
            found = stored_positions(env, directory, Some(keys));
        }
    }
    let mut stocks = BTreeMap::<String, StoredPositions>::new();
    for position in found.map_err(|error| chain(&error))? {
        let stock = stocks.entry(position.source.to_string()).or_default();
        let read = position.value.as_deref().and_then(Position::decode);
        stock.positions += 1;
        stock.bytes += read.map_or(0, |(position, _)| position.offset);
    }
    Ok(stocks)
}

fn resends(fed: &[PositionedSource], states: &ChannelStates) -> Vec<Resend> {
    let mut resends = Vec::new();
    for PositionedSource { source, channels } in fed {
        for channel in channels.iter().filter(|channel| states.lacks(channel, source)) {
            let mut candidates: Vec<_> = states.candidates(channel, source).collect();
            // Its own name is better evidence than the name of a source that may have been removed.
            if candidates.iter().any(|(_, of, _)| of == source) {
                candidates.retain(|(_, of, _)| of == source);
            }
            let found = candidates
                .iter()
                .map(|(at, of, stock)| report(states, (channel, source), (at, of), *stock));
            let found: Vec<String> = found.chain(unreadable(states, channel, source)).collect();
            let source = source.clone();
            let resend = |report| Resend { source: source.clone(), report };
            resends.extend(found.into_iter().map(resend));
        }
    }
    resends
}

/// Reports a removed channel whose directory exists and cannot be read.
fn unreadable<'a>(
    states: &'a ChannelStates,
    channel: &'a str,
    source: &'a str,
) -> impl Iterator<Item = String> {
    let is_new = !states.stored.contains_key(channel);
    let gone = states.stored.iter().filter(move |(name, _)| is_new && states.is_removed(name));
    gone.filter_map(move |(name, stored)| {
        let error = stored.as_ref().err()?;
        Some(format!(
            "source `{source}` starts from the beginning in the new channel `{channel}`, because \
             the positions of the removed channel `{name}` cannot be read ({error}); if you \
             renamed `{name}` to `{channel}`, the events that it read are stored twice: to prevent \
             this, do not start the agent before {} is readable for its user and the channel is \
             named `{name}` again",
            states.directory.join(name).display()
        ))
    })
}

fn moved_channel(states: &ChannelStates, from: &str, to: &str) -> String {
    let at = |name: &str| states.directory.join(name).display().to_string();
    format!(
        "to keep the positions, name the channel `{from}` again, or stop the agent, rename {} to \
         {} and start it",
        at(from),
        at(to)
    )
}

fn report(
    states: &ChannelStates,
    (channel, source): (&str, &str),
    (at, of): (&str, &str),
    stock: StoredPositions,
) -> String {
    let StoredPositions { positions, bytes } = stock;
    let read = match bytes {
        0 => String::new(),
        bytes => format!(" with {} read", ByteSize(bytes)),
    };
    let start = format!(
        "source `{source}` starts from the beginning in channel `{channel}`, although {}{read}",
        count(positions, "position")
    );
    let gone = "which is not configured any more";
    if of == source && states.is_removed(at) {
        let keep = moved_channel(states, at, channel);
        return format!("{start} are in channel `{at}`, {gone}: it resends these events; {keep}");
    }
    if of == source {
        return format!(
            "{start} are in channel `{at}`: it sends these events to `{channel}` too; to avoid \
             that, let the source feed only `{at}`"
        );
    }
    let keep = format!("to keep the positions, name the source `{of}` again");
    if at == channel {
        return format!(
            "{start} of source `{of}`, {gone}, are in it: if you renamed the source, it resends \
             these events; {keep}"
        );
    }
    format!(
        "{start} of source `{of}` are in channel `{at}`, and neither is configured any more: if \
         you renamed both, it resends these events; {keep}, and the channel `{at}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sources: &[(&str, u64, u64)]) -> Stored {
        let stock = |(name, positions, bytes): &(&str, u64, u64)| {
            ((*name).to_owned(), StoredPositions { positions: *positions, bytes: *bytes })
        };
        Ok(sources.iter().map(stock).collect())
    }

    /// Returns the reports for source `s`, which feeds channel `c`, among others.
    fn found(stored: Vec<(&str, Stored)>, channels: &[&str], sources: &[&str]) -> Vec<String> {
        let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        let states = ChannelStates {
            directory: "/data/channels".into(),
            stored: stored.into_iter().map(|(name, it)| (name.to_owned(), it)).collect(),
            channels: names(channels),
            sources: names(sources),
        };
        let fed = PositionedSource { source: "s".to_owned(), channels: vec!["c".to_owned()] };
        resends(&[fed], &states).into_iter().map(|it| it.report).collect()
    }

    #[test]
    fn a_renamed_channel_is_reported_with_the_amount_and_the_way_out() {
        let old = || ("old", stored(&[("s", 12, 3 << 20), ("gone", 1, 0)]));
        for here in [vec![old()], vec![old(), ("c", stored(&[]))]] {
            let reports = found(here, &["c"], &["s"]);
            let [report] = &reports[..] else { panic!("{reports:?}") };
            for part in [
                "source `s` starts from the beginning in channel `c`",
                "12 positions with 3MiB read are in channel `old`",
                "rename /data/channels/old to /data/channels/c",
            ] {
                assert!(report.contains(part), "{report}");
            }
        }
        let kept = vec![old(), ("c", stored(&[("s", 1, 0)]))];
        assert_eq!(found(kept, &["c"], &["s"]), [""; 0], "its positions are where it looks");
    }

    #[test]
    fn a_renamed_source_is_reported_and_a_new_one_is_not() {
        let here = || vec![("c", stored(&[("old", 1, 0)]))];
        let reports = found(here(), &["c"], &["s"]);
        assert!(
            matches!(&reports[..], [it] if it.contains("1 position of source `old`")
                && it.contains("name the source `old` again")),
            "{reports:?}"
        );
        assert_eq!(found(here(), &["c"], &["s", "old"]), [""; 0]);
        assert_eq!(found(vec![], &["c"], &["s"]), [""; 0]);
    }

    #[test]
    fn a_source_that_moves_to_another_channel_is_reported() {
        let here = vec![("c", stored(&[])), ("d", stored(&[("s", 2, 0), ("t", 1, 0)]))];
        let reports = found(here, &["c", "d"], &["s"]);
        assert!(matches!(&reports[..], [it] if it.contains("2 positions are in channel `d`")));
        let both = vec![("d", stored(&[("t", 1, 0)]))];
        let reports = found(both, &["c"], &["s"]);
        assert!(matches!(&reports[..], [it] if it.contains("if you renamed both")), "{reports:?}");
        let sealed = vec![("d", Err("no key".to_owned()))];
        let reports = found(sealed, &["c"], &["s"]);
        assert!(matches!(&reports[..], [it] if it.contains("cannot be read (no key)")));
    }
}
