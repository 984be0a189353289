//! The pages: made on the server, without a script. A browser reloads them every 15 seconds. The
//! first one shows the agents that need attention first, and at most [`ROWS_MAX`] of them. Pure.
//!
//! | module | contents |
//! |---|---|
//! | `agent` | the page of one agent |
//! | `chart` | the last 24 hours as SVG |
//! | `topology` | collectors and stores with their senders |

mod agent;
mod chart;
mod topology;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::gate::Level;
use crate::history::{FLEET, Track};
use crate::topology::Topology;
use crate::view::{AgentView, FleetView};
pub(crate) use agent::html as agent_html;

/// Its style.
pub(crate) const STYLE: &str = include_str!("page.css");

/// Maximum number of agents on the page.
const ROWS_MAX: usize = 500;

/// Maximum number of pins on the page.
const PINS_MAX: usize = 100;

/// Maximum number of characters of a search.
const SEARCH_MAX: usize = 100;

/// Characters of a hash that are shown.
const HASH_SHOWN: usize = 12;

/// Histories that a page shows.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    /// Number of the current step.
    pub(crate) step: u64,
    /// By uid.
    pub(crate) by_uid: BTreeMap<String, Track>,
    /// Why there is no history.
    pub(crate) problem: Option<String>,
}

impl Tracks {
    fn of(&self, uid: &str) -> Track {
        self.by_uid.get(uid).cloned().unwrap_or_default()
    }
}

/// Returns a text in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn hash(hash: Option<&String>) -> String {
    hash.map_or("–".to_owned(), |it| escaped(it.get(..HASH_SHOWN).unwrap_or(it)))
}

fn level(agent: &AgentView) -> &'static str {
    match agent.level {
        _ if agent.silent => "silent",
        Level::Good | Level::Note => "good",
        Level::Warn => "warn",
        Level::Bad => "bad",
    }
}

/// The configuration that an agent should have.
fn wanted(agent: &AgentView) -> String {
    match (&agent.failure, agent.managed) {
        (Some(failure), _) => format!("refused: {}", escaped(&failure.error)),
        (None, true) => match agent.pinned_revision {
            Some(number) => format!("{}, pinned to revision {number}", hash(agent.wanted.as_ref())),
            None => hash(agent.wanted.as_ref()),
        },
        (None, false) => "read-only".to_owned(),
    }
}

fn row(out: &mut String, agent: &AgentView, tracks: &Tracks) {
    let labels: Vec<String> =
        agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let (level, verdict) = match agent.silent {
        true => ("silent", "does not report"),
        false => (level(agent), &*agent.verdict),
    };
    let _infallible = write!(
        out,
        "<tr class=\"{level}\"><td><a href=\"/agent?agent={}\">{}</a></td><td>{}</td><td>{}</td>\
         <td>{}</td><td class=\"number\">{}</td><td class=\"number\">{:.0} s ago</td>\
         <td>{}</td><td>{}</td><td>",
        escaped(&agent.uid),
        escaped(&agent.name),
        escaped(&agent.version),
        escaped(&labels.join(", ")),
        escaped(verdict),
        agent.backlog_events,
        agent.last_seen_seconds_ago,
        hash(agent.in_force.as_ref()),
        wanted(agent),
    );
    match tracks.by_uid.get(&agent.uid) {
        Some(track) => chart::small(out, (track, tracks.step)),
        None => out.push('–'),
    }
    out.push_str("</td></tr>\n");
}

/// Returns the searched text in the query of a URL, `q=…`.
pub(crate) fn search(query: &str) -> String {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("q=")).unwrap_or_default();
    let value = value.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
    text.trim().to_lowercase().chars().take(SEARCH_MAX).collect()
}

/// Returns `true` if a name, a label or the version has this text.
fn is_found(agent: &AgentView, searched: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(searched);
    has(&agent.name)
        || has(&agent.version)
        || agent.labels.iter().any(|(key, value)| has(&format!("{key}={value}")))
}

/// The agents with this text: those that need attention first.
fn found<'a>(fleet: &'a FleetView, searched: &str) -> Vec<&'a AgentView> {
    let found = fleet.agents.iter().filter(|it| is_found(it, searched));
    let mut found: Vec<&AgentView> = found.collect();
    // Stable: by name within a group.
    found.sort_by_key(|it| {
        (!it.silent && it.failure.is_none(), std::cmp::Reverse(it.level.max(Level::Note)))
    });
    found
}

/// The uids of the agents that the page shows.
pub(crate) fn shown(fleet: &FleetView, searched: &str) -> Vec<String> {
    found(fleet, searched).into_iter().take(ROWS_MAX).map(|it| it.uid.clone()).collect()
}

