//! Group commit: from a put to bytes that are durable.
//!
//! | module | what it holds |
//! |---|---|
//! | `put` | a put transaction: encodes its batches in the caller's thread |
//! | `packing` | compression of one batch |
//! | `request` | what the leader is asked for |
//! | `hand_off` | the queue of requests, and which caller becomes the leader |
//! | `leader` | forms a group, writes it, answers |
//! | `roll` | begins the next segment |
//! | `group` | what is written in one go |
//! | `unwritten` | commits that are in no frame yet |
//! | `register` | a change of the consumers |
//! | `put_back` | batches of the dead letters that are put into the channel again |

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
