//! The segment log: the files, and the bytes in them.
//!
//! | module | contents |
//! |---|---|
//! | `writer` | the end of the log: begins segments, appends groups |
//! | `files` | makes, names and opens segment files: the next one is ready before it is needed |
//! | `recycling` | files of released segments: reused, or removed |
//! | `reserve` | two small files for starts and commits on a disk without room |
//! | `segment_pool` | estimates how many free files will be needed again |
//! | `trimming` | removes unneeded free files in parts |
//! | `segment`, `frame`, `records` | the format: header block, frames, contents of envelopes |
//! | `layout`, `aligned` | the layout of a group in memory, and buffers for direct I/O |
//! | `seal`, `keys` | encryption of frames, and the sources of keys |

pub(crate) mod aligned;
pub(crate) mod files;
pub(crate) mod frame;
pub(crate) mod keys;
pub(crate) mod layout;
pub(crate) mod records;
pub(crate) mod recycling;
pub(crate) mod reserve;
pub(crate) mod seal;
pub(crate) mod segment;
pub(crate) mod segment_pool;
pub(crate) mod trimming;
pub(crate) mod writer;
