//! A broker of version 3.1.1 ends the connection at a message whose topic it does not allow: the
//! message becomes a dead letter after `destination_wait`, and all others arrive.
//!
//! Method: a broker of the test, which ends connections as it is asked to. The checks of
//! settlements that the tests of all sinks share are part of each.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::env::Stream;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, Letter, Outcome, Settlement, Taken, Ticket};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::publishing::IN_FLIGHT_MAX;
use super::*;

#[derive(Default)]
struct Seen {
    connections: usize,
    topics: Vec<String>,
}

/// Answers each message, and ends the connection at those that `ends` is true of.
async fn serve(
    mut stream: Box<dyn Stream>,
    seen: Arc<Mutex<Seen>>,
    ends: impl Fn(usize, &str) -> bool,
) -> std::io::Result<()> {
    loop {
        let kind = stream.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = usize::from(stream.read_u8().await?);
            length |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        match kind >> 4 {
            1 => {
                seen.lock().unwrap().connections += 1;
                stream.write_all(&[0x20, 2, 0, 0]).await?;
            }
            3 => {
                let end = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                let topic = String::from_utf8(rest[2..end].to_vec()).unwrap();
                let connections = seen.lock().unwrap().connections;
                if ends(connections, &topic) {
                    return Ok(());
                }
                seen.lock().unwrap().topics.push(topic);
                stream.write_all(&[0x40, 2, rest[end], rest[end + 1]]).await?;
            }
            other => panic!("a packet of type {other}"),
        }
    }
}

/// A sink that publishes to such a broker, and what the broker sees.
async fn fixture(
    topic: &str,
    ends: impl Fn(usize, &str) -> bool + Clone + Send + Sync + 'static,
) -> (Box<dyn Sink>, Arc<Mutex<Seen>>) {
    let env = env::real();
    let listener = env.net.listen("127.0.0.1:0").await.unwrap();
    let settings = json!({
        "topic": topic,
        "destination_wait": "100ms",
        "broker": { "address": listener.local_address(), "version": "3.1.1" },
    });
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, shared.clone(), ends.clone()));
        }
    });
    let mut sink =
        build::<Config>(&settings, &BuildContext::alone("out", Path::new("unused"), env)).unwrap();
    sink.open().await.unwrap();
    (sink, seen)
}

fn taken(ticket: Ticket, topics: &[&str]) -> Taken {
    let mut builder = BatchBuilder::default();
    topics.iter().for_each(|topic| builder.push(topic.as_bytes(), &[("to", topic)]));
    Taken { ticket, batch: builder.finish() }
}

/// Offers the batch again until it is delivered, so many times. Returns its letters.
async fn deliver(sink: &mut dyn Sink, topics: &[&str], tries: usize) -> Option<Vec<Letter>> {
    let mut letters = Vec::new();
    for _ in 0..tries {
        sink.write(taken(1, topics)).await.unwrap();
        loop {
            let settled = timeout(Duration::from_secs(20), sink.settled()).await;
            let Settlement { outcome, .. } = settled.expect("it is settled");
            match outcome {
                Outcome::Delivered => return Some(letters),
                Outcome::Refused(letter) => letters.push(*letter),
                Outcome::Again(_) => break,
                other => panic!("{other:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

#[tokio::test]
async fn a_topic_that_breaks_each_connection_becomes_a_dead_letter() {
    let (mut sink, seen) = fixture("%{to}", |_, topic| topic == "forbidden").await;
    let letters = deliver(&mut *sink, &["a", "forbidden", "b", "c"], 40).await.unwrap();
    let [letter] = letters.try_into().unwrap();
    assert_eq!((letter.reason, letter.events.len(), letter.whole), (UNKNOWN_DESTINATION, 1, false));
    assert_eq!(letter.events.iter().next().unwrap().body(), b"forbidden");
    assert!(letter.detail.contains("does not allow the topic `forbidden`"), "{}", letter.detail);
    let before = std::mem::take(&mut *seen.lock().unwrap());
    assert!(["a", "b", "c"].iter().all(|it| before.topics.iter().any(|topic| topic == it)));
    // The next one ends one connection more, and waits no longer.
    let letters = deliver(&mut *sink, &["d", "forbidden", "e"], 2).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(seen.lock().unwrap().topics.iter().any(|topic| topic == "e"));
}

/// Between the two topics are more messages than can be in flight.
#[tokio::test]
async fn topics_far_apart_in_a_batch_become_dead_letters_and_the_rest_arrives() {
    let (mut sink, seen) = fixture("%{to}", |_, topic| topic.starts_with("forbidden")).await;
    let allowed: Vec<String> = (0..2 * IN_FLIGHT_MAX).map(|number| format!("a-{number}")).collect();
    let middle = allowed.iter().map(String::as_str);
    let topics: Vec<&str> =
        ["forbidden-1"].into_iter().chain(middle).chain(["forbidden-2", "z"]).collect();
    let letters = deliver(&mut *sink, &topics, 60).await.unwrap();
    let refused: usize = letters.iter().map(|letter| letter.events.len()).sum();
    assert_eq!(refused, 2, "{letters:?}");
    let seen = seen.lock().unwrap();
    assert!(allowed.iter().chain([&"z".to_owned()]).all(|topic| seen.topics.contains(topic)));
}

#[tokio::test]
async fn connections_that_end_for_another_cause_make_no_dead_letter() {
    // Whatever is sent on the first connections, they end.
    let (mut sink, seen) = fixture("%{to}", |connections, _| connections <= 3).await;
    assert_eq!(deliver(&mut *sink, &["a", "b"], 9).await.unwrap().len(), 0);
    assert_eq!(seen.lock().unwrap().topics, ["a", "b"]);
}

#[tokio::test]
async fn a_topic_of_the_settings_alone_is_waited_for() {
    let (mut sink, _) = fixture("forbidden", |_, topic| topic == "forbidden").await;
    assert!(deliver(&mut *sink, &["a"], 12).await.is_none());
}
