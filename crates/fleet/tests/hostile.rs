//! Goal: agents that stay connected get an offer at once; a hostile agent and a hostile browser get
//! nothing, and delay no other client.
//!
//! Method: the real server on loopback, with requests and WebSockets that are written by hand.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![allow(clippy::disallowed_methods, reason = "the test is the operator and the network")]

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aqueduct_fleet::{Directory, MESSAGE_MAX, Settings, serve};
use futures::{SinkExt, StreamExt};
use prost::Message as _;
use tempfile::TempDir;
use tls::Tokens;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use wire::fleet_v1::Counts;
use wire::opamp::{
    AgentCapabilities, AgentDescription, AgentToServer, AnyValue, CAPABILITY, COUNTS,
    CustomMessage, KeyValue, ServerToAgent, any_value, framed, unframed,
};

const LIMIT: Duration = Duration::from_secs(20);

struct Site {
    address: SocketAddr,
    folder: TempDir,
}

impl Site {
    /// Starts a server. With `tokens`, agents need one.
    async fn start(tokens: Option<&str>) -> Self {
        let (folder, env) = (tempfile::tempdir().unwrap(), env::real());
        let address = support::loopback::free_address();
        let directory = Directory::open(folder.path(), &env).unwrap();
        let assign = "[[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"edge\"]\n";
        fs::write(folder.path().join("assign.toml"), assign).unwrap();
        fs::write(folder.path().join("fragments/edge.toml"), "[sinks.edge]\n").unwrap();
        let tokens = tokens.map(|text| {
            let path = folder.path().join("tokens");
            fs::write(&path, text).unwrap();
            Tokens::new(&path, &env)
        });
        let settings = Settings { listen: address.to_string(), tokens, ..Settings::default() };
        tokio::spawn(async move { serve(directory, settings, &env).await.map(|_| ()) });
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { address, folder }
    }

    /// Sends bytes, and returns the answer when the connection ends.
    async fn raw(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = head.replace("HOST", &self.address.to_string());
        let text = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(text.as_bytes()).await.unwrap();
        // The server may answer, and close, before it has read all.
        let _refused_early = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _reset = timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, headers: &str, body: &[u8]) -> String {
        let kind = "content-type: application/x-protobuf\r\n";
        self.raw(&format!("POST /v1/opamp HTTP/1.1\r\nhost: HOST\r\n{kind}{headers}"), body).await
    }

    async fn agents(&self) -> serde_json::Value {
        let answer = self.raw("GET /fleet HTTP/1.1\r\nhost: HOST\r\n", b"").await;
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str::<serde_json::Value>(body).unwrap()["agents"].take()
    }

    /// Opens a WebSocket; returns the status if the server refuses.
    async fn open(&self, headers: &str) -> Result<WebSocketStream<TcpStream>, String> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET /v1/opamp HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LIMIT, stream.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head[9..12].to_owned());
        }
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn report(number: u8, in_force: &[u8]) -> AgentToServer {
    let in_force = in_force.to_vec().into();
    let counts = Counts { in_force, poll_seconds: 3_600, ..Counts::default() };
    AgentToServer {
        instance_uid: vec![number; 16].into(),
        capabilities: AgentCapabilities::AcceptsRemoteConfig as u64,
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![attribute("service.instance.id", "edge")],
            non_identifying_attributes: vec![attribute("role", "edge")],
        }),
        custom_message: Some(CustomMessage {
            capability: CAPABILITY.to_owned(),
            r#type: COUNTS.to_owned(),
            data: counts.encode_to_vec().into(),
        }),
        ..AgentToServer::default()
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, report: &AgentToServer) {
    socket.send(Message::Binary(framed(report).into())).await.unwrap();
}

