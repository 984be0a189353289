//! A broker with Kerberos authentication.

use std::fs;
use std::path::Path;

use super::Kafka;
use crate::http;
use crate::kdc::Kdc;

impl Kafka {
    /// Starts a broker with two more listeners for SASL GSSAPI, in plain text and over TLS; returns
    /// their addresses. A connection ends after 4 s unless its client authenticates again.
    /// `certificates` contains the files of [`crate::certificates::make`]. The brokers' principal
    /// is `kafka/localhost`.
    ///
    /// # Panics
    ///
    /// Same as [`Kafka::start`].
    ///
    /// As [`Kafka::start`].
    pub fn start_with_tickets(
        dir: &Path,
        certificates: &Path,
        kdc: &Kdc,
    ) -> (Self, String, String) {
        let keytab = dir.join("kafka.keytab");
        kdc.add("kafka/localhost", &keytab, "1 day");
        let both = ["server.key", "server.pem"].map(|name| {
            fs::read_to_string(certificates.join(name)).expect("a certificate and its key")
        });
        let sealed_by = certificates.join("broker.pem");
        fs::write(&sealed_by, both.concat()).expect("the test's own folder");
        let [open, plain, sealed, controller] = [(); 4].map(|()| http::free_address());
        let [plain, sealed] = [plain, sealed].map(|it| format!("localhost:{}", it.port()));
        let login = format!(
            "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true \
             keyTab=\"{}\" principal=\"kafka/localhost@EXAMPLE.TEST\";",
            keytab.display()
        );
        let of_listeners = ["plain", "sealed"].map(|name| {
            format!(
                "listener.name.{name}.sasl.enabled.mechanisms=GSSAPI\n\
                 listener.name.{name}.sasl.kerberos.service.name=kafka\n\
                 listener.name.{name}.connections.max.reauth.ms=4000\n\
                 listener.name.{name}.gssapi.sasl.jaas.config={login}\n"
            )
        });
        let more = format!(
            "listeners=PLAINTEXT://{open},PLAIN://{plain},SEALED://{sealed},\
             CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{open},PLAIN://{plain},SEALED://{sealed}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PLAIN:SASL_PLAINTEXT,\
             SEALED:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             listener.name.sealed.ssl.keystore.type=PEM\n\
             listener.name.sealed.ssl.keystore.location={}\n{}",
            sealed_by.display(),
            of_listeners.concat()
        );
        let options = [format!("-Djava.security.krb5.conf={}", kdc.config().display())];
        (Self::start_at(dir, open, controller, &more, &options), plain, sealed)
    }
}
