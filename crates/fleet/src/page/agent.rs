//! The page of one agent. Pure.

use std::fmt::Write as _;

use super::{Tracks, begin, chart, escaped, hash, history, level, topology, wanted};
use crate::topology::Topology;
use crate::view::AgentView;

/// The whole page.
pub(crate) fn html((agent, topology): (&AgentView, &Topology), tracks: &Tracks) -> String {
    let mut out = begin(&agent.name);
    let labels = agent.labels.iter().map(|(key, value)| escaped(&format!("{key}={value}")));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let verdict = if agent.silent { "does not report" } else { &*agent.verdict };
    let oldest =
        agent.oldest_event_seconds.map_or("–".to_owned(), |it| chart::seconds(it as f32));
    let _infallible = writeln!(
        out,
        "<p><a href=\"/\">All agents</a></p>\n<h1>{}</h1>\n<p class=\"{}\">{}</p>\n<dl>",
        escaped(&agent.name),
        level(agent),
        escaped(verdict)
    );
    for (name, value) in [
        ("Version", escaped(&agent.version)),
        ("Labels", labels),
        ("Proved name", agent.identity.as_deref().map_or("–".to_owned(), escaped)),
        ("Uid", escaped(&agent.uid)),
        ("Last report", format!("{:.0} s ago", agent.last_seen_seconds_ago)),
        ("Backlog", format!("{} events", agent.backlog_events)),
        ("Oldest event", oldest),
        ("In force", hash(agent.in_force.as_ref())),
        ("Wanted", wanted(agent)),
    ] {
        let value = if value.is_empty() { "–" } else { &value };
        let _infallible = writeln!(out, "<dt>{name}</dt><dd>{value}</dd>");
    }
    out.push_str("</dl>\n<h2>Last 24 hours</h2>\n");
    match agent.managed {
        true => {
            let url = format!("/history?agent={}", escaped(&agent.uid));
            history(&mut out, &tracks.of(&agent.uid), (tracks, &url));
        }
        false => out.push_str("<p>It is not an Aqueduct agent, and reports no counts.</p>\n"),
    }
    topology::of_agent(&mut out, topology, &agent.uid);
    out.push_str("</body></html>\n");
    out
}
