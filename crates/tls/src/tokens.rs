//! Tokens: a simple way for a client to prove its name, without a certificate.
//!
//! ```text
//!   client      file of one line      NAME TOKEN
//!   on the wire                       authorization: Bearer TOKEN
//!   listener    file of lines         NAME TOKEN   or   NAME sha256:HEX
//! ```
//!
//! - A listener keeps only the SHA-256 of each token. A presented token is compared with all of
//!   them in constant time.
//! - A name may have several lines, so that one token can replace another; a token has one name.
//! - The files are read again when they change: a listener's at most once a second, a client's for
//!   each connection. If they cannot be used, the previous contents stay in force.
//! - No error, log line or `Debug` contains a token.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::digest::{SHA256, digest};
use pipeline::Secret;
use pipeline::env::{Disk, Entropy, Env};
use subtle::ConstantTimeEq;
use tracing::warn;
use zeroize::Zeroizing;

use crate::names;
use crate::secret_file::{SecretFile, SecretFileError};
use crate::watched::Watched;

/// Maximum size of a token file: more than a hundred thousand tokens.
const FILE_MAX: u64 = 16 << 20;

/// Characters of a token: fewer could be found by trying, more fit no header.
const TOKEN_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=1024;

/// The prefix of the hash of a token.
const HASHED: &str = "sha256:";

/// The prefix of a token in the header `authorization`.
const BEARER: &[u8] = b"Bearer ";

/// The hash of a token.
type Hash = [u8; 32];

/// Returns the non-empty lines, with their numbers. `#` begins a comment.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let all = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    all.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Name and token of a line.
fn parts(line: &str) -> Result<(Arc<str>, &str), &'static str> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
        return Err("must be a name and a token separated by a space; create one with `aqueduct \
                    pki token NAME`");
    };
    Ok((names::name(name).ok_or(NAME_PROBLEM)?, token))
}

const NAME_PROBLEM: &str = "a name must have 1 to 253 characters without spaces and control \
                            characters, and must not start with `#`";

/// Returns the reason why a token cannot be used, if any.
fn token_problem(token: &str) -> Option<&'static str> {
    let fits = TOKEN_CHARACTERS.contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
        && !token.starts_with(HASHED);
    (!fits).then_some(
        "a token must have 16 to 1024 ASCII characters; create one with `aqueduct pki token NAME`",
    )
}

fn hash(token: &[u8]) -> Hash {
    let hash = digest(&SHA256, token);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Returns the hash in a line, or the hash of its token.
fn hash_of(token: &str) -> Result<Hash, &'static str> {
    let Some(text) = token.strip_prefix(HASHED) else {
        return token_problem(token).map_or_else(|| Ok(hash(token.as_bytes())), Err);
    };
    let mut hash = Hash::default();
    let is_hex = text.len() == 2 * hash.len() && text.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_hex {
        return Err("`sha256:` must be followed by 64 hexadecimal digits");
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).expect("they are of ASCII");
        *byte = u8::from_str_radix(digits, 16).expect("they are hexadecimal");
    }
    Ok(hash)
}

/// The token in a header `authorization`.
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then_some(token)
}

/// The tokens that a listener accepts. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Watched<Table, SecretFileError>>);

/// The tokens of a file.
struct Table(Vec<(Hash, Arc<str>)>);

impl Table {
    fn read(file: &SecretFile, disk: &dyn Disk) -> Result<Self, SecretFileError> {
        let (text, exposed) = file.read(disk, FILE_MAX)?;
        let mut table: Vec<(Hash, Arc<str>)> = Vec::new();
        let mut plain = false;
        for (line, text) in lines(&text) {
            let wrong = |problem| file.wrong(line, problem);
            let (name, token) = parts(text).map_err(wrong)?;
            plain |= !token.starts_with(HASHED);
            table.push((hash_of(token).map_err(wrong)?, name));
        }
        let mut sorted: Vec<_> = table.iter().collect();
        sorted.sort();
        if let Some(two) = sorted.windows(2).find(|it| it[0].0 == it[1].0 && it[0].1 != it[1].1) {
            let problem = format!(
                "`{}` and `{}` have the same token: each needs its own",
                two[0].1, two[1].1
            );
            return Err(file.wrong(0, problem));
        }
        if plain && exposed {
            warn_exposed(file.path());
        }
        Ok(Self(table))
    }

