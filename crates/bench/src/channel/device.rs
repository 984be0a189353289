//! Bytes written to the device of a folder, as counted by the kernel for all processes: on a busy
//! machine these figures are too high.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::error::{Doing, Error, Result};

/// The device of a folder.
pub(super) struct Device {
    stat: PathBuf,
}

impl Device {
    /// Returns the device of `folder`.
    pub(super) fn for_folder(folder: &Path) -> Result<Self> {
        let device = fs::metadata(folder).at("look at", folder)?.dev();
        let numbers = format!("{}:{}", major(device), minor(device));
        Ok(Self { stat: Path::new("/sys/dev/block").join(numbers).join("stat") })
    }

    /// Returns the bytes written to it since the system started.
    pub(super) fn written(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.stat).at("read", &self.stat)?;
        // The seventh number: sectors of 512 bytes.
        let sectors = text.split_whitespace().nth(6).and_then(|number| number.parse::<u64>().ok());
        sectors.map(|sectors| sectors * 512).ok_or_else(|| Error::Answer {
            from: self.stat.display().to_string(),
            detail: "it does not say how much was written".to_owned(),
        })
    }
}
