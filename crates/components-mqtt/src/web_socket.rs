//! A WebSocket as a byte stream, as MQTT uses it (MQTT 5, section 6): binary messages with
//! arbitrary borders.
//!
//! ```text
//!   Dialer ─► stream, with TLS or without ─► handshake ─► Frames, a stream again ─► Connection
//! ```
//!
//! The layers above see only a byte stream. A ping of the broker is answered while the stream is
//! read; MQTT itself checks whether the broker is alive.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream as _};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::{self, Upgraded};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use web::web_socket::Opening;

/// Maximum size of an outgoing frame: servers limit it, some to 64 KiB.
const SENT_BYTES_MAX: usize = 16 << 10;

/// Maximum size of an incoming message: the largest `packet_max`, and the header.
const READ_BYTES_MAX: usize = (16 << 20) + 16;

/// Reason why a WebSocket cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The connection broke, or the server is temporarily unavailable.
    Broken(io::Error),
    /// The server rejected the request.
    Refused(String),
}

/// Opens a WebSocket for MQTT on a connection to `host`. `nonce` is random.
///
/// # Errors
/// Fails if the server opens none.
pub(crate) async fn open(
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
    nonce: [u8; 16],
) -> Result<Box<dyn Stream>, OpenError> {
    let opening = Opening::new(nonce);
    let uri: Uri = path.parse().map_err(|error| OpenError::Broken(io::Error::other(error)))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    *request.headers_mut() = opening.headers();
    let host = HeaderValue::from_str(host);
    let host = host.map_err(|error| OpenError::Broken(io::Error::other(error)))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asked = request.headers().clone();
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response.status(), path));
        }
        let checked = opening.check(response.headers(), &asked);
        checked
            .map_err(|error| OpenError::Refused(format!("does not open a WebSocket: {error}")))?;
        upgrade::on(response).await.map_err(broken)
    };
    // The connection makes progress only while it is polled. Requests on it report its end.
    let working = async {
        let _ = connection.with_upgrades().await;
        pending::<Infallible>().await
    };
    let upgraded = tokio::select! {
        biased;
        opened = asking => opened?,
        never = working => match never {},
    };
    Ok(Box::new(Frames::<TokioIo<Upgraded>>::new(TokioIo::new(upgraded)).await))
}

fn broken(error: hyper::Error) -> OpenError {
    OpenError::Broken(io::Error::other(error))
}

/// Returns the error for a response of the server without a WebSocket.
fn refusal(status: StatusCode, path: &str) -> OpenError {
    let is_for_now = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_server_error() || is_for_now {
        let problem = format!("the server responded with {status} and did not open a WebSocket");
        return OpenError::Broken(io::Error::other(problem));
    }
    OpenError::Refused(format!(
        "responded with {status} to the WebSocket request for `{path}`: check port and path of \
         `broker.address`; most brokers use the path `/mqtt`"
    ))
}

