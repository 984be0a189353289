//! Goal: agents with certificates from `aqueduct pki` trust only each other, and no key of an
//! authority is lost or readable by others.
//!
//! Method: the program creates the files; handshakes of the crate `tls`, as in agents, use
//! them.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{aqueduct, text};
use serde_json::{Value, json};
use tls::{Client, ClientTls, Server, ServerTls, Visitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Calls `aqueduct pki` in this directory; returns the output and whether it succeeded.
fn pki(dir: &Path, arguments: &str) -> (bool, String) {
    let at = dir.display().to_string();
    let words: Vec<String> = arguments.split(' ').map(|word| word.replace("DIR", &at)).collect();
    let words: Vec<&str> = ["pki"].into_iter().chain(words.iter().map(|it| &**it)).collect();
    let output = aqueduct(&words);
    (output.status.success(), text(&output) + &String::from_utf8_lossy(&output.stderr))
}

fn makes(dir: &Path, arguments: &str) -> String {
    let (made, said) = pki(dir, arguments);
    assert!(made, "{arguments}: {said}");
    said
}

/// Returns the client's result of a handshake and of bytes through it.
async fn talk(server: Value, client: Value, address: &str) -> std::io::Result<()> {
    let server: ServerTls = serde_json::from_value(server).unwrap();
    talk_to(Server::new(server, &env::real(), &[]).unwrap(), client, address).await
}

async fn talk_to(server: Server, client: Value, address: &str) -> std::io::Result<()> {
    let client: ClientTls = serde_json::from_value(client).unwrap();
    let client = Client::new(client, &env::real(), &[]).unwrap();
    let (here, there) = duplex(64 << 10);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = server.wrap(Box::new(there), Visitor::default(), || {});
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await
    });
    let mut stream = client.wrap(Box::new(here), address).await?;
    stream.write_u8(7).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u8().await?, 7);
    serving.await.unwrap()
}

fn identity(dir: &Path, name: &str) -> Value {
    json!({
        "certificate": dir.join(format!("{name}.pem")), "key": dir.join(format!("{name}.key")),
    })
}

fn with(mut settings: Value, name: &str, value: impl AsRef<Path>) -> Value {
    settings[name] = json!(value.as_ref());
    settings
}

#[tokio::test]
async fn edges_and_collectors_trust_each_other_and_none_of_another_authority() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    makes(dir, "init DIR/ca");
    makes(dir, "init DIR/other");
    let said = makes(dir, "collector c-1.example 10.0.0.7 ::1 --ca DIR/ca --out DIR");
    assert!(said.contains(&format!("client_ca = \"{}/ca/ca.pem\"", dir.display())), "{said}");
    assert!(said.contains("origins = \"require\""), "{said}");
    makes(dir, "edge web-1 --ca DIR/ca --out DIR");
    makes(dir, "edge stranger --ca DIR/other --out DIR");
    let (ca, other) = (dir.join("ca/ca.pem"), dir.join("other/ca.pem"));

    let server = || with(identity(dir, "c-1.example"), "client_ca", &ca);
    let edge = || with(identity(dir, "web-1"), "ca", &ca);
    for address in ["c-1.example:4141", "10.0.0.7:4141", "[::1]:4141"] {
        talk(server(), edge(), address).await.unwrap();
    }
    let collector = with(identity(dir, "c-1.example"), "ca", &ca);
    talk(server(), collector, "c-1.example:4141").await.unwrap();

    let refused = async |server: Value, client: Value, address: &str| {
        talk(server, client, address).await.unwrap_err().to_string()
    };
    let problem = refused(server(), edge(), "c-2.example:4141").await;
    assert!(problem.contains("is not for `c-2.example`"), "{problem}");
    let stranger = with(identity(dir, "stranger"), "ca", &ca);
    refused(server(), stranger, "c-1.example:4141").await;
    refused(server(), json!({ "ca": ca }), "c-1.example:4141").await;
    let problem = refused(server(), with(identity(dir, "web-1"), "ca", &other), "10.0.0.7:1").await;
    assert!(problem.contains("not signed by a trusted authority"), "{problem}");
    // During the change of authorities, both are trusted.
    let both = dir.join("both.pem");
    fs::write(&both, [fs::read(&ca).unwrap(), fs::read(&other).unwrap()].concat()).unwrap();
    let changing = with(identity(dir, "c-1.example"), "client_ca", &both);
    for name in ["web-1", "stranger"] {
        let client = with(identity(dir, name), "ca", &both);
        talk(changing.clone(), client, "c-1.example:4141").await.unwrap();
    }
    // An edge certificate must not work for a server.
    refused(with(identity(dir, "web-1"), "client_ca", &ca), edge(), "web-1:4141").await;
}

