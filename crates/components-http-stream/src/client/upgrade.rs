//! A connection that ceases to be HTTP and becomes a WebSocket (RFC 6455, 4.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{self, Upgraded};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::time::timeout;

use super::{Client, HttpError, shown_url};

/// What a server appends to the key, so that its answer cannot be one of plain HTTP.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a URL names a WebSocket.
pub(crate) fn is_web_socket(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("ws" | "wss"))
}

impl Client {
    /// Opens a WebSocket. `nonce` is random.
    ///
    /// # Errors
    /// There is no answer, or it opens no WebSocket.
    pub(crate) async fn upgrade(
        &mut self,
        uri: &Uri,
        nonce: [u8; 16],
    ) -> Result<Upgraded, HttpError> {
        let url = shown_url(uri);
        let key = STANDARD.encode(nonce);
        let mut more = HeaderMap::new();
        more.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        more.insert(UPGRADE, HeaderValue::from_static("websocket"));
        more.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        more.insert(SEC_WEBSOCKET_KEY, key.parse().expect("base64 is a header's value"));
        let response = self.send(&Method::GET, uri, &more, Bytes::new()).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            // Its body may have no end.
            status if status.is_success() => {
                let problem = format!("it answers {status} and opens no WebSocket: look at `url`");
                return Err(HttpError::Unexpected { url, problem });
            }
            _ => return Err(self.refusal(url, response).await),
        }
        if let Err(problem) = check(response.headers(), &key, &self.headers) {
            return Err(HttpError::Unexpected { url, problem });
        }
        let network = |problem: String, source| HttpError::Network { url, problem, source };
        match timeout(self.timeout, upgrade::on(response)).await {
            Ok(Ok(upgraded)) => Ok(upgraded),
            Ok(Err(error)) => Err(network("the connection broke".into(), Some(error.into()))),
            Err(_) => Err(network("the connection is not handed over".into(), None)),
        }
    }
}

/// Whether an answer opens the WebSocket that was asked for with this key.
fn check(answer: &HeaderMap, key: &str, asked: &HeaderMap) -> Result<(), String> {
    let text = |name: HeaderName| answer.get(name).and_then(|value| value.to_str().ok());
    if !text(UPGRADE).is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
        return Err("it changes to another protocol than `websocket`".into());
    }
    if text(SEC_WEBSOCKET_ACCEPT) != Some(&*accepted(key)) {
        return Err("its `Sec-WebSocket-Accept` is not that of the request: a proxy between may \
                    answer by itself"
            .into());
    }
    if let Some(extensions) = text(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(format!("it uses extensions that were not asked for: {extensions}"));
    }
    let names = asked.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let mut names = names.unwrap_or_default().split(',').map(str::trim);
    match text(SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if !names.any(|name| name == chosen) => Err(format!(
            "it speaks `{chosen}`, which was not asked for: name it in `access.headers`, as \
             `sec-websocket-protocol`"
        )),
        _ => Ok(()),
    }
}

/// What the answer to a key has to be.
fn accepted(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hyper_util::rt::TokioIo;
    use pipeline::BuildContext;
    use pipeline::env::Stream;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::client::Access;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_opens_a_web_socket_only_if_it_is_to_this_key_and_has_nothing_unasked() {
        let upgrade = ("upgrade", "WebSocket");
        let chat = ("sec-websocket-protocol", "chat");
        let zip = ("sec-websocket-extensions", "permessage-deflate");
        let asked = headers(&[("sec-websocket-protocol", "superchat, chat")]);
        let none = HeaderMap::new();
        for (answer, asked, expected) in [
            (vec![upgrade, ACCEPT], &none, None),
            (vec![upgrade, ACCEPT, chat], &asked, None),
            (vec![upgrade, ACCEPT, chat], &none, Some("`chat`")),
            (vec![upgrade, ACCEPT, zip], &asked, Some("permessage-deflate")),
            (vec![upgrade], &none, Some("Sec-WebSocket-Accept")),
            (vec![upgrade, (ACCEPT.0, KEY)], &none, Some("Sec-WebSocket-Accept")),
            (vec![("upgrade", "h2c"), ACCEPT], &none, Some("`websocket`")),
        ] {
            let problem = check(&headers(&answer), KEY, asked).err();
            assert_eq!(problem.is_some(), expected.is_some(), "{answer:?}: {problem:?}");
            assert!(problem.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    /// A server that gives this answer to one request, with bytes behind it. Gives the request.
    async fn answering(
        answer: &'static str,
        wrap: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream> + Send + 'static,
    ) -> (String, JoinHandle<String>) {
        let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();
        let serving = tokio::spawn(async move {
            let mut stream = wrap(listener.accept().await.unwrap().0);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                    break;
                }
            }
            // A client that trusts nothing of this has gone.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
            String::from_utf8(request).unwrap()
        });
        (address, serving)
    }

    async fn opened(url: String, access: Value) -> Result<Vec<u8>, HttpError> {
        let uri: Uri = url.parse().unwrap();
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let access: Access = serde_json::from_value(access).unwrap();
        let mut client = access.client(uri.clone(), "*/*", &cx).unwrap();
        let opened = client.upgrade(&uri, *b"the sample nonce").await?;
        let mut rest = Vec::new();
        // Its server ends it without the farewell of TLS.
        let _ = TokioIo::new(opened).read_to_end(&mut rest).await;
        Ok(rest)
    }

    const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                          connection: Upgrade\r\n\
                          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nframes";

    #[tokio::test]
    async fn a_web_socket_is_opened_with_the_token_over_plain_text_and_over_tls_that_is_checked() {
        let (address, serving) = answering(OPENED, |stream| stream).await;
        let rest = opened(format!("ws://{address}/s?a=1"), json!({ "bearer": "hunter2" })).await;
        assert_eq!(rest.unwrap(), b"frames");
        let request = serving.await.unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /s?a=1 http/1.1\r\n"), "{request}");
        for line in [
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
            "authorization: bearer hunter2",
        ] {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
        }

        let material = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material");
        for (ca, is_trusted) in [("ca.pem", true), ("other-ca.pem", false)] {
            let keystore = material.join("keystore.jks");
            let identity = json!({ "keystore": keystore, "keystore_password": "changeit" });
            let settings = serde_json::from_value(identity).unwrap();
            let server = tls::Server::new(settings, &env::real(), &["http/1.1"]).unwrap();
            let (address, _serving) =
                answering(OPENED, move |stream| server.wrap(stream, |_| {}).0).await;
            let access = json!({ "tls": { "ca": material.join(ca), "server_name": "localhost" } });
            let rest = opened(format!("wss://{address}/s"), access).await;
            assert_eq!(rest.as_deref().ok(), is_trusted.then_some(&b"frames"[..]), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_opens_nothing_says_what_it_is() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\na body without end", "opens no WebSocket: look at `url`"),
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnone", "403 Forbidden: none"),
            (
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 connection: Upgrade\r\nsec-websocket-accept: cached\r\n\r\n",
                "`Sec-WebSocket-Accept`",
            ),
        ] {
            let (address, _serving) = answering(answer, |stream| stream).await;
            let error = opened(format!("ws://{address}/"), json!({})).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.to_string().starts_with("ws://"), "{error}");
        }
    }
}
