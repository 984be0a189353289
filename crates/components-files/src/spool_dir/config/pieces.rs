//! The settings `pieces`: how files are cut that are transferred unchanged.

use std::sync::Arc;

use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds of `size`.
const SIZES: (ByteSize, ByteSize) = (ByteSize(1 << 10), ByteSize::mib(8));

/// How files are cut that are transferred as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PiecesConfig {
    /// Size limit of a piece, from 1KiB to 8MiB. Larger pieces mean fewer temporary files, and need
    /// more memory. If downstream agents accept only smaller batches, pieces are smaller.
    #[serde(default = "pipeline::units::mib::<1>")]
    size: ByteSize,
}

/// The checked settings.
pub(in super::super) struct Pieces {
    pub(in super::super) size: usize,
    /// Distinguishes transfers of this source from those of other hosts.
    pub(in super::super) host: Arc<str>,
    pub(in super::super) source: Arc<str>,
}

impl PiecesConfig {
    /// # Errors
    /// Fails if the size is out of bounds.
    pub(in super::super) fn checked(&self, cx: &BuildContext) -> Result<Pieces, BuildError> {
        let (least, most) = SIZES;
        if self.size < least || self.size > most {
            let problem = format!("must be from {least} to {most}");
            return Err(BuildError::invalid("pieces.size", problem));
        }
        let (host, source) = (cx.env.host.clone(), cx.name.clone());
        Ok(Pieces { size: self.size.0 as usize, host, source })
    }
}
