//! A member whose next agent cannot store what it holds.

use peers::NextHop;

use super::*;

/// A sink to a next agent that stores batches and delivers them when it may; it gives back what is
/// stored as soon as its agent is unable and another one is able.
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
                _ = self.hop.others_otherwise(self.hop.are_others_able()) => {}
            }
        }
    }

    fn flush(&mut self) {}

    async fn close(&mut self) {}

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

#[tokio::test(start_paused = true)]
async fn what_an_unable_agent_stored_goes_to_an_able_one_and_the_board_sees_when_none_is() {
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
    hops[1].set_unable(true);
    hops[0].set_unable(true);
    sleep(Duration::from_secs(60)).await;
    assert!(!hops[0].are_others_able() && locked(&delivered).is_empty());
    assert!(outlet.outage().unwrap().cause.contains("sink-"));
    hops[1].set_unable(false);
    bench.empty().await;
    assert_eq!(*locked(&delivered), bodies);
    assert!(hops[0].are_others_able() && !hops[1].are_others_able());
    assert_eq!(outlet.outage(), None);
    bench.put("more").await;
    bench.empty().await;
    assert_eq!(locked(&delivered).last().unwrap(), "more");
    bench.stop().await;
}
