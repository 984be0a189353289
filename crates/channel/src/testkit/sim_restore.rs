//! Directories of a [`SimDisk`] that are put back from a backup.

use std::path::{Path, PathBuf};

use super::sim_disk::SimDisk;
use super::sim_files::Inode;

impl SimDisk {
    /// Everything below `directory` is as it was on `backup`, durably; all else stays. Nothing may
    /// have files open there.
    pub fn restore(&self, backup: &Self, directory: &Path) {
        let files: Vec<(PathBuf, Vec<u8>)> = {
            let backup = backup.lock_state();
            let below = backup.names.now.iter().filter(|(path, _)| path.starts_with(directory));
            let content = |id: &u64| backup.inodes.get(id).map(|inode| inode.now.clone());
            below.filter_map(|(path, id)| Some((path.clone(), content(id)?))).collect()
        };
        let mut state = self.lock_state();
        let mut names = Vec::new();
        for (path, content) in files {
            let id = state.new_id();
            state.inodes.insert(id, Inode::durable(content));
            names.push((path, id));
        }
        state.names.replace(directory, &names);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use pipeline::env::{Disk, OpenMode};

    use super::*;

    fn put(disk: &SimDisk, path: &str, text: &str) {
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let path = Path::new(path);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.open(path, mode).unwrap();
        file.set_len(0).unwrap();
        file.write_at(&[IoSlice::new(text.as_bytes())], 0, true).unwrap();
    }

    #[test]
    fn a_directory_is_as_it_was_and_all_else_stays_also_after_a_power_cut() {
        let disk = SimDisk::new(1);
        put(&disk, "/data/a", "old");
        put(&disk, "/logs/a", "one");
        disk.sync_dir(Path::new("/logs")).unwrap();
        let backup = disk.copy();
        put(&disk, "/data/a", "newer");
        put(&disk, "/data/b", "new");
        put(&disk, "/logs/a", "more");
        disk.restore(&backup, Path::new("/data"));
        for _ in 0..2 {
            let len = |path: &str, len: u64| (PathBuf::from(path), len);
            assert_eq!(disk.files(), [len("/data/a", 3), len("/logs/a", 4)]);
            disk.crash();
        }
    }
}
