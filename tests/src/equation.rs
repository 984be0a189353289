//! The event equation of a running agent: each event that came in is delivered, held, among the
//! dead letters, or dropped for a reason that is counted.
//!
//! Method: the parts of its status are added up here; the sum of the agent itself is not used. The
//! parts of a status are read one after the other, so a difference counts only when nothing moves.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;

/// How long nothing may move until a difference counts.
const STILL: Duration = Duration::from_secs(3);

/// How long to wait for an agent whose events keep moving.
const LIMIT: Duration = Duration::from_secs(8);

/// Events that came in.
const CAME: [&str; 5] = [
    "held_at_start_events",
    "accepted_events",
    "copied_events",
    "put_again_events",
    "replayed_events",
];

/// Events that are accounted for; `dropped_events` has a number for each reason.
const WENT: [&str; 6] = [
    "delivered_events",
    "dead_letter_events",
    "downstream_dead_letter_events",
    "held_events",
    "resent_events",
    "dropped_events",
];

/// Events that came in, less those that are accounted for.
fn difference(parts: &Value) -> Option<i64> {
    let number = |name: &&str| match parts.get(name)? {
        Value::Object(reasons) => reasons.values().map(Value::as_i64).sum(),
        number => number.as_i64(),
    };
    let sum = |names: &[&str]| names.iter().map(number).sum::<Option<i64>>();
    Some(sum(&CAME)? - sum(&WENT)?)
}

/// Checks the equation of an agent, unless its status cannot be read (for example without its
/// token), or its events keep moving.
///
/// # Panics
///
/// When nothing moves and events are missing, or are counted twice.
pub(crate) fn check(name: &str, admin: SocketAddr) {
    let (began, mut since, mut before) = (Instant::now(), Instant::now(), Value::Null);
    while began.elapsed() < LIMIT {
        let Some((200, text)) = http::get(admin, "/status") else { return };
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let parts = status["conservation"].clone();
        let off = difference(&parts);
        let off = off.unwrap_or_else(|| panic!("the status of {name} has other parts: {parts}"));
        if off == 0 {
            return;
        }
        if parts != before {
            (since, before) = (Instant::now(), parts);
        } else if since.elapsed() > STILL {
            panic!("{off} events of {name} are not accounted for: {before}");
        }
        sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use serde_json::json;

    use super::*;

    fn balanced() -> Value {
        json!({
            "held_at_start_events": 3, "accepted_events": 20, "copied_events": 5,
            "put_again_events": 1, "replayed_events": 2, "delivered_events": 10,
            "dead_letter_events": 4, "downstream_dead_letter_events": 1, "held_events": 6,
            "resent_events": 2, "dropped_events": { "not_selected": 5, "expired": 3 },
            "difference_events": 0
        })
    }

    /// Checks an agent that answers with this status.
    fn checked(parts: &Value) -> thread::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let admin = listener.local_addr().expect("an address");
        let text = json!({ "conservation": parts }).to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 1024]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n{text}");
            }
        });
        thread::spawn(move || check("edge", admin)).join()
    }

    #[test]
    fn each_part_counts_once() {
        assert_eq!(difference(&balanced()), Some(0));
        for (names, sign) in [(&CAME[..], 1), (&WENT[..5], -1)] {
            for name in names {
                let mut parts = balanced();
                parts[*name] = (parts[*name].as_i64().expect("a number") + 1).into();
                assert_eq!(difference(&parts), Some(sign), "{name}");
            }
        }
        let mut parts = balanced();
        parts["dropped_events"]["expired"] = 2.into();
        assert_eq!(difference(&parts), Some(1));
        assert_eq!(difference(&json!({ "accepted_events": 3 })), None);
    }

    #[test]
    fn an_event_that_is_not_accounted_for_fails_the_test_of_its_agent() {
        checked(&balanced()).expect("all events are accounted for");
        let mut parts = balanced();
        parts["dead_letter_events"] = 3.into();
        let problem = checked(&parts).expect_err("one is missing");
        let problem = problem.downcast::<String>().expect("a message");
        assert!(problem.starts_with("1 events of edge are not accounted for"), "{problem}");
    }
}
