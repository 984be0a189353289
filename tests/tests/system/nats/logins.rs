//! Logins with NKeys, and with credentials files at a server in operator mode, whose JWTs the test
//! signs.
//!
//! ```text
//!   operator ─signs► account ─signs► user      user.creds: the JWT of the user, and its seed
//! ```

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Instant, SystemTime};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::wait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::ed25519::Key;
use serde_json::{Value, json};

use super::server::{Login, Server, password};
use super::{LIMIT, USER, agent, reached, settled, source};

/// Lifetime of a JWT that must expire, in seconds.
const SHORT: u64 = 5;
/// Lifetime of a JWT that must not.
const LONG: u64 = 3600;
/// Lines per transfer.
const LINES: usize = 50;

/// The type of a key, as in its prefix.
#[derive(Clone, Copy)]
enum Kind {
    Account = 0,
    Operator = 14 << 3,
    User = 20 << 3,
}

/// A key pair.
struct Identity {
    seed: [u8; 32],
    kind: Kind,
}

/// Encodes bytes like a NATS key: with checksum, in base32.
fn written(mut bytes: Vec<u8>) -> String {
    let mut sum = 0_u16;
    for byte in &bytes {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carries = sum >= 0x8000;
            sum <<= 1;
            sum ^= if carries { 0x1021 } else { 0 };
        }
    }
    bytes.extend(sum.to_le_bytes());
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let letter = |bits: &[u8]| {
        let bits = format!("{:0<5}", std::str::from_utf8(bits).expect("digits"));
        let value = usize::from_str_radix(&bits, 2).expect("digits");
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])
    };
    bits.as_bytes().chunks(5).map(letter).collect()
}

impl Identity {
    fn new(kind: Kind) -> Self {
        let mut seed = [0; 32];
        crypto::random::fill(&mut seed);
        Self { seed, kind }
    }

    fn seed(&self) -> String {
        let kind = self.kind as u8;
        written([&[18 << 3 | kind >> 5, kind << 3], &self.seed[..]].concat())
    }

    fn public(&self) -> String {
        written([&[self.kind as u8], Key::of_seed(&self.seed).public()].concat())
    }

    fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(Key::of_seed(&self.seed).sign(text.as_bytes()))
    }

    /// Signs a JWT about `subject` with this `nats` claim, valid for this many seconds; 0 means
    /// forever.
    fn says(&self, subject: &Self, seconds: u64, nats: &Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        let now = now.as_secs();
        let (sub, iss) = (subject.public(), self.public());
        let mut claims = json!({
            "jti": sub, "iat": now, "iss": iss, "name": "test", "sub": sub, "nats": nats,
        });
        if seconds > 0 {
            claims["exp"] = json!(now + seconds);
        }
        let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let encoded = |it: Value| URL_SAFE_NO_PAD.encode(it.to_string());
        let text = format!("{}.{}", encoded(head), encoded(claims));
        format!("{text}.{}", self.sign(&text))
    }

    /// Returns the JWT of a user.
    fn jwt_for(&self, user: &Self, seconds: u64) -> String {
        let nats = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user",
            "version": 2,
        });
        self.says(user, seconds, &nats)
    }
}

/// Returns the seed of a user.
pub(crate) fn seed() -> String {
    Identity::new(Kind::User).seed()
}

/// Formats a credentials file, like `nsc`.
fn file(jwt: &str, user: &Identity) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed()
    )
}

/// A flow from lines to a stream of this name, and one from there to a store, both with `login`.
struct Flow {
    agent: Agent,
    lines: TcpStream,
    count: usize,
}

impl Flow {
    fn start(dir: &Path, server: &Server, name: &str, login: &str) -> Self {
        server.client().make(name, name, &json!({}));
        let listen = free_address();
        let text = format!(
            "[sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"in\"]\n\
             [channels.in]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.in]\ntype = \"nats\"\nchannel = \"in\"\nsubject = \"{name}.a\"\n{}{}",
            reached(server.address),
            source(dir, name, server.address, &format!("stream = \"{name}\"")),
        );
        let mut agent = agent(dir, &format!("by-{name}"), &text.replace(USER, login));
        agent.start();
        let connect = || TcpStream::connect(listen).ok();
        let lines = wait::until("the port to be open", LIMIT, connect);
        Self { agent, lines, count: 0 }
    }

    /// Sends lines, and waits until they are in the store.
    fn carries(&mut self, dir: &Path, name: &str) {
        for _ in 0..LINES {
            writeln!(self.lines, "{name} {}", self.count).expect("the agent reads");
            self.count += 1;
        }
        settled(dir, &[name], self.count, &self.agent);
    }
}