/// The next message; the close code if the server has closed the connection.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<ServerToAgent, u16> {
    loop {
        match timeout(LIMIT, socket.next()).await.expect("in time") {
            Some(Ok(Message::Binary(bytes))) => {
                return Ok(ServerToAgent::decode(unframed(&bytes)).unwrap());
            }
            Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |it| it.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(1),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_agent_gets_an_offer_at_once() {
    let site = Site::start(None).await;
    let mut socket = site.open("").await.unwrap();
    send(&mut socket, &report(1, b"")).await;
    assert_eq!(next(&mut socket).await.unwrap().remote_config, None);
    let began = Instant::now();
    let act = "POST /roll-out?soak=0 HTTP/1.1\r\nhost: HOST\r\nx-aqueduct: roll-out\r\n";
    let answer = site.raw(act, b"").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Its poll interval is an hour.
    let offered = next(&mut socket).await.unwrap().remote_config.expect("an offer");
    assert!(began.elapsed() < Duration::from_secs(10));
    send(&mut socket, &report(1, &offered.config_hash)).await;
    assert_eq!(next(&mut socket).await.unwrap().remote_config, None);
    let agents = site.agents().await;
    assert_eq!(agents[0]["in_force"], agents[0]["wanted"], "{agents}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_agent_is_disconnected_and_others_are_served() {
    let tokens = "edge-1 0123456789abcdef0123\nedge-2 abcdef0123456789abcd\n";
    let site = Site::start(Some(tokens)).await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let (one, two) = (bearer("0123456789abcdef0123"), bearer("abcdef0123456789abcd"));
    assert_eq!(site.open("").await.err().as_deref(), Some("401"));
    assert_eq!(site.open(&bearer("0123456789abcdef0124")).await.err().as_deref(), Some("401"));
    let mut good = site.open(&one).await.unwrap();
    send(&mut good, &report(1, b"")).await;
    next(&mut good).await.unwrap();

    // The uid of another agent, over a WebSocket and in a request.
    let mut thief = site.open(&two).await.unwrap();
    send(&mut thief, &report(1, b"")).await;
    assert_eq!(next(&mut thief).await, Err(1008));
    let answer = site.post(&two, &report(1, b"").encode_to_vec()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // Two uids on one connection.
    let mut two_faced = site.open(&two).await.unwrap();
    send(&mut two_faced, &report(2, b"")).await;
    next(&mut two_faced).await.unwrap();
    send(&mut two_faced, &report(3, b"")).await;
    assert_eq!(next(&mut two_faced).await, Err(1008));
    // Too large, in both ways.
    let mut large = site.open(&two).await.unwrap();
    let _cut = large.send(Message::Binary(vec![1; MESSAGE_MAX + 1].into())).await;
    assert!([Err(1009), Err(1)].contains(&next(&mut large).await));
    let answer = site.post(&two, &vec![1; MESSAGE_MAX + 1]).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // No message, and a text.
    for (message, code) in
        [(Message::Binary(vec![0, 0xff, 0xff].into()), 1007), (Message::text("hello"), 1003)]
    {
        let mut wrong = site.open(&two).await.unwrap();
        wrong.send(message).await.unwrap();
        assert_eq!(next(&mut wrong).await, Err(code));
    }
    // A flood.
    let mut flood = site.open(&two).await.unwrap();
    let mut answers = 0;
    let code = loop {
        let _closed = flood.send(Message::Binary(framed(&report(2, b"")).into())).await;
        match next(&mut flood).await {
            Ok(_) => answers += 1,
            Err(code) => break code,
        }
    };
    assert!([1, 1008].contains(&code) && answers < 200, "{code} after {answers}");

    send(&mut good, &report(1, b"")).await;
    next(&mut good).await.unwrap();
    let agents = site.agents().await;
    let identities: Vec<_> = agents.as_array().unwrap().iter().map(|it| &it["identity"]).collect();
    assert!(identities.contains(&&"edge-1".into()), "{agents}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_browser_changes_and_reads_nothing() {
    let site = Site::start(None).await;
    let own = "host: HOST\r\n";
    let text = report(1, b"").encode_to_vec();
    let kind = "content-type: application/x-protobuf\r\n";
    for (request, body, status) in [
        // A form or a script of another site cannot send the header of a change.
        (format!("POST /roll-out HTTP/1.1\r\n{own}"), &b""[..], "403"),
        (format!("POST /abort HTTP/1.1\r\n{own}x-aqueduct: pause\r\n"), b"", "403"),
        (format!("GET /roll-out?soak=0 HTTP/1.1\r\n{own}x-aqueduct: roll-out\r\n"), b"", "200"),
        // A name that resolves to this host.
        ("GET /fleet HTTP/1.1\r\nhost: evil.example:80\r\n".to_owned(), b"", "421"),
        ("GET / HTTP/1.1\r\nhost: evil.example\r\n".to_owned(), b"", "421"),
        (
            "POST /roll-out HTTP/1.1\r\nhost: evil.example\r\nx-aqueduct: roll-out\r\n".to_owned(),
            b"",
            "421",
        ),
        // A report by a page: with a type that needs no consent, and with an origin.
        (format!("POST /v1/opamp HTTP/1.1\r\n{own}content-type: text/plain\r\n"), &text, "415"),
        (format!("POST /v1/opamp HTTP/1.1\r\n{own}"), &text, "415"),
        (
            format!("POST /v1/opamp HTTP/1.1\r\n{own}{kind}origin: http://evil.example\r\n"),
            &text,
            "403",
        ),
    ] {
        let answer = site.raw(&request, body).await;
        assert_eq!(&answer[9..12], status, "{request}: {answer}");
    }
    // Neither same-origin policy nor CORS apply to a WebSocket.
    let opened = site.open("origin: http://evil.example\r\n").await;
    assert_eq!(opened.err().as_deref(), Some("403"));
    assert_eq!(site.agents().await.as_array().unwrap().len(), 0);
    let audit = fs::read_to_string(site.folder.path().join("audit.log")).unwrap_or_default();
    assert_eq!(audit, "", "something was changed");

    // A name with markup is text on the page, which allows no script.
    let mut named = report(1, b"");
    let markup = attribute("service.instance.id", "<img src=x onerror=alert(1)>");
    named.agent_description.as_mut().unwrap().identifying_attributes = vec![markup];
    let answer = site.post("", &named.encode_to_vec()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let page = site.raw("GET / HTTP/1.1\r\nhost: HOST\r\n", b"").await;
    assert!(page.contains("&lt;img src=x") && !page.contains("<img"), "{page}");
    assert!(page.contains("default-src 'none'") && page.contains("nosniff"), "{page}");
}
