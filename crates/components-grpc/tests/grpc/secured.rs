//! Goal: agents with TLS deliver like agents without it, authenticate each other by certificates,
//! and reload certificates without losing a batch. Method: both ends on loopback with the
//! certificates of `crates/tls`; the source's certificates are in a directory of the test, which
//! replaces them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::{fs, io};

use async_trait::async_trait;
use pipeline::Env;
use pipeline::env::{Names, Service};
use serde_json::Value;

use super::*;

fn material(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material").join(name)
}

/// Returns a source that requires certificates, with a copy of its own in `folder`.
fn guarded(folder: &Path) -> Value {
    for name in ["server.pem", "server.key.pem"] {
        fs::copy(material(name), folder.join(name)).unwrap();
    }
    json!({ "tls": {
        "certificate": folder.join("server.pem"), "key": folder.join("server.key.pem"),
        "client_ca": material("ca.pem"), "min_version": "1.3",
    }})
}

/// Returns a sink with a certificate.
fn known() -> Value {
    json!({
        "ca": material("ca.pem"), "server_name": "localhost",
        "certificate": material("client.pem"), "key": material("client.key.pem"),
    })
}

/// Returns the error with which a sink with these settings fails to open.
pub(crate) async fn refusal(env: &Env, address: &str, more: Value) -> String {
    let mut sink = sink(env, address, more);
    let error = within(sink.open()).await.err().unwrap();
    let (mut said, mut cause) = (String::new(), Some(&error as &dyn std::error::Error));
    while let Some(one) = cause {
        said += &format!("{one}: ");
        cause = one.source();
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_go_through_tls_and_a_new_certificate_takes_over_between_them() {
    let env = env::real();
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, guarded(folder.path()));
    let mut sink = open_sink(&env, &source.address, json!({ "tls": known() })).await;
    write(&mut *sink, 0..100).await;

    // A certificate for another name: open connections continue, new ones are refused.
    for name in ["elsewhere.pem", "elsewhere.key.pem"] {
        let target = name.replace("elsewhere", "server");
        fs::copy(material(name), folder.path().join(target)).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let said = refusal(&env, &address, json!({ "tls": known() })).await;
    assert!(said.contains("is not for"), "{said}");
    write(&mut *sink, 100..200).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..200)).await;
    assert_eq!(memory.batches(), (0..200).map(|n| taken(n).batch).collect::<Vec<_>>());
    memory.commit_all();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..200)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
    sink.close().await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_the_right_certificate_are_not_served_and_learn_why() {
    let env = env::real();
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, guarded(folder.path()));
    open_sink(&env, &address, json!({ "tls": known() })).await.close().await;

    let mut other = known();
    other["ca"] = json!(material("other-ca.pem"));
    let said = refusal(&env, &address, json!({ "tls": other })).await;
    assert!(said.contains("not signed by a trusted authority"), "{said}");
    let mut stranger = known();
    stranger["certificate"] = json!(material("stranger.pem"));
    stranger["key"] = json!(material("stranger.key.pem"));
    for tls in [json!({ "ca": material("ca.pem"), "server_name": "localhost" }), stranger] {
        // With TLS 1.3 the client completes the handshake before the server rejects it.
        let said = refusal(&env, &address, json!({ "tls": tls })).await;
        let names_it = said.contains("`tls.certificate`") || said.contains("stranger.pem");
        assert!(names_it, "{said}");
    }
    let mut plain = sink(&env, &address, json!({}));
    assert!(within(plain.open()).await.is_err());
    assert!(memory.batches().is_empty());
    source.stop().await;
}

/// A resolver that returns this host for every name.
struct Here;

#[async_trait]
impl Names for Here {
    async fn addresses(&self, _: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 1].into()])
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        Err(io::Error::other(name.to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_found_by_host_name_must_prove_that_name() {
    let env = Env { names: std::sync::Arc::new(Here), ..env::real() };
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, guarded(folder.path()));
    let port = address.rsplit_once(':').unwrap().1;
    let mut tls = known();
    tls.as_object_mut().unwrap().remove("server_name");
    for (host, is_it) in [("localhost", true), ("elsewhere.example", false)] {
        let settings = json!({
            "discover": format!("dns:{host}:{port}"), "discover_max": 1, "tls": tls,
        });
        let cx = pipeline::BuildContext::alone("out", folder.path(), env.clone());
        let mut sink =
            pipeline::testkit::build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
        let opened = tokio::time::timeout(Duration::from_secs(2), async {
            while sink.open().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert_eq!(opened.await.is_ok(), is_it, "{host}");
        sink.close().await;
    }
    source.stop().await;
}
