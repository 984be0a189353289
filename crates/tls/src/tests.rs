//! Goal: both ends trust exactly what their settings name, in every file format; a failing
//! handshake reports the reason; new files apply from the next handshake on.
//!
//! Method: a listener and a client over a pipe in memory, with certificates of openssl and Java's
//! keytool (`tests/material/make`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use pipeline::env::{Clock, Env, Stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{Client, ClientTls, Server, ServerTls, Visitor};

fn material(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material").join(name)
}

/// Replaces file names in settings by paths of the test files.
fn placed(mut settings: Value) -> Value {
    let names = ["certificate", "key", "keystore", "client_ca", "client_crl", "ca", "truststore"]
        .map(str::to_owned);
    for (name, value) in settings.as_object_mut().unwrap() {
        if let Some(file) = value.as_str().filter(|_| names.contains(name)) {
            *value = json!(material(file));
        }
    }
    settings
}

fn server(settings: Value) -> Server {
    let settings: ServerTls = serde_json::from_value(placed(settings)).unwrap();
    Server::new(settings, &env::real(), &["http/1.1"]).unwrap()
}

fn client_at(env: &Env, settings: Value) -> Client {
    let settings: ClientTls = serde_json::from_value(placed(settings)).unwrap();
    Client::new(settings, env, &["http/1.1"]).unwrap()
}

fn client(settings: Value) -> Client {
    client_at(&env::real(), settings)
}

fn plain() -> Server {
    server(json!({ "certificate": "server.pem", "key": "server.key.pem" }))
}

/// Answers five bytes.
async fn echo(mut stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(stream)
}

async fn say(stream: &mut Box<dyn Stream>) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

/// Returns the results of the client and of the listener for one exchange.
async fn exchange(server: &Server, client: &Client) -> (io::Result<()>, io::Result<()>) {
    let (here, there) = duplex(64 << 10);
    let serving = tokio::spawn(echo(server.wrap(Box::new(there), Visitor::default(), || {}).0));
    let talking = async {
        let mut stream = client.wrap(Box::new(here), "localhost:4545").await?;
        say(&mut stream).await
    };
    let talked = talking.await;
    (talked, serving.await.unwrap().map(|_| ()))
}

async fn works(server: &Server, client: &Client) {
    let (here, there) = exchange(server, client).await;
    here.unwrap();
    there.unwrap();
}

/// Returns the client's error of a failing exchange.
async fn refused(server: &Server, client: &Client) -> String {
    exchange(server, client).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn keys_and_trust_come_from_pem_pkcs12_and_jks_alike() {
    let password = "changeit";
    let stores = ["keystore.p12", "legacy.p12", "keystore.jks"];
    let stores = stores.map(|it| json!({ "keystore": it, "keystore_password": password }));
    let pem = json!({ "certificate": "server.pem", "key": "server.key.pem" });
    let trusts = ["truststore.p12", "truststore.jks"];
    let trusts = trusts.map(|it| json!({ "truststore": it, "truststore_password": password }));
    let unchecked = json!({ "truststore": "truststore.jks" });
    for identity in stores.into_iter().chain([pem]) {
        let server = server(identity);
        for trust in trusts.iter().chain([&unchecked, &json!({ "ca": "ca.pem" })]) {
            works(&server, &client(trust.clone())).await;
        }
        works(&server, &client(json!({ "ca": "ca.pem", "min_version": "1.3" }))).await;
    }
}

#[tokio::test]
async fn trusts_certificates_in_the_truststore_itself() {
    let alone = server(json!({ "certificate": "alone.pem", "key": "alone.key.pem" }));
    works(&alone, &client(json!({ "ca": "alone.pem" }))).await;
    let flume = json!({ "keystore": "flume.jks", "keystore_password": "changeit" });
    let of_flume = |checks: bool| {
        let password = "changeit";
        client(json!({ "truststore": "flume.jks", "truststore_password": password,
            "check_name": checks }))
    };
    works(&server(flume.clone()), &of_flume(false)).await;
    // A certificate of keytool names no host.
    let problem = refused(&server(flume), &of_flume(true)).await;
    assert!(problem.contains("`check_name = false`"), "{problem}");
    for (year, word) in [(2_300, "expired"), (2_001, "not valid yet")] {
        let env = Env { clock: Arc::new(At(year)), ..env::real() };
        let problem = refused(&alone, &client_at(&env, json!({ "ca": "alone.pem" }))).await;
        assert!(problem.contains(word), "{problem}");
    }
    let other = json!({ "ca": "alone.pem", "server_name": "elsewhere.example" });
    let problem = refused(&alone, &client(other)).await;
    assert!(problem.contains("not for `elsewhere.example`"), "{problem}");
}

/// A clock stopped in a year.
struct At(u64);

impl Clock for At {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs((self.0 - 1970) * 31_556_952)
    }
}

