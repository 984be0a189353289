//! When the certificates expire that this agent shows: gauges, and the findings of each snapshot,
//! which the log has too.
//!
//! ```text
//!   plan ─► files with a certificate ─► read for each snapshot ─┬─► gauges
//!                                                              └─► /status ─► findings ─► log
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use config::Plan;
use metrics::{CertificateLabel, Metrics};
use pipeline::{Env, Settings};
use tls::CertificateFile;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use agent::status::CertificateStatus;

/// How long a result is reused: the live page asks every second.
const FRESH: Duration = Duration::from_secs(1);

/// The component that names a certificate, and its file.
type Key = (String, PathBuf);

/// The certificates of an agent.
#[derive(Debug, Default)]
pub(crate) struct Certificates(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<Key, Arc<CertificateFile>>,
    found: Vec<CertificateStatus>,
    looked: Option<Instant>,
}

impl Certificates {
    /// The certificates that `plan` names, as their files have them now. Brings the gauges up to
    /// date.
    pub(crate) async fn read(
        &self,
        plan: &Plan,
        env: &Env,
        metrics: &Metrics,
    ) -> Vec<CertificateStatus> {
        let mut state = self.0.lock().await;
        let now = Instant::now();
        if state.looked.is_some_and(|at| now.duration_since(at) < FRESH) {
            return state.found.clone();
        }
        state.looked = Some(now);
        let mut files = named(plan);
        for (key, file) in &mut files {
            if let Some(known) = state.files.get(key) {
                *file = known.clone();
            }
        }
        for (component, path) in state.files.keys().filter(|key| !files.contains_key(*key)) {
            metrics.certificate_expires.remove(&label(component, path));
        }
        state.files.clone_from(&files);
        state.found.clear();
        if files.is_empty() {
            return Vec::new();
        }
        let disk = env.disk.clone();
        let read = move || {
            let read = |(key, file): (Key, Arc<CertificateFile>)| (key, file.read(&*disk));
            files.into_iter().map(read).collect::<Vec<_>>()
        };
        let read = env.offload(read).await;
        let at = pipeline::env::unix_millis(env.clock.now()) / 1_000;
        for ((component, path), own) in read {
            // An unreadable certificate is an error of its component.
            let Some(own) = own else {
                metrics.certificate_expires.remove(&label(&component, &path));
                continue;
            };
            let gauge = metrics.certificate_expires.get_or_create(&label(&component, &path));
            gauge.set(own.expires as f64);
            drop(gauge);
            state.found.push(CertificateStatus::new(&component, &own, at));
        }
        state.found.clone()
    }
}

/// The files that a plan names.
fn named(plan: &Plan) -> BTreeMap<Key, Arc<CertificateFile>> {
    let agent = [&plan.agent.admin_tls, &plan.agent.traces].into_iter().flatten();
    let agent = agent.map(|settings: &Settings| ("agent".to_owned(), settings));
    let sources = plan.sources.iter().map(|it| ("source", &it.component));
    let channels = plan.channels.iter().map(|it| ("channel", &it.component));
    let sinks = plan.groups.iter().flat_map(|group| &group.sinks).map(|it| ("sink", it));
    let components = sources.chain(channels).chain(sinks);
    let components = components.map(|(role, it)| (format!("{role} {}", it.name), &it.settings));
    let mut all = BTreeMap::new();
    for (component, settings) in agent.chain(components) {
        for file in CertificateFile::all_in(settings) {
            let key = (component.clone(), file.path().to_owned());
            all.insert(key, Arc::new(file));
        }
    }
    all
}

fn label(component: &str, path: &std::path::Path) -> CertificateLabel {
    CertificateLabel { component: component.to_owned(), path: path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use pipeline::env::Clock;

    use super::*;
    use agent::status::Expiry;

    /// A clock stopped at this many seconds after 1970.
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.0)
        }
    }

    fn material(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material").join(name)
    }

    #[tokio::test]
    async fn a_gauge_and_a_status_follow_the_file_until_nothing_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.pem");
        std::fs::copy(material("client.pem"), &path).unwrap();
        let table = format!("certificate = {path:?}\nkey = {path:?}\n");
        let agent = format!("[agent.admin_tls]\n{table}");
        let sink = format!("[sinks.out.tls]\n{table}");
        let text = |agent: &str, sink: &str| {
            format!(
                "[agent]\ndata_dir = \"/d\"\nadmin = \"127.0.0.1:0\"\n{agent}\
             [sources.in]\ntype = \"grpc\"\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"memory\"\n\
             [sinks.out]\ntype = \"grpc\"\nchannel = \"main\"\n{sink}"
            )
        };
        let plan = |text: String| config::load(Path::new("a.toml"), &text, "host").unwrap();
        let (plan, bare) = (plan(text(&agent, &sink)), plan(text("", "")));
        let (metrics, certificates) = (Metrics::default(), Certificates::default());
        let at = |seconds| Env { clock: Arc::new(At(seconds)), ..env::real() };
        let look = async |plan: &Plan, env: &Env| {
            certificates.0.lock().await.looked = None;
            certificates.read(plan, env, &metrics).await
        };
        let found = look(&plan, &at(1_800_000_000)).await;
        let shown = |it: &CertificateStatus| (it.component.clone(), it.expiry);
        let names = ["agent", "sink out"].map(str::to_owned);
        assert_eq!(
            found.iter().map(shown).collect::<Vec<_>>(),
            names.clone().map(|it| (it, Expiry::Later))
        );
        assert_eq!(found[1].subject.as_deref(), Some("client.example"));
        let line = |expires: u64| {
            let path = path.display();
            format!(
                "aqueduct_certificate_expires_timestamp_seconds{{component=\"sink out\",\
                 path=\"{path}\"}} {expires}.0\n"
            )
        };
        let first = found[1].expires_unix_seconds;
        assert!(metrics.text().contains(&line(first)), "{}", metrics.text());
        for (now, expiry) in [(first - 86_400 * 13, Expiry::Soon), (first + 1, Expiry::Over)] {
            let found = look(&plan, &at(now)).await;
            assert_eq!(found[1].expiry, expiry);
        }

        std::fs::copy(material("stranger.pem"), &path).unwrap();
        let found = look(&plan, &at(1_800_000_000)).await;
        let second = found[1].expires_unix_seconds;
        assert_ne!(first, second, "the test needs certificates that differ");
        assert!(metrics.text().contains(&line(second)) && !metrics.text().contains(&line(first)));

        assert_eq!(look(&bare, &at(1_800_000_000)).await, []);
        assert!(!metrics.text().contains("certificate_expires_timestamp_seconds{"));
    }
}