#[tokio::test]
async fn only_revoked_certificates_are_refused_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    makes(dir, "init DIR/ca");
    makes(dir, "collector c-1 --ca DIR/ca --out DIR");
    makes(dir, "edge web-1 --ca DIR/ca --out DIR");
    makes(dir, "edge web-2 --ca DIR/ca --out DIR");
    let said = makes(dir, "revoke --ca DIR/ca");
    assert!(said.contains("0 revoked"), "{said}");
    let (ca, crl) = (dir.join("ca/ca.pem"), dir.join("ca/ca.crl"));
    let server = || with(with(identity(dir, "c-1"), "client_ca", &ca), "client_crl", &crl);
    let edge = |name: &str| with(with(identity(dir, name), "ca", &ca), "crl", &crl);
    for name in ["web-1", "web-2"] {
        talk(server(), edge(name), "c-1:4141").await.unwrap();
    }
    makes(dir, "revoke DIR/web-1.pem --ca DIR/ca");
    talk(server(), edge("web-1"), "c-1:4141").await.unwrap_err();
    talk(server(), edge("web-2"), "c-1:4141").await.unwrap();
    makes(dir, "revoke DIR/c-1.pem --ca DIR/ca");
    let problem = talk(server(), edge("web-2"), "c-1:4141").await.unwrap_err().to_string();
    assert!(problem.contains("is revoked"), "{problem}");
    // Revoked certificates stay on the list. A check by name fails for another reason.
    makes(dir, "revoke --ca DIR/ca");
    let unnamed = with(edge("web-2"), "server_name", "other");
    let problem = talk(server(), unnamed, "c-1:4141").await.unwrap_err().to_string();
    assert!(problem.contains("is revoked"), "{problem}");

    // The list of another authority does not affect this one.
    makes(dir, "init DIR/other");
    makes(dir, "revoke --ca DIR/other");
    let foreign = with(edge("web-2"), "crl", dir.join("other/ca.crl"));
    let problem = talk(server(), foreign, "c-1:4141").await.unwrap_err().to_string();
    assert!(problem.contains("no revocation list of the authority of the other side"), "{problem}");
    let (made, said) = pki(dir, "revoke DIR/web-2.pem --ca DIR/other");
    assert!(!made && said.contains("web-2.pem: is not signed by this authority"), "{said}");
}

#[tokio::test]
async fn a_list_that_changes_counts_from_the_next_handshake_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for made in ["init DIR/ca", "collector c-1 --ca DIR/ca --out DIR", "revoke --ca DIR/ca"] {
        makes(dir, made);
    }
    makes(dir, "edge web-1 --ca DIR/ca --out DIR");
    let ca = dir.join("ca/ca.pem");
    let settings = with(identity(dir, "c-1"), "client_ca", &ca);
    let settings = with(settings, "client_crl", dir.join("ca/ca.crl"));
    let settings: ServerTls = serde_json::from_value(settings).unwrap();
    let server = Server::new(settings, &env::real(), &[]).unwrap();
    let edge = || with(identity(dir, "web-1"), "ca", &ca);
    talk_to(server.clone(), edge(), "c-1:4141").await.unwrap();
    makes(dir, "revoke DIR/web-1.pem --ca DIR/ca");
    // Agents check their files every second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    talk_to(server, edge(), "c-1:4141").await.unwrap_err();
}

#[test]
fn keys_are_their_owners_and_nothing_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    makes(dir, "init DIR/ca");
    makes(dir, "edge web-1 --ca DIR/ca --out DIR/web-1");
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("ca/ca.key"), mode("web-1/web-1.key")], [0o600, 0o600]);
    assert_eq!([mode("ca/ca.pem"), mode("web-1/web-1.pem")], [0o644, 0o644]);

    let before = fs::read(dir.join("ca/ca.key")).unwrap();
    for again in ["init DIR/ca", "edge web-1 --ca DIR/ca --out DIR/web-1"] {
        let (made, said) = pki(dir, again);
        assert!(!made && said.contains("already exists"), "{said}");
    }
    assert_eq!(fs::read(dir.join("ca/ca.key")).unwrap(), before);
    let (made, said) = pki(dir, "edge web-2 --ca DIR/none --out DIR");
    assert!(!made && said.contains("`aqueduct pki init DIR` creates an authority"), "{said}");
}

#[test]
fn token_file_is_private_and_listeners_accept_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let line = makes(dir, "token Web-1 --out DIR/new --hash");
    let path = dir.join("new/web-1.token");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = tls::TokenFile::new(&path).read(&*env::real().disk).unwrap();
    assert_eq!((&*token.name, token.hashed_line()), ("web-1", line.clone()));
    assert!(line.starts_with("web-1 sha256:") && !line.contains(token.secret.expose()));
    let plain = makes(dir, "token web-2 --out DIR/new");
    assert_eq!(plain, fs::read_to_string(dir.join("new/web-2.token")).unwrap());

    let (made, said) = pki(dir, "token web-1 --out DIR/new");
    assert!(!made && said.contains("already exists"), "{said}");
    for wrong in ["a/b", "#a"] {
        let (made, said) = pki(dir, &format!("token {wrong} --out DIR/new"));
        assert!(!made && said.contains(wrong), "{said}");
    }
}