#[tokio::test]
async fn a_client_rejects_untrusted_servers_and_names_a_remedy() {
    let problem = refused(&plain(), &client(json!({ "ca": "other-ca.pem" }))).await;
    assert!(problem.contains("not signed by a trusted authority"), "{problem}");
    let elsewhere = server(json!({ "certificate": "elsewhere.pem", "key": "elsewhere.key.pem" }));
    let problem = refused(&elsewhere, &client(json!({ "ca": "ca.pem" }))).await;
    assert!(problem.contains("not for `localhost`"), "{problem}");
    assert!(problem.contains("elsewhere.example"), "{problem}");
    let named = json!({ "ca": "ca.pem", "server_name": "elsewhere.example" });
    works(&elsewhere, &client(named)).await;
    works(&elsewhere, &client(json!({ "ca": "ca.pem", "check_name": false }))).await;
    works(&elsewhere, &client(json!({ "trust_all": true }))).await;
    for (year, word) in [(2_300, "expired"), (2_001, "not valid yet")] {
        let env = Env { clock: Arc::new(At(year)), ..env::real() };
        let problem = refused(&plain(), &client_at(&env, json!({ "ca": "ca.pem" }))).await;
        assert!(problem.contains(word), "{problem}");
    }
}

#[tokio::test]
async fn a_listener_with_client_ca_takes_clients_of_that_authority_alone() {
    let with = |auth: &str| {
        server(json!({ "certificate": "server.pem", "key": "server.key.pem",
            "client_ca": "ca.pem", "client_auth": auth }))
    };
    let showing = |name: &str| {
        client(json!({ "ca": "ca.pem", "certificate": format!("{name}.pem"),
            "key": format!("{name}.key.pem") }))
    };
    let (required, optional) = (with("required"), with("optional"));
    works(&required, &showing("client")).await;
    works(&optional, &showing("client")).await;
    works(&optional, &client(json!({ "ca": "ca.pem" }))).await;
    for (server, client) in [
        (&required, client(json!({ "ca": "ca.pem" }))),
        (&required, showing("stranger")),
        (&optional, showing("stranger")),
    ] {
        let (here, there) = exchange(server, &client).await;
        let problem = there.unwrap_err().to_string();
        assert!(
            problem.contains("sent no certificate") || problem.contains("not signed by"),
            "{problem}"
        );
        here.unwrap_err();
    }
}

#[tokio::test]
async fn a_listener_refuses_a_client_whose_certificate_has_expired() {
    let settings = placed(json!({ "certificate": "server.pem", "key": "server.key.pem",
        "client_ca": "ca.pem" }));
    let later = Env { clock: Arc::new(At(2_300)), ..env::real() };
    let server = Server::new(serde_json::from_value(settings).unwrap(), &later, &[]).unwrap();
    let shown = json!({ "trust_all": true, "certificate": "client.pem", "key": "client.key.pem" });
    let (_, there) = exchange(&server, &client(shown)).await;
    let problem = there.unwrap_err().to_string();
    assert!(problem.contains("expired"), "{problem}");
}

