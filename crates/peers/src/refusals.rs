//! Peers that a listener refuses, by TLS or by a token: the listener writes it, status pages read
//! it.
//!
//! ```text
//!   refused ─► one entry for each peer and reason ─► WARN, and again after ten minutes
//!                    └─► status: `5 agents refused: certificate expired`
//!   accepted ─► its entries end
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::log_rate::LogRate;
use tokio::time::Instant;
use tracing::warn;

/// Maximum number of entries of one listener. A new one replaces the oldest one.
const ENTRIES_MAX: usize = 1_000;

/// How long a peer counts as refused after the last attempt: clients retry within a minute.
const OPEN_FOR: Duration = Duration::from_secs(10 * 60);

/// Least time between two log lines about one peer and reason.
const LOG_EVERY: Duration = Duration::from_secs(10 * 60);

/// Log lines of one listener in a minute.
const LINES_A_MINUTE: u32 = 60;

/// Maximum size of a subject, which comes from outside.
const SUBJECT_BYTES_MAX: usize = 256;

/// Why a listener refuses a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// Its certificate has expired.
    CertificateExpired,
    /// Its certificate is not valid yet.
    CertificateNotYetValid,
    /// No trusted authority has signed its certificate.
    UnknownAuthority,
    /// Its certificate is revoked, or no revocation list covers it.
    CertificateRevoked,
    /// It presents no certificate.
    NoCertificate,
    /// Its certificate is refused for another reason.
    CertificateInvalid,
    /// It refuses the certificate of the listener.
    ListenerNotTrusted,
    /// It does not speak TLS.
    NotTls,
    /// There is no common version or cipher.
    NoCommonVersion,
    /// The handshake is not complete in time.
    HandshakeTimeout,
    /// The handshake fails for another reason.
    HandshakeFailed,
    /// It presents no token.
    NoToken,
    /// Its token is not known.
    WrongToken,
    /// Its token and its certificate have different names.
    NamesDiffer,
}

impl RefusalReason {
    /// Returns a short text, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateExpired => "certificate expired",
            Self::CertificateNotYetValid => "certificate not valid yet",
            Self::UnknownAuthority => "certificate of an unknown authority",
            Self::CertificateRevoked => "certificate revoked",
            Self::NoCertificate => "no certificate",
            Self::CertificateInvalid => "invalid certificate",
            Self::ListenerNotTrusted => "the certificate of this listener is not trusted",
            Self::NotTls => "no TLS",
            Self::NoCommonVersion => "no common TLS version or cipher",
            Self::HandshakeTimeout => "TLS handshake timed out",
            Self::HandshakeFailed => "TLS handshake failed",
            Self::NoToken => "no token",
            Self::WrongToken => "wrong token",
            Self::NamesDiffer => "token and certificate have different names",
        }
    }

    /// Returns `true` if the TLS handshake fails, so that a successful handshake ends it.
    fn is_of_tls(self) -> bool {
        !matches!(self, Self::NoToken | Self::WrongToken | Self::NamesDiffer)
    }
}

