//! Certificates for servers and clients of a test, created by openssl.

use std::path::Path;
use std::process::Command;

/// Creates the authority `ca.pem`; its certificates for 127.0.0.1 and localhost, `server.pem` and
/// `client.pem`, with their keys `server.key` and `client.key`; and the certificate of another
/// authority, `other.pem`.
///
/// # Panics
///
/// When openssl fails.
pub fn make(dir: &Path) {
    let script = r#"
        for name in ca other; do
          openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=$name \
            -keyout $name.key -out $name.pem
        done
        for name in server client; do
          openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
          openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -days 90 -out $name.pem \
            -extfile <(echo subjectAltName=IP:127.0.0.1,DNS:localhost
              echo basicConstraints=CA:FALSE)
        done
    "#;
    let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{output:?}");
}
