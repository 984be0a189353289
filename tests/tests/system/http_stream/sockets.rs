//! The same tests over a WebSocket.

use aqueduct_tests::wait;

use super::server::{Manner, Server};
use super::site::{PAUSES, agent, counted, repeats};
use super::{LIMIT, SHORT, append_through_kills};

#[test]
#[ignore = "needs the programs: tests/run"]
fn messages_are_stored_once_through_kills_cuts_pieces_and_repeats() {
    const EVENTS: usize = 3000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner {
        resumes: true,
        repeats: 7,
        cut_within: Some(2500),
        splits: true,
        ..Manner::default()
    });
    let url = format!("ws://{}/socket", server.address);
    let settings = format!(
        "id = \"/n\"\ncursor = \"/n\"\nresume = \"since\"\nbatch_wait = \"20ms\"\n\
         subscribe = ['{{\"send\":1}}', '{{\"send\":2}}']\n{SHORT}"
    );
    let mut agent = agent(dir, "http_stream", &url, &settings);
    agent.start();
    append_through_kills(&server, &mut agent, 4, EVENTS);
    wait::until("50 connections", LIMIT, || (server.streams() >= 50).then_some(()));
    server.set(|manner| manner.cut_within = None);
    assert_eq!(repeats(dir, EVENTS), 0);
    // The next connection repeats the last events; when they were read, it is known to be open.
    let repeated = || counted(&agent, "event_repeated");
    let before = repeated();
    server.end_streams();
    wait::until("repeats", LIMIT, || (repeated() > before).then_some(()));
    let sockets = server.sockets();
    assert!(sockets.pongs > 0, "pings among pieces are answered");
    assert_eq!(sockets.said[..2], ["{\"send\":1}", "{\"send\":2}"]);
    let (streams, pongs) = (server.streams(), sockets.pongs);
    eprintln!("{EVENTS} events, {streams} connections, 4 kills, {pongs} pings answered");
    agent.stop(LIMIT);
    wait::until("a farewell", LIMIT, || server.sockets().closes.contains(&1001).then_some(()));
    assert_eq!(repeats(dir, EVENTS), 0);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn web_socket_opens_at_the_servers_time_and_closes_when_it_is_silent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Server::new(Manner { resumes: true, ..Manner::default() });
    server.append_numbers(10, "");
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    server.answer_with(&[busy]);
    server.close_with(&[1013, 1008, 1012]);
    let url = format!("ws://{}/socket", server.address);
    let settings = format!(
        r#"cursor = "/n"
resume = "since"
batch_wait = "20ms"
idle_timeout = "2s"
{PAUSES}"#
    );
    let mut agent = agent(dir, "http_stream", &url, &settings);
    agent.start();
    wait::until("the fourth stream", LIMIT, || (server.streams() == 4).then_some(()));
    let asked = server.asked();
    let pauses: Vec<f64> =
        asked.windows(2).map(|two| (two[1].at - two[0].at).as_secs_f64()).collect();
    eprintln!("pauses after 429, 1013, 1008 and 1012: {pauses:?}");
    let least = [1.0, 0.3, 0.6, 0.0];
    assert!(pauses.iter().zip(least).all(|(pause, least)| *pause >= least), "{pauses:?}");
    agent.until_logged("with code 1013", LIMIT);

    // Only pongs arrive, and they keep the connection alive.
    wait::until("pings", LIMIT, || (server.sockets().pings >= 4).then_some(()));
    assert_eq!(server.streams(), 4, "{}", agent.output());
    // The next stream is silent after five events, and the one after it has none.
    server.set(|manner| manner.stalls_after = Some(5));
    server.end_streams();
    wait::until("the fifth stream", LIMIT, || (server.streams() == 5).then_some(()));
    server.append_numbers(5, "");
    wait::until("the sixth stream", LIMIT, || (server.streams() == 6).then_some(()));
    agent.until_logged("no data for 2s", LIMIT);
    assert_eq!(repeats(dir, 15), 0);
    agent.stop(LIMIT);
}
