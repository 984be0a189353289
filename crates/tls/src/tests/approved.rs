//! TLS uses only the cryptography of the build, in both directions.
//!
//! Method: the other side is rustls with a provider that this test chooses.

use crypto::IS_FIPS;
use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};
use tokio_rustls::TlsConnector;

use super::*;

#[tokio::test]
async fn configurations_of_both_sides_are_approved_in_a_fips_build_alone() {
    let (server, client) = (plain(), client(json!({ "ca": "ca.pem" })));
    assert_eq!(server.config.current().await.unwrap().config.fips(), IS_FIPS, "a listener");
    assert_eq!(client.config.current().await.unwrap().config.fips(), IS_FIPS, "a client");
    works(&server, &client).await;
    let shown = json!({ "ca": "ca.pem", "certificate": "client.pem", "key": "client.key.pem" });
    let asking = json!({ "certificate": "server.pem", "key": "server.key.pem",
        "client_ca": "ca.pem" });
    let (server, client) = (self::server(asking), self::client(shown));
    assert_eq!(
        server.config.current().await.unwrap().config.fips(),
        IS_FIPS,
        "asks for certificates"
    );
    assert_eq!(client.config.current().await.unwrap().config.fips(), IS_FIPS, "has a certificate");
    works(&server, &client).await;
}

/// A FIPS build and a `ring` build have common algorithms, and a FIPS build accepts nothing else.
#[tokio::test]
async fn a_peer_with_what_is_not_approved_alone_is_refused_by_a_fips_build() {
    let suite = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let old = cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    let curve: &'static dyn SupportedKxGroup = kx_group::SECP256R1;
    for (suite, group, is_approved) in [
        (suite, curve, true),
        (old, curve, true),
        (chacha, curve, false),
        (suite, kx_group::X25519, false),
    ] {
        let (here, there) = duplex(64 << 10);
        let serving =
            tokio::spawn(echo(plain().wrap(Box::new(there), Visitor::default(), || {}).0));
        let shaken = other(suite, group).connect("localhost".try_into().unwrap(), here).await;
        if let Ok(stream) = shaken {
            // The client notices the listener's refusal at the first bytes of an answer.
            let _ = say(&mut (Box::new(stream) as Box<dyn Stream>)).await;
        }
        let is_served = serving.await.unwrap().is_ok();
        assert_eq!(is_served, is_approved || !IS_FIPS, "{suite:?} {group:?}");
    }
}

#[test]
fn a_fips_build_refuses_keystores_at_their_settings() {
    let refused = || {
        let password = "changeit";
        let listener = json!({ "keystore": "keystore.p12", "keystore_password": password });
        let listener: ServerTls = serde_json::from_value(placed(listener)).unwrap();
        let client = json!({ "truststore": "truststore.jks", "truststore_password": password });
        let client: ClientTls = serde_json::from_value(placed(client)).unwrap();
        let errors = [
            Server::new(listener, &env::real(), &[]).err(),
            Client::new(client, &env::real(), &[]).err(),
        ];
        errors.map(|error| error.map(|it| it.to_string()))
    };
    assert!(refused().iter().all(|it| it.is_some() == IS_FIPS));
    let said = crypto::refusing(refused).map(Option::unwrap_or_default);
    for (setting, said) in ["tls.keystore", "tls.truststore"].iter().zip(said) {
        assert!(said.contains(setting) && said.contains("`openssl pkcs12 "), "{said}");
    }
}

/// A client with this suite and this group and nothing else.
fn other(suite: SupportedCipherSuite, group: &'static dyn SupportedKxGroup) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(material("ca.pem")).unwrap();
    roots.add_parsable_certificates(authorities.map(Result::unwrap));
    let provider = CryptoProvider {
        cipher_suites: vec![suite],
        kx_groups: vec![group],
        ..ring::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
