//! The required messages of HBase, with the used fields only: others are not written, and are
//! skipped when read. Field numbers come from HBase's `.proto` files (`RPC`, `HBase`, `Client`,
//! `Cell`, `Registry`, `ZooKeeper`).

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UserInformation {
    #[prost(string, required, tag = "1")]
    pub(crate) effective_user: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConnectionHeader {
    #[prost(message, optional, tag = "1")]
    pub(crate) user_info: Option<UserInformation>,
    #[prost(string, optional, tag = "2")]
    pub(crate) service_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestHeader {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) call_id: Option<u32>,
    #[prost(string, optional, tag = "3")]
    pub(crate) method_name: Option<String>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) request_param: Option<bool>,
    /// Milliseconds after which the server may drop the call.
    #[prost(uint32, optional, tag = "7")]
    pub(crate) timeout: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResponseHeader {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) call_id: Option<u32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) exception: Option<ExceptionResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExceptionResponse {
    #[prost(string, optional, tag = "1")]
    pub(crate) exception_class_name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) stack_trace: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NameBytesPair {
    #[prost(string, required, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerName {
    #[prost(string, required, tag = "1")]
    pub(crate) host_name: String,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) port: Option<u32>,
}

/// The server of `hbase:meta`, as stored in ZooKeeper.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetaRegionServer {
    #[prost(message, required, tag = "1")]
    pub(crate) server: ServerName,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetMetaRegionLocationsRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetMetaRegionLocationsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) meta_locations: Vec<RegionLocation>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegionLocation {
    #[prost(message, required, tag = "1")]
    pub(crate) region_info: RegionInfo,
    #[prost(message, optional, tag = "2")]
    pub(crate) server_name: Option<ServerName>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegionInfo {
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) start_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) end_key: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) offline: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(crate) split: Option<bool>,
    /// 0 is the primary replica.
    #[prost(int32, optional, tag = "7")]
    pub(crate) replica_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegionSpecifier {
    /// 1: the value is the full name of the region.
    #[prost(int32, required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl RegionSpecifier {
    pub(crate) fn for_name(name: &[u8]) -> Self {
        Self { kind: 1, value: name.to_vec() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Column {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) family: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Scan {
    #[prost(message, repeated, tag = "1")]
    pub(crate) column: Vec<Column>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) start_row: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "15")]
    pub(crate) reversed: Option<bool>,
    #[prost(uint32, optional, tag = "17")]
    pub(crate) caching: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScanRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) region: Option<RegionSpecifier>,
    #[prost(message, optional, tag = "2")]
    pub(crate) scan: Option<Scan>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) number_of_rows: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) close_scanner: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScanResponse {
    #[prost(message, repeated, tag = "5")]
    pub(crate) results: Vec<Row>,
}

/// HBase's `Result`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Row {
    #[prost(message, repeated, tag = "1")]
    pub(crate) cell: Vec<Cell>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cell {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) row: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) qualifier: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) value: Option<Vec<u8>>,
}

/// Kinds of [`Mutation`].
pub(crate) const INCREMENT: i32 = 1;
pub(crate) const PUT: i32 = 2;

/// HBase's `MutationProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Mutation {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) row: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) mutate_type: Option<i32>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) column_value: Vec<ColumnValue>,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) timestamp: Option<u64>,
    #[prost(int32, optional, tag = "6")]
    pub(crate) durability: Option<i32>,
    /// Lets a server recognize a repeated increment. 0 for none.
    #[prost(uint64, optional, tag = "9")]
    pub(crate) nonce: Option<u64>,
}

/// The columns of one family.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ColumnValue {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) family: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) qualifier_value: Vec<QualifierValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct QualifierValue {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) qualifier: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

/// HBase's `Action`: one mutation, with its index in the request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NumberedMutation {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) index: Option<u32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) mutation: Option<Mutation>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegionAction {
    #[prost(message, required, tag = "1")]
    pub(crate) region: RegionSpecifier,
    #[prost(message, repeated, tag = "3")]
    pub(crate) action: Vec<NumberedMutation>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MultiRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) region_action: Vec<RegionAction>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) nonce_group: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResultOrException {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) index: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub(crate) exception: Option<NameBytesPair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RegionActionResult {
    #[prost(message, repeated, tag = "1")]
    pub(crate) result_or_exception: Vec<ResultOrException>,
    /// An exception for the whole region.
    #[prost(message, optional, tag = "2")]
    pub(crate) exception: Option<NameBytesPair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MultiResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) region_action_result: Vec<RegionActionResult>,
}