/// Peers that are refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPeers {
    /// The reason.
    pub reason: RefusalReason,
    /// Number of peers.
    pub peers: u64,
    /// Attempts of these peers since their first one.
    pub attempts: u64,
    /// The peer that was refused last: its name, if it shows any, and its address.
    pub latest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Peer {
    host: String,
    /// Names in its certificate, which may prove nothing.
    subject: Option<String>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{subject} at {}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[derive(Debug)]
struct Entry {
    attempts: u64,
    last: Instant,
    logged: Option<Instant>,
    /// The peer was accepted after it.
    is_over: bool,
}

/// The entries, without lock and clock.
#[derive(Debug, Default)]
struct State(BTreeMap<(RefusalReason, Peer), Entry>);

impl State {
    /// Counts an attempt. Returns the entry for a log line if one is due.
    fn refused(&mut self, now: Instant, reason: RefusalReason, peer: Peer) -> Option<&mut Entry> {
        let key = (reason, peer);
        if !self.0.contains_key(&key) && self.0.len() >= ENTRIES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let fresh = Entry { attempts: 0, last: now, logged: None, is_over: false };
        let entry = self.0.entry(key).or_insert(fresh);
        if entry.is_over || now.duration_since(entry.last) >= OPEN_FOR {
            (entry.attempts, entry.is_over) = (0, false);
        }
        entry.attempts += 1;
        entry.last = now;
        let is_due = entry.logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        is_due.then_some(entry)
    }

    /// Records that the peer is accepted: its entries end, and entries of its host without a name.
    fn accepted(&mut self, host: &str, subject: Option<&str>, is_of_tls: bool) {
        for ((reason, peer), entry) in &mut self.0 {
            let is_it = peer.subject.as_deref().is_none_or(|it| Some(it) == subject);
            if peer.host == host && is_it && reason.is_of_tls() == is_of_tls {
                entry.is_over = true;
            }
        }
    }

    fn read(&self, now: Instant) -> Vec<RefusedPeers> {
        let mut all: Vec<(RefusedPeers, Instant)> = Vec::new();
        for ((reason, peer), entry) in &self.0 {
            if entry.is_over || now.duration_since(entry.last) >= OPEN_FOR {
                continue;
            }
            match all.last_mut().filter(|(last, _)| last.reason == *reason) {
                Some((same, at)) => {
                    same.peers += 1;
                    same.attempts += entry.attempts;
                    if entry.last >= *at {
                        (same.latest, *at) = (peer.to_string(), entry.last);
                    }
                }
                None => {
                    let (attempts, latest) = (entry.attempts, peer.to_string());
                    let first = RefusedPeers { reason: *reason, peers: 1, attempts, latest };
                    all.push((first, entry.last));
                }
            }
        }
        all.into_iter().map(|(refused, _)| refused).collect()
    }
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    rate: LogRate,
}

/// The peers that one listener refuses. Clones share them.
#[derive(Debug, Clone)]
pub struct RefusalBoard(Arc<Inner>);

impl Default for RefusalBoard {
    fn default() -> Self {
        let rate = LogRate::new(LINES_A_MINUTE);
        Self(Arc::new(Inner { state: Mutex::default(), rate }))
    }
}

impl RefusalBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that `component` has refused `peer`, an address, with these names in its
    /// certificate. Logs the first attempt of a peer for this reason, and then one of them every
    /// ten minutes.
    pub fn refused(
        &self,
        component: &str,
        (peer, subject): (&str, Option<&str>),
        reason: RefusalReason,
        problem: &dyn fmt::Display,
    ) {
        let now = Instant::now();
        let subject = subject.map(shown);
        let key = Peer { host: host(peer).to_owned(), subject: subject.clone() };
        let mut state = self.state();
        let Some(entry) = state.refused(now, reason, key) else { return };
        let Some(left_out) = self.0.rate.allow(now) else { return };
        entry.logged = Some(now);
        let attempts = entry.attempts;
        drop(state);
        let reason = reason.as_str();
        warn!(component, peer, subject, reason, %problem, attempts, left_out, "refused a peer");
    }

    /// The handshake of this peer has succeeded.
    pub fn accepted_by_tls(&self, peer: &str, subject: Option<&str>) {
        self.state().accepted(host(peer), subject.map(shown).as_deref(), true);
    }

    /// The token of this peer is accepted.
    pub fn accepted_by_token(&self, peer: &str, subject: Option<&str>) {
        self.state().accepted(host(peer), subject.map(shown).as_deref(), false);
    }

    /// The peers that are refused now, by reason.
    pub fn read(&self, now: Instant) -> Vec<RefusedPeers> {
        self.state().read(now)
    }
}

