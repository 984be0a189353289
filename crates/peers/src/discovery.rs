//! Members of a group that are looked up repeatedly instead of configured.
//!
//! ```text
//!   "srv:_aqueduct._tcp.logs"          lookups             seats
//!    ────────── Query ──────────► Found, Found, … ──► SeatBoard ──► seat 0: collector-a:4141
//!                                                                   seat 1: collector-b:4141
//!                                                                   seat 2: empty
//! ```
//!
//! A group identifies its members by their index, which never changes. Therefore a discovered sink
//! has a fixed number of *seats*. Each one is a member, and an address occupies one. [`seating`]
//! assigns addresses to seats, without clock and I/O. The group and the sink of a seat are notified
//! through the [`SeatBoard`].

pub mod seating;

use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::SeatView;
use pipeline::env::Names;
use support::notice;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use seating::{Change, Counts, Found, Seating};

/// The query that finds the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// `dns:host:port`: every address of a host is one.
    Host {
        /// The host.
        host: String,
        /// The port of all of them.
        port: u16,
    },
    /// `srv:name`: every target of the name's SRV records is one.
    Service(String),
}

/// The prefix of the text of a [`Query::Host`].
const HOST: &str = "dns:";

/// The prefix of the text of a [`Query::Service`].
const SERVICE: &str = "srv:";

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write for example \"dns:collectors.example.org:4141\" or \
                       \"srv:_aqueduct._tcp.example.org\"";
        let is_name = |name: &str| {
            !name.is_empty() && !name.contains([':', '/']) && !name.contains(char::is_whitespace)
        };
        if let Some(name) = text.strip_prefix(SERVICE) {
            return match is_name(name) {
                true => Ok(Self::Service(name.to_owned())),
                false => Err(format!("`{name}` is not a host name; {example}")),
            };
        }
        let Some(address) = text.strip_prefix(HOST) else {
            return Err(format!("must start with `dns:` or `srv:`; {example}"));
        };
        let parts = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        match parts {
            Some((host, Ok(port))) if is_name(host) && port > 0 => {
                Ok(Self::Host { host: host.to_owned(), port })
            }
            _ => Err(format!("`{address}` is not HOST:PORT; {example}")),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "{HOST}{host}:{port}"),
            Self::Service(name) => write!(f, "{SERVICE}{name}"),
        }
    }
}

impl Query {
    /// Returns `true` if this text is meant as a query, valid or not, in a setting that also
    /// accepts addresses.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(HOST) || text.starts_with(SERVICE)
    }

    /// Asks once; never an empty answer. `server`: the name server to ask, instead of the system's.
    ///
    /// # Errors
    /// There is no answer, or no address in it.
    pub async fn look_up(
        &self,
        names: &dyn Names,
        server: Option<SocketAddr>,
    ) -> io::Result<Vec<Found>> {
        let mut found = match self {
            Self::Host { host, port } => {
                let addresses = names.addresses(host, server).await?;
                // Use one address family, so that a host with both does not appear twice.
                let first = addresses.first().map(|address| address.is_ipv4());
                let alike = addresses.iter().filter(|one| Some(one.is_ipv4()) == first);
                let address = |one| SocketAddr::new(one, *port).to_string();
                alike.map(|one| Found::plain(&address(*one))).collect::<Vec<_>>()
            }
            Self::Service(name) => {
                let services = names.services(name, server).await?;
                services
                    .into_iter()
                    // A target of "." means that the service is not available.
                    .filter(|service| !service.host.is_empty())
                    .map(|service| Found {
                        address: format!("{}:{}", service.host, service.port).into(),
                        priority: service.priority,
                        weight: service.weight,
                    })
                    .collect()
            }
        };
        found.sort();
        found.dedup_by(|one, other| one.address == other.address);
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{self}: DNS returned no address; create the record, or correct the name"),
            ));
        }
        Ok(found)
    }
}

/// The lookup of a discovered sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The query.
    pub query: Query,
    /// The name server; `None`: the system's.
    pub server: Option<SocketAddr>,
}

/// The seats of one discovered sink. Clones are the same board.
#[derive(Debug, Clone)]
pub struct SeatBoard {
    inner: Arc<Board>,
}

#[derive(Debug)]
struct Board {
    discovery: Discovery,
    seating: Mutex<Seating>,
    changed: Notify,
}

impl SeatBoard {
    /// Creates a board with this many empty seats, at least one.
    pub fn new(discovery: Discovery, seats: usize) -> Self {
        let seating = Mutex::new(Seating::new(seats.max(1)));
        Self { inner: Arc::new(Board { discovery, seating, changed: Notify::new() }) }
    }

    /// Returns the lookup.
    pub fn discovery(&self) -> &Discovery {
        &self.inner.discovery
    }

    /// Every seat, in order.
    pub fn seats(&self) -> impl Iterator<Item = Seat> {
        let count = self.inner.seating().seats();
        (0..count).map(|index| Seat { board: self.clone(), index })
    }

    /// As [`Seating::found`].
    pub fn found(&self, answer: Vec<Found>, now: Instant) -> Vec<Change> {
        let changes = self.inner.seating().found(answer, now);
        self.inner.changed.notify_waiters();
        changes
    }

    /// As [`Seating::counts`].
    pub fn counts(&self) -> Counts {
        self.inner.seating().counts()
    }
}

impl Board {
    fn seating(&self) -> MutexGuard<'_, Seating> {
        // It is complete between its calls, whichever task panicked in between.
        self.seating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One seat of a board. Clones share it.
#[derive(Debug, Clone)]
pub struct Seat {
    board: SeatBoard,
    index: usize,
}

impl Seat {
    /// Its place among the seats of its board.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The board that it belongs to.
    pub fn board(&self) -> &SeatBoard {
        &self.board
    }

    /// Returns its current state.
    pub fn view(&self) -> SeatView {
        self.board.inner.seating().view(self.index)
    }

    /// The member at the seat, also one that is leaving.
    pub fn assignment(&self) -> Option<Found> {
        self.board.inner.seating().assignment(self.index).cloned()
    }

    /// Since when the member at the seat is leaving.
    pub fn leaving_since(&self) -> Option<Instant> {
        self.board.inner.seating().leaving_since(self.index)
    }

    /// As [`Seating::left`].
    pub fn left(&self) {
        self.board.inner.seating().left(self.index);
        self.board.inner.changed.notify_waiters();
    }

    /// Waits until it differs from `seen`. Cancel safe.
    pub async fn changed(&self, seen: &SeatView) -> SeatView {
        notice::until(&self.board.inner.changed, || Some(self.view()).filter(|view| view != seen))
            .await
    }
}

/// [`Seat::changed`] for a member that may not have a seat: then it never returns.
pub async fn changed(seat: Option<&(Seat, SeatView)>) -> SeatView {
    match seat {
        Some((seat, seen)) => seat.changed(seen).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
