//! The tests play the server over a pipe, with handwritten frames.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::backoff::RetryCause;

const LIMIT: Duration = Duration::from_secs(60);

async fn pair() -> (WebSocket<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    (WebSocket::new(ours, "ws://h/s".into(), 8).await, theirs)
}

/// Returns a server frame: the first byte, then the payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, payload.len() as u8], payload].concat()
}

/// Reads the next frame of the client, unmasked.
async fn said(server: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    server.read_exact(&mut head).await.unwrap();
    assert_eq!(head[1] & 0x80, 0x80, "clients mask what they send");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    server.read_exact(&mut payload).await.unwrap();
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= head[2 + place % 4];
    }
    (head[0], payload)
}

/// Returns the events from these server bytes, and how the connection ends.
async fn given(bytes: &[u8]) -> (Vec<(Vec<u8>, bool)>, HttpError, DuplexStream) {
    let (mut socket, mut server) = pair().await;
    server.write_all(bytes).await.unwrap();
    server.shutdown().await.unwrap();
    let mut events = Vec::new();
    loop {
        let read = socket.read(Instant::now(), LIMIT).await;
        while let Some(event) = socket.next() {
            events.push((event.body.to_vec(), event.is_cut));
        }
        if let Err(error) = read {
            return (events, error, server);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_is_one_event_despite_fragments_and_pings() {
    let bytes = [
        frame(0x81, b"one"),
        frame(0x01, b"tw"),
        frame(0x89, b"are you"),
        frame(0x00, b""),
        frame(0x80, b"o"),
        frame(0x81, b""),
        frame(0x82, &[0, 0xff]),
        frame(0x81, b"12345678"),
        frame(0x81, b"123456789"),
        frame(0x01, b"never whole"),
    ];
    let (events, error, mut server) = given(&bytes.concat()).await;
    let whole = |body: &[u8]| (body.to_vec(), false);
    let expected = [whole(b"one"), whole(b"two"), whole(&[0, 0xff]), whole(b"12345678")];
    assert_eq!(events[..4], expected);
    assert_eq!(events[4..], [(b"12345678".to_vec(), true)]);
    assert_eq!(error.trouble(), RetryCause::Network, "{error}");
    assert_eq!(said(&mut server).await, (0x8a, b"are you".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_server_is_sent_a_ping_and_one_that_does_not_answer_it_is_lost() {
    let (mut socket, mut server) = pair().await;
    let began = Instant::now();
    let mut heard = began;
    for _ in 0..3 {
        let answering = async {
            let (kind, payload) = said(&mut server).await;
            assert_eq!((kind, heard.elapsed()), (0x89, LIMIT / 2));
            server.write_all(&frame(0x8a, &payload)).await.unwrap();
        };
        tokio::join!(async { socket.read(heard, LIMIT).await.unwrap() }, answering);
        assert!(socket.next().is_none());
        heard = Instant::now();
    }
    let error = socket.read(heard, LIMIT).await.unwrap_err();
    assert_eq!(heard.elapsed(), LIMIT);
    assert_eq!((error.trouble(), error.wait()), (RetryCause::Network, None), "{error}");
    assert!(error.to_string().contains("no data for 60s"), "{error}");
}

/// A put interrupts a wait for the server; the next wait starts again.
#[tokio::test(start_paused = true)]
async fn reads_that_are_given_up_lose_nothing_and_send_no_further_pings() {
    let (mut socket, mut server) = pair().await;
    let began = Instant::now();
    for _ in 0..50 {
        let read = timeout(Duration::from_secs(1), socket.read(began, LIMIT)).await;
        assert!(read.is_err());
    }
    server.write_all(&frame(0x81, b"late")[..3]).await.unwrap();
    assert!(timeout(Duration::from_secs(1), socket.read(began, LIMIT)).await.is_err());
    server.write_all(&frame(0x81, b"late")[3..]).await.unwrap();
    socket.read(began, LIMIT).await.unwrap();
    assert_eq!(socket.next().unwrap().body, "late");
    assert_eq!(said(&mut server).await.0, 0x89);
    drop(socket);
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"", "one ping");
}

#[tokio::test(start_paused = true)]
async fn answers_a_close_and_pauses_according_to_its_code() {
    for (code, trouble, is_transient) in [
        (1000, RetryCause::Network, true),
        (1001, RetryCause::Network, true),
        (1012, RetryCause::Network, true),
        (1011, RetryCause::Http, true),
        (1013, RetryCause::Http, true),
        (1008, RetryCause::Http, false),
        (4401, RetryCause::Http, false),
    ] {
        let payload = [&u16::to_be_bytes(code)[..], b"gone"].concat();
        let (_, error, mut server) = given(&frame(0x88, &payload)).await;
        assert_eq!(error.trouble(), trouble, "{error}");
        assert!(error.to_string().contains(&format!("{code}: gone")), "{error}");
        let class = error.into_source_error().class;
        assert_eq!(class == pipeline::ErrorClass::Transient, is_transient, "{code}");
        let (kind, echoed) = said(&mut server).await;
        assert_eq!((kind, &echoed[..2]), (0x88, &payload[..2]));
    }
    let (_, error, _) = given(&frame(0x88, b"")).await;
    assert_eq!(error.trouble(), RetryCause::Network, "{error}");
    assert!(error.to_string().contains("1005"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn invalid_messages_close_the_connection_with_a_code() {
    let large = [&[0x81, 127][..], &(17u64 << 20).to_be_bytes()].concat();
    for (bytes, code, expected) in [
        (large, 1009, "17825792 bytes"),
        (frame(0x81, &[0xff]), 1007, "not UTF-8"),
        (frame(0x83, b"x"), 1002, "invalid WebSocket frames"),
        (frame(0x80, b"x"), 1002, "invalid WebSocket frames"),
    ] {
        let (events, error, mut server) = given(&bytes).await;
        assert!(events.is_empty());
        assert_eq!(error.trouble(), RetryCause::Http, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        let (kind, payload) = said(&mut server).await;
        assert_eq!((kind, &payload[..2]), (0x88, &u16::to_be_bytes(code)[..]), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn sends_its_messages_in_order_and_a_close_at_a_stop() {
    let (mut socket, mut server) = pair().await;
    let texts = ["{\"op\":1}", "{\"op\":2}"].map(|text| Secret::from(text.to_owned()));
    socket.send_texts(&texts, LIMIT).await.unwrap();
    socket.close(CloseCode::Away, "").await;
    let mut all = VecDeque::new();
    for _ in 0..3 {
        all.push_back(said(&mut server).await);
    }
    assert_eq!(all.pop_front(), Some((0x81, b"{\"op\":1}".to_vec())));
    assert_eq!(all.pop_front(), Some((0x81, b"{\"op\":2}".to_vec())));
    assert_eq!(all.pop_front(), Some((0x88, 1001u16.to_be_bytes().to_vec())));
    let (mut socket, server) = pair().await;
    drop(server);
    let error = socket.send_texts(&texts, LIMIT).await.unwrap_err();
    assert_eq!(error.trouble(), RetryCause::Network, "{error}");
}
