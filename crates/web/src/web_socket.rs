//! The handshake that turns an HTTP connection into a WebSocket (RFC 6455, 4.1 and 4.2): the
//! request, the check of its answer, and the answer of a server. Reading and writing is elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use thiserror::Error;

/// The suffix that a server adds to the key, so that a plain HTTP server cannot produce the answer.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that opens a WebSocket.
#[derive(Debug)]
pub struct Opening {
    key: String,
}

/// Why an answer with the status 101 opens no WebSocket.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotOpened {
    /// The connection becomes something else.
    #[error(
        "the server switched to a protocol other than `websocket`; check the URL, or a proxy in \
         between"
    )]
    Protocol,
    /// It is the answer to another request.
    #[error(
        "the `Sec-WebSocket-Accept` of the response does not match the request; check the URL, or \
         a proxy in between"
    )]
    Key,
    /// Without these, frames would have another format.
    #[error(
        "the server uses WebSocket extensions that were not requested: {0}; check the URL, or a \
         proxy in between"
    )]
    Extensions(String),
    /// Messages would have another meaning.
    #[error(
        "the server uses the WebSocket subprotocol `{0}`, which was not requested; check the URL, \
         or a proxy in between"
    )]
    Subprotocol(String),
}

impl Opening {
    /// `nonce` is random.
    pub fn new(nonce: [u8; 16]) -> Self {
        Self { key: STANDARD.encode(nonce) }
    }

    /// The headers that ask for it, with `GET`.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, self.key.parse().expect("base64 is a header's value"));
        headers
    }

    /// Checks that the headers of an answer with the status 101 open the WebSocket. `asked` are the
    /// headers of the request, which may name subprotocols.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, answer: &HeaderMap, asked: &HeaderMap) -> Result<(), NotOpened> {
        let text = |name: HeaderName| answer.get(name).and_then(|value| value.to_str().ok());
        if !text(UPGRADE).is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
            return Err(NotOpened::Protocol);
        }
        if text(SEC_WEBSOCKET_ACCEPT) != Some(&*accepted(&self.key)) {
            return Err(NotOpened::Key);
        }
        if let Some(extensions) = text(SEC_WEBSOCKET_EXTENSIONS) {
            return Err(NotOpened::Extensions(extensions.to_owned()));
        }
        let names = asked.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let mut names = names.unwrap_or_default().split(',').map(str::trim);
        match text(SEC_WEBSOCKET_PROTOCOL) {
            Some(chosen) if !names.any(|name| name == chosen) => {
                Err(NotOpened::Subprotocol(chosen.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the headers of the answer with the status 101 to a request; `None` if it does not ask
/// for a WebSocket of version 13. The server uses no extension and no subprotocol.
pub fn answer(asked: &HeaderMap) -> Option<HeaderMap> {
    let has = |name: HeaderName, token: &str| {
        let values = asked.get_all(name).into_iter().filter_map(|it| it.to_str().ok());
        let mut tokens = values.flat_map(|it| it.split(',')).map(str::trim);
        tokens.any(|it| it.eq_ignore_ascii_case(token))
    };
    let key = asked.get(SEC_WEBSOCKET_KEY).and_then(|it| it.to_str().ok())?;
    let is_key = STANDARD.decode(key).is_ok_and(|it| it.len() == 16);
    let asks = has(UPGRADE, "websocket") && has(CONNECTION, "upgrade");
    if !(asks && is_key && has(SEC_WEBSOCKET_VERSION, "13")) {
        return None;
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accepted = accepted(key).parse().expect("base64 is a header's value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    Some(headers)
}

/// Returns the expected answer to a key.
fn accepted(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            })
            .collect()
    }

    #[test]
    fn a_server_answers_what_its_client_expects() {
        let opening = Opening::new(*b"the sample nonce");
        let asked = opening.headers();
        assert_eq!(opening.check(&answer(&asked).unwrap(), &asked), Ok(()));
        for (name, value) in [
            ("upgrade", "h2c"),
            ("connection", "keep-alive"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-key", "c2hvcnQ="),
        ] {
            let mut wrong = asked.clone();
            wrong.insert(name, HeaderValue::from_static(value));
            assert_eq!(answer(&wrong), None, "{name}: {value}");
        }
        let mut firefox = asked;
        firefox.insert("connection", HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(answer(&firefox).is_some());
        assert_eq!(answer(&HeaderMap::new()), None);
    }

    #[test]
    fn accepts_only_responses_to_its_key_without_unrequested_options() {
        let upgrade = ("upgrade", "WebSocket");
        let chat = ("sec-websocket-protocol", "chat");
        let zip = ("sec-websocket-extensions", "permessage-deflate");
        let asked = headers(&[("sec-websocket-protocol", "superchat, chat")]);
        let none = HeaderMap::new();
        let opening = Opening::new(*b"the sample nonce");
        assert_eq!(opening.key, KEY);
        let (chosen, extensions) = ("chat".to_owned(), "permessage-deflate".to_owned());
        for (answer, asked, expected) in [
            (vec![upgrade, ACCEPT], &none, Ok(())),
            (vec![upgrade, ACCEPT, chat], &asked, Ok(())),
            (vec![upgrade, ACCEPT, chat], &none, Err(NotOpened::Subprotocol(chosen))),
            (vec![upgrade, ACCEPT, zip], &asked, Err(NotOpened::Extensions(extensions))),
            (vec![upgrade], &none, Err(NotOpened::Key)),
            (vec![upgrade, (ACCEPT.0, KEY)], &none, Err(NotOpened::Key)),
            (vec![("upgrade", "h2c"), ACCEPT], &none, Err(NotOpened::Protocol)),
        ] {
            assert_eq!(opening.check(&headers(&answer), asked), expected, "{answer:?}");
        }
    }
}
