//! The login of the forward protocol: both sides prove that they know the shared key. Pure.
//!
//! ```text
//!   source ─► HELO  {nonce, auth}
//!   client ─► PING  host, salt, digest(salt, host, nonce, key), user, digest(auth, user, password)
//!   source ─► PONG  ok, reason, name, digest(salt, name, nonce, key)
//! ```
//!
//! `digest` is SHA-512 in hexadecimal digits. Source: *Forward Protocol Specification v1.5*.

use std::collections::BTreeMap;

use crypto::digest::{Context, SHA512};
use pipeline::Secret;
use rmp::{Marker, encode as write};
use subtle::ConstantTimeEq;

use super::pack::{Problem, Reader, Token};

/// Credentials of the clients.
#[derive(Debug)]
pub(super) struct Login {
    /// Name of this side.
    pub(super) name: String,
    pub(super) shared_key: Secret,
    /// Passwords by user; if empty, no user is required.
    pub(super) users: BTreeMap<String, Secret>,
}

/// Random values that make the digests of a connection unique.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salts {
    pub(super) nonce: [u8; 16],
    pub(super) auth: [u8; 16],
}

/// Reply to a `PING`.
#[derive(Debug)]
pub(super) struct Pong {
    pub(super) bytes: Vec<u8>,
    /// Reason for a refusal; `None`: the client may send.
    pub(super) refused: Option<&'static str>,
}

impl Login {
    /// Returns the first message of the source.
    pub(super) fn helo(&self, salts: &Salts) -> Vec<u8> {
        let mut out = Vec::new();
        let auth = if self.users.is_empty() { &[][..] } else { &salts.auth };
        let mut write = || {
            write::write_array_len(&mut out, 2)?;
            write::write_str(&mut out, "HELO")?;
            write::write_map_len(&mut out, 3)?;
            write::write_str(&mut out, "nonce")?;
            write::write_bin(&mut out, &salts.nonce)?;
            write::write_str(&mut out, "auth")?;
            write::write_bin(&mut out, auth)?;
            write::write_str(&mut out, "keepalive")?;
            out.push(Marker::True.to_u8());
            Ok(())
        };
        let written: Result<(), write::ValueWriteError> = write();
        written.expect("memory takes every byte");
        out
    }

    /// Checks a client's `PING`, and returns the reply.
    ///
    /// # Errors
    /// Fails if it is not a `PING`.
    pub(super) fn pong(&self, ping: &[u8], salts: &Salts) -> Result<Pong, Problem> {
        let mut reader = Reader::new(ping);
        if reader.next()? != Token::Array(6) || reader.next()? != Token::Text(b"PING") {
            return Err("the client must begin with a PING of six values".into());
        }
        let mut text = || match reader.next()? {
            Token::Text(text) | Token::Bytes(text) => Ok(text),
            other => Err(format!("a value of the PING must be a string, not {other:?}")),
        };
        let (host, salt, digest) = (text()?, text()?, text()?);
        let (user, password) = (text()?, text()?);
        let key = self.shared_key.expose().as_bytes();
        let refused = if !is_same(digest, &hex(&[salt, host, &salts.nonce, key])) {
            Some("shared_key mismatch")
        } else if self.users.is_empty() || self.knows(user, password, salts) {
            None
        } else {
            Some("username/password mismatch")
        };
        let proof = match refused {
            None => hex(&[salt, self.name.as_bytes(), &salts.nonce, key]),
            Some(_) => String::new(),
        };
        let mut out = Vec::new();
        let mut write = || {
            write::write_array_len(&mut out, 5)?;
            write::write_str(&mut out, "PONG")?;
            out.push(if refused.is_none() { Marker::True } else { Marker::False }.to_u8());
            write::write_str(&mut out, refused.unwrap_or_default())?;
            write::write_str(&mut out, if refused.is_none() { &self.name } else { "" })?;
            write::write_str(&mut out, &proof)
        };
        let written: Result<(), write::ValueWriteError> = write();
        written.expect("memory takes every byte");
        Ok(Pong { bytes: out, refused })
    }

    fn knows(&self, user: &[u8], password: &[u8], salts: &Salts) -> bool {
        let known = std::str::from_utf8(user).ok().and_then(|user| self.users.get(user));
        // An unknown user takes as long as a known one with a wrong password.
        let secret = known.map(Secret::expose).unwrap_or_default().as_bytes();
        is_same(password, &hex(&[&salts.auth, user, secret])) && known.is_some()
    }
}

fn is_same(digest: &[u8], expected: &str) -> bool {
    digest.ct_eq(expected.as_bytes()).into()
}

/// Returns the SHA-512 of the concatenated parts.
fn hex(parts: &[&[u8]]) -> String {
    let mut digest = Context::new(&SHA512);
    parts.iter().for_each(|part| digest.update(part));
    support::hex::hex(digest.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALTS: Salts = Salts { nonce: [1; 16], auth: [2; 16] };

    fn ping(key: &str, user: &str, password: &str) -> Vec<u8> {
        let digest = hex(&[b"salt", b"web-1", &SALTS.nonce, key.as_bytes()]);
        let password = hex(&[&SALTS.auth, user.as_bytes(), password.as_bytes()]);
        let mut out = Vec::new();
        write::write_array_len(&mut out, 6).unwrap();
        for text in ["PING", "web-1", "salt", &digest, user, &password] {
            write::write_str(&mut out, text).unwrap();
        }
        out
    }

    fn login(users: &[(&str, &str)]) -> Login {
        let secret = |text: &str| Secret::from(text.to_owned());
        let users = users.iter().map(|(user, it)| (user.to_string(), secret(it))).collect();
        Login { name: "in".into(), shared_key: secret("key"), users }
    }

    #[test]
    fn client_and_source_prove_the_shared_key_and_the_password() {
        for (login, ping, refused) in [
            (login(&[]), ping("key", "", ""), None),
            (login(&[]), ping("other", "", ""), Some("shared_key mismatch")),
            (login(&[("a", "x")]), ping("key", "a", "x"), None),
            (login(&[("a", "x")]), ping("key", "a", "y"), Some("username/password mismatch")),
            (login(&[("a", "x")]), ping("key", "b", ""), Some("username/password mismatch")),
            (login(&[("a", "x")]), ping("other", "a", "x"), Some("shared_key mismatch")),
        ] {
            let pong = login.pong(&ping, &SALTS).unwrap();
            assert_eq!(pong.refused, refused);
            let proof = hex(&[b"salt", b"in", &SALTS.nonce, b"key"]);
            let shown = String::from_utf8_lossy(&pong.bytes).into_owned();
            assert_eq!(shown.contains(&proof), refused.is_none(), "{shown}");
        }
        assert!(login(&[]).pong(&[0xc0], &SALTS).is_err());
        let ping = ping("key", "", "");
        assert!(login(&[]).pong(&ping[..ping.len() - 1], &SALTS).is_err());
    }

    #[test]
    fn users_are_asked_for_where_there_are_some() {
        let holds_salt = |login: &Login| login.helo(&SALTS).windows(16).any(|it| it == SALTS.auth);
        assert!(!holds_salt(&login(&[])) && holds_salt(&login(&[("a", "x")])));
    }
}
