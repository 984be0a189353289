//! Calls without room, and calls over a tenant's limits.

use super::*;

#[tokio::test]
async fn a_tenant_over_its_limits_gets_failed_and_nothing_is_stored() {
    let tenants = json!({ "events_per_second": 1, "connections_max": 1, "message_max": "8KiB" });
    let settings = json!({ "wait_max": "50ms", "tenants": tenants });
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    // Uses up many seconds of the rate.
    assert_eq!(client.append(&["a"; 100]).await, Status::Ok);
    assert_eq!(client.append(&["b"]).await, Status::Failed);
    let mut second = connect(&fixture).await;
    second.send(&call(&["c"], 7)).await;
    assert!(second.is_closed().await, "one connection too many is closed");
    client.send(&call(&[&"x".repeat(9_000)], 7)).await;
    assert!(client.is_closed().await, "a frame over its size ends the connection");
    assert_eq!(channels.events(0).len(), 100);
    let reasons = ["tenant_connections", "tenant_message", "tenant_rate"];
    assert_eq!(reasons.map(|reason| fixture.counted(reason)), [1, 1, 1]);
    fixture.stop().await;
}

#[tokio::test]
async fn answers_failed_in_time_for_a_full_channel_and_stores_nothing() {
    let (channels, narrow, fixture) =
        Running::without_room::<Config>(json!({ "wait_max": "50ms" })).await;
    let mut client = connect(&fixture).await;
    assert_eq!(client.append(&["too early"]).await, Status::Failed);
    narrow.give(1);
    assert_eq!(client.append(&["in time"]).await, Status::Ok);
    narrow.give(5);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(channels.bodies(0), ["in time"]);
}
