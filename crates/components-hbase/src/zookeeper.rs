//! Reads the server of `hbase:meta` from ZooKeeper.
//!
//! ```text
//!   session   ─► u32 length │ version 0 │ zxid 0 │ timeout │ session 0 │ password of 16 zeros
//!             ◄─ u32 length │ session data: ignored
//!   getData   ─► u32 length │ xid 1 │ type 4 │ path │ no watch
//!             ◄─ u32 length │ xid 1 │ zxid │ error │ data │ state
//!   data         ff │ u32 length │ name of its process │ "PBUF" │ MetaRegionServer
//! ```
//!
//! The session ends with its connection, so nothing remains in ZooKeeper.

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use pipeline::env::Stream;

use crate::proto::MetaRegionServer;

const GET_DATA: u32 = 4;
/// The session is used immediately and then closed.
const SESSION_MS: u32 = 10_000;
/// HBase's entry has about 100 bytes.
const ANSWER_BYTES_MAX: u32 = 64 << 10;
const NO_NODE: i32 = -101;

/// Returns the server of `hbase:meta` as `host:port`.
///
/// # Errors
/// The problem.
pub(crate) async fn meta_server(
    stream: &mut Box<dyn Stream>,
    znode: &str,
) -> Result<String, String> {
    let path = format!("{znode}/meta-region-server");
    let session = [&[0; 12][..], &SESSION_MS.to_be_bytes(), &[0; 8], &prefixed(&[0; 16])].concat();
    let asked =
        [&1_u32.to_be_bytes()[..], &GET_DATA.to_be_bytes(), &prefixed(path.as_bytes()), &[0]]
            .concat();
    let exchange = async {
        stream.write_all(&prefixed(&session)).await?;
        answer(stream).await?;
        stream.write_all(&prefixed(&asked)).await?;
        answer(stream).await
    };
    let answered = exchange.await.map_err(|error| error.to_string())?;
    read(&answered, &path)
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("paths are short");
    [&length.to_be_bytes()[..], bytes].concat()
}

async fn answer(stream: &mut Box<dyn Stream>) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > ANSWER_BYTES_MAX {
        return Err(std::io::Error::other(
            "the response is not from ZooKeeper; correct `zookeeper.quorum`",
        ));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Parses the server from a `getData` response.
fn read(answer: &[u8], path: &str) -> Result<String, String> {
    let malformed =
        || format!("the data of ZooKeeper at {path} is not from HBase; correct `zookeeper.znode`");
    let (head, rest) = answer.split_at_checked(16).ok_or_else(malformed)?;
    let error = head[12..].try_into().map(i32::from_be_bytes).map_err(|_| malformed())?;
    match error {
        0 => {}
        NO_NODE => {
            return Err(format!(
                "ZooKeeper has no node {path}: start HBase, or correct `zookeeper.znode`"
            ));
        }
        code => {
            return Err(format!(
                "ZooKeeper returned the error {code} for {path}; see its log, and check that this \
                 host may read the node"
            ));
        }
    }
    let data = take(rest).map(|(data, _)| data).ok_or_else(malformed)?;
    let process = data.strip_prefix(&[0xff]).and_then(take);
    let message = process.and_then(|(_, rest)| rest.strip_prefix(b"PBUF"));
    let message = message.ok_or_else(malformed)?;
    let server = MetaRegionServer::decode(message).map_err(|_| malformed())?.server;
    Ok(format!("{}:{}", server.host_name, server.port.unwrap_or_default()))
}

/// Splits off bytes with a length prefix.
fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ServerName;

    fn answered(error: i32, data: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &error.to_be_bytes(), &prefixed(data), &[0; 68]].concat()
    }

    #[test]
    fn the_server_is_read_from_behind_the_name_of_a_process() {
        let server = ServerName { host_name: "rs-1".into(), port: Some(16020) };
        let message = MetaRegionServer { server }.encode_to_vec();
        let data = [&[0xff][..], &prefixed(b"master:16000"), b"PBUF", &message].concat();
        assert_eq!(read(&answered(0, &data), "/hbase/x").unwrap(), "rs-1:16020");
        for bad in [&b""[..], b"x", &data[..data.len() - 1], &data[1..]] {
            assert!(read(&answered(0, bad), "/hbase/x").unwrap_err().contains("not from HBase"));
        }
        assert!(read(&[0; 3], "/hbase/x").is_err());
    }

    #[test]
    fn a_node_that_is_not_there_names_the_setting() {
        let error = read(&answered(NO_NODE, b""), "/hb/meta-region-server").unwrap_err();
        assert!(error.contains("`zookeeper.znode`"), "{error}");
    }
}
