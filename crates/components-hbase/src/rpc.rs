//! A connection to an HBase server, for one call at a time.
//!
//! ```text
//!   once      "HBas" 0 80 │ u32 length │ ConnectionHeader
//!   call      u32 length │ varint, RequestHeader  │ varint, parameter
//!   answer    u32 length │ varint, ResponseHeader │ varint, result
//! ```
//!
//! 0 is the version, and 80 means that the user is named but not authenticated. The header names no
//! codec, so that messages contain the cells in both directions.
//!
//! A call owns its connection. If it is dropped midway, the connection, whose state is unknown, is
//! dropped with it.

use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Stream;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::cluster::Target;
use crate::failure::{Exception, HbaseError};
use crate::proto::{ConnectionHeader, RequestHeader, ResponseHeader, UserInformation};

const PREAMBLE: &[u8] = b"HBas\x00\x50";

/// Maximum response size: anything larger is not from HBase.
const ANSWER_BYTES_MAX: u32 = 64 << 20;

/// A service of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Rows, on region servers.
    Client,
    /// The location of `hbase:meta`, on masters.
    Registry,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "ClientService",
            Self::Registry => "ClientMetaService",
        }
    }
}

/// A connection.
pub(crate) struct Connection {
    address: Arc<str>,
    stream: Box<dyn Stream>,
    /// Number of calls so far.
    calls: u32,
    limit: Duration,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The connection fails.
    pub(crate) async fn open(
        target: &Target,
        address: &Arc<str>,
        service: Service,
    ) -> Result<Self, HbaseError> {
        let limit = target.connect_timeout;
        let opening = async {
            let mut stream = target.dialer.connect(address).await?;
            let header = ConnectionHeader {
                user_info: Some(UserInformation { effective_user: target.user.clone() }),
                service_name: Some(service.name().to_owned()),
            };
            let mut bytes = PREAMBLE.to_vec();
            bytes.extend_from_slice(&length_of(header.encoded_len()).to_be_bytes());
            header.encode_raw(&mut bytes);
            stream.write_all(&bytes).await?;
            Ok(stream)
        };
        let address = address.clone();
        match timeout(limit, opening).await {
            Ok(Ok(stream)) => Ok(Self { address, stream, calls: 0, limit: target.request_timeout }),
            Ok(Err(source)) => Err(HbaseError::Connect { address, source }),
            Err(_) => Err(HbaseError::Silent { address, limit }),
        }
    }

    /// Sends a request. Returns the connection for reuse.
    ///
    /// # Errors
    /// The connection broke, or the server rejected the call.
    pub(crate) async fn call<A: Message + Default>(
        mut self,
        method: &str,
        parameter: &impl Message,
    ) -> Result<(Self, A), HbaseError> {
        let limit = self.limit;
        match timeout(limit, self.exchange(method, parameter)).await {
            Ok(answer) => answer.map(|answer| (self, answer)),
            Err(_) => Err(HbaseError::Silent { address: self.address, limit }),
        }
    }

    async fn exchange<A: Message + Default>(
        &mut self,
        method: &str,
        parameter: &impl Message,
    ) -> Result<A, HbaseError> {
        self.calls += 1;
        let header = RequestHeader {
            call_id: Some(self.calls),
            method_name: Some(method.to_owned()),
            request_param: Some(true),
            timeout: Some(u32::try_from(self.limit.as_millis()).unwrap_or(u32::MAX)),
        };
        let address = self.address.clone();
        let broken = |problem: String| HbaseError::Broken { address: address.clone(), problem };
        let request = framed(&header, parameter);
        let io = async {
            self.stream.write_all(&request).await?;
            self.stream.read_u32().await
        };
        let length = io.await.map_err(|error| broken(error.to_string()))?;
        if length > ANSWER_BYTES_MAX {
            return Err(broken(format!(
                "the server announced a response of {length} bytes, over the limit of \
                 {ANSWER_BYTES_MAX}; check that the address is an HBase server"
            )));
        }
        let mut answer = vec![0; length as usize];
        let read = self.stream.read_exact(&mut answer).await;
        read.map_err(|error| broken(error.to_string()))?;
        let mut answer = &*answer;
        let malformed = |error: prost::DecodeError| {
            broken(format!(
                "cannot decode the response: {error}; check that the address is an HBase server"
            ))
        };
        let header = ResponseHeader::decode_length_delimited(&mut answer).map_err(malformed)?;
        if let Some(exception) = header.exception {
            let class = exception.exception_class_name.unwrap_or_default();
            let text = exception.stack_trace.unwrap_or_default();
            let exception = Exception::new(&class, &text);
            return Err(HbaseError::Refused { address: address.clone(), exception });
        }
        if header.call_id != Some(self.calls) {
            return Err(broken(format!(
                "the server responded to an unexpected call {:?}",
                header.call_id
            )));
        }
        A::decode_length_delimited(&mut answer).map_err(malformed)
    }
}

fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a message is far smaller than 4 GiB")
}

/// Encodes a call.
fn framed(header: &RequestHeader, parameter: &impl Message) -> Vec<u8> {
    let delimited = |bytes: usize| prost::length_delimiter_len(bytes) + bytes;
    let length = delimited(header.encoded_len()) + delimited(parameter.encoded_len());
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&length_of(length).to_be_bytes());
    header.encode_length_delimited(&mut bytes).expect("a vector grows");
    parameter.encode_length_delimited(&mut bytes).expect("a vector grows");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::GetMetaRegionLocationsRequest;

    #[test]
    fn a_call_is_its_length_its_header_and_its_parameter() {
        let header = RequestHeader {
            call_id: Some(1),
            method_name: Some("M".into()),
            request_param: Some(true),
            timeout: None,
        };
        let bytes = framed(&header, &GetMetaRegionLocationsRequest {});
        assert_eq!(bytes, b"\0\0\0\x09\x07\x08\x01\x1a\x01M\x20\x01\0");
    }
}
