//! `strip_cr`: the lines of Flume's `taildir`, which removes a CR before the LF.

use super::*;

#[tokio::test]
async fn a_cr_before_the_lf_is_removed_on_request_and_positions_count_it() {
    let rig = Rig::new(&json!({ "strip_cr": true, "offset_header": true }));
    rig.append("a.log", "one\r\n\r\ntwo\n\r\r\nx\ry\n");
    let running = rig.start();
    let mut expected = vec!["one", "", "two", "\r", "x\ry"];
    rig.expect(&expected).await;
    let mut starts: Vec<(String, String)> = rig
        .channels
        .events(0)
        .into_iter()
        .map(|event| (event.headers["offset"].clone(), event.body))
        .collect();
    starts.sort_by_key(|(start, _)| start.parse::<u64>().unwrap());
    let of = |start: &str, body: &str| (start.to_owned(), body.to_owned());
    let all = [of("0", "one"), of("5", ""), of("7", "two"), of("11", "\r"), of("14", "x\ry")];
    assert_eq!(starts, all);
    running.stop().await;
    // Positions are those of the file: nothing is read twice, and nothing is skipped.
    rig.append("a.log", "three\r\nfour\r");
    expected.push("three");
    let running = rig.start();
    rig.expect(&expected).await;
    rig.append("a.log", "\n");
    expected.push("four");
    rig.expect(&expected).await;
    running.stop().await;
}

#[tokio::test]
async fn a_cr_is_kept_without_the_setting() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "one\r\n");
    let running = rig.start();
    rig.expect(&["one\r"]).await;
    running.stop().await;
}
