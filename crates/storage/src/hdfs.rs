//! The parts that all clients of HDFS share: settings of the access, and remedies for refusals. The
//! clients are the crates `storage-hdfs` and `storage-webhdfs`.

mod access;
mod refusals;

pub use access::{HdfsAccess, Login};
pub use refusals::{Kind, refusal};
