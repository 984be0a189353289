//! Goal: a source binds its ports before it runs, all or none, and names the port that is
//! unavailable, so that a port in use is an error of a start or a reload.
//!
//! Method: each listening source as a configuration builds it, on loopback ports that the test
//! occupies and releases.

use std::path::Path;
use std::sync::Arc;

use kit::testkit::channels::Channels;
use pipeline::env::{Datagrams, Listener};
use pipeline::testkit::{build, plain_context};
use pipeline::{Component, Env, Source, SourceContext, SourceError};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{avro, http, netcat, syslog, thrift};

fn context() -> SourceContext {
    plain_context(Arc::new(Channels::new(1)), CancellationToken::new())
}

async fn listen(env: &Env, address: &str) -> std::io::Result<Box<dyn Listener>> {
    env.net.listen(address).await
}

async fn bind(env: &Env, address: &str) -> std::io::Result<Box<dyn Datagrams>> {
    env.net.bind(address).await
}

/// Returns the error with its causes.
fn message(error: &SourceError) -> String {
    let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

/// Checks that the source can bind `address` with these settings once it is free.
async fn takes<C: Component<Role = dyn Source>>(address: &str, settings: Value) {
    let env = env::real();
    let mut source =
        build::<C>(&settings, &crate::alone("in", Path::new("unused"), env.clone())).unwrap();
    let cx = context();
    let other = listen(&env, address).await.unwrap();
    let error = source.open(&cx).await.unwrap_err();
    let text = message(&error);
    assert!(text.contains(address) && text.contains("in use"), "{}: {text}", C::KIND);
    drop(other);
    source.open(&cx).await.unwrap();
    assert!(listen(&env, address).await.is_err(), "{}: it has the port", C::KIND);
    drop(source);
    listen(&env, address).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_an_error_of_opening_and_a_free_one_is_taken_by_it() {
    let env = env::real();
    let address = listen(&env, "127.0.0.1:0").await.unwrap().local_address();
    takes::<components_grpc::source::Config>(&address, json!({ "listen": address })).await;
    takes::<avro::Config>(&address, json!({ "listen": address })).await;
    takes::<http::Config>(&address, json!({ "listen": address })).await;
    takes::<netcat::Config>(&address, json!({ "listen": address })).await;
    takes::<syslog::Config>(&address, json!({ "listen": [format!("tcp://{address}")] })).await;
    takes::<thrift::Config>(&address, json!({ "listen": address })).await;
}

#[tokio::test]
async fn a_source_that_cannot_have_all_its_ports_has_none() {
    let env = env::real();
    let free = listen(&env, "127.0.0.1:0").await.unwrap().local_address();
    let taken = bind(&env, "127.0.0.1:0").await.unwrap();
    let settings =
        json!({ "listen": [format!("tcp://{free}"), format!("udp://{}", taken.local_address())] });
    let cx = crate::alone("in", Path::new("unused"), env.clone());
    let mut source = build::<syslog::Config>(&settings, &cx).unwrap();
    let error = source.open(&context()).await.unwrap_err();
    assert!(message(&error).contains(&taken.local_address()), "{}", message(&error));
    drop(listen(&env, &free).await.unwrap());
    drop(taken);
    source.open(&context()).await.unwrap();
    assert!(listen(&env, &free).await.is_err());
}
