//! Group commit: from a put to durable bytes.
//!
//! | module | contents |
//! |---|---|
//! | `put` | a put transaction: encodes its batches in the caller's thread |
//! | `packing` | compression of one batch |
//! | `request` | requests to the leader |
//! | `hand_off` | the queue of requests, and the choice of the leader |
//! | `leader` | forms a group, writes it, replies |
//! | `roll` | begins the next segment |
//! | `group` | the group of requests that is written together |
//! | `unwritten` | commits that are in no frame yet |
//! | `register` | a change of the consumers |
//! | `put_back` | batches of the dead letters that are replayed into the channel |

pub(crate) mod group;
pub(crate) mod hand_off;
pub(crate) mod leader;
pub(crate) mod packing;
pub(crate) mod put;
pub(crate) mod put_back;
pub(crate) mod register;
pub(crate) mod request;
pub(crate) mod roll;
pub(crate) mod unwritten;
