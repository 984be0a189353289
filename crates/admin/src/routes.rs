//! The table of pages: path, access and content.

use std::sync::Arc;

use control::audit::{Line, Outcome};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, header};
use metrics::Format;
use web::Guard;

use super::answer::{Answer, JSON_LINES, fresh, page, secured, typed};
use super::guard::{self, Client};
use super::pages::Pages;
use super::{assets, change, feed, tap};

/// The pages of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerKind {
    /// All pages.
    Admin,
    /// Flume's page of counters, where Flume has it.
    Flume,
}

/// Access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// All: probes and monitors have no token, and the live page has to ask for it.
    Open,
    /// With the token, if one is set.
    Token,
    /// The same, and without a token only on loopback: the page shows events or their sources, or
    /// changes the agent.
    Contents,
}

#[derive(Debug, Clone, Copy)]
enum Page {
    Index,
    Metrics,
    Readiness,
    Status,
    Events,
    Tap,
    Configuration,
    DeadLetters,
    Liveness,
    Account,
    FlumeMetrics,
    Audit,
    Reload,
    Change,
    LettersChange,
}

/// The effect of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// GET and HEAD: nothing changes by it.
    Read,
    /// POST.
    Change,
}

impl Verb {
    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Read => method == Method::GET || method == Method::HEAD,
            Self::Change => method == Method::POST,
        }
    }

    /// As the header `Allow` names them.
    fn names(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Change => "POST",
        }
    }
}

struct Route {
    verb: Verb,
    path: &'static str,
    access: Access,
    page: Page,
    /// A description for the list of all pages.
    about: &'static str,
}

const fn route(path: &'static str, access: Access, page: Page, about: &'static str) -> Route {
    Route { verb: Verb::Read, path, access, page, about }
}

const fn change(path: &'static str, page: Page, about: &'static str) -> Route {
    Route { verb: Verb::Change, path, access: Access::Contents, page, about }
}

/// The pages of the admin listener.
const ADMIN: &[Route] = &[
    route("/", Access::Open, Page::Index, "the live page, for browsers; this list for others"),
    route(
        "/metrics",
        Access::Open,
        Page::Metrics,
        "Prometheus metrics: text 0.0.4, or OpenMetrics for readers that ask for it",
    ),
    route(
        "/readyz",
        Access::Open,
        Page::Readiness,
        "200 while the agent does its work, 503 with the reason otherwise",
    ),
    route(
        "/livez",
        Access::Open,
        Page::Liveness,
        "200 while all parts make progress, 503 with the dead or stuck ones: restart the agent",
    ),
    route(
        "/status",
        Access::Token,
        Page::Status,
        "the state of each source, channel and sink, as JSON; `aqueduct status` shows it",
    ),
    route(
        "/status/events",
        Access::Token,
        Page::Events,
        "the content of /status once per second, as server-sent events",
    ),
    route(
        "/config",
        Access::Contents,
        Page::Configuration,
        "the running configuration, without its secrets, and whether its file differs",
    ),
    route(
        "/dead-letters",
        Access::Contents,
        Page::DeadLetters,
        "the dead letters by reason, and the newest of them; ?newest=N, at most 50",
    ),
    route(
        "/tap",
        Access::Contents,
        Page::Tap,
        "events that pass at ?source=, ?channel= or ?sink=, as server-sent events; \
         &where=CONDITION, &rate=N per second",
    ),
    route(
        "/account",
        Access::Token,
        Page::Account,
        "batches that each durable channel accepted and still has: one JSON object per line",
    ),
    route(
        "/flume/metrics",
        Access::Token,
        Page::FlumeMetrics,
        "the counters as JSON with the names of Flume's HTTP monitoring",
    ),
    route(
        "/audit",
        Access::Contents,
        Page::Audit,
        "changes that operators made or tried to make, the newest first; ?newest=N, at most 1000",
    ),
    change(
        "/reload",
        Page::Reload,
        "POST with the header `X-Aqueduct: reload`: reloads the configuration and returns the \
         result for each part as JSON",
    ),
    change(
        "/stop",
        Page::Change,
        "POST with the header `X-Aqueduct: stop`: stops ?source= or ?group= until it is started \
         again",
    ),
    change(
        "/start",
        Page::Change,
        "POST with the header `X-Aqueduct: start`: starts ?source=, ?group= or ?all again",
    ),
    change(
        "/drain",
        Page::Change,
        "POST with the header `X-Aqueduct: drain`: stops the sources until the channels are \
         empty; ?channel=, &timeout= seconds, &exit",
    ),
    change(
        "/dlq/replay",
        Page::LettersChange,
        "POST with the header `X-Aqueduct: dlq/replay`: puts dead letters back into their \
         channels; ?reason=, &sink=, &channel=, &identity=, &new_identity",
    ),
    change(
        "/dlq/drop",
        Page::LettersChange,
        "POST with the header `X-Aqueduct: dlq/drop`: deletes dead letters; ?reason=, &sink=, \
         &channel=, &source=, &identity=",
    ),
];

/// The pages at Flume's paths.
const FLUME: &[Route] = &[
    route("/", Access::Open, Page::Index, "this list"),
    route(
        "/metrics",
        Access::Open,
        Page::FlumeMetrics,
        "the counters as Flume's HTTP monitoring shows them",
    ),
];

impl ListenerKind {
    fn routes(self) -> &'static [Route] {
        match self {
            Self::Admin => ADMIN,
            Self::Flume => FLUME,
        }
    }

    /// All pages, line by line.
    fn index(self) -> String {
        let lines = self.routes().iter().map(|it| format!("{:<15} {}\n", it.path, it.about));
        lines.collect()
    }
}

