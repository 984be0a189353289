//! Rows with a time after the database's clock.

use serde_json::json;

use super::{Site, empty, ids, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_from_the_future_wait_and_lose_no_later_rows() {
    for (now, later) in [
        ("datetime('now')", "datetime('now', '+1 day')"),
        ("strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "'9999-12-31T00:00:00Z'"),
        ("datetime('now')", "'infinity'"),
        ("CAST(strftime('%s', 'now') AS INTEGER)", "strftime('%s', 'now') + 3600"),
        ("strftime('%s', 'now') * 1000", "(strftime('%s', 'now') + 3600) * 1000"),
    ] {
        let site = Site::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)");
        let channel = empty();
        let settings = json!({
            "mode": "modified", "check_column": "at", "key": ["id"], "overlap": "30s",
        });
        site.run(&format!("INSERT INTO t VALUES (1, {now}), (2, {later})"));
        run(site.source(&settings), &channel, 1000).await;
        assert_eq!(ids(&channel), [1], "{later}");
        site.run(&format!("INSERT INTO t VALUES (3, {now})"));
        run(site.source(&settings), &channel, 1000).await;
        assert_eq!(ids(&channel), [1, 3], "{later}");
        // Such a row is read when its time has come, or after a correction.
        site.run(&format!("UPDATE t SET at = {now} WHERE id = 2"));
        run(site.source(&settings), &channel, 1000).await;
        assert_eq!(ids(&channel), [1, 3, 2], "{later}");
    }
}
