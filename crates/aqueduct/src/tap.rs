//! `aqueduct tap`: shows events that pass through a running agent.
//!
//! ```text
//!   /tap ─► Follow ─► TapMessage ─┬─► a line for each event: time, headers, body
//!                                 └─► standard error: what was not shown
//! ```
//!
//! Events are untrusted input. Characters that a terminal would interpret are escaped.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use agent::status::{SeenEvent, TapMessage};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use program::cli;
use serde_json::Value;

use crate::admin::{Access, Admin};
use crate::runtime;
use crate::status::EXIT_UNREACHABLE;

const EXAMPLES: &str = "\
Examples:
  aqueduct tap 127.0.0.1:9464 --source web
  aqueduct tap 127.0.0.1:9464 --channel main --where '{ header = \"level\", one_of = [\"error\"] }'
  aqueduct tap collector-1:9464 --sink store --where '{ matches = \"timeout\" }' --count 5 --json
  aqueduct tap https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin --channel main

At a source, you see events before its interceptors; at a channel, when they are stored; at a sink,
when the sink gets them. A retried event is shown again. Conditions are those of the interceptor
`filter`; with several, all must match. The flow never waits: events that are not shown are counted
on standard error.

Exit codes: 0 ended by --count or by the reader, 2 the agent does not answer, or wrong arguments";

/// Watch the events that pass through a running agent.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct TapArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    place: Place,
    /// A condition that must match, written as in a configuration: { matches = "…" }
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Maximum number of events per second, up to 400
    #[arg(long, value_name = "N", default_value_t = 10)]
    rate: u32,
    /// Exit after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Where to watch events.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// At this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// At this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// At this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Prints events until the requested number is reached.
pub(crate) fn run(args: &TapArgs) -> ExitCode {
    match watch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

fn watch(args: &TapArgs) -> Result<(), String> {
    let page = page(args)?;
    let admin = Admin::new(&env::real(), &args.address, &args.access)?;
    runtime::block_on(async {
        let lost = |error: io::Error| admin.unanswered(&error);
        let mut follow = admin.stream(&page).await.map_err(lost)?;
        let (mut left, mut hidden) = (args.count, 0);
        while left != Some(0) {
            let text = follow.next().await.map_err(lost)?;
            let message: TapMessage = serde_json::from_str(&text).map_err(|error| {
                format!("cannot parse its /tap ({error}); use the same version as the agent")
            })?;
            if !show(&message, args.json, &mut left) {
                break;
            }
            if let Some(line) = left_out(&message, &mut hidden) {
                cli::print_line(&line);
            }
            if let Some(gone) = message.gone {
                return Err(gone);
            }
        }
        Ok(())
    })
}

/// Returns the page for these arguments.
fn page(args: &TapArgs) -> Result<String, String> {
    let Place { source, channel, sink } = &args.place;
    let places = [("source", source), ("channel", channel), ("sink", sink)];
    let mut page = format!("/tap?rate={}", args.rate);
    for (key, value) in places.iter().filter_map(|(key, value)| Some((key, (*value).as_ref()?))) {
        write!(page, "&{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            .expect("a string takes it");
    }
    let conditions = args.conditions.iter().map(|text| condition(text));
    let conditions = Value::Array(conditions.collect::<Result<_, _>>()?).to_string();
    write!(page, "&where={}", utf8_percent_encode(&conditions, NON_ALPHANUMERIC))
        .expect("a string takes it");
    Ok(page)
}

/// Converts a condition from TOML to JSON.
fn condition(text: &str) -> Result<Value, String> {
    let read = config::read(Path::new("condition.toml"), &format!("where = {text}"));
    let read = read.map_err(|error| format!("--where {text}: {error}"))?;
    let read = read.read::<Value>().map_err(|error| format!("--where {text}: {error}"))?;
    match &read["where"] {
        table @ Value::Object(_) => Ok(table.clone()),
        _ => Err(format!("--where {text}: a condition is a table: {{ matches = \"…\" }}")),
    }
}

/// Prints the events of a message. Returns `false` when enough were shown.
fn show(message: &TapMessage, json: bool, left: &mut Option<u64>) -> bool {
    let mut output = io::stdout().lock();
    for event in &message.events {
        if let Some(left) = left {
            if *left == 0 {
                break;
            }
            *left -= 1;
        }
        let line = match json {
            true => serde_json::to_string(event).expect("texts and numbers are JSON"),
            false => line(event),
        };
        if writeln!(output, "{line}").is_err() {
            return false;
        }
    }
    output.flush().is_ok()
}

/// Formats an event as one line.
fn line(seen: &SeenEvent) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(seen.at_ms);
    let mut line = humantime::format_rfc3339_millis(at).to_string();
    let event = &seen.event;
    for (name, value) in &event.headers {
        write!(line, " {}={}", plain(name), plain(value)).expect("a string takes it");
    }
    let more = event.headers_total - event.headers.len();
    if more > 0 {
        write!(line, " (and {more} more headers)").expect("a string takes it");
    }
    match (&event.text, &event.hexadecimal) {
        (Some(text), _) => write!(line, " | {}", plain(text)),
        (None, bytes) => write!(line, " | 0x{}", plain(bytes.as_deref().unwrap_or_default())),
    }
    .expect("a string takes it");
    if event.is_cut {
        write!(line, "… ({} bytes)", event.body_bytes).expect("a string takes it");
    }
    line
}

/// Escapes terminal control characters and characters that change the writing direction.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        // Characters that `Debug` leaves unchanged are printable. Quotes need no escape here.
        match c {
            '"' | '\'' | '\\' => plain.push(c),
            c => plain.extend(c.escape_debug()),
        }
    }
    plain
}

