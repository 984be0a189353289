//! Limits of the simulated disk that a real one has: space that it keeps for root, and inodes.

use super::sim_disk::SimDisk;

impl SimDisk {
    /// Does not show so many bytes as available, and gives them all the same: as a file system does
    /// that keeps blocks for root.
    pub fn hide_space(&self, bytes: u64) {
        self.lock_state().hidden_bytes = bytes;
    }

    /// Refuses more files and directories than so many, as a file system without inodes does.
    pub fn set_names_max(&self, names: u64) {
        self.lock_state().names_max = names;
    }

    /// How many files and directories there are.
    pub fn names(&self) -> u64 {
        self.lock_state().names_used()
    }
}
