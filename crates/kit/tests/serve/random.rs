//! Random faults: no rule is broken, and every acknowledged line is in every channel.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::channels::{Channels, Outcome, Random};
use super::protocol::STORED;
use super::run::Run;

const RUNS: u64 = 100;
const CHANNELS: usize = 2;
const MESSAGES: usize = 60;

#[tokio::test(start_paused = true)]
async fn keeps_every_rule_through_random_faults() {
    for seed in 0..RUNS {
        let mut random = Random(seed);
        let latency = Duration::from_millis(random.below(20));
        let channels = Channels::with(CHANNELS, latency, u64::MAX);
        let run = Run::start(channels, json!({ "wait_max": "1s", "connections_max": 2 })).await;
        let mut client = run.connect();
        for number in 0..MESSAGES {
            let line = format!("m{number:03}");
            let channel = random.below(CHANNELS as u64) as usize;
            match random.below(8) {
                0 => run.channels.script(channel, &[Outcome::Fails]),
                1 => run.channels.script(channel, &[Outcome::Loses]),
                2 => run.channels.set_full(channel, true),
                3 => (0..CHANNELS).for_each(|it| run.channels.set_full(it, false)),
                _ => {}
            }
            // Resends until there is a reply, sometimes on another connection.
            for attempt in 0_u32.. {
                client.send(&[&line]).await;
                let patience = Duration::from_millis(1 + random.below(4000));
                match timeout(patience, client.reply(&[])).await {
                    Ok(Some(STORED)) => break,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => {
                        drop(client);
                        client = run.connect();
                    }
                }
                assert!(attempt < 100, "seed {seed}: {line} has no reply");
                (0..CHANNELS).for_each(|it| run.channels.set_full(it, false));
                sleep(Duration::from_millis(random.below(30))).await;
            }
            assert!(run.channels.have(&line), "seed {seed}: {line} is acknowledged and missing");
        }
        drop(client);
        run.stop().await;
    }
}