/// Reports newly omitted events, for standard error.
fn left_out(message: &TapMessage, before: &mut u64) -> Option<String> {
    let over_rate = message.matched - message.shown;
    let hidden = over_rate + message.missed;
    if hidden <= *before {
        return None;
    }
    *before = hidden;
    let mut line = format!("not shown so far: {over_rate} events above --rate");
    if message.missed > 0 {
        write!(line, ", {} that arrived faster than this command reads", message.missed)
            .expect("a string takes it");
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use agent::status::ShownEvent;
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: TapArgs,
    }

    fn args(more: &[&str]) -> Result<TapArgs, clap::Error> {
        let words = ["tap", "a:1"].iter().chain(more);
        Program::try_parse_from(words).map(|it| it.args)
    }

    #[test]
    fn a_place_is_named_once_and_conditions_are_written_as_in_a_configuration() {
        assert!(args(&[]).is_err());
        assert!(args(&["--source", "a", "--sink", "b"]).is_err());
        let level = "{ header = \"level\", one_of = [\"a b\"], not = true }";
        let asked = args(&["--sink", "näxt&", "--where", level, "--where", "{ at_least = 2 }"]);
        let page = page(&asked.unwrap()).unwrap();
        let query = page.strip_prefix("/tap?rate=10&sink=n%C3%A4xt%26&where=").unwrap();
        let query = percent_encoding::percent_decode_str(query).decode_utf8().unwrap();
        let expected =
            json!([{ "header": "level", "one_of": ["a b"], "not": true }, { "at_least": 2 }]);
        assert_eq!(serde_json::from_str::<Value>(&query).unwrap(), expected);
        for wrong in ["level = 1", "\"text\"", "{", "1"] {
            let asked = args(&["--source", "a", "--where", wrong]).unwrap();
            let refused = super::page(&asked);
            assert!(refused.as_ref().is_err_and(|it| it.contains("--where")), "{refused:?}");
        }
    }

    #[test]
    fn an_event_is_one_line_and_no_command_for_a_terminal() {
        let event = ShownEvent {
            headers: vec![("a".into(), "\u{1b}]0;x\u{7}".into())],
            headers_total: 3,
            body_bytes: 9,
            text: Some("say \"hi\"\n\u{1b}[2J\u{202e}\u{9b}31mgrün".into()),
            hexadecimal: None,
            is_cut: false,
        };
        let mut seen = SeenEvent { at_ms: 1_500, identity: None, event };
        let shown = line(&seen);
        assert_eq!(
            shown,
            "1970-01-01T00:00:01.500Z a=\\u{1b}]0;x\\u{7} (and 2 more headers) | \
             say \"hi\"\\n\\u{1b}[2J\\u{202e}\\u{9b}31mgrün"
        );
        seen.event.text = None;
        (seen.event.hexadecimal, seen.event.is_cut) = (Some("ff00".into()), true);
        assert!(line(&seen).ends_with(" | 0xff00… (9 bytes)"));
    }

    #[test]
    fn omitted_events_are_reported_once_until_there_are_more() {
        let message = |matched, shown, missed| TapMessage {
            passed: 9,
            matched,
            shown,
            missed,
            ..TapMessage::default()
        };
        let mut before = 0;
        assert_eq!(left_out(&message(3, 3, 0), &mut before), None);
        assert!(
            left_out(&message(5, 3, 0), &mut before).is_some_and(|it| it.contains(" 2 events"))
        );
        assert_eq!(left_out(&message(5, 3, 0), &mut before), None);
        let line = left_out(&message(5, 3, 4), &mut before).unwrap();
        assert!(line.contains(" 2 events above --rate, 4 that arrived faster"), "{line}");
    }
}
