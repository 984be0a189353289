//! The page: made on the server, without a script. A browser reloads it every 15 seconds. It
//! shows the agents that need attention first, and at most [`ROWS_MAX`] of them. Pure.

use std::fmt::Write as _;

use crate::gate::Level;
use crate::view::{AgentView, FleetView};

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

fn row(out: &mut String, agent: &AgentView) {
    let labels: Vec<String> =
        agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let (level, verdict) = match agent.silent {
        true => ("silent", "does not report"),
        false => (level(agent), &*agent.verdict),
    };
    let wanted = match (&agent.failure, agent.managed) {
        (Some(failure), _) => format!("refused: {}", escaped(&failure.error)),
        (None, true) => match agent.pinned_revision {
            Some(number) => format!("{}, pinned to revision {number}", hash(agent.wanted.as_ref())),
            None => hash(agent.wanted.as_ref()),
        },
        (None, false) => "read-only".to_owned(),
    };
    let _infallible = writeln!(
        out,
        "<tr class=\"{level}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td class=\"number\">{}</td><td class=\"number\">{:.0} s ago</td><td>{}</td>\
         <td>{wanted}</td></tr>",
        escaped(&agent.name),
        escaped(&agent.version),
        escaped(&labels.join(", ")),
        escaped(verdict),
        agent.backlog_events,
        agent.last_seen_seconds_ago,
        hash(agent.in_force.as_ref()),
    );
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
fn table(out: &mut String, fleet: &FleetView, searched: &str) {
    let found = fleet.agents.iter().filter(|it| is_found(it, searched));
    let mut found: Vec<&AgentView> = found.collect();
    // Stable: by name within a group.
    found.sort_by_key(|it| {
        (!it.silent && it.failure.is_none(), std::cmp::Reverse(it.level.max(Level::Note)))
    });
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
         <th>Backlog (events)</th><th>Last report</th><th>In force</th><th>Wanted</th></tr>\
         </thead><tbody>\n",
    );
    found.into_iter().take(ROWS_MAX).for_each(|agent| row(out, agent));
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

/// The whole page, with the agents that have the searched text.
pub(crate) fn html(fleet: &FleetView, searched: &str) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"15\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Fleet</title>\
         <link rel=\"stylesheet\" href=\"/page.css\"></head><body><h1>Fleet</h1>\n",
    );
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
    out.push_str("<h2>Agents</h2>\n");
    table(&mut out, fleet, searched);
    out.push_str("</body></html>\n");
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agents::Report;
    use crate::{Fleet, Revision, Saved};

    struct Nowhere;

    impl crate::Save for Nowhere {
        fn save(&mut self, _: &Saved) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn texts_of_agents_are_no_markup() {
        let none = Revision::default;
        let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
        let markup = "<script>alert('1')</script>\"&";
        let report = Report {
            uid: "00".into(),
            name: markup.into(),
            version: markup.into(),
            verdict: markup.into(),
            labels: [(markup.into(), markup.into())].into(),
            in_force: Some(markup.into()),
            failure: Some(crate::Failure { hash: "1".into(), error: markup.into() }),
            ..Report::default()
        };
        fleet.report(1_000, report, &mut Nowhere).unwrap();
        let page = html(&FleetView::new(&fleet, 2_000), "");
        assert!(page.contains("1 agents") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("'1'"), "{page}");
    }

    #[test]
    fn a_search_selects_agents_and_problems_come_first() {
        let none = Revision::default;
        let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
        for number in 0..2 * ROWS_MAX {
            let level = if number == 700 { Level::Bad } else { Level::Good };
            let (uid, name) = (format!("{number:032x}"), format!("edge-{number:04}"));
            let labels = [("site".into(), format!("s{}", number % 2))].into();
            let report = Report { uid, name, labels, level, poll_ms: 30_000, ..Report::default() };
            fleet.report(1_000, report, &mut Nowhere).unwrap();
        }
        let view = FleetView::new(&fleet, 2_000);
        let page = html(&view, "");
        assert!(page.contains("1000 found; the first 500 are shown"), "{page}");
        assert_eq!(page.matches("<tr class").count(), ROWS_MAX);
        assert!(page.find("edge-0700").unwrap() < page.find("edge-0000").unwrap());
        assert!(!page.contains("edge-0999"));
        let page = html(&view, &search("x=1&q=Edge-09%39"));
        assert_eq!(page.matches("<tr class").count(), 10, "edge-0990 to edge-0999");
        assert_eq!(html(&view, &search("q=site%3Ds1")).matches("<tr class").count(), ROWS_MAX);
        let hostile = html(&view, &search("q=%22%3E%3Cscript%3E"));
        assert!(hostile.contains("0 found") && !hostile.contains("<script"), "{hostile}");
    }
}
