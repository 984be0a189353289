//! A credentials file: a user's JWT, and the seed of its key.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipeline::env::Disk;
use serde::Deserialize;
use tls::{SecretFile, SecretFileError};
use tracing::warn;

use super::nkey::Pair;

/// Maximum size of a file: a server accepts no larger login.
const FILE_MAX: u64 = 1 << 20;

/// A file that is read for each connection. Clones share its state of warnings.
#[derive(Clone)]
pub(crate) struct File {
    file: SecretFile,
    /// True if a warning about its permissions was logged.
    is_warned: Arc<AtomicBool>,
}

/// Content of a file.
pub(crate) struct Credentials {
    pub(crate) jwt: String,
    pub(crate) pair: Pair,
    claims: Claims,
}

/// Relevant claims of a JWT. Times are seconds since 1970; 0: not set.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// The account, or its signing key.
    iss: String,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(default)]
    nats: OfNats,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OfNats {
    issuer_account: String,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        let file = SecretFile::new("server.credentials", path);
        Self { file, is_warned: Arc::default() }
    }

    /// Reads the current content; blocks.
    ///
    /// # Errors
    /// Fails if it cannot be used.
    pub(super) fn read(&self, disk: &dyn Disk) -> Result<Credentials, SecretFileError> {
        let (text, is_exposed) = self.file.read(disk, FILE_MAX)?;
        let read = Credentials::read(&text);
        let credentials = read.map_err(|problem| self.file.wrong(0, problem))?;
        if is_exposed && !self.is_warned.swap(true, Ordering::Relaxed) {
            let path = self.file.path().display();
            warn!(
                %path,
                "every user of this host can read the seed of `server.credentials`: run `chmod 600 \
                 {path}`"
            );
        }
        Ok(credentials)
    }
}

impl Credentials {
    fn read(text: &str) -> Result<Self, String> {
        let block = |name: &str| {
            let missing = || {
                format!(
                    "has no block `-----BEGIN {name}-----`; create the file with `nsc generate \
                     creds --account ACCOUNT --name USER > FILE`"
                )
            };
            block(text, name).ok_or_else(missing)
        };
        let (jwt, seed) = (block("NATS USER JWT")?, block("USER NKEY SEED")?);
        let pair = Pair::of_seed(seed).map_err(|problem| format!("has a seed that {problem}"))?;
        let claims = claims(jwt).ok_or("has an invalid JWT of a user")?;
        Ok(Self { jwt: jwt.to_owned(), pair, claims })
    }

    /// Returns advice for a refusal by the server at this time.
    pub(super) fn remedy(&self, now: SystemTime) -> String {
        let Claims { sub, iss, exp, nbf, nats } = &self.claims;
        let renew = "create the file of `server.credentials` again with `nsc generate creds \
                     --account ACCOUNT --name USER > FILE`";
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        let time = |seconds: i64| match jiff::Timestamp::from_second(seconds) {
            Ok(time) => time.to_string(),
            Err(_) => format!("{seconds} s after 1970"),
        };
        if *exp != 0 && *exp <= now {
            return format!("the JWT expired at {}: {renew}", time(*exp));
        }
        if *nbf > now {
            return format!("the JWT is valid from {}: check the clocks, or {renew}", time(*nbf));
        }
        if sub != self.pair.public() {
            let own = self.pair.public();
            return format!("the JWT belongs to `{sub}`, but the seed to `{own}`: {renew}");
        }
        let account = if nats.issuer_account.is_empty() { iss } else { &nats.issuer_account };
        format!(
            "check that the server has the account `{account}` of `server.credentials`; if the \
             account has revoked the user `{sub}`, {renew}"
        )
    }
}

/// Returns the text of a block: the first line after its begin line.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("BEGIN {name}-");
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains(&begin))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

fn claims(jwt: &str) -> Option<Claims> {
    let (_head, rest) = jwt.split_once('.')?;
    let (claims, _signature) = rest.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::nkey::tests::{PUBLIC, PUBLISHED};
    use super::*;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    /// Formats a file like `nsc`, with six dashes after a block.
    fn text(claims: &Value) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\r\n{}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n\
             -----BEGIN USER NKEY SEED-----\n{PUBLISHED}\n------END USER NKEY SEED------\n",
            jwt(claims)
        )
    }

    #[test]
    fn a_file_of_nsc_has_a_jwt_and_a_key() {
        let claims = json!({ "sub": PUBLIC, "iss": "A" });
        let read = Credentials::read(&text(&claims)).ok().unwrap();
        assert_eq!((read.jwt, read.pair.public()), (jwt(&claims), PUBLIC));
    }

    #[test]
    fn rejects_incomplete_files_with_a_remedy_and_hides_the_seed() {
        let whole = text(&json!({ "sub": PUBLIC, "iss": "A" }));
        let jwt = jwt(&json!({ "sub": PUBLIC, "iss": "A" }));
        for (text, cause) in [
            (PUBLISHED.to_owned(), "`-----BEGIN NATS USER JWT-----`; create the file"),
            (whole.replace("USER NKEY", "ACCOUNT NKEY"), "`-----BEGIN USER NKEY SEED-----`"),
            (whole.replace(PUBLISHED, ""), "`-----BEGIN USER NKEY SEED-----`"),
            (whole.replace(&jwt, ""), "`-----BEGIN NATS USER JWT-----`"),
            (whole.replace("SUACS", "SUACX"), "a seed that has a wrong checksum"),
            (whole.replace(&jwt, "e30.e30.c2ln"), "an invalid JWT"),
            (whole.replace(&jwt, "a JWT"), "an invalid JWT"),
        ] {
            let error = Credentials::read(&text).err().unwrap();
            assert!(error.contains(cause), "{text}: {error}");
            assert!(!error.contains("SUAC"), "{error}");
        }
    }

    #[test]
    fn a_refused_login_names_the_problem_of_the_jwt() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (claims, expected) in [
            (json!({ "sub": PUBLIC, "iss": "A", "exp": 1000 }), "expired at 1970-01-01T00:16:40Z"),
            (json!({ "sub": PUBLIC, "iss": "A", "nbf": 1001 }), "valid from 1970-01-01T00:16:41Z"),
            (json!({ "sub": "UOTHER", "iss": "A" }), "belongs to `UOTHER`, but the seed to `UDX"),
            (json!({ "sub": PUBLIC, "iss": "A", "exp": 1001 }), "the account `A` of"),
            (
                json!({ "sub": PUBLIC, "iss": "A", "nats": { "issuer_account": "B" } }),
                "the account `B` of",
            ),
        ] {
            let remedy = Credentials::read(&text(&claims)).ok().unwrap().remedy(now);
            assert!(remedy.contains(expected), "{claims}: {remedy}");
            assert!(remedy.contains("nsc generate creds"), "{remedy}");
        }
    }
}
