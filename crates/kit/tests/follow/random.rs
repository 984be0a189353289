//! Random faults and kills: no rule is broken, and every channel has every event once.

use std::time::Duration;

use tokio::time::sleep;

use super::channels::{Channels, Outcome, Random};
use super::log::Fault;
use super::{Run, bodies};

const RUNS: u64 = 300;
const CHANNELS: usize = 3;
const EVENTS: usize = 120;

#[tokio::test(start_paused = true)]
async fn keeps_every_rule_through_random_faults_and_kills() {
    for seed in 0..RUNS {
        let mut random = Random(seed);
        let latency = Duration::from_millis(random.below(20));
        let mut run = Run::start(Channels::with(CHANNELS, latency, u64::MAX));
        for part in bodies(EVENTS).chunks(EVENTS / 12) {
            run.log.append(part.iter().map(String::as_str));
            let channel = random.below(CHANNELS as u64) as usize;
            match random.below(10) {
                0 => run.channels.script(channel, &[Outcome::Fails; 3]),
                1 => run.channels.script(channel, &[Outcome::Loses, Outcome::Fails]),
                2 => (0..CHANNELS).for_each(|it| run.channels.script(it, &[Outcome::Fails])),
                3 => run.channels.set_full(channel, true),
                4 => (0..CHANNELS).for_each(|it| run.channels.set_full(it, false)),
                5 => run.log.fail(Fault::DiesAtRead),
                6 => run.log.fail(Fault::DiesAfterRead),
                7 => run.log.fail(Fault::Refuses),
                8 => {
                    // It may be the one that another channel catches up with: a stop of its own.
                    let clear = |channels: &Channels| {
                        if !channels.are_catching_up() {
                            channels.clear(channel);
                        }
                    };
                    run = run.restart_after(clear).await;
                }
                _ => {}
            }
            if random.below(3) == 0 {
                run = run.restart().await;
            }
            sleep(Duration::from_millis(random.below(60))).await;
        }
        (0..CHANNELS).for_each(|it| run.channels.set_full(it, false));
        run.log.append(["last"]);
        run.until_done().await;
        for channel in 0..CHANNELS {
            let found = run.channels.bodies(channel);
            assert_eq!(found, run.log.bodies(), "seed {seed}, channel {channel}");
        }
        run.stop().await;
    }
}
