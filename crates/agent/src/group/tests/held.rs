//! Batches that are too large for a member: others overtake them, even while the sink is on trial,
//! and any member that accepts them gets them.

use std::sync::atomic::{AtomicBool, Ordering};

use peers::NextHop;

use super::*;
use crate::group::held_back::HELD_MAX;

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_held_back_holds_up_no_other_and_stays_in_the_channel() {
    let script = Script { open_failures: Mutex::new(1), proves: true, ..Script::default() };
    let script = Arc::new(script);
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    bench.put("held").await;
    let bodies = bench.put_numbers(20).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sorted(&script), bodies);
    let began = Instant::now();
    let channel = bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "its word is not waited for");
    assert_eq!(channel.status().events, 1);
    let taken = channel.begin_take("group").take().await.unwrap();
    assert_eq!(super::bodies(&taken.batch), ["held"]);
}

/// A sink whose downstream agent accepts batches up to a limit, and refuses some within it.
struct Sized {
    hop: NextHop,
    /// Opening fails while this is so.
    is_down: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    settled: VecDeque<Settlement>,
    got: Arc<Mutex<Vec<String>>>,
    woken: Arc<Notify>,
}

/// The test's end of it.
#[derive(Clone, Default)]
struct Agent {
    hop: NextHop,
    is_down: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    /// Bodies of the received batches, including refused ones.
    got: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    fn taking(bytes: Option<u64>) -> Self {
        let agent = Self::default();
        agent.hop.set_batch_max(bytes);
        agent
    }

    fn sink(&self) -> Box<dyn Sink> {
        let Self { hop, is_down, refuses, got } = self.clone();
        let (settled, woken) = (VecDeque::new(), Arc::default());
        Box::new(Sized { hop, is_down, refuses, settled, got, woken })
    }

    fn got(&self) -> usize {
        locked(&self.got).len()
    }
}

#[async_trait]
impl Sink for Sized {
    async fn open(&mut self) -> Result<(), SinkError> {
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(Failure(ErrorClass::Transient, "it is down").into()),
            false => Ok(()),
        }
    }

    async fn write(&mut self, Taken { ticket, batch }: Taken) -> Result<(), SinkError> {
        let (bytes, events) = (batch.size().bytes, batch.len() as u64);
        assert!(self.hop.batch_max().is_none_or(|max| bytes <= max), "sent in vain");
        locked(&self.got).push(bodies(&batch).concat());
        let outcome = match self.refuses.load(Ordering::Relaxed) {
            true => Outcome::HeldBack(HeldBack { bytes, events, refused: true }),
            false => Outcome::Delivered,
        };
        self.settled.push_back(Settlement { tickets: (ticket..ticket + 1).into(), outcome });
        self.woken.notify_one();
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        notice::until(&self.woken, || self.settled.pop_front()).await
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

async fn start_agents(agents: &[Agent], outlet: &OutletBoard) -> Bench {
    let sinks = agents.iter().map(Agent::sink).collect();
    let letters = dead_letters::Config::default();
    if agents.len() == 1 {
        use components::processors::single::Config;
        start_sinks::<Config>(json!({}), sinks, letters, outlet.clone()).await
    } else {
        use components::processors::failover::Config;
        start_sinks::<Config>(json!({}), sinks, letters, outlet.clone()).await
    }
}

fn large() -> Batch {
    Batch::of([&*"x".repeat(3_000), "y"])
}

fn held(bench: &Bench) -> (i64, i64) {
    let label = metrics::GroupLabel { group: "group".into() };
    let events = bench.metrics.group_held_events.get_or_create(&label).get();
    (events, bench.metrics.group_held_bytes.get_or_create(&label).get())
}

#[tokio::test(start_paused = true)]
async fn large_batch_goes_to_the_member_that_accepts_it_once_it_works() {
    let agents = [Agent::taking(Some(1_000)), Agent::taking(None)];
    agents[1].is_down.store(true, Ordering::Relaxed);
    agents[1].hop.set_batch_max(Some(10_000));
    let bench = start_agents(&agents, &OutletBoard::default()).await;
    let size = large().size().bytes as i64;
    bench.put_batch(large()).await;
    bench.put_batch(large()).await;
    bench.put_numbers(20).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((agents[0].got(), agents[1].got()), (20, 0));
    assert_eq!(held(&bench), (4, 2 * size));
    agents[1].is_down.store(false, Ordering::Relaxed);
    bench.empty().await;
    assert_eq!((agents[0].got(), agents[1].got()), (20, 2));
    assert_eq!(held(&bench), (0, 0));
    // If it is open from the start, nothing is held back.
    bench.put_batch(large()).await;
    bench.empty().await;
    assert_eq!(agents[1].got(), 3);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_goes_to_the_same_member_when_its_limit_is_raised() {
    let agent = Agent::taking(Some(1_000));
    let bench = start_agents(std::slice::from_ref(&agent), &OutletBoard::default()).await;
    bench.put_batch(large()).await;
    sleep(Duration::from_secs(60)).await;
    agent.hop.set_batch_max(Some(2_000));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(agent.got(), 0, "it is still too small");
    agent.hop.set_batch_max(Some(10_000));
    bench.empty().await;
    assert_eq!(agent.got(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn batch_refused_within_the_limit_goes_to_another_member() {
    let agents = [Agent::taking(Some(10_000)), Agent::taking(Some(10_000))];
    agents[0].refuses.store(true, Ordering::Relaxed);
    agents[1].refuses.store(true, Ordering::Relaxed);
    let bench = start_agents(&agents, &OutletBoard::default()).await;
    bench.put_batch(large()).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((agents[0].got(), agents[1].got()), (1, 1), "each was asked once");
    agents[1].refuses.store(false, Ordering::Relaxed);
    bench.stop().await;
}

/// One more stops the group, which the channel's sources see.
#[tokio::test(start_paused = true)]
async fn number_of_held_back_batches_is_bounded() {
    let (agent, outlet) = (Agent::taking(Some(400)), OutletBoard::default());
    let bench = start_agents(std::slice::from_ref(&agent), &outlet).await;
    let half = "x".repeat(300);
    for number in 0..HELD_MAX + 2 {
        if number == HELD_MAX {
            bench.put("small").await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!((agent.got(), outlet.outage()), (1, None));
        }
        bench.put_batch(Batch::of([&*half, &*half])).await;
    }
    bench.put("small").await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(agent.got(), 1);
    assert_eq!(held(&bench).0, 2 * HELD_MAX as i64);
    let outage = outlet.outage().expect("it stands still");
    assert!(outage.cause.contains("larger than `message_max` of the next agents"), "{outage:?}");
    agent.hop.set_batch_max(Some(1_000));
    bench.empty().await;
    assert_eq!((agent.got(), outlet.outage()), (HELD_MAX + 4, None));
    bench.stop().await;
}
