//! Limits of the simulated disk that a real one has: space that it keeps for root, and inodes.

use super::sim_disk::SimDisk;

impl SimDisk {
    /// Hides this many bytes from the reported free space without reserving them, like a file
    /// system with blocks for root.
    pub fn hide_space(&self, bytes: u64) {
        self.lock_state().hidden_bytes = bytes;
    }

    /// Refuses more files and directories than this, like a file system without inodes.
    pub fn set_names_max(&self, names: u64) {
        self.lock_state().names_max = names;
    }

    /// Returns the number of files and directories.
    pub fn names(&self) -> u64 {
        self.lock_state().names_used()
    }
}
