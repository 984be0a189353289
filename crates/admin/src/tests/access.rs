//! Access to the pages, and the headers of every answer for browsers.

use hyper::header::HeaderMap;
use serde_json::json;

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn with_a_token_set_only_probes_metrics_and_the_empty_page_are_open() {
    let bench = bench_with(Running::default(), Some(TOKEN));
    for open in ["/", "/metrics", "/livez", "/readyz", "/page/main.js", "/page/page.css"] {
        assert_eq!(status(&bench.get(open).await), "200", "{open}");
    }
    for closed in
        ["/status", "/status/events", "/config", "/dead-letters", "/account", "/tap", "/audit"]
    {
        let answer = bench.get(closed).await;
        assert_eq!(status(&answer), "401", "{closed}");
        assert!(answer.contains("\r\nwww-authenticate: Bearer realm=\"aqueduct\"\r\n"), "{answer}");
        assert!(!answer.contains("uptime"), "{answer}");
        let wrong = format!("authorization: Bearer {}\r\n", TOKEN.replace('f', "F"));
        assert_eq!(status(&bench.ask("GET", closed, &wrong).await), "401", "{closed}");
    }
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    for closed in ["/status", "/config", "/dead-letters", "/account", "/flume/metrics"] {
        assert_eq!(status(&bench.ask("GET", closed, &right).await), "200", "{closed}");
    }
    assert_eq!(status(&bench.ask("POST", "/status", &right).await), "405");
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_counted_shown_and_answered_late() {
    let bench = bench_with(Running::default(), Some(TOKEN));
    let wrong = "authorization: Bearer 0123456789abcdeX\r\n";
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(status(&bench.ask("GET", "/status", wrong).await), "401");
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(status(&bench.get("/status").await), "401");
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let metrics = bench.get("/metrics").await;
    for line in [
        "aqueduct_admin_refusals_total{reason=\"wrong_token\"} 3\n",
        "aqueduct_admin_refusals_total{reason=\"no_token\"} 1\n",
        "aqueduct_admin_refusals_total{reason=\"tls_failed\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let found = bench.pages.monitor.snapshot().await;
    let texts: Vec<&str> = found.troubles.iter().map(|it| it.text.as_str()).collect();
    let expected = "agent: 1 client refused: wrong token (3 attempts, the last by client)";
    assert!(texts.contains(&expected), "{texts:?}");
    assert_eq!(status(&bench.ask("GET", "/status", &right).await), "200");
    assert!(began.elapsed() < Duration::from_secs(1), "others do not wait");
    let found = bench.pages.monitor.snapshot().await;
    assert!(found.refused.is_empty(), "the client has the token now: {:?}", found.refused);
}

#[tokio::test(start_paused = true)]
async fn event_contents_need_a_token_on_a_network_address() {
    let at = |token: Option<&str>| {
        let token = token.map(|it| it.to_owned().into());
        let guard = Arc::new(Guard::new("0.0.0.0:1", "0.0.0.0:1", token));
        bench_behind(Running::default(), Front { kind: ListenerKind::Admin, guard, tls: None })
    };
    let (open, closed) = (at(None), at(Some(TOKEN)));
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    for (page, answered) in
        [("/config", "200"), ("/dead-letters", "200"), ("/tap", "400"), ("/audit", "200")]
    {
        let refused = open.get(page).await;
        assert_eq!(status(&refused), "403", "{page}");
        assert!(refused.contains("set `agent.admin_token`"), "{refused}");
        assert_eq!(status(&closed.ask("GET", page, &right).await), answered, "{page}");
    }
    assert_eq!(status(&open.get("/status").await), "200");
}

#[tokio::test(start_paused = true)]
async fn rebound_host_name_is_refused_on_every_page() {
    let bench = bench();
    for page in ["/", "/metrics", "/status", "/config", "/livez", "/page/main.js", "/none"] {
        let answer = bench.ask("GET", page, "host: evil.example:1\r\n").await;
        assert_eq!(status(&answer), "421", "{page}");
    }
    assert_eq!(status(&bench.ask("GET", "/status", "host: localhost:1\r\n").await), "200");
}

#[tokio::test(start_paused = true)]
async fn browsers_get_the_page_programs_the_list_and_other_sites_nothing() {
    let bench = bench();
    let answer = bench.ask("GET", "/", "accept: text/html,*/*\r\n").await;
    assert!(answer.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\r\nvary: Accept\r\n"), "{answer}");
    let list = bench.ask("GET", "/", "accept: */*\r\n").await;
    assert!(list.contains("\n/status/events "), "{list}");
    assert!(bench.get("/none").await.contains("unknown page; the pages are:\n/ "));
    for page in ["/", "/status", "/page/main.js", "/metrics", "/none", "/readyz"] {
        let answer = bench.ask("GET", page, "accept: text/html\r\n").await;
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
            "x-content-type-options: nosniff\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "referrer-policy: no-referrer\r\n",
        ] {
            assert!(answer.contains(&format!("\r\n{header}")), "{page}: {answer}");
        }
        assert!(answer.contains("frame-ancestors 'none'\r\n"), "{page}: {answer}");
        assert!(!answer.contains("unsafe-inline"), "{page}");
    }
}

#[tokio::test]
async fn pages_are_served_only_over_tls_if_it_is_set() {
    let material = format!("{}/../tls/tests/material", env!("CARGO_MANIFEST_DIR"));
    let settings = json!({
        "certificate": format!("{material}/server.pem"),
        "key": format!("{material}/server.key.pem"),
        "client_ca": format!("{material}/ca.pem"), "client_auth": "optional",
    });
    let env = env::real();
    let tls = server(&Settings::from_json(&settings), &env).unwrap();
    let guard = Arc::new(Guard::new("127.0.0.1:1", "127.0.0.1:1", None));
    let front = Front { kind: ListenerKind::Admin, guard, tls: Some(tls) };
    let bench = bench_behind(Running::default(), front);
    let client = json!({ "ca": format!("{material}/ca.pem"), "server_name": "localhost" });
    let client = serde_json::from_value(client).unwrap();
    let client = tls::Client::new(client, &env, &[]).unwrap();
    let mut stream = client.wrap(Box::new(bench.client()), "localhost:1").await.unwrap();
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The end of the stream is as TLS wants it.
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    let known = json!({
        "ca": format!("{material}/ca.pem"), "server_name": "localhost",
        "certificate": format!("{material}/client.pem"),
        "key": format!("{material}/client.key.pem"),
    });
    let known = tls::Client::new(serde_json::from_value(known).unwrap(), &env, &[]).unwrap();
    for (client, name) in [(known, Some("client.example")), (client, None)] {
        let mut stream = client.wrap(Box::new(bench.client()), "localhost:1").await.unwrap();
        stream.write_all(request.replace("GET /livez", "POST /stop").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), "403", "{answer}");
        let noted = bench.pages.audit.newest(1).await.unwrap().remove(0);
        assert_eq!(noted.actor.certificate.as_deref(), name);
        let by = noted.actor.to_string();
        assert_eq!(by.contains("loopback of client.example at client"), name.is_some(), "{by}");
    }
    let mut plain = bench.client();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    plain.read_to_end(&mut bytes).await.unwrap();
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
}

#[test]
fn a_header_of_many_bytes_is_no_token() {
    let guard = Guard::new("a:1", "10.0.0.1:1", Some(TOKEN.to_owned().into()));
    let value = format!("Bearer {}", "x".repeat(1 << 20));
    let value = hyper::header::HeaderValue::from_str(&value).unwrap();
    let headers: HeaderMap = [(hyper::header::AUTHORIZATION, value)].into_iter().collect();
    assert!(!guard.is_allowed(&headers));
}

#[tokio::test(start_paused = true)]
async fn a_head_of_60_kib_is_read_and_one_that_has_no_end_in_64_is_refused() {
    let bench = bench();
    let mut head = b"GET /livez HTTP/1.1\r\nconnection: close\r\nx: ".to_vec();
    let refused = [&head[..], &vec![b'x'; HEAD_BYTES_MAX - head.len()]].concat();
    head.resize(60 << 10, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    for (head, answered) in [(head, "HTTP/1.1 200"), (refused, "HTTP/1.1 431")] {
        let mut client = bench.client();
        client.write_all(&head).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(answered), "{} bytes: {answer}", head.len());
    }
}
