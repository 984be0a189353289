//! What the events of a file look like as bytes.

pub mod json;
pub mod text;

use pipeline::component::entry;
use pipeline::{BuildContext, BuildError, Entry, Serializer, Settings};

/// All of them.
pub static ALL: &[Entry<dyn Serializer>] = &[entry::<json::Config>(), entry::<text::Config>()];

/// The serializer that the setting `serializer` names.
pub(crate) fn named(kind: &str, cx: &BuildContext) -> Result<Box<dyn Serializer>, BuildError> {
    let Some(entry) = ALL.iter().find(|entry| entry.kind == kind) else {
        let known: Vec<&str> = ALL.iter().map(|entry| entry.kind).collect();
        let problem = format!("`{kind}` is not known; there are {}", known.join(", "));
        return Err(BuildError::invalid("serializer", problem));
    };
    (entry.build)(&Settings::empty(), cx)
        .map_err(|error| BuildError::invalid("serializer", error.problem))
}