fn table(out: &mut String, fleet: &FleetView, (searched, tracks): (&str, &Tracks)) {
    let found = found(fleet, searched);
    let _infallible = writeln!(
        out,
        "<form method=\"get\" action=\"/\"><label>Name, label or version <input name=\"q\" \
         value=\"{}\"></label> <button>Search</button></form>\n<p>{} found{}.</p>",
        escaped(searched),
        found.len(),
        match found.len() > ROWS_MAX {
            true => format!("; the first {ROWS_MAX} are shown, those that need attention first"),
            false => String::new(),
        }
    );
    out.push_str(
        "<table><thead><tr><th>Agent</th><th>Version</th><th>Labels</th><th>Verdict</th>\
         <th>Backlog (events)</th><th>Last report</th><th>In force</th><th>Wanted</th>\
         <th>Accepted, 24 hours</th></tr></thead><tbody>\n",
    );
    found.into_iter().take(ROWS_MAX).for_each(|agent| row(out, agent, tracks));
    out.push_str("</tbody></table>");
}

/// The pins, at most [`PINS_MAX`] of them.
fn pins(out: &mut String, fleet: &FleetView) {
    if fleet.pins.is_empty() {
        return;
    }
    out.push_str("<h2>Pins</h2>\n<ul>");
    for pin in fleet.pins.iter().take(PINS_MAX) {
        let _infallible = write!(out, "<li>{}</li>", escaped(&pin.to_string()));
    }
    out.push_str("</ul>\n");
    if fleet.pins.len() > PINS_MAX {
        let _infallible = writeln!(
            out,
            "<p>{} pins; <a href=\"/roll-out\">all as JSON</a></p>",
            fleet.pins.len()
        );
    }
}

/// The head of a page.
fn begin(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"15\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <link rel=\"stylesheet\" href=\"/page.css\"></head><body>\n",
        escaped(title)
    )
}

/// The charts of an agent or of the fleet.
fn history(out: &mut String, track: &Track, (tracks, url): (&Tracks, &str)) {
    if let Some(problem) = &tracks.problem {
        let _infallible = writeln!(out, "<p class=\"warn\">{}</p>", escaped(problem));
        return;
    }
    if track.is_empty() {
        out.push_str("<p>The first values appear after a minute.</p>\n");
        return;
    }
    let of = (track, tracks.step);
    let rates = ("rates", "Events per second");
    chart::chart(out, rates, of, (&chart::RATES, chart::events));
    chart::chart(out, ("held", "Events in channels"), of, (&chart::HELD, chart::events));
    if track.iter().any(|(_, it)| it.oldest_seconds.is_some()) {
        chart::chart(out, ("oldest", "Oldest event"), of, (&chart::OLDEST, chart::seconds));
    }
    chart::levels(out, "levels", of);
    let _infallible = writeln!(out, "<p><a href=\"{url}\">The same as JSON</a></p>");
}

/// The whole page, with the agents that have the searched text.
pub(crate) fn html(
    (fleet, topology): (&FleetView, &Topology),
    searched: &str,
    tracks: &Tracks,
) -> String {
    let mut out = begin("Fleet");
    out.push_str("<h1>Fleet</h1>\n");
    let count = |is: fn(&AgentView) -> bool| fleet.agents.iter().filter(|it| is(it)).count();
    let (all, silent) = (fleet.agents.len(), count(|it| it.silent));
    let bad = count(|it| !it.silent && it.level >= Level::Warn);
    let state = if silent + bad > 0 { "warn" } else { "good" };
    let _infallible = writeln!(
        out,
        "<p class=\"{state}\">{all} agents: {bad} need attention, {silent} do not report. \
         Accepted revision: {}.</p>\n<h2>Roll-out</h2>",
        fleet.accepted_revision
    );
    let rollout = fleet.rollout.as_ref();
    let text = rollout.map_or("There was no roll-out yet.".to_owned(), ToString::to_string);
    let state = rollout.map_or("good", |it| if it.reason.is_some() { "bad" } else { "good" });
    let _infallible = writeln!(out, "<p class=\"{state}\">{}</p>", escaped(&text));
    if let Some(problem) = &fleet.git_problem {
        let _infallible = writeln!(out, "<p class=\"warn\">{}</p>", escaped(problem));
    }
    pins(&mut out, fleet);
    out.push_str("<h2>Last 24 hours</h2>\n");
    history(&mut out, &tracks.of(FLEET), (tracks, "/history"));
    topology::overview(&mut out, topology);
    out.push_str("<h2>Agents</h2>\n");
    table(&mut out, fleet, (searched, tracks));
    out.push_str("</body></html>\n");
    out
}

#[cfg(test)]
mod tests;
