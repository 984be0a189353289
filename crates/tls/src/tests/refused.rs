//! Goal: both sides name the cause of a refusal, whenever they notice it: the listener with the
//! name in the certificate, the client with its own file.

use peers::{RefusalBoard, RefusedPeers};

use super::*;

const CLIENT: [&str; 2] = ["client.pem", "client.key.pem"];
const STRANGER: [&str; 2] = ["stranger.pem", "stranger.key.pem"];

/// A listener that asks for certificates, and the peers that it refuses.
struct Door {
    server: Server,
    board: RefusalBoard,
}

impl Door {
    fn at(year: u64) -> Self {
        let settings = placed(json!({ "certificate": "server.pem", "key": "server.key.pem",
            "client_ca": "ca.pem" }));
        let env = Env { clock: Arc::new(At(year)), ..env::real() };
        let settings: ServerTls = serde_json::from_value(settings).unwrap();
        let server = Server::new(settings, &env, &[]).unwrap();
        Self { server, board: RefusalBoard::default() }
    }

    /// A connection to it, and the end of the listener's task.
    fn connect(&self) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (here, there) = duplex(64 << 10);
        let (board, peer) = (self.board.clone(), "10.0.0.7:5000".into());
        let visitor = Visitor { board, component: "source in".into(), peer };
        let stream = self.server.wrap(Box::new(there), visitor, || {}).0;
        (here, tokio::spawn(async move { drop(echo(stream).await) }))
    }

    /// Returns the error of a client that writes immediately, or after the listener has closed the
    /// connection.
    async fn talk(&self, client: &Client, late: bool) -> String {
        let (here, serving) = self.connect();
        let talk = async {
            let mut stream = client.wrap(Box::new(here), "localhost:4545").await?;
            if late {
                serving.await.unwrap();
            }
            say(&mut stream).await
        };
        talk.await.err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Returns the reason, the peers and the attempts of current refusals.
    fn refused(&self) -> Vec<(&'static str, u64, u64, String)> {
        let all = self.board.read(tokio::time::Instant::now()).into_iter();
        let shown = |RefusedPeers { reason, peers, attempts, latest }| {
            (reason.as_str(), peers, attempts, latest)
        };
        all.map(shown).collect()
    }
}

/// A client that trusts every server, at the time of `year`.
fn showing(certificate: Option<[&str; 2]>, year: u64) -> Client {
    let mut settings = json!({ "trust_all": true });
    if let Some([certificate, key]) = certificate {
        settings["certificate"] = json!(certificate);
        settings["key"] = json!(key);
    }
    client_at(&Env { clock: Arc::new(At(year)), ..env::real() }, settings)
}

#[tokio::test]
async fn a_listener_names_the_certificate_that_it_refuses_until_it_is_accepted() {
    let door = Door::at(2_300);
    for _ in 0..3 {
        door.talk(&showing(Some(CLIENT), 2_030), false).await;
    }
    let latest = || "client.example at 10.0.0.7".to_owned();
    assert_eq!(door.refused(), [("certificate expired", 1, 3, latest())]);

    let door = Door::at(2_030);
    door.talk(&showing(Some(STRANGER), 2_030), false).await;
    door.talk(&showing(None, 2_030), false).await;
    let (mut plain, serving) = door.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    serving.await.unwrap();
    let (check, serving) = door.connect();
    drop(check);
    serving.await.unwrap();
    let alone = || "10.0.0.7".to_owned();
    let expected = [
        ("certificate of an unknown authority", 1, 1, latest()),
        ("no certificate", 1, 1, alone()),
        ("no TLS", 1, 1, alone()),
    ];
    assert_eq!(door.refused(), expected, "a check of the port is no refusal");
    assert_eq!(door.talk(&showing(Some(CLIENT), 2_030), false).await, "");
    assert_eq!(door.refused(), [], "the same host and name are accepted now");
}

#[tokio::test]
async fn a_client_names_its_own_certificate_whenever_it_notices() {
    for late in [false, true] {
        let door = Door::at(2_300);
        let said = door.talk(&showing(Some(CLIENT), 2_300), late).await;
        let expected = "TLS handshake: the other side rejects our certificate \
                        (CertificateExpired): our certificate ";
        assert!(said.starts_with(expected), "late: {late}: {said}");
        assert!(said.contains("client.pem (client.example) expired at 2"), "{said}");

        let door = Door::at(2_030);
        let said = door.talk(&showing(Some(STRANGER), 2_030), late).await;
        assert!(said.contains("stranger.pem (client.example), valid until 2"), "{said}");
        let said = door.talk(&showing(None, 2_030), late).await;
        assert!(said.contains("set `tls.certificate` and `tls.key`"), "late: {late}: {said}");
    }
}
