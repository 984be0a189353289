//! Buckets as a store: `s3://bucket/prefix` of S3 and compatible servers, `gs://bucket/prefix` of
//! Google, and `abfss://container@account.dfs.core.windows.net/prefix` of Azure.
//!
//! | guarantee | mechanism |
//! |---|---|
//! | a name is never replaced | each put of an object, or end of an upload, has a condition |
//! | a file has its name when it is complete | an object appears when its upload ends |
//! | a rename is complete at the new name | a conditional copy; then the old name is deleted |
//! | no rename is lost half-done | repeating the rename finds its own copy, and deletes the old name |
//! | every call ends | each has a limit, and none is retried here: the caller checks first |
//!
//! | | S3 | Google | Azure |
//! |---|---|---|---|
//! | the condition | `If-None-Match: *` | `ifGenerationMatch=0` | `If-None-Match: *` |
//! | an upload ends by | `CompleteMultipartUpload` | the last part of a session | `Put Block List` |
//! | a copy of more than a part | inside the server | read and uploaded | read and uploaded |
//!
//! An object store has no directories ([`storage::FileSystem::is_tree`] is `false`): a directory
//! exists while an object is below it, and directories cannot be renamed.
//!
//! | module | contents |
//! |---|---|
//! | `access` | access to buckets of any provider |
//! | `s3`, `gcs`, `azure` | settings, environment and credentials of each |
//! | `provider` | other differences between them |
//! | `bucket` | the calls of a store |
//! | `writer` | a file being written: parts of an upload |
//! | `google`, `blobs` | requests that the library lacks, or does not make as a commit needs them |
//! | `http` | requests over the agent's network and TLS |
//! | `odd_keys` | removes keys that are not paths from listings |
//! | `signatures` | hashes and signatures of requests |
//! | `request_error` | maps answers, or their absence, to the possible effects of a call |
//! | `testkit` (a feature) | a bucket over a server of a test |

mod access;
mod azure;
mod blobs;
mod bucket;
mod gcs;
mod google;
mod http;
mod odd_keys;
mod provider;
mod request_error;
mod s3;
mod signatures;
#[cfg(feature = "testkit")]
pub mod testkit;
mod writer;

pub use access::{Access, Wrong, is_bucket, open};
pub use azure::Azure;
pub use bucket::OBJECT_BYTES_MAX;
pub use gcs::Gcs;
pub use s3::S3;
pub use writer::PART_BYTES;
