//! The positions of sources that a directory contains, whatever channel wrote it.

use std::path::Path;

use pipeline::{ChannelError, Env, SourcePosition};

use crate::durable::Encryption;
use crate::durable::inspect::Inspection;
use crate::memory;

/// Returns the positions of sources in the directory of a channel, which may be in use; empty if
/// there is no channel. Blocks.
///
/// # Errors
/// The directory cannot be read, or a key is missing.
pub fn stored_positions(
    env: &Env,
    directory: &Path,
    encryption: Option<&Encryption>,
) -> Result<Vec<SourcePosition>, ChannelError> {
    let channel = || directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of_memory = memory::stored_positions(&*env.disk, directory);
    let mut all = of_memory.map_err(|source| ChannelError::Disk { channel: channel(), source })?;
    if env.disk.stat(&directory.join("log")).is_ok() {
        all.extend(Inspection::inspect(env, directory, encryption)?.positions());
    }
    Ok(all)
}
