//! Which requests may ask for a reload.

use super::*;

const ASKS: &str = "x-aqueduct: reload\r\n";

fn at(address: &str, token: Option<&str>) -> Bench {
    let guard = Arc::new(Guard::new(address, address, token.map(|it| it.to_owned().into())));
    bench_behind(Running::default(), Front { site: Site::Admin, guard, tls: None })
}

/// What an agent without a file answers when the request is allowed.
fn is_allowed(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503") && answer.contains("no reload now")
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_asked_for_by_post_with_its_header_alone() {
    let bench = at("127.0.0.1:1", None);
    assert!(is_allowed(&bench.ask("POST", "/reload", ASKS).await));
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let answer = bench.ask(method, "/reload", ASKS).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{method}: {answer}");
        assert!(answer.contains("\r\nallow: POST\r\n"), "{method}: {answer}");
    }
    for headers in ["", "x-aqueduct: 1\r\n", "content-type: text/plain\r\n"] {
        let answer = bench.ask("POST", "/reload", headers).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{headers}: {answer}");
    }
    let elsewhere = format!("{ASKS}host: evil.example\r\n");
    assert!(bench.ask("POST", "/reload", &elsewhere).await.starts_with("HTTP/1.1 421"));
}

#[tokio::test(start_paused = true)]
async fn the_network_asks_for_a_reload_with_the_token_alone() {
    let open = at("10.0.0.1:1", None);
    let answer = open.ask("POST", "/reload", ASKS).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("`agent.admin_token`"));
    let closed = at("10.0.0.1:1", Some("0123456789abcdef"));
    assert!(closed.ask("POST", "/reload", ASKS).await.starts_with("HTTP/1.1 401"));
    let token = format!("{ASKS}authorization: Bearer 0123456789abcdef\r\n");
    assert!(is_allowed(&closed.ask("POST", "/reload", &token).await));
}

#[tokio::test(start_paused = true)]
async fn flumes_page_reloads_nothing() {
    let guard = Arc::new(Guard::new("127.0.0.1:1", "127.0.0.1:1", None));
    let front = Front { site: Site::Flume, guard, tls: None };
    let answer = bench_behind(Running::default(), front).ask("POST", "/reload", ASKS).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}
