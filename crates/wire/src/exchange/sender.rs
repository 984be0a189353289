//! The sender's end of the stream: sends its messages, and returns the answers.

use std::error::Error;
use std::future::poll_fn;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::codec::Streaming;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{HEAD_BYTES, PATH, decoder};
use crate::v1::{FromReceiver, FromSender, Put, from_sender};

/// Numbers of the field `put` in `FromSender` and of `body` in `Put`.
const PUT: u32 = 2;
const BODY: u32 = 15;

/// Bodies up to this size are copied after their head: a separate HTTP/2 frame costs more.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Bytes that one message of the next agent may have: sets of identities.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Opens the stream of a connection: sends `messages`, and returns the answers. `authorization`
/// proves the sender's name, if there is such a header.
///
/// # Errors
/// The connection broke, or the receiver does not accept the stream.
pub async fn exchange<S>(
    mut channel: Channel,
    authorization: Option<http::HeaderValue>,
    messages: S,
) -> Result<Streaming<FromReceiver>, Status>
where
    S: Stream<Item = FromSender> + Send + Unpin + 'static,
{
    let mut request = http::Request::post(PATH)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(tonic::body::Body::new(MessageBody { messages, body: Bytes::new() }))
        .map_err(|error| Status::internal(error.to_string()))?;
    if let Some(value) = authorization {
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
    }
    let broken = |error: tonic::transport::Error| Status::from_error(error.into());
    poll_fn(|cx| channel.poll_ready(cx)).await.map_err(broken)?;
    let response = channel.call(request).await.map_err(broken)?;
    let code = response.status();
    match Status::from_header_map(response.headers()) {
        None => {
            let (body, max) = (response.into_body(), Some(ANSWER_BYTES_MAX));
            Ok(Streaming::new_response(decoder(), body, code, None, max))
        }
        // The headers contain the result: the stream has ended before it began.
        Some(status) if status.code() == Code::Ok => {
            Ok(Streaming::new_empty(decoder(), response.into_body()))
        }
        Some(status) => Err(status),
    }
}

/// Messages as the body of a request.
struct MessageBody<S> {
    messages: S,
    /// The body to send after the last head.
    body: Bytes,
}

impl<S: Stream<Item = FromSender> + Unpin> Body for MessageBody<S> {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.body.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(take(&mut self.body)))));
        }
        let Some(message) = ready!(Pin::new(&mut self.messages).poll_next(cx)) else {
            return Poll::Ready(None);
        };
        let framed = frame(message).map(|(head, body)| {
            self.body = body;
            Frame::data(head)
        });
        Poll::Ready(Some(framed.map_err(Into::into)))
    }
}

/// Frames a message for gRPC: the encoded head, and the body that follows it unchanged.
fn frame(message: FromSender) -> Result<(Bytes, Bytes), std::num::TryFromIntError> {
    match message.message {
        Some(from_sender::Message::Put(put)) if put.body.len() > COPIED_BYTES_MAX => frame_put(put),
        _ => {
            let bytes = message.encoded_len();
            let mut framed = head(bytes, bytes)?;
            message.encode(&mut framed).expect("there is room for it");
            Ok((framed.freeze(), Bytes::new()))
        }
    }
}

fn frame_put(mut put: Put) -> Result<(Bytes, Bytes), std::num::TryFromIntError> {
    let body = take(&mut put.body);
    let body_bytes = body.len() as u64;
    let fields = put.encoded_len() + key_len(BODY) + encoded_len_varint(body_bytes);
    let put_bytes = (fields + body.len()) as u64;
    let wrapped = key_len(PUT) + encoded_len_varint(put_bytes) + fields;
    let mut framed = head(wrapped + body.len(), wrapped)?;
    encode_key(PUT, WireType::LengthDelimited, &mut framed);
    encode_varint(put_bytes, &mut framed);
    put.encode(&mut framed).expect("there is room for it");
    encode_key(BODY, WireType::LengthDelimited, &mut framed);
    encode_varint(body_bytes, &mut framed);
    Ok((framed.freeze(), body))
}

/// The head of a message of `bytes` bytes, with room for `more`.
fn head(bytes: usize, more: usize) -> Result<BytesMut, std::num::TryFromIntError> {
    let bytes = u32::try_from(bytes)?;
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + more);
    framed.put_u8(0);
    framed.put_u32(bytes);
    Ok(framed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testkit::{framed, put};
    use crate::v1::Hello;

    #[test]
    fn frames_match_the_schema_and_large_bodies_are_not_copied() {
        let hello = from_sender::Message::Hello(Hello { agent: "a".into(), ..Hello::default() });
        let sizes = [0, 1, COPIED_BYTES_MAX - 100, COPIED_BYTES_MAX, 1 << 20, 3 << 20].map(put);
        let others = [FromSender { message: Some(hello) }, FromSender { message: None }];
        for message in sizes.into_iter().chain(others) {
            let (head, body) = frame(message.clone()).unwrap();
            let framed = framed(std::slice::from_ref(&message));
            assert!([&head[..], &body[..]].concat() == framed, "{} bytes", framed.len());
            if let Some(from_sender::Message::Put(put)) = &message.message
                && put.body.len() > COPIED_BYTES_MAX
            {
                assert_eq!(body.as_ptr(), put.body.as_ptr());
            }
        }
    }
}
