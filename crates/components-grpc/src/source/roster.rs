//! Connected senders: counts them, and logs changes at a limited rate.

use std::sync::Arc;

use kit::tenants::Peer;
use metrics::{Gauge, Metrics, SourceLabel};
use peers::senders::{Proved, Sender, SenderBoard, SenderPlace};
use support::log_rate::LogRate;
use tokio::time::Instant;
use tracing::info;

/// Lines a minute about senders that come and go: a site's restart is not its log's end.
const LINES_A_MINUTE: u32 = 30;

/// Maximum number of characters of a sender's name.
const NAME_MAX: usize = 100;

/// The senders of one source.
#[derive(Debug)]
pub(super) struct Roster {
    source: Arc<str>,
    connected: Gauge,
    board: SenderBoard,
    rate: LogRate,
}

impl Roster {
    /// Creates a roster without senders for `source`.
    pub(super) fn new(source: &Arc<str>, metrics: &Metrics, board: SenderBoard) -> Self {
        let label = SourceLabel { source: source.to_string() };
        let connected = metrics.source_connections.get_or_create(&label).clone();
        connected.set(0);
        Self { source: source.clone(), connected, board, rate: LogRate::new(LINES_A_MINUTE) }
    }

    /// Records the name that a sender announced. It counts as connected until the result is
    /// dropped.
    pub(super) fn enter(self: &Arc<Self>, peer: &Arc<Peer>, agent: &str) -> Presence {
        // The name is untrusted: no control characters may reach the log.
        let agent: String = agent.chars().take(NAME_MAX).collect();
        let agent: Arc<str> = agent.escape_debug().to_string().into();
        self.connected.inc();
        let began = Instant::now();
        if let Some(left_out) = self.rate.allow(began) {
            info!(source = %self.source, %peer, %agent, left_out, "sender connected");
        }
        let proved = peer.names.proved();
        let proved = proved.map(|(name, by)| Proved { name: name.clone(), by: by.as_str() });
        let address = peer.address.clone();
        let sender = Sender { agent: agent.clone(), peer: address, proved, since: began };
        let place = self.board.enter(sender);
        Presence { roster: self.clone(), peer: peer.clone(), agent, began, _place: place }
    }
}

/// A connected sender.
#[derive(Debug)]
pub(super) struct Presence {
    roster: Arc<Roster>,
    peer: Arc<Peer>,
    agent: Arc<str>,
    began: Instant,
    _place: SenderPlace,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Self { roster, peer, agent, began, .. } = self;
        roster.connected.dec();
        let now = Instant::now();
        if let Some(left_out) = roster.rate.allow(now) {
            let seconds = now.duration_since(*began).as_secs_f64();
            info!(source = %roster.source, %peer, %agent, seconds, left_out, "sender disconnected");
        }
    }
}

#[cfg(test)]
mod tests {
    use tls::ClientNames;

    use super::*;

    fn peer(address: &str) -> Arc<Peer> {
        Arc::new(Peer { address: address.into(), names: ClientNames::default() })
    }

    #[test]
    fn counts_connected_senders_and_removes_control_characters_of_names() {
        let (metrics, board) = (Metrics::default(), SenderBoard::default());
        let roster = Arc::new(Roster::new(&"edges".into(), &metrics, board.clone()));
        let line = |n| format!("aqueduct_source_connections{{source=\"edges\"}} {n}\n");
        assert!(metrics.text().contains(&line(0)));
        let name = "\u{1b}[31mweb-1\n".to_owned() + &"x".repeat(1_000);
        let first = roster.enter(&peer("10.0.0.1:5"), &name);
        let second = roster.enter(&peer("10.0.0.2:5"), "web-2 (aqueduct 0.1.0)");
        assert!(metrics.text().contains(&line(2)));
        assert!(first.agent.starts_with("\\u{1b}[31mweb-1\\nxxx"), "{}", first.agent);
        assert!(first.agent.len() < 200, "{}", first.agent);
        assert_eq!(&*second.agent, "web-2 (aqueduct 0.1.0)");
        let by_token = ClientNames::from_token("web-3".into());
        let third = Arc::new(Peer { address: "10.0.0.3:5".into(), names: by_token });
        let third = roster.enter(&third, "web-3");
        let proved = board.read(3).1.remove(2).proved;
        assert_eq!(proved, Some(Proved { name: "web-3".into(), by: "token" }));
        drop(third);
        let (all, listed) = board.read(1);
        assert_eq!((all, &*listed[0].peer), (2, "10.0.0.1:5"));
        drop((first, second));
        assert_eq!(board.read(1).0, 0);
        assert!(metrics.text().contains(&line(0)));
    }
}