/// Asserts that each login is rejected with its message.
fn refused(dir: &Path, server: &Server, logins: &[(&str, String, &str)]) {
    server.client().make("REFUSED", "refused", &json!({}));
    let text: String = logins
        .iter()
        .map(|(name, login, _)| {
            source(dir, name, server.address, "stream = \"REFUSED\"").replace(USER, login)
        })
        .collect();
    let mut agent = agent(dir, "refused", &text);
    agent.start();
    for (.., words) in logins {
        agent.until_logged(words, LIMIT);
    }
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs and nats-server: tests/run"]
fn user_logs_in_by_nkey_seed_and_a_wrong_login_names_the_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, user, other) =
        (folder.path(), Identity::new(Kind::User), Identity::new(Kind::User).seed());
    let users = format!("{{ nkey: {} }}, {{ user: u, password: p }}", user.public());
    let config = format!("authorization {{ users: [{users}] }}\n");
    let server = Server::configured(dir, &config, password());
    fs::write(dir.join("user.nk"), user.seed() + "\n").expect("the test's own folder");
    let login = format!("nkey_seed = \"${{file:{}}}\"", dir.join("user.nk").display());
    let mut flow = Flow::start(dir, &server, "nkey", &login);
    flow.carries(dir, "nkey");
    flow.agent.stop(LIMIT);
    let none = "client_id = \"none\"".to_owned();
    let wrong = format!("nkey_seed = \"{other}\"");
    refused(
        dir,
        &server,
        &[
            ("wrong", wrong, "add a user with the `nkey` `U"),
            ("none", none, "the login that the server requires: `server.nkey_seed`"),
            ("password", USER.replace("p\"", "q\""), "the server also accepts NKeys or JWTs"),
        ],
    );
}

/// Starts a server in operator mode, whose account has revoked `revoked`.
fn of_operator(dir: &Path, account: &Identity, user: Identity, revoked: &Identity) -> Server {
    let (operator, system) = (Identity::new(Kind::Operator), Identity::new(Kind::Account));
    let mut limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let nats = json!({ "limits": limits, "type": "account", "version": 2 });
    let of_system = operator.says(&system, 0, &nats);
    for (name, limit) in
        [("mem_storage", 1 << 30), ("disk_storage", 1 << 30), ("streams", -1), ("consumer", -1)]
    {
        limits[name] = json!(limit);
    }
    let nats = json!({
        "limits": limits, "type": "account", "version": 2,
        "revocations": { revoked.public(): 4_000_000_000_u64 },
    });
    let config = format!(
        "operator: \"{}\"\nsystem_account: {3}\nresolver: MEMORY\n\
         resolver_preload {{ {}: \"{}\", {3}: \"{of_system}\" }}\n",
        operator.says(&operator, 0, &json!({ "type": "operator", "version": 2 })),
        account.public(),
        operator.says(account, 0, &nats),
        system.public(),
    );
    let jwt = account.jwt_for(&user, LONG);
    let login: Login = Box::new(move |nonce| json!({ "jwt": jwt, "sig": user.sign(nonce) }));
    Server::configured(dir, &config, login)
}

#[test]
#[ignore = "needs the programs and nats-server: tests/run"]
fn user_logs_in_by_credentials_file_and_a_renewed_one_is_used_next() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let [user, other, revoked] = [(); 3].map(|()| Identity::new(Kind::User));
    let account = Identity::new(Kind::Account);
    let server = of_operator(dir, &account, Identity::new(Kind::User), &revoked);
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).expect("the test's own folder");
        format!("credentials = \"{}\"", path.display())
    };
    let renew = |seconds| write("user.creds", &file(&account.jwt_for(&user, seconds), &user));
    let mut flow = Flow::start(dir, &server, "file", &renew(SHORT));
    flow.carries(dir, "file");

    // Renewed before the server ends the connection, because of the JWT presented at its start.
    renew(2 * SHORT);
    let ended = ": the server rejects the login: User Authentication Exp";
    flow.agent.until_logged(ended, LIMIT);
    flow.carries(dir, "file");
    assert!(!flow.agent.output().contains("the JWT expired"), "the new file was read");

    // Renewed too late.
    flow.agent.until_logged("the JWT expired at ", LIMIT);
    renew(LONG);
    flow.carries(dir, "file");
    flow.agent.stop(LIMIT);
    let warned = flow.agent.output().matches("can read the seed of `server.credentials`").count();
    assert_eq!(warned, 2, "by the source and the sink, each once");

    let whole = file(&account.jwt_for(&other, LONG), &user);
    let without = whole.replace(&user.seed(), "");
    let revoked = file(&account.jwt_for(&revoked, LONG), &revoked);
    let missing = format!("credentials = \"{}/missing.creds\"", dir.display());
    refused(
        dir,
        &server,
        &[
            (
                "without",
                write("a.creds", &without),
                "has no block `-----BEGIN USER NKEY SEED-----`",
            ),
            ("missing", missing, "/missing.creds (`server.credentials`)"),
            ("mixed", write("b.creds", &whole), "but the seed to `U"),
            ("revoked", write("c.creds", &revoked), "if the account has revoked the user `U"),
            ("nkey", format!("nkey_seed = \"{}\"", user.seed()), "in operator mode needs"),
            (
                "none",
                "client_id = \"none\"".to_owned(),
                "the login that the server requires: `server.nkey_seed`",
            ),
        ],
    );
    eprintln!("a file that is renewed twice, and refusals: {:?}", began.elapsed());
}