    /// The name that this token proves.
    fn name(&self, token: &[u8]) -> Option<&Arc<str>> {
        let shown = hash(token);
        let mut found = None;
        // To the end, whether it was found or not.
        for (hash, name) in &self.0 {
            if hash.ct_eq(&shown).into() {
                found = Some(name);
            }
        }
        found
    }
}

impl Tokens {
    /// Creates the tokens in the file of the setting `tokens_file`; does not read it yet.
    pub fn new(path: &Path, env: &Env) -> Self {
        let file = SecretFile::new("tokens_file", path);
        let files = ("tokens", vec![file.path().to_owned()]);
        let make = move |disk: &dyn Disk, _now| Table::read(&file, disk);
        Self(Arc::new(Watched::new(env, files, Arc::new(make))))
    }

    /// Reads the file, so that its problems are known before the first client connects.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn load(&self) -> Result<(), SecretFileError> {
        self.0.current().await.map(|_| ())
    }

    /// Returns the name that this token proves, if it is valid.
    ///
    /// # Errors
    /// The file was never read, and cannot be used.
    pub async fn name(&self, token: &[u8]) -> Result<Option<Arc<str>>, SecretFileError> {
        Ok(self.0.current().await?.name(token).cloned())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// The token that a client presents, in a file. Clones share the warning.
#[derive(Debug, Clone)]
pub struct TokenFile {
    file: SecretFile,
    /// True once it was logged that other users can read it.
    warned: Arc<AtomicBool>,
}

/// A token with the name that it proves.
#[derive(Debug, Clone)]
pub struct Token {
    /// The name, in lower case.
    pub name: Arc<str>,
    /// The token.
    pub secret: Secret,
}

impl Token {
    /// Creates a random token.
    ///
    /// # Errors
    /// The name cannot be in a line.
    pub fn new(name: &str, entropy: &dyn Entropy) -> Result<Self, &'static str> {
        let name = names::name(name).filter(|it| !it.starts_with('#')).ok_or(NAME_PROBLEM)?;
        let random = Zeroizing::new([entropy.bytes16(), entropy.bytes16()].concat());
        Ok(Self { name, secret: Secret::from(URL_SAFE_NO_PAD.encode(&*random)) })
    }

    /// The line of a file, with the token.
    pub fn line(&self) -> Secret {
        Secret::from(format!("{} {}\n", self.name, self.secret.expose()))
    }

    /// The line of the file of a listener that names the token by its hash.
    pub fn hashed_line(&self) -> String {
        let hash = hash(self.secret.expose().as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {HASHED}{hex}\n", self.name)
    }
}

impl TokenFile {
    /// Creates the token in the file of the setting `token_file`; does not read it yet.
    pub fn new(path: &Path) -> Self {
        let file = SecretFile::new("token_file", path);
        Self { file, warned: Arc::default() }
    }

    /// Reads the current file; blocks.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(&self, disk: &dyn Disk) -> Result<Token, SecretFileError> {
        let (text, exposed) = self.file.read(disk, FILE_MAX)?;
        let mut lines = lines(&text);
        let (Some((line, text)), None) = (lines.next(), lines.next()) else {
            return Err(self.file.wrong(
                0,
                "must contain one line, `NAME TOKEN`, as `aqueduct pki token NAME` writes it",
            ));
        };
        let wrong = |problem| self.file.wrong(line, problem);
        let (name, token) = parts(text).map_err(wrong)?;
        if token.starts_with(HASHED) {
            return Err(wrong(
                "a client needs the token itself, but this is its hash; copy the file that \
                 `aqueduct pki token NAME` wrote",
            ));
        }
        if let Some(problem) = token_problem(token) {
            return Err(wrong(problem));
        }
        if exposed && !self.warned.swap(true, Ordering::Relaxed) {
            warn_exposed(self.file.path());
        }
        Ok(Token { name, secret: Secret::from(token.to_owned()) })
    }
}

fn warn_exposed(path: &Path) {
    let path = path.display();
    warn!(%path, "every user of this host can read the token in this file: run `chmod 600 {path}`");
}

#[cfg(test)]
#[path = "tokens/tests.rs"]
mod tests;
