//! A member whose downstream agent cannot store its batches.

use std::sync::atomic::{AtomicBool, Ordering};

use peers::NextHop;
use pipeline::{AgentLink, Letter, Outage};

use super::*;

/// A sink to a downstream agent that stores batches and delivers them when permitted. It returns
/// stored batches as soon as its agent is unable and another one is able.
struct Hopping {
    hop: NextHop,
    delivers: bool,
    stored: IntervalSet,
    said: IntervalSet,
    delivered: Arc<Mutex<Vec<String>>>,
    woken: Arc<Notify>,
}

#[async_trait]
impl Sink for Hopping {
    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        self.stored.insert(taken.ticket);
        if self.delivers {
            locked(&self.delivered).extend(bodies(&taken.batch));
        }
        self.woken.notify_one();
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        loop {
            let tickets = std::mem::take(&mut self.stored);
            if !tickets.is_empty() && self.delivers {
                return Settlement { tickets, outcome: Outcome::Delivered };
            }
            if !tickets.is_empty() {
                self.said.insert_all(&tickets);
                return Settlement { tickets, outcome: Outcome::Stored };
            }
            if self.hop.is_unable() && self.hop.are_others_able() && !self.said.is_empty() {
                let tickets = std::mem::take(&mut self.said);
                return Settlement { tickets, outcome: Outcome::Again(None) };
            }
            tokio::select! {
                () = self.woken.notified() => {}
                _ = self.hop.others_changed(self.hop.are_others_able()) => {}
            }
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn extensions(&self) -> pipeline::Extensions {
        pipeline::Extensions::default().with(self.hop.clone())
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::NextAgent
    }
}

fn outage(address: &str) -> Option<Outage> {
    let agent = AgentLink { address: Some(address.into()), page: None };
    Some(Outage { since: Instant::now(), cause: "disk full".into(), agent })
}

#[tokio::test(start_paused = true)]
async fn outage_is_over_when_the_next_agent_reports_it_without_events() {
    let (hop, delivered) = (NextHop::default(), Arc::default());
    let (stored, said) = (IntervalSet::EMPTY, IntervalSet::EMPTY);
    let sink = Hopping {
        hop: hop.clone(),
        delivers: false,
        stored,
        said,
        delivered,
        woken: Arc::new(Notify::new()),
    };
    let outlet = OutletBoard::default();
    let bench = start_sinks::<components::processors::failover::Config>(
        json!({}),
        vec![Box::new(sink)],
        dead_letters::Config::default(),
        outlet.clone(),
    )
    .await;
    bench.put("parked at the next agent").await;
    sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        hop.set_unable(outage("c:4141"));
        sleep(Duration::from_secs(60)).await;
        assert!(outlet.outage().is_some(), "nothing is stored there meanwhile");
        hop.set_unable(None);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(outlet.outage(), None);
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outage_is_over_when_a_sink_is_open_and_no_batch_can_prove_it() {
    let outlet = OutletBoard::default();
    let closed = Arc::new(AtomicBool::new(true));
    let sink = Closed { inner: Vec::new(), closed: closed.clone() };
    let bench = start_sinks::<components::processors::failover::Config>(
        json!({ "backoff_max": "1s" }),
        vec![Box::new(sink)],
        dead_letters::Config::default(),
        outlet.clone(),
    )
    .await;
    bench.put("refused").await;
    sleep(Duration::from_secs(60)).await;
    assert!(outlet.outage().is_some(), "it cannot be opened");
    closed.store(false, Ordering::Relaxed);
    bench.empty().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(outlet.outage(), None, "nothing was stored, and nothing is left to store");
    bench.stop().await;
}

/// A sink that cannot be opened while it is closed, and refuses each batch permanently.
struct Closed {
    inner: Vec<Settlement>,
    closed: Arc<AtomicBool>,
}

#[async_trait]
impl Sink for Closed {
    async fn open(&mut self) -> Result<(), SinkError> {
        match self.closed.load(Ordering::Relaxed) {
            true => Err(Failure(ErrorClass::Transient, "closed").into()),
            false => Ok(()),
        }
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        let Taken { ticket, batch: events } = taken;
        let (whole, reason, detail) = (true, "malformed", String::new());
        let letter = Letter { ticket, events, whole, reason, detail };
        self.inner.push(Settlement::refused(letter));
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        match self.inner.pop() {
            Some(settlement) => settlement,
            None => std::future::pending().await,
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }
}

#[tokio::test(start_paused = true)]
async fn batches_of_an_unable_agent_go_to_an_able_one_if_any() {
    let hops = [NextHop::default(), NextHop::default()];
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let members = hops.iter().enumerate().map(|(index, hop)| {
        let (stored, said) = (IntervalSet::EMPTY, IntervalSet::EMPTY);
        let (delivered, woken) = (delivered.clone(), Arc::new(Notify::new()));
        let hop = hop.clone();
        Box::new(Hopping { hop, delivers: index == 1, stored, said, delivered, woken })
            as Box<dyn Sink>
    });
    let outlet = OutletBoard::default();
    let bench = start_sinks::<components::processors::failover::Config>(
        json!({}),
        members.collect(),
        dead_letters::Config::default(),
        outlet.clone(),
    )
    .await;
    let bodies = bench.put_numbers(20).await;
    sleep(Duration::from_secs(60)).await;
    assert!(locked(&delivered).is_empty(), "the first one works, as far as it says");
    hops[1].set_unable(outage("c-1:4141"));
    hops[0].set_unable(outage("c-0:4141"));
    sleep(Duration::from_secs(60)).await;
    assert!(!hops[0].are_others_able() && locked(&delivered).is_empty());
    let shown = outlet.outage().unwrap();
    assert_eq!((&*shown.cause, shown.agent.address.as_deref()), ("disk full", Some("c-0:4141")));
    hops[1].set_unable(None);
    bench.empty().await;
    assert_eq!(*locked(&delivered), bodies);
    assert!(hops[0].are_others_able() && !hops[1].are_others_able());
    assert_eq!(outlet.outage(), None);
    bench.put("more").await;
    bench.empty().await;
    assert_eq!(locked(&delivered).last().unwrap(), "more");
    bench.stop().await;
}
