//! Goal: [`Served`](kit::serve::Served) keeps the invariants of `kit::serve` with every
//! [`Serve`](kit::serve::Serve), whatever its clients, its channels and its agent do.
//!
//! Method: a protocol that uses everything of the adapter, on a network in memory, with scripted
//! clients and channels, under paused time. The clients check each reply against the channels.
//!
//! ```text
//!   Client ─► Network ─► Served (Lines) ─► Channels
//!      └──── is it stored there? ────────────┘
//! ```

#[path = "../consume/channels.rs"]
mod channels;
mod network;
#[cfg(feature = "mutants")]
mod planted;
mod protocol;
mod random;
mod run;

use std::sync::Arc;
use std::time::Duration;

use pipeline::testkit::position_context;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use channels::{Channels, Outcome};
use network::{Network, Side};
use protocol::{Config, NEVER, NOTHING, PANICS, STORED, UNKNOWN};
use run::{PORT, Run, source};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn acknowledges_messages_that_every_channel_has_stored() {
    let channels = Channels::with(2, Duration::from_millis(5), u64::MAX);
    let run = Run::start(channels, json!({})).await;
    let mut client = run.connect();
    let lines: Vec<String> = (0..100).map(|number| format!("m{number:03}")).collect();
    for pair in lines.chunks(2) {
        let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
        assert_eq!(client.put(&pair).await, Some(STORED));
    }
    for channel in 0..2 {
        assert_eq!(run.channels.bodies(channel), lines);
    }
    assert_eq!(run.channels.broken(), Vec::<String>::new(), "one put of a connection at a time");
    assert!(run.stop().await < SECOND);
}

