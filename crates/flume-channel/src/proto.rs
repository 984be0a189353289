//! The fields of `filechannel.proto` that are read. Texts are bytes here, so that invalid UTF-8
//! does not make a whole event unreadable.

/// `checkpoint.meta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Checkpoint {
    #[prost(sfixed32, required, tag = "1")]
    pub(crate) version: i32,
    #[prost(sfixed64, required, tag = "2")]
    pub(crate) write_order_id: i64,
    #[prost(sfixed32, required, tag = "3")]
    pub(crate) queue_size: i32,
    #[prost(sfixed32, required, tag = "4")]
    pub(crate) queue_head: i32,
}

/// `log-<n>.meta`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogFileMetaData {
    #[prost(sfixed32, required, tag = "1")]
    pub(crate) version: i32,
    #[prost(sfixed32, required, tag = "2")]
    pub(crate) log_file_id: i32,
    #[prost(sfixed64, required, tag = "3")]
    pub(crate) checkpoint_position: i64,
    #[prost(sfixed64, required, tag = "4")]
    pub(crate) checkpoint_write_order_id: i64,
    #[prost(message, optional, tag = "5")]
    pub(crate) encryption: Option<LogFileEncryption>,
    #[prost(sfixed64, optional, tag = "6")]
    pub(crate) backup_checkpoint_position: Option<i64>,
    #[prost(sfixed64, optional, tag = "7")]
    pub(crate) backup_checkpoint_write_order_id: Option<i64>,
}

/// The encryption of a log's records.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogFileEncryption {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) cipher_provider: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) key_alias: Vec<u8>,
}

/// In front of each record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TransactionEventHeader {
    #[prost(sfixed32, required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(sfixed64, required, tag = "2")]
    pub(crate) transaction_id: i64,
    #[prost(sfixed64, required, tag = "3")]
    pub(crate) write_order_id: i64,
}

/// An event that is put.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Put {
    #[prost(message, optional, tag = "1")]
    pub(crate) event: Option<FlumeEvent>,
    #[prost(sfixed64, optional, tag = "2")]
    pub(crate) checksum: Option<i64>,
}

/// The place of an event that is taken.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Take {
    #[prost(sfixed32, required, tag = "1")]
    pub(crate) file_id: i32,
    #[prost(sfixed32, required, tag = "2")]
    pub(crate) offset: i32,
}

/// The end of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Commit {
    #[prost(sfixed32, required, tag = "1")]
    pub(crate) kind: i32,
}

/// A message without fields: a rollback, and the footer of each record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

/// An event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FlumeEvent {
    #[prost(message, repeated, tag = "1")]
    pub(crate) headers: Vec<FlumeEventHeader>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) body: Vec<u8>,
}

/// A header of an event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FlumeEventHeader {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}
