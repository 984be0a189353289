//! The minimum version of the settings is enforced.
//!
//! Method: the other side is rustls itself, with only TLS 1.2.

use crypto::tls::provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS12;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

#[tokio::test]
async fn the_least_version_holds_on_both_sides() {
    let with = |version: &str| {
        server(json!({ "certificate": "server.pem", "key": "server.key.pem",
            "min_version": version }))
    };
    for (version, is_taken) in [("1.2", true), ("1.3", false)] {
        let (here, there) = duplex(64 << 10);
        let serving =
            tokio::spawn(echo(with(version).wrap(Box::new(there), Visitor::default(), || {}).0));
        let shaken = old_client().connect("localhost".try_into().unwrap(), here).await;
        if let Ok(stream) = shaken {
            say(&mut (Box::new(stream) as Box<dyn Stream>)).await.unwrap();
        }
        assert_eq!(serving.await.unwrap().is_ok(), is_taken, "a listener from {version} on");

        let (here, there) = duplex(64 << 10);
        let serving = tokio::spawn(async move { old_server().accept(there).await.map(|_| ()) });
        let client = client(json!({ "ca": "ca.pem", "min_version": version }));
        let shaken = client.wrap(Box::new(here), "localhost:1").await;
        assert_eq!(shaken.is_ok(), is_taken, "a client from {version} on");
        assert_eq!(serving.await.unwrap().is_ok(), is_taken);
    }
}

/// A client that speaks TLS 1.2 and nothing newer.
fn old_client() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(material("ca.pem")).unwrap();
    roots.add_parsable_certificates(authorities.map(Result::unwrap));
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A listener that speaks TLS 1.2 and nothing newer.
fn old_server() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(material("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(material("server.key.pem")).unwrap();
    let provider = provider();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