/// The host of `host:port`.
fn host(peer: &str) -> &str {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

/// A text from outside, which must not forge a log line.
fn shown(subject: &str) -> String {
    let cut = &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)];
    cut.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRED: RefusalReason = RefusalReason::CertificateExpired;

    fn peer(host: &str, subject: Option<&str>) -> Peer {
        Peer { host: host.into(), subject: subject.map(str::to_owned) }
    }

    /// As `RefusalBoard::refused`, without its log: whether a line is due.
    fn refuse(state: &mut State, now: Instant, reason: RefusalReason, peer: Peer) -> bool {
        let due = state.refused(now, reason, peer);
        due.map(|entry| entry.logged = Some(now)).is_some()
    }

    #[test]
    fn logs_each_peer_and_reason_once_in_ten_minutes_and_counts_all() {
        let (mut state, began) = (State::default(), Instant::now());
        let mut logged = Vec::new();
        for second in 0..1_500 {
            let now = began + Duration::from_secs(second);
            for name in ["web-1", "web-2"] {
                if refuse(&mut state, now, EXPIRED, peer("10.0.0.7", Some(name))) {
                    logged.push((second, name));
                }
            }
        }
        let expected = [0, 600, 1_200].map(|at| [(at, "web-1"), (at, "web-2")]).concat();
        assert_eq!(logged, expected);
        let now = began + Duration::from_secs(1_500);
        assert!(refuse(&mut state, now, RefusalReason::NotTls, peer("10.0.0.7", None)));
        let read = state.read(now);
        assert_eq!(
            read.iter().map(|it| it.reason).collect::<Vec<_>>(),
            [EXPIRED, RefusalReason::NotTls]
        );
        assert_eq!((read[0].peers, read[0].attempts), (2, 3_000));
        assert!(read[0].latest.ends_with(" at 10.0.0.7"), "{}", read[0].latest);
    }

    #[test]
    fn an_entry_ends_when_the_peer_is_accepted_or_stays_away() {
        let (mut state, now) = (State::default(), Instant::now());
        refuse(&mut state, now, EXPIRED, peer("a", Some("web-1")));
        refuse(&mut state, now, RefusalReason::NoCertificate, peer("a", None));
        refuse(&mut state, now, RefusalReason::WrongToken, peer("a", Some("web-1")));
        refuse(&mut state, now, EXPIRED, peer("a", Some("web-2")));
        refuse(&mut state, now, EXPIRED, peer("b", Some("web-1")));
        let left = |state: &State, now| {
            let all = state.read(now).into_iter();
            all.map(|it| (it.reason, it.peers)).collect::<Vec<_>>()
        };
        state.accepted("a", Some("web-1"), true);
        let expected = [(EXPIRED, 2), (RefusalReason::WrongToken, 1)];
        assert_eq!(left(&state, now), expected, "another name, another host, a token");
        state.accepted("a", Some("web-1"), false);
        assert_eq!(left(&state, now), expected[..1]);
        assert_eq!(left(&state, now + OPEN_FOR), []);
        // It is a new refusal then, and the log line is not repeated too early.
        assert!(!refuse(&mut state, now, EXPIRED, peer("a", Some("web-1"))));
        assert_eq!(left(&state, now), [(EXPIRED, 3)]);
    }

    #[test]
    fn the_entry_that_is_oldest_makes_room() {
        let (mut state, began) = (State::default(), Instant::now());
        for at in 0..=ENTRIES_MAX {
            let now = began + Duration::from_millis(at as u64);
            refuse(&mut state, now, EXPIRED, peer(&format!("10.0.{at}"), None));
        }
        assert_eq!(state.0.len(), ENTRIES_MAX);
        let (_, first) = state.0.keys().min_by_key(|(_, peer)| peer.host.len()).unwrap();
        assert_ne!(first.host, "10.0.0");
    }

    #[test]
    fn a_subject_cannot_forge_a_log_line() {
        assert_eq!(shown("a\nWARN b\u{1b}"), "a WARN b ");
        assert_eq!(shown(&"ä".repeat(200)).len(), 256);
        assert_eq!(host("[::1]:4141"), "::1");
        assert_eq!(host("10.0.0.7:4141"), "10.0.0.7");
    }
}
