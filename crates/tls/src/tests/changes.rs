//! Certificates, keys and authorities that are replaced while clients connect.
//!
//! Method: files in a folder of the test, replaced as by an operator, and a clock that the test
//! advances.

use super::*;

/// A file of the tests in this place, as an operator replaces one.
fn place(dir: &Path, from: &str, to: &str) {
    let fresh = dir.join("fresh");
    #[expect(clippy::disallowed_methods, reason = "as an operator replaces a file")]
    std::fs::copy(material(from), &fresh)
        .and_then(|_| std::fs::rename(&fresh, dir.join(to)))
        .unwrap();
}

#[tokio::test]
async fn trust_that_changes_counts_from_the_next_handshake_on_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), "ca.pem", "of-clients");
    place(dir.path(), "ca.pem", "of-servers");
    place(dir.path(), "client.pem", "c");
    place(dir.path(), "client.key.pem", "k");
    let at = |name: &str| dir.path().join(name);
    let server = server(json!({ "certificate": "server.pem", "key": "server.key.pem",
        "client_ca": at("of-clients") }));
    let client = client(json!({ "ca": at("of-servers"), "certificate": at("c"), "key": at("k") }));
    works(&server, &client).await;
    tokio::time::pause();
    let second = || tokio::time::advance(Duration::from_secs(1));
    place(dir.path(), "other-ca.pem", "of-servers");
    second().await;
    let problem = refused(&server, &client).await;
    assert!(problem.contains("not signed by a trusted authority"), "{problem}");
    place(dir.path(), "ca.pem", "of-servers");
    place(dir.path(), "other-ca.pem", "of-clients");
    second().await;
    exchange(&server, &client).await.1.unwrap_err();
    place(dir.path(), "ca.pem", "of-clients");
    second().await;
    works(&server, &client).await;
    place(dir.path(), "stranger.pem", "c");
    place(dir.path(), "stranger.key.pem", "k");
    second().await;
    exchange(&server, &client).await.1.unwrap_err();
}

#[tokio::test]
async fn files_that_change_count_from_the_next_handshake_on_and_bad_ones_never() {
    let dir = tempfile::tempdir().unwrap();
    let place = |from: &str, to: &str| place(dir.path(), from, to);
    place("server.pem", "c");
    place("server.key.pem", "k");
    let settings = json!({ "certificate": dir.path().join("c"), "key": dir.path().join("k") });
    let server = server(settings);
    let (localhost, elsewhere) = (
        client(json!({ "ca": "ca.pem" })),
        client(json!({ "ca": "ca.pem", "server_name": "elsewhere.example" })),
    );
    let (here, there) = duplex(64 << 10);
    let (wrapped, _) = server.wrap(Box::new(there), Visitor::default(), || {});
    let serving = tokio::spawn(async move { echo(echo(wrapped).await?).await });
    let mut open = localhost.wrap(Box::new(here), "localhost:1").await.unwrap();
    say(&mut open).await.unwrap();

    tokio::time::pause();
    let look = async || {
        tokio::time::advance(Duration::from_secs(1)).await;
        server.load().await.unwrap();
    };
    // The certificate without its key: half of a change.
    place("elsewhere.pem", "c");
    look().await;
    works(&server, &localhost).await;
    place("elsewhere.key.pem", "k");
    works(&server, &localhost).await;
    look().await;
    works(&server, &elsewhere).await;
    assert!(refused(&server, &localhost).await.contains("elsewhere.example"));
    say(&mut open).await.unwrap();
    serving.await.unwrap().unwrap();
}
