//! Tools for the tests of other crates: building a component from JSON like a configuration, checks
//! of what sinks settle, the contexts in which sources run, and capturing log lines.

mod checked;
mod context;

use std::any::Any;
use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use crate::batch::Batch;
use crate::component::{BuildContext, Component, entry};
use crate::encoder::Encoder;
use crate::settings::{Settings, SettingsError};
use crate::sink::Sink;

pub use checked::Checked;
pub use context::{plain_context, position_context, relay_context};

static TWO: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));

/// Lets a test capture the log lines of its own thread while other tests write the same lines. Each
/// test that may write them calls it before its first line.
///
/// With fewer than two subscribers, `tracing` asks only the subscriber of the thread that meets a
/// line first whether the line is of interest. The thread of another test has no subscriber, and
/// would disable the line for all. Therefore two subscribers always exist.
pub fn log_side_by_side() {
    LazyLock::force(&TWO);
}

/// Builds a component from JSON, as a configuration does. Each settlement of a sink is [`Checked`].
///
/// # Errors
/// The component's error.
pub fn build<C: Component>(
    settings: &serde_json::Value,
    cx: &BuildContext,
) -> Result<Box<C::Role>, SettingsError> {
    let built = (entry::<C>().build)(&Settings::from_json(settings), cx)?;
    let built: Box<dyn Any> = Box::new(built);
    let built: Box<dyn Any> = match built.downcast::<Box<dyn Sink>>() {
        Ok(sink) => Box::new(Box::new(Checked::new(*sink)) as Box<dyn Sink>),
        Err(other) => other,
    };
    Ok(*built.downcast().expect("it has the role that it was built for"))
}

/// Returns a file of these batches, as written by a sink.
///
/// # Panics
/// An event is unwritable, or the file exceeds the encoder's bounds: the bound of each batch, or at
/// any time the number of held back bytes.
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
