//! Opens a directory, and handles damage.
//!
//! | module | contents |
//! |---|---|
//! | `opening` | the steps of an opening |
//! | `owner_file`, `names` | the files `channel` and `names` |
//! | `scan` | the frames of a segment, sound, torn or damaged |
//! | `replay` | from frames to the state of the channel |
//! | `damage`, `heal` | quarantines, gives up or restores damaged batches |
//! | `inspect` | an operator's queries about a channel that no agent uses |
//! | `fuzzed` | the reader of frames, for a fuzzer |

pub(crate) mod damage;
#[cfg(feature = "testkit")]
pub(crate) mod fuzzed;
pub(crate) mod heal;
pub mod inspect;
pub(crate) mod names;
pub(crate) mod opening;
pub(crate) mod owner_file;
pub(crate) mod replay;
pub(crate) mod scan;