#[tokio::test(start_paused = true)]
async fn stores_a_message_once_that_is_resent_after_a_kill_before_its_reply() {
    let run = Run::start(Channels::with(2, SECOND, u64::MAX), json!({})).await;
    let mut client = run.connect();
    client.send(&["a", "b"]).await;
    sleep(SECOND / 2).await;
    drop(client);
    sleep(SECOND).await;
    let mut client = run.connect();
    assert_eq!(client.put(&["a", "b", "c"]).await, Some(STORED));
    assert_eq!(run.channels.bodies(1), ["a", "b", "c"]);
    assert_eq!(run.counted("repeated_events"), 2);
    // Equal events of another host, and after a reply, are new.
    assert_eq!(client.put(&["a", "b", "c"]).await, Some(STORED));
    assert_eq!(run.connect_from("198.51.100.2").put(&["a"]).await, Some(STORED));
    assert_eq!(run.channels.bodies(0).len(), 7);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ends_a_put_that_has_begun_without_its_client() {
    let settings = json!({ "conduct": "leaves_with_client" });
    let run = Run::start(Channels::with(2, 4 * SECOND, u64::MAX), settings).await;
    let mut client = run.connect();
    client.send(&["a"]).await;
    sleep(SECOND).await;
    drop(client);
    sleep(SECOND).await;
    let channels = run.channels.clone();
    assert!(run.stop().await >= SECOND, "the stop waits for the put");
    assert_eq!((channels.bodies(0), channels.bodies(1)), (vec!["a".into()], vec!["a".into()]));
}

#[tokio::test(start_paused = true)]
async fn stores_nothing_of_a_message_that_found_no_room_in_time() {
    let run = Run::start(Channels::new(2), json!({ "wait_max": "3s" })).await;
    let mut client = run.connect();
    run.channels.set_full(1, true);
    let put = timeout(4 * SECOND, client.put(&["a"])).await.unwrap();
    assert_eq!(put, Some(NOTHING));
    client.send(&["b"]).await;
    sleep(SECOND).await;
    run.channels.set_full(1, false);
    assert_eq!(client.reply(&["b"]).await, Some(STORED));
    assert_eq!(run.channels.bodies(0), ["b"]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn acknowledges_no_message_that_a_channel_lacks() {
    for outcome in [Outcome::Fails, Outcome::Loses, Outcome::Breaks] {
        let run = Run::start(Channels::new(2), json!({ "wait_max": "0s" })).await;
        let mut client = run.connect();
        run.channels.script(1, &[outcome]);
        assert_eq!(client.put(&["a"]).await, Some(UNKNOWN), "{outcome:?}");
        assert_eq!(client.put(&["a"]).await, Some(STORED));
        assert!(run.channels.have("a"));
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_a_batch_in_the_channels_that_lack_it() {
    let run = Run::start(Channels::new(3), json!({})).await;
    let mut client = run.connect();
    run.channels.script(1, &[Outcome::Fails; 5]);
    run.channels.script(2, &[Outcome::Fails]);
    assert_eq!(client.put(&["a", "b"]).await, Some(STORED));
    for channel in 0..3 {
        assert_eq!(run.channels.bodies(channel), ["a", "b"], "channel {channel}");
    }
    // A stop ends the retries.
    run.channels.script(1, &[Outcome::Fails; 100]);
    client.send(&["c"]).await;
    sleep(SECOND).await;
    run.cancel();
    assert_eq!(client.reply(&["c"]).await, Some(UNKNOWN));
    assert!(run.stop().await < SECOND);
}

#[tokio::test(start_paused = true)]
async fn refuses_a_batch_that_can_never_be_stored_and_continues() {
    let run = Run::start(Channels::with(1, Duration::ZERO, 500), json!({})).await;
    let (mut client, large) = (run.connect(), "x".repeat(600));
    assert_eq!(client.put(&[&large]).await, Some(NEVER));
    assert_eq!(client.put(&["a"]).await, Some(STORED));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn closes_connections_whose_messages_are_too_large_malformed_or_slow() {
    let settings = json!({ "message_max": "1KiB", "message_timeout": "30s" });
    let run = Run::start(Channels::new(1), settings).await;
    let mut healthy = run.connect();
    // Announces more than any message has, more than it sends, and drips.
    let (mut large, mut short, mut drips) = (run.connect(), run.connect(), run.connect());
    large.stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    short.stream.write_all(&[0, 0, 0, 9, b'x']).await.unwrap();
    let mut malformed = run.connect();
    malformed.stream.write_all(&[0, 0, 0, 1, 0xff]).await.unwrap();
    drips.stream.write_all(&[0, 0, 0, 200]).await.unwrap();
    for _ in 0..40 {
        let _closed = drips.stream.write_all(b"x").await;
        assert_eq!(healthy.put(&["a"]).await, Some(STORED));
        sleep(SECOND).await;
    }
    for client in [&mut large, &mut short, &mut malformed, &mut drips] {
        assert_eq!(client.reply(&[]).await, None);
    }
    assert_eq!(run.counted("message_refused"), 4);
    assert_eq!(run.channels.bodies(0).len(), 40);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bounds_the_memory_of_all_messages() {
    let settings = json!({ "message_max": "1KiB", "in_flight_max": "2KiB", "wait_max": "3s",
        "message_timeout": "600s" });
    let run = Run::start(Channels::new(1), settings).await;
    // Two clients hold the memory of their messages, and do not send them.
    let mut holders = [run.connect(), run.connect()];
    for holder in &mut holders {
        holder.stream.write_all(&[0, 0, 4, 0]).await.unwrap();
    }
    sleep(SECOND).await;
    let mut client = run.connect();
    assert_eq!(client.put(&["a"]).await, None, "no memory");
    drop(holders);
    sleep(SECOND).await;
    assert_eq!(run.connect().put(&["a"]).await, Some(STORED));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn serves_at_most_the_permitted_number_of_connections() {
    let run = Run::start(Channels::new(1), json!({ "connections_max": 2 })).await;
    let (mut first, mut second) = (run.connect(), run.connect());
    assert_eq!(first.put(&["a"]).await, Some(STORED));
    assert_eq!(second.put(&["b"]).await, Some(STORED));
    let mut third = run.connect();
    third.send(&["c"]).await;
    assert!(timeout(60 * SECOND, third.stream.read_u8()).await.is_err(), "it has no place");
    // A connection that ends releases its place, also by a panic.
    first.send(&[PANICS]).await;
    assert_eq!(first.reply(&[]).await, None);
    let served = timeout(SECOND, third.reply(&["c"])).await;
    assert_eq!(served.expect("its place is not free"), Some(STORED));
    drop((second, third));
    assert_eq!(run.connect().put(&["d"]).await, Some(STORED));
    assert_eq!(run.connect().put(&["e"]).await, Some(STORED));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn closes_a_connection_over_the_limit_of_its_tenant() {
    let run = Run::start(Channels::new(1), json!({ "tenants": { "connections_max": 1 } })).await;
    let mut client = run.connect();
    assert_eq!(client.put(&["a"]).await, Some(STORED));
    assert_eq!(run.connect().put(&["b"]).await, None);
    assert_eq!(run.connect_from("198.51.100.2").put(&["c"]).await, Some(STORED));
    assert_eq!(run.counted("tenant_connections"), 1);
    drop(client);
    sleep(SECOND).await;
    assert_eq!(run.connect().put(&["d"]).await, Some(STORED));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_put_that_waits_for_room() {
    let run = Run::start(Channels::new(1), json!({ "wait_max": "600s" })).await;
    let mut client = run.connect();
    run.channels.set_full(0, true);
    client.send(&["a"]).await;
    sleep(SECOND).await;
    run.cancel();
    assert_eq!(client.reply(&["a"]).await, Some(NOTHING));
    assert_eq!(client.reply(&[]).await, None);
    assert!(run.stop().await < SECOND);
}

#[tokio::test(start_paused = true)]
async fn stop_acknowledges_a_put_that_has_begun_and_accepts_no_further_one() {
    let run = Run::start(Channels::with(2, SECOND, u64::MAX), json!({})).await;
    let mut client = run.connect();
    client.send(&["a"]).await;
    sleep(SECOND / 2).await;
    run.cancel();
    client.send(&["b"]).await;
    assert_eq!(client.reply(&["a"]).await, Some(STORED));
    assert_eq!(client.reply(&[]).await, None, "the second message is not accepted");
    let channels = run.channels.clone();
    assert!(run.stop().await < SECOND);
    assert_eq!(channels.bodies(1), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn stop_cuts_connections_that_do_not_end() {
    let run = Run::start(Channels::new(1), json!({ "conduct": "ignores_stop" })).await;
    let mut client = run.connect();
    sleep(SECOND).await;
    let lasted = run.stop().await;
    assert!(lasted <= 6 * SECOND, "{lasted:?}");
    let ended = timeout(SECOND, client.stream.read_u8()).await;
    assert!(ended.is_ok(), "the connection is open after the stop");
}

#[tokio::test(start_paused = true)]
async fn accepts_connections_after_an_error_of_the_system() {
    let run = Run::start(Channels::new(1), json!({})).await;
    assert_eq!(run.connect().put(&["a"]).await, Some(STORED));
    run.network.fail(3);
    for line in ["b", "c"] {
        assert_eq!(run.connect().put(&[line]).await, Some(STORED));
    }
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn opens_its_port_before_it_runs_and_releases_it_afterwards() {
    let network = Arc::new(Network::default());
    let (mut first, _) = source(json!({}), &network);
    let (mut second, _) = source(json!({}), &network);
    let stop = CancellationToken::new();
    let context = position_context(Arc::new(Channels::new(1)), stop.clone());
    first.open(&context).await.unwrap();
    assert!(network.is_open(PORT));
    let error = second.open(&context).await.unwrap_err();
    assert!(error.source.unwrap().to_string().contains("in use"));
    // Opening again releases the port of the first opening.
    first.open(&context).await.unwrap();
    stop.cancel();
    first.run(context.clone()).await.unwrap();
    assert!(!network.is_open(PORT));
    second.open(&context).await.unwrap();
    drop(Side(network));
}

#[test]
fn shows_the_shared_settings_with_the_defaults_and_texts_of_the_source() {
    let schema = schemars::schema_for!(Config).to_value();
    let setting = |name: &str| &schema["properties"][name];
    assert_eq!(setting("listen")["description"], "The port of the protocol.");
    assert_eq!(setting("connections_max")["default"], 8);
    assert_eq!(setting("in_flight_max")["default"], "64MiB");
    assert!(setting("tenants").is_object() && setting("..").is_null());
    assert_eq!(
        (&schema["required"], &schema["additionalProperties"]),
        (&json!(["listen"]), &json!(false))
    );
}
