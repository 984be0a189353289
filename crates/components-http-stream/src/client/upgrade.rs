//! Upgrades an HTTP connection to a WebSocket (RFC 6455, 4.1).

use bytes::Bytes;
use hyper::upgrade::{self, Upgraded};
use hyper::{Method, StatusCode, Uri};
use tokio::time::timeout;
use web::web_socket::{NotOpened, Opening};

use super::{Client, Failure, HttpError, shown_url};

/// Returns whether a URL names a WebSocket.
pub(crate) fn is_web_socket(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("ws" | "wss"))
}

impl Client {
    /// Opens a WebSocket. `nonce` is random.
    ///
    /// # Errors
    /// There is no response, or it opens no WebSocket.
    pub(crate) async fn upgrade(&self, uri: &Uri, nonce: [u8; 16]) -> Result<Upgraded, HttpError> {
        let url = shown_url(uri);
        let opening = Opening::new(nonce);
        let response = self.send(&Method::GET, uri, &opening.headers(), Bytes::new()).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            // Do not read the body, which may be endless.
            status if status.is_success() => {
                let problem = format!(
                    "the server responded with {status} and did not open a WebSocket: check `url`"
                );
                return Err(Failure::Unexpected { url, problem }.into());
            }
            _ => return Err(self.refusal(url, response).await),
        }
        if let Err(error) = opening.check(response.headers(), &self.headers) {
            let problem = match &error {
                NotOpened::Subprotocol(name) => format!(
                    "the server uses the WebSocket subprotocol `{name}`, which was not requested: \
                     set it in `access.headers` as `sec-websocket-protocol`"
                ),
                _ => error.to_string(),
            };
            return Err(Failure::Unexpected { url, problem }.into());
        }
        let network =
            |problem: String, source| HttpError::from(Failure::Network { url, problem, source });
        match timeout(self.timeout, upgrade::on(response)).await {
            Ok(Ok(upgraded)) => Ok(upgraded),
            Ok(Err(error)) => Err(network("the connection was lost".into(), Some(error.into()))),
            Err(_) => {
                Err(network("the server did not complete the WebSocket upgrade".into(), None))
            }
        }
    }
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

    /// Starts a server that sends these bytes as the response to one request. Returns the request.
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
            // A client that rejects the response disconnects.
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
        let client = access.client(uri.clone(), "*/*", &cx).unwrap();
        let opened = client.upgrade(&uri, *b"the sample nonce").await?;
        let mut rest = Vec::new();
        // The server closes the connection without TLS close_notify.
        let _ = TokioIo::new(opened).read_to_end(&mut rest).await;
        Ok(rest)
    }

    const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                          connection: Upgrade\r\n\
                          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nframes";

    #[tokio::test]
    async fn opens_a_web_socket_with_the_token_with_and_without_tls() {
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
            let (address, _serving) = answering(OPENED, move |stream| {
                server.wrap(stream, tls::Visitor::default(), || {}).0
            })
            .await;
            let access = json!({ "tls": { "ca": material.join(ca), "server_name": "localhost" } });
            let rest = opened(format!("wss://{address}/s"), access).await;
            assert_eq!(rest.as_deref().ok(), is_trusted.then_some(&b"frames"[..]), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn reports_a_response_that_opens_no_web_socket() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\na body without end", "did not open a WebSocket: check `url`"),
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnone", "403 Forbidden: none"),
            (
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 connection: Upgrade\r\nsec-websocket-accept: cached\r\n\r\n",
                "`Sec-WebSocket-Accept`",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 connection: Upgrade\r\nsec-websocket-protocol: chat\r\n\
                 sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                "`chat`, which was not requested: set it in `access.headers`",
            ),
        ] {
            let (address, _serving) = answering(answer, |stream| stream).await;
            let error = opened(format!("ws://{address}/"), json!({})).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.to_string().starts_with("ws://"), "{error}");
        }
    }
}
