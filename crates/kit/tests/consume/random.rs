//! Random faults: no rule is broken, and every message arrives in every channel.

use std::time::Duration;

use tokio::time::sleep;

use super::broker::{Fault, Policy};
use super::channels::{Channels, Outcome, Random};
use super::{Run, bodies};

const RUNS: u64 = 300;
const CHANNELS: usize = 3;
const MESSAGES: usize = 120;

#[tokio::test(start_paused = true)]
async fn keeps_every_rule_through_random_faults() {
    for seed in 0..RUNS {
        let mut random = Random(seed);
        let latency = Duration::from_millis(random.below(20));
        let run = Run::start(Channels::with(CHANNELS, latency, u64::MAX), Policy::Reject);
        for part in bodies(MESSAGES).chunks(MESSAGES / 12) {
            run.broker.publish(part.iter().map(String::as_str));
            let channel = random.below(CHANNELS as u64) as usize;
            match random.below(9) {
                0 => run.channels.script(channel, &[Outcome::Fails; 3]),
                1 => (0..CHANNELS).for_each(|it| run.channels.script(it, &[Outcome::Fails])),
                2 => run.channels.set_full(channel, true),
                3 => (0..CHANNELS).for_each(|it| run.channels.set_full(it, false)),
                4 => run.broker.fail(Fault::DiesBeforeAcknowledgement),
                5 => run.broker.fail(Fault::DiesAfterAcknowledgement),
                6 => run.broker.fail(Fault::DiesAtDelivery),
                7 => run.broker.fail(Fault::Refuses),
                _ => run.broker.cut(),
            }
            sleep(Duration::from_millis(random.below(60))).await;
        }
        (0..CHANNELS).for_each(|it| run.channels.set_full(it, false));
        run.until_done().await;
        for channel in 0..CHANNELS {
            let mut first: Vec<String> = Vec::new();
            for body in run.channels.bodies(channel) {
                if !first.contains(&body) {
                    first.push(body);
                }
            }
            assert_eq!(first, bodies(MESSAGES), "seed {seed}, channel {channel}");
        }
        run.stop().await;
    }
}
