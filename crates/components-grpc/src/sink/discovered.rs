//! A `grpc` sink that takes its address from the discovered member at its seat.
//!
//! ```text
//!   open: waits for a member ─► a sink to that address ─► no longer found: it gets no new batches,
//!     ▲                                                   and its pending ones are waited for
//!     └────────── the seat has a new generation ◄── all settled, or returned after `drain_max`
//! ```
//!
//! Each assignment has its own [`Grpc`], so that no state passes to another. Batches that are
//! written while the assignment ends are returned immediately, without an error. The sink of the
//! first seat does the lookups for all of them.

mod lookups;

use std::sync::Arc;

use async_trait::async_trait;
use peers::discovery::{Discovery, Found, Query};
use peers::{NextHop, Seat, SeatBoard};
use pipeline::{
    BuildContext, BuildError, DedupeScope, ErrorClass, Extensions, Guarantee, IntervalSet, Outcome,
    Settlement, Sink, SinkBoard, SinkError, Taken,
};
use tls::Dialer;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Config, Grpc, HTTP2, Task};
use lookups::Lookups;

/// Maximum number of seats of a sink: each is a task, even if it is empty.
const SEATS_MAX: usize = 256;

/// Creates the sink of the first seat, or of the given one.
pub(super) fn build(config: Config, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
    let query = config.discover.as_deref().unwrap_or_default().parse::<Query>();
    let query = query.map_err(|problem| BuildError::invalid("discover", problem))?;
    reject_without_dns(&query, &config, cx)?;
    if config.discover_every.0 < lookups::EVERY_MIN {
        let problem = format!("at least {:?}", lookups::EVERY_MIN);
        return Err(BuildError::invalid("discover_every", problem));
    }
    if !(1..=SEATS_MAX).contains(&config.discover_max) {
        return Err(BuildError::invalid("discover_max", format!("must be from 1 to {SEATS_MAX}")));
    }
    let tls = config.tls.clone().map(|tls| match &query {
        Query::Host { host, .. } => tls.for_host(host),
        // Its targets have host names.
        Query::Service(_) => tls,
    });
    let dialer = Dialer::new(&cx.env, tls, &[HTTP2])?;
    let discovery = Discovery { query, server: config.discover_server };
    let mut cx = cx.clone();
    let (seat, lookups_as) = match cx.extensions.find::<Seat>() {
        Some(seat) => (seat, None),
        None => {
            let first = SeatBoard::new(discovery, config.discover_max).seats().next();
            let of_first = format!("{}-0", cx.name).into();
            let name = std::mem::replace(&mut cx.name, of_first);
            (first.expect("a board has a seat"), Some(name))
        }
    };
    let (held, moved) = (None, IntervalSet::EMPTY);
    let (hop, board, lookups) = (NextHop::default(), SinkBoard::default(), None);
    Ok(Box::new(Discovered {
        config,
        dialer,
        cx,
        seat,
        hop,
        board,
        held,
        moved,
        lookups_as,
        lookups,
    }))
}

/// Rejects settings that need DNS in a program without it.
fn reject_without_dns(query: &Query, config: &Config, cx: &BuildContext) -> Result<(), BuildError> {
    let (setting, problem) = match query {
        _ if cx.env.names.has_dns() => return Ok(()),
        Query::Service(_) => (
            "discover",
            "this program cannot look up SRV records; set `dns:HOST:PORT`, or use the program \
             `aqueduct` or `aqueduct-collector`",
        ),
        Query::Host { .. } if config.discover_server.is_some() => (
            "discover_server",
            "this program asks only the name servers of the system; remove the setting, or use \
             the program `aqueduct` or `aqueduct-collector`",
        ),
        Query::Host { .. } => return Ok(()),
    };
    Err(BuildError::invalid(setting, problem))
}

struct Discovered {
    config: Config,
    dialer: Dialer,
    cx: BuildContext,
    seat: Seat,
    hop: NextHop,
    board: SinkBoard,
    held: Option<Held>,
    /// Batches that were written while the assignment ended, to be returned.
    moved: IntervalSet,
    /// Name of the whole sink, at the seat that does the lookups.
    lookups_as: Option<Arc<str>>,
    lookups: Option<Task>,
}

/// The sink of an assignment.
struct Held {
    sink: Grpc,
    /// True while it is being closed: the seat is left after that, whatever lookups find.
    closing: bool,
}

