//! Frames: the length of a message in four bytes, big-endian, and the message.
//!
//! The length is compared with its limit before memory is allocated. The number of values is
//! counted before the message is decoded, because a value of two bytes becomes a structure of
//! dozens.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use pipeline::env::Stream;
use prost::Message;
use prost::encoding::decode_varint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Fault;
use crate::v1::{FromAgent, FromPlugin, from_agent, from_plugin};

/// Limit of texts, byte strings and messages in a message.
pub(crate) const VALUES_MAX: usize = 1 << 20;

/// Writes a message.
pub(crate) async fn write(stream: &mut dyn Stream, message: from_agent::Message) -> io::Result<()> {
    let message = FromAgent { message: Some(message) };
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(4 + length);
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode(&mut frame).map_err(io::Error::other)?;
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Reads a message of at most `max` bytes.
///
/// # Errors
/// The connection has ended, or the message is beyond its bounds or unreadable.
pub(crate) async fn read(
    stream: &mut dyn Stream,
    max: usize,
) -> Result<from_plugin::Message, Fault> {
    let length = stream.read_u32().await.map_err(Fault::Closed)? as usize;
    if length > max {
        return Err(Fault::Oversized { bytes: length as u64, max });
    }
    // Memory grows with the bytes that arrive.
    let mut frame = BytesMut::new();
    let mut rest = stream.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await.map_err(Fault::Closed)? == 0 {
            return Err(Fault::Closed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    decode(frame.freeze())
}

/// Decodes a message.
///
/// # Errors
/// It has too many values, is malformed, or has no known field.
pub(crate) fn decode(frame: Bytes) -> Result<from_plugin::Message, Fault> {
    let mut values = 0;
    count(frame.clone(), 1, &mut values)?;
    let message = FromPlugin::decode(frame).map_err(|error| Fault::Unusable(error.to_string()))?;
    message.message.ok_or_else(|| Fault::Unusable("the message has no known field".to_owned()))
}

/// Counts the values with a length, and those within them that can be messages.
fn count(mut message: Bytes, depth: usize, values: &mut usize) -> Result<(), Fault> {
    let malformed = |error: prost::DecodeError| Fault::Unusable(error.to_string());
    let cut = || Fault::Unusable("a message ends within a value".to_owned());
    while message.has_remaining() {
        let key = decode_varint(&mut message).map_err(malformed)?;
        let skipped = match key & 7 {
            0 => {
                decode_varint(&mut message).map_err(malformed)?;
                0
            }
            1 => 8,
            5 => 4,
            2 => usize::try_from(decode_varint(&mut message).map_err(malformed)?)
                .map_err(|_| cut())?,
            other => {
                return Err(Fault::Unusable(format!(
                    "a value has the unsupported wire type {other}"
                )));
            }
        };
        if skipped > message.remaining() {
            return Err(cut());
        }
        let value = message.split_to(skipped);
        if key & 7 != 2 {
            continue;
        }
        *values += 1;
        if *values > VALUES_MAX {
            return Err(Fault::Unusable(format!("the message has more than {VALUES_MAX} values")));
        }
        // Answers, and their lists: results, choices, outcomes, events and headers have number 2.
        let has_lists = match depth {
            1 => matches!(key >> 3, 2..=4 | 7),
            2 | 3 => key >> 3 == 2,
            _ => false,
        };
        if has_lists {
            count(value, depth + 1, values)?;
        }
    }
    Ok(())
}
