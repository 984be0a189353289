//! Changes of the agent: `POST /reload`, `/stop`, `/start` and `/drain`; and `/audit`, which lists
//! them.

use std::sync::Arc;

use agent::actor::Actor;
use agent::held::Part;
use agent::status::ReloadResult;
use control::audit::{Line, Outcome};
use control::reload::PartRequest;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use pipeline::settings::unknown;
use tokio::time::Duration;

use super::answer::{Answer, json, page};
use super::pages::Pages;
use super::query::{newest, parameters};

/// The header of a request for a change, whose value is the name of the change. A page of another
/// site cannot set such a header, and so cannot request a change in the operator's browser.
pub(super) const HEADER: &str = "x-aqueduct";

/// Default and maximum time limit of a drain.
const TIME_LIMIT: Duration = Duration::from_secs(600);
const TIME_LIMIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Default and maximum number of lines of the audit log.
const LINES: usize = 20;
const LINES_MAX: usize = 1_000;

/// Returns `true` if the header of a request confirms `action`.
pub(super) fn is_meant(headers: &HeaderMap, action: &str) -> bool {
    headers.get(HEADER).is_some_and(|said| said.as_bytes() == action.as_bytes())
}

/// The one part that the query of `/stop` or `/start` names.
fn part(query: &str, more: &[&str]) -> Result<Option<Part>, String> {
    let mut found = None;
    for parameter in parameters(query) {
        let (key, value) = parameter?;
        let part = match key {
            "source" => Some(Part::Source(value.into())),
            "group" => Some(Part::Group(value.into())),
            "all" if more.contains(&key) => None,
            _ => return Err(unknown("parameter", key, &[&["source", "group"], more].concat())),
        };
        if found.replace(part).is_some() {
            return Err(
                "a request must name one part, but this one names several: send a request for each"
                    .to_owned(),
            );
        }
    }
    found.ok_or_else(|| "a request must name a part: add ?source=NAME or ?group=NAME".to_owned())
}

/// Parses the query of `/drain`.
fn drain(query: &str) -> Result<PartRequest, String> {
    let (mut channel, mut time_limit, mut exit) = (None, TIME_LIMIT, false);
    for parameter in parameters(query) {
        let (key, value) = parameter?;
        match key {
            "channel" => channel = Some(Arc::from(value)),
            "timeout" => {
                let known = value.parse().ok().map(Duration::from_secs);
                let known = known.filter(|limit| *limit <= TIME_LIMIT_MAX && !limit.is_zero());
                let most = TIME_LIMIT_MAX.as_secs();
                time_limit = known.ok_or(format!("`timeout` must be from 1 to {most} seconds"))?;
            }
            "exit" => exit = true,
            _ => return Err(unknown("parameter", key, &["channel", "timeout", "exit"])),
        }
    }
    if exit && channel.is_some() {
        return Err("`exit` waits for all channels: remove `channel` or `exit`".into());
    }
    Ok(PartRequest::Drain { channel, time_limit, exit })
}

/// Parses a request for a change.
fn parse_request(action: &str, query: &str) -> Result<PartRequest, String> {
    match action {
        "stop" => part(query, &[])?.map(PartRequest::Stop).ok_or_else(|| "name a part".to_owned()),
        "start" => Ok(part(query, &["all"])?.map_or(PartRequest::StartAll, PartRequest::Start)),
        _ => drain(query),
    }
}

/// As it is answered.
fn code(result: ReloadResult) -> StatusCode {
    match result {
        ReloadResult::Applied | ReloadResult::Unchanged => StatusCode::OK,
        ReloadResult::Refused | ReloadResult::RolledBack | ReloadResult::RollbackFailed => {
            StatusCode::CONFLICT
        }
    }
}

impl Pages {
    /// Reloads the configuration; the answer lists the result for each part.
    pub(super) async fn reload(&self, actor: Actor) -> Answer {
        let Some(status) = self.reloads.wait("POST /reload", actor.clone()).await else {
            let problem = "cannot reload now: other requests are waiting or the agent is stopping \
                           (retry later), or it has no configuration file (restart it instead)";
            return self.not_now("reload", None, actor, problem).await;
        };
        let mut answer = json(&status);
        *answer.status_mut() = code(status.result);
        answer
    }

    /// Stops, starts or drains; the answer has the result.
    pub(super) async fn change(&self, action: &str, query: &str, actor: Actor) -> Answer {
        let request = match parse_request(action, query) {
            Ok(request) => request,
            Err(problem) => {
                let line = Line::new(action, None, actor, Outcome::Failed);
                self.audit.add(line.because(Some(problem.clone()))).await;
                return page(StatusCode::BAD_REQUEST, problem + "\n");
            }
        };
        let part = request.part();
        let Some(status) = self.reloads.change(request, actor.clone()).await else {
            let problem = "cannot make this change now: other requests are waiting, or the agent \
                           is stopping; retry later";
            return self.not_now(action, part, actor, problem).await;
        };
        let mut answer = json(&status);
        *answer.status_mut() = code(status.result);
        answer
    }

    async fn not_now(
        &self,
        action: &str,
        part: Option<String>,
        actor: Actor,
        problem: &str,
    ) -> Answer {
        let line = Line::new(action, part, actor, Outcome::Failed);
        self.audit.add(line.because(Some(problem.to_owned()))).await;
        page(StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n"))
    }

    /// The newest lines of the audit log.
    pub(super) async fn audited(&self, query: &str) -> Answer {
        match self.audit.newest(newest(query, LINES, LINES_MAX)).await {
            Ok(lines) => json(&lines),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Notes that events are looked at.
    pub(super) async fn note_tap(&self, query: &str, actor: Actor) {
        let places = [("source", "sources"), ("channel", "channels"), ("sink", "sinks")];
        let found = parameters(query).flatten().find_map(|(key, name)| {
            let (_, role) = places.iter().find(|(place, _)| *place == key)?;
            Some(format!("{role}.{name}"))
        });
        self.audit.add(Line::new("tap", found, actor, Outcome::Done)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_part() {
        let source = Part::Source("a b".into());
        assert_eq!(parse_request("stop", "source=a%20b"), Ok(PartRequest::Stop(source.clone())));
        assert_eq!(parse_request("start", "source=a%20b"), Ok(PartRequest::Start(source)));
        assert_eq!(parse_request("start", "all"), Ok(PartRequest::StartAll));
        for (action, query) in [
            ("stop", ""),
            ("stop", "all"),
            ("stop", "source=a&group=b"),
            ("start", "all&source=a"),
            ("stop", "source=%ff"),
            ("stop", "sink=a"),
        ] {
            assert!(parse_request(action, query).is_err(), "{action}?{query}");
        }
    }

    #[test]
    fn a_drain_has_a_limit() {
        let wanted = |channel: Option<&str>, seconds, exit| {
            let (channel, time_limit) = (channel.map(Arc::from), Duration::from_secs(seconds));
            Ok(PartRequest::Drain { channel, time_limit, exit })
        };
        assert_eq!(parse_request("drain", ""), wanted(None, 600, false));
        assert_eq!(parse_request("drain", "timeout=5&exit"), wanted(None, 5, true));
        assert_eq!(parse_request("drain", "channel=main"), wanted(Some("main"), 600, false));
        for query in ["timeout=0", "timeout=604801", "timeout=x", "exit&channel=a", "now"] {
            assert!(parse_request("drain", query).is_err(), "{query}");
        }
    }
}
