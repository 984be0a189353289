//! The table `[agent]`.

use std::path::{Path, PathBuf};

use pipeline::plain_text::MEANS_NOTHING;
use pipeline::settings::{Place, Settings, SettingsErrorKind as Kind};
use pipeline::units::Period;
use pipeline::{PlainText, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;

use crate::plan::{FileMode, Reload};
use crate::{FleetSettings, TraceSettings};

use super::{AgentSettings, Findings, check_name};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentTable {
    /// Name of the agent in logs and metrics. Default: the host name.
    name: Option<String>,
    /// Directory of channels and positions. Only one agent can use it.
    data_dir: PathBuf,
    /// Timeout of a stop. Undelivered events stay in the channels.
    #[serde(default = "grace")]
    grace: Period,
    /// Address of the live page, `/metrics`, `/status`, `/livez` and `/readyz`: `host:port`.
    /// Default: off.
    admin: Option<String>,
    /// TLS of `admin`; with this table clients must use it.
    admin_tls: Option<ServerTls>,
    /// Token for requests to `admin`, as `Authorization: Bearer …`. Use a reference, such as
    /// `"${file:/run/secrets/admin}"`. `/metrics`, `/livez` and `/readyz` do not need it.
    admin_token: Option<Secret>,
    /// Address, `host:port`, of a page for monitoring tools of Flume: `/metrics` is the JSON object
    /// of Flume's HTTP monitoring, in plain text. Default: off.
    flume_metrics: Option<String>,
    /// Traces of sampled batches, sent with OTLP over HTTP. Default: none.
    traces: Option<TraceSettings>,
    /// The fleet server, which manages the other tables of this configuration. Default: none.
    fleet: Option<FleetSettings>,
    /// Whether plain text is allowed on addresses that other hosts can reach: `admin` without
    /// `admin_tls`, `flume_metrics`, and `traces.url` and `fleet.url` without TLS. Their data, and
    /// the token, are then not encrypted.
    #[serde(default)]
    insecure: bool,
    /// Time at which the configuration is reloaded: `asked`, by SIGHUP, `aqueduct reload` or
    /// `POST /reload`; `watch`, also when one of its files has changed.
    #[serde(default)]
    reload: Reload,
    /// Permissions of files that the agent creates: `"0640"` lets its group read them; `"0600"`
    /// only its user, and closes the directories that it creates. It also applies to programs that
    /// the agent starts. Existing files are not changed.
    #[serde(default)]
    file_mode: FileMode,
    /// Whether a crash may write a core dump, which contains keys and events. Without it, debuggers
    /// of the agent's user cannot attach to the process either.
    #[serde(default)]
    core_dumps: bool,
}

fn grace() -> Period {
    Period(std::time::Duration::from_secs(20))
}

pub(super) fn agent(
    found: &mut Findings<'_>,
    table: Option<Settings>,
    place: &Place,
    host: &str,
) -> AgentSettings {
    let unknown = AgentSettings {
        name: host.into(),
        data_dir: PathBuf::new(),
        grace: grace().0,
        admin: None,
        admin_place: Place::default(),
        admin_tls: None,
        admin_token: None,
        flume_metrics: None,
        flume_metrics_place: Place::default(),
        insecure: None,
        traces: None,
        fleet: None,
        reload: Reload::default(),
        file_mode: FileMode::default(),
        core_dumps: false,
    };
    let Some(table) = table else {
        let problem = "table `agent` is missing; it needs at least `data_dir`";
        found.add(Kind::Missing, place, "", problem);
        return unknown;
    };
    let Some(read) = found.record("agent", table.read::<AgentTable>()) else { return unknown };
    check_access(found, &table, &read);
    check_plain_text(found, &table, &read);
    let name = read.name.unwrap_or_else(|| host.into());
    if let Err(problem) = check_name(&name) {
        found.record::<()>("agent", Err(table.invalid("name", &problem)));
    }
    if read.data_dir.as_os_str().is_empty() {
        found.record::<()>("agent", Err(table.invalid("data_dir", "must not be empty")));
    }
    if let Some(problem) = not_replaced(&read.data_dir) {
        found.record::<()>("agent", Err(table.invalid("data_dir", &problem)));
    }
    for (setting, address, example) in [
        ("admin", &read.admin, "127.0.0.1:9464"),
        ("flume_metrics", &read.flume_metrics, "127.0.0.1:41414"),
    ] {
        let address = address.as_deref();
        if let Some(Err(problem)) = address.map(|it| address::check(it, example, true)) {
            found.record::<()>("agent", Err(table.invalid(setting, &problem)));
        }
    }
    let place = |setting| table.get(setting).map(|it| it.place.clone()).unwrap_or_default();
    AgentSettings {
        name,
        data_dir: read.data_dir,
        grace: read.grace.0,
        admin: read.admin,
        admin_place: place("admin"),
        admin_tls: table.get("admin_tls").cloned(),
        admin_token: table.get("admin_token").cloned(),
        flume_metrics: read.flume_metrics,
        flume_metrics_place: place("flume_metrics"),
        insecure: read.insecure.then(|| place("insecure")),
        traces: table.get("traces").cloned(),
        fleet: table.get("fleet").cloned(),
        reload: read.reload,
        file_mode: read.file_mode,
        core_dumps: read.core_dumps,
    }
}

/// Fewer characters are guessed.
const TOKEN_MIN: usize = 16;

/// Checks TLS and token of the admin listener, and the destination of spans.
fn check_access(found: &mut Findings<'_>, table: &Settings, read: &AgentTable) {
    let mut refuse = |setting: &str, problem: &str| {
        found.record::<()>("agent", Err(table.invalid(setting, problem)));
    };
    for (setting, is_set) in
        [("admin_tls", read.admin_tls.is_some()), ("admin_token", read.admin_token.is_some())]
    {
        if is_set && read.admin.is_none() {
            refuse(setting, "has an effect only with `admin`; set `admin`, or remove this");
        }
    }
    if let Some(Err(error)) = read.admin_tls.as_ref().map(ServerTls::check) {
        // Listeners have it as `tls`.
        refuse(&format!("admin_{}", error.setting), &error.problem);
    }
    if let Some(Err(error)) = read.traces.as_ref().map(TraceSettings::check) {
        refuse(&format!("traces.{}", error.setting), &error.problem);
    }
    if let Some(Err(error)) = read.fleet.as_ref().map(FleetSettings::check) {
        refuse(&format!("fleet.{}", error.setting), &error.problem);
    }
    if let Some(token) = read.admin_token.as_ref().map(Secret::expose) {
        if token.len() < TOKEN_MIN {
            refuse("admin_token", &format!("must have at least {TOKEN_MIN} characters"));
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "must contain only printable ASCII characters, and no space";
            refuse("admin_token", problem);
        }
    }
}

/// Checks that plain text that leaves the host is permitted.
fn check_plain_text(found: &mut Findings<'_>, table: &Settings, read: &AgentTable) {
    let plain = PlainText::default();
    // An invalid address gets no second problem.
    let is_one = |address: &&String| address::check(address, "", true).is_ok();
    if let (Some(address), None) = (read.admin.as_ref().filter(is_one), &read.admin_tls) {
        plain.speaks("admin", address, "set the table `admin_tls`");
    }
    if let Some(address) = read.flume_metrics.as_ref().filter(is_one) {
        let remedy = "Flume's monitors do not support TLS: use a loopback address";
        plain.speaks("flume_metrics", address, remedy);
    }
    let traced = read.traces.as_ref().and_then(|traces| traces.target().ok());
    if let Some(target) = traced.filter(|target| !target.is_tls) {
        plain.speaks("traces.url", &target.address, "write `https://`");
    }
    let fleet = read.fleet.as_ref().and_then(|fleet| fleet.target().ok());
    if let Some(target) = fleet.filter(|target| !target.is_tls) {
        plain.speaks("fleet.url", &target.address, "write `https://`");
    }
    let mut refuse = |setting: &str, problem: &str| {
        found.record::<()>("agent", Err(table.invalid(setting, problem)));
    };
    match read.insecure {
        true if plain.all().is_empty() => refuse("insecure", MEANS_NOTHING),
        true => {}
        false => plain.leaving().iter().for_each(|it| refuse(&it.setting, &it.problem())),
    }
}

/// Returns the part of a directory's name that a shell would replace, but this program does not.
fn not_replaced(directory: &Path) -> Option<String> {
    let text = directory.to_string_lossy();
    let variable = text.strip_prefix('$').and_then(|rest| rest.split('/').next());
    let remedy = match variable {
        Some(name) => format!("write `${{{name}}}` for an environment variable in a file"),
        None if text == "~" || text.starts_with("~/") => {
            format!("`~` is not replaced; write `${{HOME}}{}`", &text[1..])
        }
        None => return None,
    };
    Some(format!("`{text}`: {remedy}, or the path itself"))
}
