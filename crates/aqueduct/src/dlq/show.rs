//! Shows dead letters. Changes nothing; the agent may be running.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use agent::dead_letters::{Label, inspected};
use agent::status::words::count;
use catalogue::FULL;
use channel::durable::inspect::Inspection;
use pipeline::settings::unknown;
use pipeline::{Batch, Env, Interceptor, Sink};
use program::cli::{self, EXIT_RUNTIME};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Format, Place, Target, has_letters};
use crate::admin::Admin;
use crate::runtime;

/// Dead letters with the same reason, sink and channel, or source and interceptor.
#[derive(Debug, Serialize)]
struct Summary {
    reason: String,
    sink: String,
    channel: String,
    source: String,
    interceptor: String,
    letters: u64,
    events: u64,
    bytes: u64,
    /// When the oldest letter was written.
    oldest: String,
    /// The error from the sink.
    detail: String,
}

fn time(at_ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Passes the selected letters to `each`, oldest first, until it returns `false`. Returns the
/// number of letters that were not selected.
fn letters(
    target: &Target,
    env: &Env,
    mut each: impl FnMut(Label, Batch) -> bool,
) -> Result<u64, String> {
    let (mut others, which) = (0, target.selection());
    all_letters(target, env, |label, events| {
        if which.means(&label) {
            return each(label, events);
        }
        others += 1;
        true
    })?;
    Ok(others)
}

/// Passes every letter to `each`, oldest first, until it returns `false`.
fn all_letters(
    target: &Target,
    env: &Env,
    each: impl FnMut(Label, Batch) -> bool,
) -> Result<(), String> {
    let data_dir = target.data_dir()?;
    if !has_letters(data_dir, env)? {
        return Ok(());
    }
    let encryption = target.keys.encryption();
    let directory = agent::dead_letters::directory(data_dir);
    let inspection = Inspection::inspect(env, &directory, encryption.as_ref());
    let inspection = inspection.map_err(|error| agent::chain(&error))?;
    let read = inspected(&inspection, each);
    read.map_err(|error| agent::chain(&error))
}

/// Checks that `--reason` exists. A mistyped reason would find nothing, which looks like good news.
///
/// # Errors
/// The reason is unknown; the message lists the known ones.
pub(super) fn check_reason(target: &Target, env: &Env) -> Result<(), String> {
    let Some(reason) = &target.reason else { return Ok(()) };
    let of_sinks = FULL.entries::<dyn Sink>().map(|it| it.letters);
    let of_interceptors = FULL.entries::<dyn Interceptor>().map(|it| it.letters);
    let known: BTreeSet<&str> = of_sinks.chain(of_interceptors).flatten().copied().collect();
    if known.contains(reason.as_str()) {
        return Ok(());
    }
    let mut is_there = false;
    // If the directory cannot be read, the following steps report it.
    let _ = all_letters(target, env, |label, _| {
        is_there = label.reason == *reason;
        !is_there
    });
    if is_there {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().collect();
    Err(format!("--reason: {}", unknown("reason", reason, &known)))
}

/// Lists the dead letters of a running agent.
fn list_running(target: &Target, address: &str, json: bool, env: &Env) -> Result<ExitCode, String> {
    if target.selects() {
        return Err(format!(
            "cannot filter letters by the admin address {address}: run this on the host of the \
             agent, with its data directory"
        ));
    }
    let admin = Admin::new(env, address, &target.access)?;
    let answer = runtime::block_on(admin.get("/dead-letters?newest=1"));
    let answer = answer.map_err(|error| admin.unanswered(&error))?;
    if json {
        return Ok(cli::print(&(answer.trim_end().to_owned() + "\n")));
    }
    let found: DeadLetterCounts = serde_json::from_str(&answer).map_err(|error| {
        format!(
            "{address}: cannot parse its /dead-letters ({error}); use the same version as the agent"
        )
    })?;
    let mut text = String::new();
    for (reason, Count { letters, events }) in &found.by_reason {
        let (letters, events) = (count(*letters, "letter"), count(*events, "event"));
        writeln!(text, "{reason:<18} {letters}, {events}").expect("a string takes it");
    }
    if text.is_empty() {
        text = "no dead letters\n".into();
    }
    Ok(cli::print(&text))
}

/// The dead letters of a running agent, as counted by `/dead-letters`.
#[derive(Deserialize)]
struct DeadLetterCounts {
    by_reason: BTreeMap<String, Count>,
}

#[derive(Deserialize)]
struct Count {
    letters: u64,
    events: u64,
}

pub(super) fn list(target: &Target, json: bool, env: &Env) -> Result<ExitCode, String> {
    if let Place::Address(address) = target.place() {
        return list_running(target, address, json, env);
    }
    let mut groups: BTreeMap<[String; 5], Summary> = BTreeMap::new();
    let others = letters(target, env, |label, events| {
        let from = [&label.sink, &label.channel, &label.source, &label.interceptor];
        let [sink, channel, source, interceptor] = from.map(String::clone);
        let key = [label.reason.clone(), sink, channel, source, interceptor];
        let summary = groups.entry(key).or_insert_with(|| Summary {
            reason: label.reason,
            sink: label.sink,
            channel: label.channel,
            source: label.source,
            interceptor: label.interceptor,
            letters: 0,
            events: 0,
            bytes: 0,
            oldest: time(label.at_ms),
            detail: label.detail,
        });
        summary.letters += 1;
        summary.events += events.len() as u64;
        summary.bytes += events.body_bytes();
        true
    })?;
    let mut text = String::new();
    for summary in groups.values() {
        if json {
            let line = serde_json::to_string(summary).expect("numbers and text are always JSON");
            writeln!(text, "{line}").expect("a string takes it");
            continue;
        }
        let Summary { reason, letters, events, bytes, oldest, detail, .. } = summary;
        let way = match (&*summary.source, &*summary.interceptor) {
            ("", _) => format!("{} -> {}", summary.channel, summary.sink),
            (source, interceptor) => format!("{source}, interceptor {interceptor}"),
        };
        let (letters, events) = (count(*letters, "letter"), count(*events, "event"));
        writeln!(
            text,
            "{reason:<18} {way}: {letters}, {events}, {bytes} bytes, oldest {oldest}: {}",
            detail.escape_debug(),
        )
        .expect("a string takes it");
    }
    if text.is_empty() && !json {
        text = match others {
            0 => "no dead letters\n".into(),
            others => format!("no matching dead letters; {others} others exist\n"),
        };
    }
    Ok(cli::print(&text))
}

pub(super) fn show(
    target: &Target,
    format: Format,
    limit: usize,
    env: &Env,
) -> Result<ExitCode, String> {
    let encoder = crate::channel::encoder(
        match format {
            Format::Text => "text",
            Format::Json => "json",
        },
        env,
    );
    let mut out = io::stdout().lock();
    let mut left = limit;
    letters(target, env, |label, events| {
        if left == 0 {
            return false;
        }
        left -= 1;
        let bytes = encoder.begin().encode(&events);
        let shown = match format {
            Format::Json => as_json(&label, &bytes),
            Format::Text => [heading(&label, events.len()).as_bytes(), &bytes].concat(),
        };
        out.write_all(&shown).is_ok()
    })?;
    Ok(if out.flush().is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RUNTIME) })
}

fn heading(label: &Label, events: usize) -> String {
    let Label { reason, detail, identity, whole, .. } = label;
    let way = if label.is_rejected() {
        format!("{}, interceptor {}", label.source, label.interceptor)
    } else {
        format!("{} -> {} -> {}", label.channel, label.group, label.sink)
    };
    let identity = identity.map_or_else(|| "no identity".to_owned(), |key| key.to_string());
    let share = if *whole { "all" } else { "part" };
    format!(
        "# {} {reason} {way}: {events} events, {share} of {identity}: \
         {}\n",
        time(label.at_ms),
        detail.escape_debug(),
    )
}

/// Formats the label and its events as one line.
fn as_json(label: &Label, events: &[u8]) -> Vec<u8> {
    let lines = events.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events = lines.map(|line| serde_json::from_slice(line).expect("the encoder writes JSON"));
    let events = Value::Array(events.collect());
    let mut letter = serde_json::to_value(label).expect("a label is always JSON");
    letter["events"] = events;
    let mut line = letter.to_string().into_bytes();
    line.push(b'\n');
    line
}
