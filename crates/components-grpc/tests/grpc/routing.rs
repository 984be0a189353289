//! Goal: if members of a group route events to different datasets, only members that agree with the
//! majority get batches; the log names the refused member and the member that it differs from.
//! Method: real sources on loopback with different routings, and the sinks of one group.
//! group to them.

use std::sync::Arc;

use metrics::SinkLabel;
use pipeline::testkit::build;
use pipeline::{BuildContext, Routing, Sink, SinkError};

use super::*;

/// Starts a collector with this routing, and creates a sink of the group `cx` to it.
async fn member(cx: &BuildContext, routing: &str) -> (Arc<Memory>, pair::Running, Box<dyn Sink>) {
    let memory = Memory::new();
    *memory.routing.lock().unwrap() = Some(Routing::from_text(routing));
    let address = free_address().to_string();
    let source = start_source(&cx.env, memory.clone(), &address, json!({}));
    let settings = json!({ "address": address, "resend_after": "300ms" });
    let sink = build::<components_grpc::sink::Config>(&settings, cx).unwrap();
    (memory, source, sink)
}

/// Opens until it works or fails permanently.
async fn opened(sink: &mut dyn Sink) -> Result<(), SinkError> {
    within(async {
        loop {
            match sink.open().await {
                Err(error) if error.class != ErrorClass::Blocked => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                done => break done,
            }
        }
    })
    .await
}

/// Opens until it works: a refused sink is admitted a moment later.
async fn let_in(sink: &mut dyn Sink) {
    within(async {
        while sink.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn barred(cx: &BuildContext) -> i64 {
    let label = SinkLabel { sink: cx.name.to_string() };
    cx.metrics.sink_routing_mismatch.get_or_create(&label).get()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_odd_member_is_refused_by_name_and_the_others_go_on() {
    let first = BuildContext::alone("first", &std::env::temp_dir(), env::real());
    let others = BuildContext { name: "others".into(), ..first.clone() };
    let (stores, odd, mut odd_sink) = member(&first, "all into a").await;
    opened(&mut *odd_sink).await.unwrap();
    write(&mut *odd_sink, 0..3).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *odd_sink, |v| v.stored == set(0..3)).await;

    // In a tie, the routing that was used first stays.
    let (_, second, mut second_sink) = member(&others, "all into b").await;
    let error = opened(&mut *second_sink).await.unwrap_err().to_string();
    for part in [&*odd.address, &*second.address, "all into a", "all into b", "aqueduct check"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!((barred(&first), barred(&others)), (0, 1));

    // Now the others have the majority.
    let (third_stores, _third, mut third_sink) = member(&others, "all into b").await;
    opened(&mut *third_sink).await.unwrap();
    let_in(&mut *second_sink).await;
    let error = within(async {
        let mut sequence = 100;
        loop {
            match odd_sink.write(taken(sequence)).await {
                Ok(()) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => break error,
            }
            sequence += 1;
        }
    });
    assert_eq!(error.await.class, ErrorClass::Blocked);
    write(&mut *third_sink, 4..6).await;
    Verdicts::default().until(&mut *third_sink, |v| v.stored == set(4..6)).await;
    assert_eq!(third_stores.batches().len(), 2);

    // Batches that it stored before still settle.
    stores.commit_all();
    verdicts.until(&mut *odd_sink, |v| v.delivered.contains(2)).await;
    assert!(barred(&first) == 1 && verdicts.again.intersection(&set(0..3)).is_empty());
}

/// A collector that is gone does not block the others for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_stays_away_has_no_say_any_more() {
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env::real());
    let (_, gone, mut gone_sink) = member(&cx, "all into a").await;
    opened(&mut *gone_sink).await.unwrap();
    let (_, _other, mut other_sink) = member(&cx, "all into b").await;
    assert_eq!(opened(&mut *other_sink).await.unwrap_err().class, ErrorClass::Blocked);
    gone.stop().await;
    let_in(&mut *other_sink).await;
}
