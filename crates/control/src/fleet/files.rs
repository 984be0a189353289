//! The files of a managed agent, in `fleet` of its data directory.
//!
//! ```text
//!   uid             16 bytes in hexadecimal, which name the agent to the server
//!   offered.toml    the text that is being checked and applied
//!   in-force.toml   the last text that was applied: the agent starts with it, with or without
//!                   a server
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crypto::digest::{SHA256, digest};
use pipeline::Env;
use pipeline::env::{Disk, small_file};
use pipeline::settings::{Settings, Value};

use crate::configuration::Managed;

/// Maximum size of a text, in bytes.
pub(super) const TEXT_MAX: usize = 4 << 20;

const OFFERED: &str = "offered.toml";
const IN_FORCE: &str = "in-force.toml";

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("fleet")
}

/// Returns the file that is read with the agent's own file; `None` if the agent has no fleet
/// server, or no text of it yet.
pub fn path(own: &Settings, managed: Managed, env: &Env) -> Option<PathBuf> {
    let agent = own.get("agent")?;
    agent.get("fleet")?;
    let Value::Text(data_dir) = &agent.get("data_dir")?.value else { return None };
    let folder = folder(&pipeline::env::resolved(&*env.disk, Path::new(data_dir)));
    match managed {
        Managed::Offered => Some(folder.join(OFFERED)),
        Managed::InForce => Some(folder.join(IN_FORCE)).filter(|it| env.disk.stat(it).is_ok()),
    }
}

/// Stores a text that the server offers.
pub(super) fn offer(disk: &dyn Disk, data_dir: &Path, text: &[u8]) -> io::Result<()> {
    small_file::replace(disk, &folder(data_dir).join(OFFERED), text)
}

/// Makes the offered text the one in force.
pub(crate) fn accept(disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
    let folder = folder(data_dir);
    disk.rename(&folder.join(OFFERED), &folder.join(IN_FORCE))?;
    disk.sync_dir(&folder)
}

/// Returns the SHA-256 of a text.
pub(super) fn hash(text: &[u8]) -> Vec<u8> {
    digest(&SHA256, text).as_ref().to_vec()
}

/// Returns the hash of the text in force, if there is one.
pub(super) fn in_force(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Vec<u8>>> {
    let found = small_file::find(disk, &folder(data_dir).join(IN_FORCE))?;
    found.map(|file| file.read(0, TEXT_MAX).map(|text| hash(&text))).transpose()
}

/// Returns the uid of this agent, and creates it at the first call.
pub(super) fn uid(env: &Env, data_dir: &Path) -> io::Result<[u8; 16]> {
    let (disk, folder) = (&*env.disk, folder(data_dir));
    disk.create_dir_all(&folder)?;
    let path = folder.join("uid");
    if let Some(file) = small_file::find(disk, &path)? {
        let text = String::from_utf8_lossy(&file.read(0, 64)?).into_owned();
        if let Ok(uid) = u128::from_str_radix(text.trim(), 16) {
            return Ok(uid.to_be_bytes());
        }
    }
    let uid = env.entropy.bytes16();
    let text = format!("{:032x}\n", u128::from_be_bytes(uid));
    small_file::replace(disk, &path, text.as_bytes())?;
    Ok(uid)
}