/// Byte stream over the messages of an open WebSocket.
struct Frames<S> {
    stream: WebSocketStream<S>,
    /// Bytes that have arrived and were not read yet.
    came: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Wraps the client's end of a connection after the handshake.
    async fn new(io: S) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(READ_BYTES_MAX))
            .max_frame_size(Some(READ_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
        Self { stream, came: Bytes::new() }
    }

    /// Returns the next bytes; `None`: the broker has closed the connection.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let came = ready!(Pin::new(&mut self.stream).poll_next(cx));
            return Poll::Ready(match came.transpose().map_err(as_io)? {
                None => Ok(None),
                Some(Message::Binary(bytes)) if !bytes.is_empty() => Ok(Some(bytes)),
                Some(Message::Text(_)) => {
                    let problem = "the broker sent a text message, but MQTT over WebSocket uses \
                                   binary messages; check `broker.address`";
                    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
                }
                Some(Message::Close(frame)) => match frame {
                    Some(it) if ![CloseCode::Normal, CloseCode::Away].contains(&it.code) => {
                        let (code, reason) = (u16::from(it.code), it.reason.escape_debug());
                        let problem = format!("the WebSocket was closed with {code} {reason}");
                        Err(io::Error::new(io::ErrorKind::ConnectionAborted, problem))
                    }
                    _ => Ok(None),
                },
                Some(_) => continue,
            });
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        if frames.came.is_empty() {
            match ready!(frames.poll_bytes(cx))? {
                Some(bytes) => frames.came = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = frames.came.len().min(buffer.remaining());
        buffer.put_slice(&frames.came[..length]);
        frames.came.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = pin!(&mut self.get_mut().stream);
        ready!(stream.as_mut().poll_ready(cx)).map_err(as_io)?;
        let length = bytes.len().min(SENT_BYTES_MAX);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..length]));
        Poll::Ready(stream.start_send(message).map(|()| length).map_err(as_io))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx).map_err(as_io)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx).map_err(as_io)
    }
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    use super::*;

    /// Returns both ends of an open WebSocket with a buffer of `room` bytes.
    async fn open_pair(room: usize) -> (Frames<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(room);
        let server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        (Frames::new(ours).await, server)
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order_whatever_the_messages_are_cut_into() {
        let all: Vec<u8> = (0..200_000_u32).map(|it| (it % 251) as u8).collect();
        for room in [64, 1 << 20] {
            let (mut ours, mut server) = open_pair(room).await;
            let sending = async {
                ours.write_all(&all).await.unwrap();
                ours.flush().await.unwrap();
                ours
            };
            let receiving = async {
                let mut came = Vec::new();
                while came.len() < all.len() {
                    let message = server.next().await.unwrap().unwrap();
                    assert!(message.is_binary() && message.len() <= SENT_BYTES_MAX);
                    came.extend_from_slice(&message.into_data());
                }
                assert!(came == all);
                server
            };
            let (mut ours, mut server) = tokio::join!(sending, receiving);
            let sending = async {
                for (number, piece) in all.chunks(777).enumerate() {
                    if number % 10 == 0 {
                        server.feed(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
                        server.feed(Message::Binary(Bytes::new())).await.unwrap();
                    }
                    server.feed(Message::Binary(Bytes::copy_from_slice(piece))).await.unwrap();
                }
                server.close(None).await.unwrap();
                // The replies to the pings, which must be read.
                while server.next().await.is_some_and(|it| it.is_ok()) {}
            };
            let receiving = async {
                let mut came = Vec::new();
                ours.read_to_end(&mut came).await.unwrap();
                assert!(came == all);
                drop(ours);
            };
            tokio::join!(sending, receiving);
        }
    }

    #[tokio::test]
    async fn other_messages_and_a_close_with_a_reason_are_errors() {
        let close = CloseFrame { code: CloseCode::Policy, reason: "not you".into() };
        for (message, expected) in [
            (Message::text("hello"), "uses binary messages"),
            (Message::Close(Some(close)), "closed with 1008 not you"),
        ] {
            let (mut ours, mut server) = open_pair(1 << 10).await;
            server.send(message).await.unwrap();
            let error = ours.read_u8().await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn reports_responses_that_open_no_web_socket() {
        for (answer, is_refused, expected) in [
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", true, "`/mqtt`"),
            ("HTTP/1.1 200 OK\r\n\r\nno end", true, "responded with 200 OK"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false, "503"),
            ("\x20\x02\x00\x00", false, ""),
            ("", false, ""),
        ] {
            let (ours, mut theirs) = duplex(1 << 12);
            let serving = tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    theirs.read_buf(&mut request).await.unwrap();
                }
                theirs.write_all(answer.as_bytes()).await.unwrap();
                if !is_refused {
                    return String::from_utf8(request).unwrap();
                }
                // A server that keeps the connection open delays nothing.
                pending().await
            });
            let opened = open(Box::new(ours), "broker:80", "/a", [7; 16]).await;
            match opened.err().expect("nothing is opened") {
                OpenError::Refused(problem) => {
                    assert!(is_refused && problem.contains(expected), "{problem}");
                    serving.abort();
                }
                OpenError::Broken(error) => {
                    assert!(!is_refused && error.to_string().contains(expected), "{error}");
                    let request = serving.await.unwrap().to_ascii_lowercase();
                    assert!(request.starts_with("get /a http/1.1\r\n"), "{request}");
                    assert!(request.contains("\r\nhost: broker:80\r\n"), "{request}");
                    assert!(request.contains("\r\nsec-websocket-protocol: mqtt\r\n"), "{request}");
                }
            }
        }
    }
}
