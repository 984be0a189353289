//! What the tests of other crates share: building a component from JSON as a configuration would,
//! the contexts that sources run in, and capturing log lines.

mod context;

use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use crate::batch::Batch;
use crate::component::{BuildContext, Component, entry};
use crate::encoder::Encoder;
use crate::settings::{Settings, SettingsError};

pub use context::{plain_context, position_context, relay_context};

static TWO: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));

/// Lets a test capture the log lines of its own thread while other tests write the same lines.
/// Each test that may write them calls it before its first line.
///
/// With fewer than two subscribers, `tracing` asks that of the thread that meets a line first, and
/// of no other one, whether the line is of interest. The thread of another test has none, and would
/// switch the line off for all. So there are always two.
pub fn log_side_by_side() {
    LazyLock::force(&TWO);
}

/// Builds a component from JSON, the way a configuration does.
///
/// # Errors
/// As the component says.
pub fn build<C: Component>(
    settings: &serde_json::Value,
    cx: &BuildContext,
) -> Result<Box<C::Role>, SettingsError> {
    (entry::<C>().build)(&Settings::from_json(settings), cx)
}

/// A file of these batches, as a sink makes one.
///
/// # Panics
/// An event is unwritable, or the file outgrows what the encoder states of it: the bound of each
/// batch beforehand, and at any time how many bytes it holds back.
pub fn file_of(encoder: &dyn Encoder, batches: &[Batch]) -> Vec<u8> {
    let mut file = encoder.begin();
    let mut bytes = Vec::new();
    for batch in batches {
        assert_eq!(encoder.unwritable(batch), []);
        let bound = bytes.len() as u64 + file.held_back() + encoder.size_bound(batch);
        bytes.extend_from_slice(&file.encode(batch));
        let counted = bytes.len() as u64 + file.held_back();
        assert!(counted <= bound, "{counted} <= {bound}");
    }
    let held_back = file.held_back();
    let end = file.finish();
    assert!(end.len() as u64 <= held_back, "{} <= {held_back}", end.len());
    [bytes, end.into()].concat()
}
