//! Writes of a call.

use pipeline::Batch;

use super::*;

fn staged(output_max: u64) -> Staged {
    Staged::new(3, ByteSize(output_max))
}

/// Three events; the second has no header `n`.
fn events() -> Events {
    let mut events = Batch::of(["a", "b", "c"]).events;
    events.set_column("n", [Some("1"), None, Some("3")].into_iter());
    events
}

fn values(events: &Events, name: &str) -> Vec<Option<String>> {
    events.values(name).map(|value| value.map(str::to_owned)).collect()
}

fn some(values: [&str; 3]) -> Vec<Option<String>> {
    values.map(|value| (value != "-").then(|| value.to_owned())).to_vec()
}

#[test]
fn later_writes_replace_earlier_ones() {
    let mut staged = staged(1 << 20);
    staged.set_header(0, "n", Some("x")).unwrap();
    staged.set_header_all("n", Some("all")).unwrap();
    staged.set_header(1, "n", None).unwrap();
    staged.set_header(2, "m", Some("own")).unwrap();
    let ends: Vec<u8> = [1, 1 | ABSENT, 3].into_iter().flat_map(u32::to_le_bytes).collect();
    staged.set_headers(0, "k", ("abc", &ends)).unwrap();
    staged.set_header_all("all", Some("same")).unwrap();
    let events = staged.finish(3).unwrap().apply(events(), &mut Rejects::default());
    assert_eq!(values(&events, "n"), some(["all", "-", "all"]));
    assert_eq!(values(&events, "m"), some(["-", "-", "own"]));
    assert_eq!(values(&events, "k"), some(["a", "-", "bc"]));
    assert_eq!(events.shared_header("all"), Some("same"));
}

#[test]
fn events_are_dropped_and_refused_as_they_were() {
    let mut staged = staged(1 << 20);
    staged.set_body(0, b"new").unwrap();
    staged.set_body(1, b"new").unwrap();
    staged.set_header_all("n", None).unwrap();
    staged.drop_event(2).unwrap();
    staged.refuse_event(1, "bad\nbody").unwrap();
    assert!(staged.drop_event(1).is_err(), "twice");
    let mut rejects = Rejects::default();
    let kept = staged.finish(3).unwrap().apply(events(), &mut rejects);
    assert_eq!(kept.iter().map(|event| event.body().to_vec()).collect::<Vec<_>>(), [b"new"]);
    assert_eq!(values(&kept, "n"), [None]);
    let reject = rejects.into_iter().next().unwrap();
    assert_eq!((reject.reason, &*reject.detail), ("refused", "bad body"));
    assert_eq!(reject.events.iter().next().unwrap().body(), b"b");
}

#[test]
fn every_limit_is_checked() {
    support::mutants::plant_by_environment();
    let mut small = staged(100);
    assert!(matches!(small.set_body(0, &[0; 90]), Err(Fault::Oversized(ByteSize(100)))));
    let mut many = staged(1 << 20);
    for n in 0..NAMES_MAX {
        many.set_header_all(&n.to_string(), Some("")).unwrap();
    }
    assert!(matches!(many.set_header_all("one more", None), Err(Fault::Unusable(_))));
    assert!(staged(9).set_header_all("", None).is_err());
    assert!(staged(1 << 20).set_header_all(&"n".repeat(1025), None).is_err());
    assert!(staged(1 << 20).set_header(3, "n", None).is_err());
    let three = 3u32.to_le_bytes();
    for (first, values, ends) in [(3, "abc", &three), (0, "é", &[1, 0, 0, 0]), (0, "", &three)] {
        assert!(staged(1 << 20).set_headers(first, "n", (values, ends)).is_err());
    }
    // A shared value of 1,000 bytes, for each of three events.
    let mut repeated = staged(2_000);
    repeated.set_header_all("n", Some(&"x".repeat(1_000))).unwrap();
    repeated.set_header(1, "n", None).unwrap();
    assert!(matches!(repeated.finish(3), Err(Fault::Oversized(_))), "repeated values count");
}
