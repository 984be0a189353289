//! Permission to change the agent, and the audit line of each request.

use control::audit::{Line, Outcome};

use super::*;

const ASKS: &str = "x-aqueduct: reload\r\n";

fn at(address: &str, token: Option<&str>) -> Bench {
    let guard = Arc::new(Guard::new(address, address, token.map(|it| it.to_owned().into())));
    bench_behind(Running::default(), Front { kind: ListenerKind::Admin, guard, tls: None })
}

/// The answer of an agent without a file to a permitted request.
fn is_allowed(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503") && answer.contains("cannot reload now")
}

#[tokio::test(start_paused = true)]
async fn reload_needs_a_post_with_its_header() {
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
async fn reload_over_the_network_needs_the_token() {
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
    let front = Front { kind: ListenerKind::Flume, guard, tls: None };
    let answer = bench_behind(Running::default(), front).ask("POST", "/reload", ASKS).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

/// As every other change: only by POST with its own header, and from a network with the token.
#[tokio::test]
async fn changes_of_dead_letters_need_the_rights_of_changes_and_are_audited() {
    let meant = |action: &str| format!("x-aqueduct: {action}\r\n");
    let bench = at("127.0.0.1:1", None);
    for action in ["dlq/replay", "dlq/drop"] {
        let page = format!("/{action}");
        assert!(bench.ask("GET", &page, &meant(action)).await.starts_with("HTTP/1.1 405"));
        for headers in ["", &meant("reload"), &meant("dlq")] {
            let answer = bench.ask("POST", &page, headers).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{headers}: {answer}");
        }
        let answer = bench.ask("POST", &format!("{page}?resaon=x"), &meant(action)).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("`reason`"), "{answer}");
        let answer = bench.ask("POST", &page, &meant(action)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"letters\":0"), "{answer}");
        let open = at("10.0.0.1:1", None);
        assert!(open.ask("POST", &page, &meant(action)).await.starts_with("HTTP/1.1 403"));
        let closed = at("10.0.0.1:1", Some("0123456789abcdef"));
        assert!(closed.ask("POST", &page, &meant(action)).await.starts_with("HTTP/1.1 401"));
    }
    let lines = audited(&bench).await;
    let counted = |wanted| lines.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
    let counts = [Outcome::Done, Outcome::Failed, Outcome::Refused].map(counted);
    assert_eq!(counts, [2, 2, 6], "{lines:?}");
    assert_eq!((&*lines[0].0, lines[0].1), ("dlq drop", Outcome::Done));
    assert_eq!(lines[0].2, "loopback at client: 0 letters with 0 events");
}

/// The audit log as pairs of action and outcome, the newest first, with details.
async fn audited(bench: &Bench) -> Vec<(String, Outcome, String)> {
    let lines = bench.pages.audit.newest(99).await.unwrap();
    let pair = |line: Line| {
        let more = format!("{}: {}", line.actor, line.detail.unwrap_or_default());
        (line.action, line.outcome, more)
    };
    lines.into_iter().map(pair).collect()
}

#[tokio::test]
async fn each_change_needs_its_own_header_and_each_refusal_is_noted() {
    for action in ["reload", "stop", "start", "drain"] {
        let bench = at("127.0.0.1:1", None);
        let page = format!("/{action}?{}", if action == "drain" { "" } else { "source=a" });
        for (headers, status, why) in [
            (String::new(), "403", "loopback at client: header `X-Aqueduct` is missing"),
            (
                "x-aqueduct: status\r\n".into(),
                "403",
                "loopback at client: header `X-Aqueduct` is missing",
            ),
            (
                format!("x-aqueduct: {action}\r\nhost: evil.example\r\n"),
                "421",
                "loopback at client: wrong `Host` header",
            ),
        ] {
            let answer = bench.ask("POST", &page, &headers).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{page}: {answer}");
            let (noted, outcome, more) = audited(&bench).await.remove(0);
            assert_eq!((&*noted, outcome, &*more), (action, Outcome::Refused, why));
        }
        // It is permitted, but nothing could execute it.
        let answer = bench.ask("POST", &page, &format!("x-aqueduct: {action}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{page}: {answer}");
        let all = audited(&bench).await;
        assert_eq!((&*all[0].0, all[0].1), (action, Outcome::Failed), "{all:?}");
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(bench.ask("GET", &page, "").await.starts_with("HTTP/1.1 405"));
        assert_eq!(audited(&bench).await.len(), 4, "a look changes nothing");
    }
}

#[tokio::test]
async fn the_audit_log_names_the_token_and_never_holds_it() {
    let bench = at("10.0.0.1:1", Some("0123456789abcdef"));
    let asks = "x-aqueduct: stop\r\n";
    let token = |token: &str| format!("{asks}authorization: Bearer {token}\r\n");
    bench.ask("POST", "/stop?group=a", asks).await;
    bench.ask("POST", "/stop?group=a", &token("fedcba9876543210")).await;
    bench.ask("POST", "/stop?group=a", &token("0123456789abcdef")).await;
    bench.ask("POST", "/stop?grop=a", &token("0123456789abcdef")).await;
    let known = "authorization: Bearer 0123456789abcdef\r\n";
    let page = bench.ask("GET", "/audit?newest=9", known).await;
    assert!(!page.contains("0123456789abcdef") && !page.contains("fedcba9876543210"), "{page}");
    let noted: Vec<_> = audited(&bench).await;
    let noted: Vec<_> = noted.iter().map(|(_, outcome, more)| (*outcome, &**more)).collect();
    assert_eq!(
        noted,
        [
            (
                Outcome::Failed,
                "admin token at client: unknown parameter `grop`; did you mean `group`?"
            ),
            (
                Outcome::Failed,
                "admin token at client: cannot make this change now: other requests are waiting, \
                 or the agent is stopping; retry later"
            ),
            (Outcome::Refused, "a wrong token at client: wrong or missing token"),
            (Outcome::Refused, "no token at client: wrong or missing token"),
        ]
    );
    assert!(bench.get("/audit").await.starts_with("HTTP/1.1 401"));
}
