//! The blocking part of opening a channel.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::env::LockError;
use pipeline::{BuildContext, ChannelError, Epoch, OriginName};
use support::mutant;
use tokio::sync::{Notify, broadcast};
use tracing::warn;

use super::heal::DamagedFrame;
use super::names::Names;
use super::owner_file;
use super::replay::{self, Refusal};
use crate::durable::commit::hand_off::HandOff;
use crate::durable::commit::request::Limits;
use crate::durable::commit::unwritten::Unwritten;
use crate::durable::core::{Core, Signals};
use crate::durable::index::segment_index::{IndexStore, NoStore};
use crate::durable::index::sled_store::SledStore;
use crate::durable::log::aligned;
use crate::durable::log::files::Files;
use crate::durable::log::seal::Keyring;
use crate::durable::log::writer::Log;
use crate::durable::read::memory::ReadMemory;
use crate::durable::read::tail::Tail;
use crate::durable::space::usage::Usage;
use crate::durable::state::State;
use crate::durable::{Config, IndexKind};

/// Identities announced and not yet received by a listener.
const ANNOUNCED_MAX: usize = 1024;

/// All of opening that blocks.
pub(crate) struct Opening {
    pub(crate) config: Config,
    pub(crate) cx: BuildContext,
    pub(crate) dirty: Arc<Notify>,
}

impl Opening {
    fn unusable(&self, path: &Path, problem: String) -> ChannelError {
        let (channel, path) = (self.cx.name.to_string(), path.display().to_string());
        ChannelError::Unusable { channel, path, problem }
    }

    fn refused(&self, refusal: Refusal) -> ChannelError {
        match refusal {
            Refusal::Unusable(problem) => self.unusable(&self.cx.directory, problem),
            Refusal::Disk(source) => {
                ChannelError::Disk { channel: self.cx.name.to_string(), source }
            }
        }
    }

    /// Recovers the directory and begins a new segment.
    ///
    /// # Errors
    /// The disk refused, or the directory cannot be used.
    pub(crate) fn run(self) -> Result<Arc<Core>, ChannelError> {
        let disk = self.cx.env.disk.clone();
        let directory = self.cx.directory.clone();
        let io = |error| self.refused(Refusal::Disk(error));
        let log_directory = directory.join("log");
        disk.create_dir_all(&log_directory).map_err(io)?;
        if let Some(parent) = directory.parent() {
            disk.sync_dir(parent).map_err(io)?;
        }
        disk.sync_dir(&directory).map_err(io)?;
        let lock_path = directory.join("LOCK");
        let lock = disk.lock(&lock_path).map_err(|error| match error {
            LockError::Held { pid } => {
                self.unusable(&lock_path, format!("process {pid} uses it; stop that process first"))
            }
            LockError::Io(error) => self.refused(Refusal::Disk(error)),
        })?;
        let (pool, idle_max) = (self.config.pool as usize, self.config.pool_idle_max.0);
        let keys = match &self.config.encryption {
            None => Keyring::empty(),
            Some(encryption) => encryption
                .keyring(&self.cx.env)
                .map_err(|error| self.unusable(&directory, error.to_string()))?,
        };
        let rooms = self.config.segment_rooms();
        let files = Files::new(disk.clone(), log_directory, keys, rooms, pool, idle_max);
        let files = Arc::new(files);
        let path = directory.join("channel");
        let env = &self.cx.env;
        let new = || (env.entropy.bytes16(), self.cx.get::<OriginName>().origin(env));
        let owner = replay::owner(&*disk, new, &path, &files);
        let owner = owner.map_err(|refusal| self.refused(refusal))?;
        let recovered = replay::recover(&files, owner);
        let mut recovered = recovered.map_err(|refusal| self.refused(refusal))?;
        let last_epoch = recovered.owner.epoch;
        let random = self.cx.env.entropy.next_u64();
        recovered.begin_life(if mutant!("epoch_not_random") { 0 } else { random });
        recovered.tidy(&files).map_err(io)?;
        recovered.report(&self.cx.name);
        let written = owner_file::write(&*disk, &path, &recovered.owner);
        if let Err(error) = &written {
            // The segment that begins below records the same; on a full disk that has to be enough.
            warn!(path = %path.display(), %error,
                "cannot write the file with the identity of the channel; its segment files contain \
                 the same, so no event is lost and no action is needed");
        }
        let durable_epoch = if written.is_ok() { recovered.owner.epoch } else { last_epoch };
        let store = self.store(&directory);
        let ids: Vec<u64> = recovered.tickets.segments.iter().map(|s| s.record.id).collect();
        store.retain(&ids);
        let path = directory.join("names");
        let names = Names::read(&*disk, &path);
        let names = names.map_err(|error| self.unusable(&path, error.to_string()))?;
        let aside = std::mem::take(&mut recovered.aside);
        let core = self.core(directory, files, store, recovered, (lock, durable_epoch), names);
        for frame in aside {
            settle(&core, frame).map_err(io)?;
        }
        core.refresh_capacity();
        let mut log = core.log.lock().unwrap_or_else(PoisonError::into_inner);
        core.begin_writing(&mut log).map_err(io)?;
        drop(log);
        core.state().tickets.trim();
        Ok(core)
    }