impl Discovered {
    fn start_lookups(&mut self) {
        let Some(sink) = self.lookups_as.clone().filter(|_| self.lookups.is_none()) else { return };
        let lookups = Lookups {
            sink,
            env: self.cx.env.clone(),
            board: self.seat.board().clone(),
            limits: self.cx.get(),
            every: self.config.discover_every.0,
            metrics: self.cx.metrics.clone(),
        };
        let stop = CancellationToken::new();
        let ends = stop.clone();
        let handle = tokio::spawn(async move {
            ends.run_until_cancelled(lookups.run()).await;
        });
        self.lookups = Some(Task::new(stop, handle));
    }

    /// Closes the sink of an ending assignment that has nothing unsettled. Cancel safe.
    async fn let_go(&mut self) {
        let is_leaving = self.seat.leaving_since().is_some();
        if let Some(held) = &mut self.held {
            held.closing |= is_leaving && held.sink.shared.is_idle();
            if !held.closing {
                return;
            }
            held.sink.close().await;
            self.held = None;
            self.board.set_peer(None);
            self.seat.left();
        } else if is_leaving {
            self.seat.left();
        }
    }

    /// Creates the sink to the member at the seat, if there is one.
    fn meet(&mut self) {
        let Some(assignment) = self.seat.assignment() else { return };
        let dialer = self.dialer.clone();
        match Grpc::new(&self.config, &assignment.address, dialer, &self.cx, self.hop.clone()) {
            Some(sink) => {
                self.board.set_peer(Some(assignment.address.to_string()));
                self.held = Some(Held { sink, closing: false });
            }
            None => warn!(
                sink = %self.cx.name, address = %assignment.address,
                "the lookup returned an invalid address, which gets no batches: correct the DNS \
                 record",
            ),
        }
    }

    /// Returns when the unsettled batches of an ending assignment are returned.
    fn drained_by(&self) -> Option<Instant> {
        self.seat.leaving_since().map(|since| since + self.config.drain_max.0)
    }
}

/// Waits until `instant`; for ever if it is `None`.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl Sink for Discovered {
    /// Probes every address that the lookup finds.
    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        let Discovery { query, server } = self.seat.board().discovery().clone();
        let found = query.look_up(&*self.cx.env.names, server).await.map_err(|error| {
            let source = Box::from(format!("cannot look up {query}: {error}"));
            SinkError { class: ErrorClass::Transient, retry_after: None, source }
        })?;
        let mut reached = Vec::new();
        for Found { address, .. } in found {
            let dialer = self.dialer.clone();
            let sink = Grpc::new(&self.config, &address, dialer, &self.cx, NextHop::default());
            if let Some(sink) = sink {
                reached.push(sink.reach().await?);
            }
        }
        Ok(Some(reached.join(", ")))
    }

    async fn open(&mut self) -> Result<(), SinkError> {
        self.start_lookups();
        loop {
            let view = self.seat.view();
            self.let_go().await;
            if self.held.is_none() {
                self.meet();
            }
            match &mut self.held {
                Some(held) => return held.sink.open().await,
                None => {
                    self.seat.changed(&view).await;
                }
            }
        }
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        let (ticket, seat) = (taken.ticket, self.seat.clone());
        let left = async {
            loop {
                let view = seat.view();
                if !view.is_present {
                    return;
                }
                seat.changed(&view).await;
            }
        };
        if let Some(held) = self.held.as_mut().filter(|held| !held.closing) {
            tokio::select! {
                biased;
                () = left => {}
                // Dropping this future drops the batch before the sink took it over: it is the
                // sink's last call.
                written = held.sink.write(taken) => return written,
            }
        }
        self.moved.insert(ticket);
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        loop {
            if !self.moved.is_empty() {
                let tickets = std::mem::take(&mut self.moved);
                return Settlement { tickets, outcome: Outcome::Again(None) };
            }
            let view = self.seat.view();
            self.let_go().await;
            let drained_by = self.drained_by();
            let Some(held) = &mut self.held else {
                // Empty seat: it is opened again with its next generation.
                self.seat.changed(&view).await;
                continue;
            };
            tokio::select! {
                biased;
                settlement = held.sink.settled() => return settlement,
                _ = self.seat.changed(&view) => {}
                () = until(drained_by) => held.sink.shared.let_go(),
            }
        }
    }

    fn flush(&mut self) {}

    async fn close(&mut self) {
        if let Some(held) = &mut self.held {
            held.sink.close().await;
        }
        self.held = None;
        self.moved = IntervalSet::EMPTY;
        if let Some(lookups) = &mut self.lookups {
            lookups.end().await;
        }
        self.lookups = None;
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.sink.unacknowledged_bytes())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn extensions(&self) -> Extensions {
        Extensions::default().with(self.seat.clone()).with(self.hop.clone())
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(&self.board)
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::NextAgent
    }
}
