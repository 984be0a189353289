//! The receiver's end of the stream: reads its sender's messages.

use std::error::Error;
use std::future::poll_fn;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use http_body::Body;
use prost::Message;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::codec::{EncodeBody, SingleMessageCompressionOverride};
use tonic::codegen::http;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Code, Status};

use super::features::{FEATURES_MAX, features};
use super::gathering::{Gathering, Place, Right, SMALL_BYTES, STANDSTILL, due, length};
use super::{HEAD_BYTES, PATH, encoder};
use crate::v1::{FromReceiver, FromSender};

/// Answers a request: `handler` gets the sender's messages, and returns the answers.
///
/// No message may have more than `message_bytes_max` bytes. Large ones use the memory of
/// `gathering`, until their bodies are no longer used.
pub fn answer<B, S>(
    request: http::Request<B>,
    message_bytes_max: usize,
    gathering: &Arc<Gathering>,
    handler: impl FnOnce(RequestStream<B>) -> S,
) -> http::Response<tonic::body::Body>
where
    S: Stream<Item = Result<FromReceiver, Status>> + Send + 'static,
{
    if request.uri().path() != PATH {
        return Status::unimplemented(format!("unknown path: this server only has {PATH}"))
            .into_http();
    }
    let answers = handler(RequestStream {
        body: request.into_body(),
        data: Bytes::new(),
        head: Head::default(),
        message: None,
        message_bytes_max,
        gathering: gathering.clone(),
    });
    let plain = SingleMessageCompressionOverride::Disable;
    let said = EncodeBody::new_server(encoder(), answers, None, plain, None);
    let mut response = http::Response::new(tonic::body::Body::new(said));
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The messages of a sender, from the body of its request.
pub struct RequestStream<B> {
    body: B,
    /// Received bytes that are not processed yet.
    data: Bytes,
    /// The received part of the next message's head.
    head: Head,
    /// An incomplete message.
    message: Option<Gathered>,
    message_bytes_max: usize,
    gathering: Arc<Gathering>,
}

/// A head, or the beginning of one.
#[derive(Default)]
struct Head {
    bytes: [u8; HEAD_BYTES],
    filled: usize,
}

/// A message whose length, at least, was received.
enum Gathered {
    /// There is no room for it yet.
    Waits(Box<Waiting>),
    /// This many bytes of it have arrived.
    Arrives(Place, usize, Option<Box<Deadline>>),
}

/// A large message before its first byte is taken in.
struct Waiting {
    bytes: usize,
    right: BoxFuture<'static, Right>,
}

/// The time limit of a large message.
struct Deadline {
    /// Time limit for the whole message.
    due: Instant,
    /// When more of it must be.
    more: Pin<Box<Sleep>>,
}

impl AsRef<[u8]> for Place {
    fn as_ref(&self) -> &[u8] {
        &self.room
    }
}

impl<B> RequestStream<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Returns the next message; `None` after the end of the stream. Cancel safe.
    ///
    /// # Errors
    /// `OutOfRange`: it is too long; no more of it is received. `DeadlineExceeded`: it took too
    /// long. Others: the bytes are not a message of the schema, or the connection broke.
    pub async fn message(&mut self) -> Result<Option<FromSender>, Status> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FromSender>, Status>> {
        loop {
            if let Some(message) = ready!(self.gather(cx))? {
                if message.len() > SMALL_BYTES && features(&message) > FEATURES_MAX {
                    let detail = format!("a Hello has more than {FEATURES_MAX} features");
                    return Poll::Ready(Err(Status::out_of_range(detail)));
                }
                let decoded = FromSender::decode(message);
                let wrong = |error: prost::DecodeError| Status::internal(error.to_string());
                return Poll::Ready(decoded.map(Some).map_err(wrong));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.stands_still(cx));
                return Poll::Ready(Err(Status::deadline_exceeded(
                    "a message did not arrive in time",
                )));
            };
            match frame {
                Some(Ok(frame)) => self.data = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    let status = Status::from_error(error.into());
                    let is_gone = status.code() == Code::Cancelled;
                    return Poll::Ready(if is_gone { Ok(None) } else { Err(status) });
                }
                None if self.message.is_none() && self.head.filled == 0 => {
                    return Poll::Ready(Ok(None));
                }
                None => {
                    return Poll::Ready(Err(Status::internal("the stream ended within a message")));
                }
            }
        }
    }

    /// Collects received bytes; returns the message once it is complete. Pending only while it has
    /// no room.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        if self.message.is_none() {
            let Head { bytes, filled } = &mut self.head;
            *filled += fill(&mut bytes[*filled..], &mut self.data);
            if *filled < HEAD_BYTES {
                return Poll::Ready(Ok(None));
            }
            let Head { bytes, .. } = take(&mut self.head);
            let bytes = length(bytes, self.message_bytes_max)?;
            self.message = Some(if bytes > SMALL_BYTES {
                let right = self.gathering.right(bytes);
                Gathered::Waits(Box::new(Waiting { bytes, right }))
            } else {
                Gathered::Arrives(self.gathering.place(bytes, None), 0, None)
            });
        }
        if let Some(Gathered::Waits(waiting)) = &mut self.message {
            let right = ready!(waiting.right.as_mut().poll(cx));
            let (bytes, now) = (waiting.bytes, Instant::now());
            let more = Box::pin(sleep_until(now + STANDSTILL));
            let deadline = Deadline { due: due(now, bytes), more };
            let place = self.gathering.place(bytes, Some(right));
            self.message = Some(Gathered::Arrives(place, 0, Some(Box::new(deadline))));
        }
        let Some(Gathered::Arrives(place, filled, deadline)) = &mut self.message else {
            unreachable!("it arrives, or was pending")
        };
        let more = fill(&mut place.room[*filled..], &mut self.data);
        *filled += more;
        if *filled < place.room.len() {
            if let Some(Deadline { due, more: sleep }) = deadline.as_deref_mut()
                && more > 0
            {
                sleep.as_mut().reset((*due).min(Instant::now() + STANDSTILL));
            }
            return Poll::Ready(Ok(None));
        }
        let whole = match self.message.take() {
            Some(Gathered::Arrives(place, ..)) => Some(Bytes::from_owner(place)),
            _ => None,
        };
        Poll::Ready(Ok(whole))
    }

    /// Ready when a large message has stalled for too long.
    fn stands_still(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.message {
            Some(Gathered::Arrives(_, _, Some(deadline))) => deadline.more.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

/// Moves bytes from `data` into `room`, as many as fit; returns their number.
fn fill(room: &mut [u8], data: &mut Bytes) -> usize {
    let bytes = room.len().min(data.len());
    data.copy_to_slice(&mut room[..bytes]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body::Frame;

    use super::*;
    use crate::exchange::testkit::{framed, put};
    use crate::v1::{Hello, Put, from_sender};

    /// Received bytes, in their original pieces, and whether nothing follows them.
    struct Came(VecDeque<Bytes>, bool);

    impl Body for Came {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None if self.1 => Poll::Pending,
                data => Poll::Ready(data.map(|data| Ok(Frame::data(data)))),
            }
        }
    }

    const BYTES_MAX: usize = 1 << 20;

    fn gathering(bytes_max: u64, idle_bytes_max: usize) -> Arc<Gathering> {
        Arc::new(Gathering::new(bytes_max, idle_bytes_max, <_>::default()))
    }

    /// Creates the stream for `sent` in pieces of `piece_bytes` bytes.
    fn heard(sent: &[u8], piece_bytes: usize, gathering: &Arc<Gathering>) -> RequestStream<Came> {
        let pieces = sent.chunks(piece_bytes).map(Bytes::copy_from_slice).collect();
        RequestStream {
            body: Came(pieces, false),
            data: Bytes::new(),
            head: Head::default(),
            message: None,
            message_bytes_max: BYTES_MAX,
            gathering: gathering.clone(),
        }
    }

    fn next(heard: &mut RequestStream<Came>) -> Result<Option<FromSender>, Status> {
        match heard.poll_message(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(message) => message,
            Poll::Pending => panic!("all of it came"),
        }
    }

    fn take_body(put: Put) -> Bytes {
        put.body
    }

    #[tokio::test]
    async fn reads_messages_in_any_fragmentation() {
        let hello = from_sender::Message::Hello(Hello { agent: "a".into(), ..Hello::default() });
        let hello = FromSender { message: Some(hello) };
        let nothing = FromSender { message: None };
        let said = [hello.clone(), put(10), nothing, put(100_000), put(64 << 10), hello];
        let (sent, buffers) = (framed(&said), gathering(1 << 20, 1 << 20));
        for piece_bytes in [1, 4, 5, 6, 1_000, 16_384, sent.len()] {
            let mut heard = heard(&sent, piece_bytes, &buffers);
            for message in &said {
                assert_eq!(next(&mut heard).unwrap().as_ref(), Some(message), "{piece_bytes}");
            }
            assert!(next(&mut heard).unwrap().is_none());
        }
    }

    /// Two bytes in the message would be twenty-four in memory.
    #[tokio::test]
    async fn a_hello_of_a_million_features_is_refused_before_it_is_made() {
        let with = |features: usize, keys: usize| {
            let features = vec![String::new(); features];
            let hello = Hello { features, keys: vec![0; keys].into(), ..Hello::default() };
            FromSender { message: Some(from_sender::Message::Hello(hello)) }
        };
        let (sent, gathering) =
            (framed(&[with(9, 500_000), with(400_000, 0)]), gathering(1 << 20, 0));
        let mut heard = heard(&sent, 16_384, &gathering);
        assert_eq!(next(&mut heard).unwrap(), Some(with(9, 500_000)));
        assert_eq!(next(&mut heard).unwrap_err().code(), Code::OutOfRange);
    }

    #[tokio::test]
    async fn a_large_body_stays_in_its_buffer_and_the_memory_is_reused() {
        let (sent, buffers) = (framed(&[put(100_000), put(100_001)]), gathering(1 << 20, 1 << 20));
        let mut heard = heard(&sent, 16_384, &buffers);
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let message = next(&mut heard).unwrap().unwrap().message;
            let Some(from_sender::Message::Put(put)) = message else { panic!("a put was said") };
            let body = take_body(put);
            assert_eq!(buffers.idle_bytes(), 0, "the body is a part of the buffer");
            addresses.push(body.as_ptr());
            drop(body);
            assert!(buffers.idle_bytes() > 100_000);
        }
        assert_eq!(addresses[0], addresses[1]);
    }

    #[tokio::test]
    async fn rejects_malformed_messages_and_oversized_ones_by_their_length() {
        let buffers = gathering(1 << 20, 0);
        let whole = framed(&[put(100_000)]);
        let too_long = [&[0][..], &(BYTES_MAX as u32 + 1).to_be_bytes()].concat();
        let compressed = [&[1][..], &whole[1..]].concat();
        let garbage = [0, 0, 0, 0, 2, 0xff, 0xff];
        for (sent, code) in [
            (&too_long[..], Code::OutOfRange),
            (&compressed, Code::Unimplemented),
            (&garbage, Code::Internal),
            (&whole[..3], Code::Internal),
            (&whole[..50_000], Code::Internal),
        ] {
            let error = next(&mut heard(sent, 16_384, &buffers)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
    }

    #[tokio::test]
    async fn messages_that_arrive_have_memory_one_after_the_other() {
        let gathering = gathering(128 << 10, 0);
        let sent = framed(&[put(100_000)]);
        let mut streams: Vec<_> =
            (0..9).map(|_| Box::pin(heard(&sent[..50_000], 16_384, &gathering))).collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polled = |heard: &mut RequestStream<Came>, cx: &mut Context<'_>| {
            // The bytes end within the message: only a stream with room gets that far.
            match heard.poll_message(cx) {
                Poll::Ready(message) => message.unwrap_err().code(),
                Poll::Pending => Code::Unavailable,
            }
        };
        let codes: Vec<Code> = streams.iter_mut().map(|one| polled(one, &mut cx)).collect();
        let waiting = codes.iter().filter(|code| **code == Code::Unavailable).count();
        assert_eq!(waiting, 8, "{codes:?}");
        assert_eq!(gathering.shown(), 98 << 10);
        drop(streams.remove(0));
        assert_eq!(polled(&mut streams[0], &mut cx), Code::Internal, "the next one has room");
        drop(streams);
        assert_eq!(gathering.shown(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stands_still_gives_its_room_to_others() {
        let gathering = gathering(128 << 10, 0);
        let begun = framed(&[put(100_000)])[..50_000].to_vec();
        let mut still = RequestStream {
            body: Came([begun.into()].into(), true),
            data: Bytes::new(),
            head: Head::default(),
            message: None,
            message_bytes_max: BYTES_MAX,
            gathering: gathering.clone(),
        };
        let start = Instant::now();
        assert_eq!(still.message().await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), STANDSTILL);
        drop(still);
        assert_eq!(gathering.shown(), 0);
    }
}