#[tokio::test]
async fn errors_of_files_name_the_file_and_a_remedy() {
    let pair = |certificate: &str, key: &str| json!({ "certificate": certificate, "key": key });
    let revoking = |crl: &str| {
        json!({ "certificate": "server.pem", "key": "server.key.pem", "client_ca": "ca.pem",
            "client_crl": crl })
    };
    let store =
        |file: &str, password: &str| json!({ "keystore": file, "keystore_password": password });
    for (settings, file, words) in [
        (pair("none.pem", "server.key.pem"), "none.pem", "cannot read"),
        (pair("server.key.pem", "server.key.pem"), "server.key.pem", "no `BEGIN CERTIFICATE`"),
        (pair("keystore.jks", "server.key.pem"), "keystore.jks", "looks like a keystore"),
        (pair("server.pem", "server.pem"), "server.pem", "no `BEGIN PRIVATE KEY`"),
        (pair("server.pem", "locked.key.pem"), "locked.key.pem", "openssl pkey"),
        (pair("server.pem", "client.key.pem"), "server.pem", "for another key"),
        (store("keystore.p12", "wrong"), "keystore.p12", "cannot be opened with this password"),
        (store("legacy.p12", "wrong"), "legacy.p12", "cannot be opened with this password"),
        (store("keystore.jks", "wrong"), "keystore.jks", "cannot be opened with this password"),
        (store("truststore.p12", "changeit"), "truststore.p12", "no private key"),
        (store("truststore.jks", "changeit"), "truststore.jks", "no private key"),
        (store("old.jceks", "changeit"), "old.jceks", "keytool -importkeystore"),
        (store("server.pem", "changeit"), "server.pem", "neither PKCS#12 nor JKS"),
        (revoking("server.pem"), "server.pem", "no `BEGIN X509 CRL`"),
        (revoking("keystore.p12"), "keystore.p12", "a damaged CRL"),
    ] {
        let error = server(settings).load().await.err().unwrap().to_string();
        assert!(error.contains(file) && error.contains(words), "{file}: {error}");
        assert!(!error.contains("changeit") && !error.contains("wrong"), "no secret: {error}");
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused_by_their_name() {
    for (settings, setting) in [
        (json!({}), "tls.certificate"),
        (json!({ "certificate": "a" }), "tls.key"),
        (json!({ "key": "a" }), "tls.certificate"),
        (json!({ "keystore": "a" }), "tls.keystore_password"),
        (json!({ "keystore_password": "hunter2" }), "tls.keystore_password"),
        (json!({ "certificate": "a", "key": "b", "keystore": "c" }), "tls.keystore"),
        (json!({ "certificate": "a", "key": "b", "client_auth": "optional" }), "tls.client_auth"),
        (json!({ "certificate": "a", "key": "b", "client_crl": "c" }), "tls.client_crl"),
        (
            json!({ "certificate": "a", "key": "b", "client_ca": "c", "truststore": "d" }),
            "tls.truststore",
        ),
        (
            json!({ "certificate": "a", "key": "b", "handshake_timeout": "0s" }),
            "tls.handshake_timeout",
        ),
    ] {
        let settings: ServerTls = serde_json::from_value(settings).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        let error = Server::new(settings, &env::real(), &[]).err().unwrap();
        assert!(format!("{error:?}").contains(setting), "{setting}: {error:?}");
    }
    for (settings, setting) in [
        (json!({ "ca": "a", "trust_all": true }), "tls.trust_all"),
        (json!({ "crl": "a", "trust_all": true }), "tls.trust_all"),
        (json!({ "server_name": "a b" }), "tls.server_name"),
        (json!({ "truststore_password": "a" }), "tls.truststore_password"),
    ] {
        let settings: ClientTls = serde_json::from_value(settings).unwrap();
        let error = Client::new(settings, &env::real(), &[]).err().unwrap();
        assert!(format!("{error:?}").contains(setting), "{setting}: {error:?}");
    }
}

/// A stream of a listener, with how often its handshake was counted as failed.
fn accepted(server: &Server) -> (DuplexStream, Box<dyn Stream>, Arc<AtomicUsize>) {
    let (here, there) = duplex(64 << 10);
    let failed = Arc::new(AtomicUsize::new(0));
    let counted = failed.clone();
    let (stream, _) = server.wrap(Box::new(there), Visitor::default(), move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (here, stream, failed)
}

#[tokio::test]
async fn a_client_that_stalls_in_its_handshake_is_cut_off_in_time() {
    let server = plain();
    server.load().await.unwrap();
    tokio::time::pause();
    for begun in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let (mut here, mut stream, failed) = accepted(&server);
        here.write_all(begun).await.unwrap();
        let start = tokio::time::Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("tls.handshake_timeout"), "{error}");
        // tokio's timer counts in milliseconds.
        let waited = start.elapsed();
        assert!((10_000..=10_001).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(failed.load(Ordering::Relaxed), 1);
        assert!(stream.read_u8().await.is_err() && stream.write_all(b"x").await.is_err());
        assert_eq!(failed.load(Ordering::Relaxed), 1, "once");
    }
}

#[tokio::test]
async fn plain_text_is_refused_and_what_only_checks_the_port_is_not_counted() {
    let (mut here, mut stream, failed) = accepted(&plain());
    here.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(failed.load(Ordering::Relaxed), 1);
    let (here, mut stream, failed) = accepted(&plain());
    drop(here);
    assert!(stream.read_u8().await.is_err());
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn announces_a_clean_end_so_that_a_cut_differs_from_it() {
    let (server, client) = (plain(), client(json!({ "ca": "ca.pem" })));
    let (here, there) = duplex(64 << 10);
    let serving = tokio::spawn(echo(server.wrap(Box::new(there), Visitor::default(), || {}).0));
    let mut stream = client.wrap(Box::new(here), "localhost:1").await.unwrap();
    say(&mut stream).await.unwrap();
    drop(serving.await.unwrap().unwrap());
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "an end in order");
}

mod approved;
mod changes;
mod refused;
mod versions;

#[tokio::test]
async fn a_client_has_the_names_of_its_certificate_only_after_the_handshake() {
    let pair = json!({ "certificate": "server.pem", "key": "server.key.pem" });
    let mut asking = pair.clone();
    asking["client_ca"] = json!("ca.pem");
    asking["client_auth"] = json!("optional");
    let shown = json!({ "ca": "ca.pem", "certificate": "client.pem", "key": "client.key.pem" });
    for (settings, shown, expected) in [
        (&asking, &shown, "client.example"),
        (&asking, &json!({ "ca": "ca.pem" }), ""),
        (&pair, &shown, ""),
    ] {
        let (here, there) = duplex(64 << 10);
        let (stream, names) =
            server(settings.clone()).wrap(Box::new(there), Visitor::default(), || {});
        assert!(names.all().is_empty(), "nothing is proved yet");
        let serving = tokio::spawn(echo(stream));
        let client = client(shown.clone());
        let mut stream = client.wrap(Box::new(here), "localhost:1").await.unwrap();
        say(&mut stream).await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(names.all().join(" "), expected);
    }
    let settings: ClientTls = serde_json::from_value(placed(shown)).unwrap();
    let name = settings.own_name().unwrap()(&env::real()).unwrap();
    assert_eq!(name.as_deref(), Some("client.example"));
    assert_eq!(ClientTls::default().own_name().unwrap()(&env::real()).unwrap(), None);
}
