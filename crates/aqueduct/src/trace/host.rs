//! Searches the data directories of a host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent::dead_letters;
use channel::durable::Encryption;
use channel::durable::inspect::{Inspection, Traced};
use pipeline::file_position::Position;
use pipeline::{ChannelError, Env, Identity};

use super::SearchTarget;
use super::report::{Held, LetterFound, Read, Report};

/// Maximum number of batches to follow for a text.
const BATCHES_MAX: usize = 20;

/// Searches an agent: how far it has read the file, and which batches contain the line.
///
/// # Errors
/// The path is not a data directory, or cannot be read.
pub(super) fn search(
    data_dir: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
    wanted: &SearchTarget,
    report: &mut Report,
) -> Result<(), String> {
    for (directory, inspection) in channels(data_dir, encryption, env, report)? {
        let failed = |error: ChannelError| agent::chain(&error);
        let channel = directory.display().to_string();
        if let Some(line) = &wanted.line {
            for position in inspection.positions() {
                let known = position.value.as_deref().and_then(Position::decode);
                let Some((at, _)) = known else { continue };
                if (at.device, at.inode) == (line.device, line.inode) {
                    let (source, at) = (position.source.to_string(), at.offset);
                    let is_read = line.to <= at;
                    report.reads.push(Read { channel: channel.clone(), source, at, is_read });
                }
            }
            let holds = |traced: &Traced| {
                traced.lines.iter().map(|it| &it.stretch).any(|stretch| {
                    let is_within = stretch.from <= line.from && line.to <= stretch.to;
                    is_within && stretch.is_in_file(line.device, line.inode)
                })
            };
            let named = |traced: Traced| {
                if holds(&traced) {
                    report.batches.extend(traced.identity);
                }
            };
            inspection.traced(named).map_err(failed)?;
        }
        let held = inspection.export(|_, batch| {
            if let Some(identity) = batch.envelope.identity
                && batch.iter().any(|event| wanted.is(event.body()))
            {
                if report.batches.len() < BATCHES_MAX {
                    report.batches.insert(identity);
                }
                report.with_text.insert(identity);
            }
            true
        });
        held.map_err(failed)?;
    }
    letters(data_dir, encryption, env, wanted, report)
}

/// Searches the channels of this agent for these batches.
///
/// # Errors
/// A channel cannot be read.
pub(super) fn search_batches(
    data_dir: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
    named: &BTreeSet<Identity>,
    report: &mut Report,
) -> Result<(), String> {
    for (directory, inspection) in channels(data_dir, encryption, env, report)? {
        let found = inspection.traced(|traced| {
            let Some(identity) = traced.identity.filter(|it| named.contains(it)) else { return };
            report.held.push(Held {
                batch: identity.to_string(),
                channel: directory.display().to_string(),
                at_ms: traced.at_ms,
                events: traced.events,
                lines: traced.lines.iter().map(|it| it.stretch.to_string()).collect(),
                waits_for: traced.waits_for.iter().map(ToString::to_string).collect(),
            });
        });
        found.map_err(|error| agent::chain(&error))?;
    }
    Ok(())
}

/// Returns the channels of an agent that can be inspected.
fn channels(
    data_dir: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
    report: &mut Report,
) -> Result<Vec<(PathBuf, Inspection)>, String> {
    if env.disk.stat(&data_dir.join("format")).is_err() {
        return Err(format!(
            "{}: not the data directory of an agent, because it has no file `format`; name the \
             value of `agent.data_dir`",
            data_dir.display()
        ));
    }
    let mut found = Vec::new();
    let folder = data_dir.join("channels");
    for (name, _) in env.disk.list(&folder).unwrap_or_default() {
        let directory = folder.join(name);
        // Memory and spill channels have no log to inspect.
        if env.disk.stat(&directory.join("log")).is_err() {
            continue;
        }
        match Inspection::inspect(env, &directory, encryption) {
            Ok(inspection) => found.push((directory, inspection)),
            Err(error) => report.note(format!(
                "cannot search {}: {}",
                directory.display(),
                agent::chain(&error)
            )),
        }
    }
    Ok(found)
}

/// Searches the dead letters of this agent.
fn letters(
    data_dir: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
    wanted: &SearchTarget,
    report: &mut Report,
) -> Result<(), String> {
    let directory = dead_letters::directory(data_dir);
    if env.disk.stat(&directory).is_err() {
        return Ok(());
    }
    let failed = |error: ChannelError| agent::chain(&error);
    let inspection = Inspection::inspect(env, &directory, encryption).map_err(failed)?;
    let named = report.batches.clone();
    let found = dead_letters::inspected(&inspection, |label, events| {
        let is_named =
            wanted.text.is_empty() && label.identity.is_some_and(|it| named.contains(&it));
        if is_named || events.iter().any(|event| wanted.is(event.body())) {
            report.letters.push(LetterFound {
                batch: label.identity.map(|identity| identity.to_string()),
                data_dir: data_dir.display().to_string(),
                at_ms: label.at_ms,
                reason: label.reason,
                detail: label.detail,
            });
        }
        true
    });
    found.map_err(failed)
}