/// Why a request is refused that shows another token, or none.
const NO_TOKEN: &str = "wrong or missing token";

/// A rejected request: its answer, and the reason for the audit log.
struct Refusal(Answer, &'static str);

impl Refusal {
    fn new(status: StatusCode, why: &'static str, text: String) -> Self {
        Self(page(status, text), why)
    }

    fn with(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.0.headers_mut().insert(name, header::HeaderValue::from_static(value));
        self
    }
}

/// The answer to a request of `client`.
pub(super) async fn answer(
    pages: &Arc<Pages>,
    of: ListenerKind,
    (guard, client): (&Guard, Client<'_>),
    head: &Parts,
) -> Answer {
    secured(unsecured(pages, of, (guard, client), head).await)
}

async fn unsecured(
    pages: &Arc<Pages>,
    of: ListenerKind,
    (guard, client): (&Guard, Client<'_>),
    head: &Parts,
) -> Answer {
    let path = head.uri.path();
    let route = of.routes().iter().find(|route| route.path == path);
    let actor = || guard::actor(guard, &head.headers, client);
    if let Some(Refusal(answer, why)) = refusal(of, guard, head, route) {
        match head.headers.contains_key(header::AUTHORIZATION) {
            true if why == NO_TOKEN => pages.refused_token(client).await,
            false if why == NO_TOKEN => guard::count(&pages.monitor.metrics, "no_token"),
            _ => {}
        }
        let is_change = route.is_some_and(|route| route.verb == Verb::Change);
        if is_change && head.method == Method::POST {
            let action = path[1..].replace('/', " ");
            let line = Line::new(&action, None, actor(), Outcome::Refused);
            pages.audit.add(line.because(Some(why.to_owned()))).await;
        }
        return answer;
    }
    if head.headers.contains_key(header::AUTHORIZATION) && guard.is_allowed(&head.headers) {
        let name = client.certificate.map(|name| &**name);
        pages.monitor.refusals.accepted_by_token(client.address, name);
    }
    if let Some(asset) = assets::asset(path).filter(|_| of == ListenerKind::Admin) {
        return asset;
    }
    let Some(route) = route else {
        let text = format!("unknown page; the pages are:\n{}", of.index());
        return page(StatusCode::NOT_FOUND, text);
    };
    let accept = head.headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let accept = accept.unwrap_or_default();
    let query = head.uri.query().unwrap_or_default();
    match route.page {
        Page::Index if of == ListenerKind::Admin && accept.contains("text/html") => assets::index(),
        Page::Index => page(StatusCode::OK, of.index()),
        Page::Metrics => {
            pages.monitor.certificates().await;
            let format = Format::wanted(accept);
            typed(StatusCode::OK, format.content_type(), pages.monitor.metrics(format))
        }
        Page::Readiness => pages.readiness(),
        Page::Liveness => pages.liveness().await,
        Page::Status => pages.status().await,
        Page::Events => feed::answer(&pages.live.feed, &pages.monitor),
        Page::Tap => {
            let answer = tap::answer(pages, query);
            if answer.status().is_success() {
                pages.note_tap(query, actor()).await;
            }
            answer
        }
        Page::Configuration => pages.configuration().await,
        Page::DeadLetters => pages.letters(query).await,
        Page::Account => fresh(typed(StatusCode::OK, JSON_LINES, pages.monitor.accounts())),
        Page::FlumeMetrics => pages.flume().await,
        Page::Audit => pages.audited(query).await,
        Page::Reload => pages.reload(actor()).await,
        Page::Change => pages.change(&path[1..], query, actor()).await,
        Page::LettersChange => pages.change_letters(&path[1..], query, actor()).await,
    }
}

/// Returns the reason to reject a request, independently of its page.
fn refusal(
    of: ListenerKind,
    guard: &Guard,
    head: &Parts,
    route: Option<&Route>,
) -> Option<Refusal> {
    if of == ListenerKind::Admin && !guard.is_meant(&head.headers) {
        let text = "this listener is on loopback and accepts only the hosts `localhost` and \
                    127.0.0.1; a proxy must send one of them as `Host`\n";
        let why = "wrong `Host` header";
        return Some(Refusal::new(StatusCode::MISDIRECTED_REQUEST, why, text.into()));
    }
    let verb = route.map_or(Verb::Read, |route| route.verb);
    if !verb.allows(&head.method) {
        let (names, why) = (verb.names(), "wrong method");
        let refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            why,
            format!("this page accepts only {names}\n"),
        );
        return Some(refusal.with(header::ALLOW, names));
    }
    let route = route?;
    if route.access == Access::Contents && !guard.has_token() && !guard.is_loopback() {
        let text =
            "this page is available only on loopback or with a token: set `agent.admin_token`\n";
        let why = "network address without `agent.admin_token`";
        return Some(Refusal::new(StatusCode::FORBIDDEN, why, text.into()));
    }
    if route.access != Access::Open && !guard.is_allowed(&head.headers) {
        let text =
            "this page needs the token of `agent.admin_token`, as `Authorization: Bearer …`\n";
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, NO_TOKEN, text.into());
        return Some(refusal.with(header::WWW_AUTHENTICATE, "Bearer realm=\"aqueduct\""));
    }
    let action = &route.path[1..];
    if route.verb == Verb::Change && !change::is_meant(&head.headers, action) {
        let text = format!("the request needs the header `{}: {action}`\n", change::HEADER);
        return Some(Refusal::new(StatusCode::FORBIDDEN, "header `X-Aqueduct` is missing", text));
    }
    None
}
