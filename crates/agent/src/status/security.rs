//! Connected peers, refused peers, and expiring certificates: their status and findings. Pure.

use peers::{RefusalBoard, RefusedPeers, Sender};
use serde::{Deserialize, Serialize};
use tls::OwnCertificate;
use tokio::time::Instant;

use super::finding::{Cause, Finding, Level};
use super::words::count;
use super::{ProvedName, SenderStatus};

/// The name of the agent itself among the components.
pub const AGENT: &str = "agent";

/// Time before its expiry when a certificate is reported.
const SOON_SECONDS: u64 = 14 * 24 * 60 * 60;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// An address that plain text leaves this host by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainTextStatus {
    /// `source NAME`, `sink NAME` or `agent`.
    pub component: String,
    /// The setting that names the address, dotted.
    pub setting: String,
    /// The address.
    pub address: String,
}

/// Peers that a listener refuses for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// The listener: `source NAME`, or `agent` for the admin address.
    pub component: String,
    /// The kind of the peers: `agent` or `client`.
    pub peer_kind: String,
    /// Why they are refused, in a few words.
    pub reason: String,
    /// Number of peers.
    pub peers: u64,
    /// Their attempts.
    pub attempts: u64,
    /// The one that was refused last: the name that it shows, if any, and its address.
    pub latest: String,
}

/// When a certificate expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Later than in 14 days.
    Later,
    /// Within 14 days.
    Soon,
    /// It has expired.
    Over,
}

/// A certificate that this agent shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its user: `source NAME`, `sink NAME`, `channel NAME` or `agent`.
    pub component: String,
    /// Its file.
    pub path: String,
    /// Its subject.
    pub subject: Option<String>,
    /// End of its validity, in seconds since 1970.
    pub expires_unix_seconds: u64,
    /// Days until then; 0 once it has expired.
    pub days_left: u64,
    /// The state of its expiry.
    pub expiry: Expiry,
}

impl CertificateStatus {
    /// Of a certificate at this time, in seconds since 1970.
    pub fn new(component: &str, own: &OwnCertificate, now: u64) -> Self {
        let left = own.expires.saturating_sub(now);
        Self {
            component: component.to_owned(),
            path: own.path.display().to_string(),
            subject: own.subject.clone(),
            expires_unix_seconds: own.expires,
            days_left: left / DAY_SECONDS,
            expiry: match left {
                0 => Expiry::Over,
                1..=SOON_SECONDS => Expiry::Soon,
                _ => Expiry::Later,
            },
        }
    }

    fn finding(&self) -> Option<Finding> {
        let Self { component, path, subject, .. } = self;
        let name = subject.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let certificate = format!("{component}: the certificate{name}");
        let (level, brief, more) = match self.expiry {
            Expiry::Later => return None,
            Expiry::Soon => {
                let left = count(self.days_left, "day");
                (Level::Warn, format!("{certificate} expires soon"), format!("in {left}, {path}"))
            }
            Expiry::Over => {
                let at = tls::date(self.expires_unix_seconds);
                (Level::Bad, format!("{certificate} has expired"), format!("at {at}, {path}"))
            }
        };
        Some(Finding::new((level, Cause::Certificate), component, brief, &more))
    }
}

impl RefusedStatus {
    /// Peers that the listener of a component refuses `now`.
    pub(super) fn read(
        component: &str,
        peer_kind: &str,
        board: &RefusalBoard,
        now: Instant,
    ) -> Vec<Self> {
        let all = board.read(now).into_iter();
        let shown = |RefusedPeers { reason, peers, attempts, latest }| Self {
            component: component.to_owned(),
            peer_kind: peer_kind.to_owned(),
            reason: reason.as_str().to_owned(),
            peers,
            attempts,
            latest,
        };
        all.map(shown).collect()
    }

    fn finding(&self) -> Finding {
        let Self { component, peer_kind, reason, peers, attempts, latest } = self;
        let brief = format!("{component}: {} refused: {reason}", count(*peers, peer_kind));
        let more = format!("{}, the last by {latest}", count(*attempts, "attempt"));
        Finding::new((Level::Warn, Cause::Refused), component, brief, &more)
    }
}

impl SenderStatus {
    /// As it is `now`.
    pub(super) fn new(sender: &Sender, now: Instant) -> Self {
        let proved = sender.proved.as_ref();
        Self {
            agent: sender.agent.to_string(),
            peer: sender.peer.to_string(),
            proved: proved.map(|it| ProvedName { name: it.name.to_string(), by: it.by.to_owned() }),
            connected_seconds_ago: now.saturating_duration_since(sender.since).as_secs_f64(),
        }
    }
}

/// Returns findings about certificates and refused peers.
pub(super) fn findings(
    certificates: &[CertificateStatus],
    refused: &[RefusedStatus],
) -> Vec<Finding> {
    let certificates = certificates.iter().filter_map(CertificateStatus::finding);
    certificates.chain(refused.iter().map(RefusedStatus::finding)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn status(expires: u64) -> CertificateStatus {
        let path = PathBuf::from("/etc/aqueduct/edge.pem");
        let own = OwnCertificate { path, subject: Some("web-1".into()), expires };
        CertificateStatus::new("sink out", &own, NOW)
    }

    #[test]
    fn a_certificate_is_reported_from_14_days_before_its_end() {
        let text = |expires| status(expires).finding().map(|it| (it.level, it.text));
        assert_eq!(text(NOW + SOON_SECONDS + 1), None);
        let soon = "sink out: the certificate of web-1 expires soon (in 14 days, \
                    /etc/aqueduct/edge.pem)";
        assert_eq!(text(NOW + SOON_SECONDS), Some((Level::Warn, soon.to_owned())));
        let (level, over) = text(NOW).unwrap();
        assert_eq!(level, Level::Bad);
        assert!(over.starts_with("sink out: the certificate of web-1 has expired (at 2027-01-15T"));
    }

    #[test]
    fn refused_peers_are_counted_by_reason() {
        let refused = |peers| RefusedStatus {
            component: "source in".into(),
            peer_kind: "agent".into(),
            reason: "certificate expired".into(),
            peers,
            attempts: 38,
            latest: "web-1 at 10.0.0.7".into(),
        };
        let troubles = findings(&[], &[refused(5), refused(1)]);
        let briefs: Vec<&str> = troubles.iter().map(|it| it.brief.as_str()).collect();
        assert_eq!(
            briefs,
            [
                "source in: 5 agents refused: certificate expired",
                "source in: 1 agent refused: certificate expired",
            ]
        );
        let more = " (38 attempts, the last by web-1 at 10.0.0.7)";
        assert!(troubles[0].text.ends_with(more), "{}", troubles[0].text);
    }
}