    fn store(&self, directory: &Path) -> Arc<dyn IndexStore> {
        match self.config.index {
            IndexKind::None => Arc::new(NoStore),
            IndexKind::Sled => {
                Arc::new(SledStore::new(self.cx.env.disk.clone(), directory.join("meta")))
            }
        }
    }

    fn core(
        &self,
        directory: PathBuf,
        files: Arc<Files>,
        store: Arc<dyn IndexStore>,
        recovered: replay::Recovered,
        (lock, durable_epoch): (Box<dyn pipeline::env::Lock>, Epoch),
        names: Names,
    ) -> Arc<Core> {
        let owner = recovered.owner;
        let capacity_bytes = self.config.capacity.0;
        let reserve_bytes = files.reserve_bytes(capacity_bytes);
        let limits = Limits {
            capacity_bytes,
            capacity_events: self.config.capacity_events.unwrap_or(u64::MAX),
            dedupe: self.config.dedupe,
            overflow: self.config.overflow,
            compression: self.config.compression,
        };
        let core = Core {
            name: self.cx.name.clone(),
            env: self.cx.env.clone(),
            origin_name: self.cx.get(),
            metrics: self.cx.metrics.clone(),
            limits,
            owner,
            names: Mutex::new(names),
            directory,
            log: Mutex::new(Log::new(files.clone(), owner)),
            buffers: aligned::buffers(),
            files,
            store,
            state: Mutex::new(State {
                tickets: recovered.tickets,
                hand_off: HandOff::default(),
                in_doubt: Vec::new(),
                unwritten: Unwritten::default(),
                reads: ReadMemory::new(Tail::new(self.config.tail_memory.0)),
                space: Usage { capacity_bytes, reserve_bytes, ..Usage::default() },
                next_sequence: 0,
                next_segment: recovered.next_segment,
                durable_epoch,
                closed: false,
                warned: false,
            }),
            lock: Mutex::new(Some(lock)),
            signals: Signals { dirty: self.dirty.clone(), ..Signals::default() },
            background: Arc::default(),
            settled: broadcast::channel(ANNOUNCED_MAX).0,
        };
        for (reason, count) in [
            ("torn_tail_bytes", recovered.torn_bytes),
            ("damaged_place", recovered.damaged),
            ("lost_batch", recovered.lost.count()),
            ("damaged_batch", recovered.struck.count()),
        ] {
            if count > 0 {
                core.incident(reason, count);
            }
        }
        Arc::new(core)
    }
}

/// Copies a damaged frame aside, then writes it whole again, or reports it as dropped.
fn settle(core: &Core, frame: DamagedFrame) -> io::Result<()> {
    let DamagedFrame { segment, place, tickets, events, lines, whole } = frame;
    let file = core.files.open(segment, false)?;
    if let Err(error) = core.copy_aside(segment, &place, &file) {
        warn!(channel = %core.name, %error,
            "cannot save a copy of a damaged batch for analysis to the directory `quarantine` of \
             the channel; no action needed");
    }
    match whole {
        Some(whole) => {
            whole.write(&*file)?;
            tickets.iter().for_each(|ticket| core.log_restored(segment, *ticket, &lines));
        }
        None => core.log_dropped(segment, &tickets, events, &lines),
    }
    Ok(())
}
