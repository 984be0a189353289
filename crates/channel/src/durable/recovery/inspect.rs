//! An operator's queries about a channel: its contents, its soundness, its events, and a repair.
//! Only [`repair`] and [`renew`] change more than the lock file. [`Inspection::inspect`] changes
//! nothing and may be used while an agent runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pipeline::env::{Lock, LockError, resolved};
use pipeline::{
    Account, Batch, BuildContext, ChannelError, Env, Epoch, IntervalSet, Origin, SourcePosition,
    Ticket,
};
use tokio::sync::Notify;

use super::heal::{self, DamagedPut};
use super::names::Names;
use super::opening::Opening;
use super::owner_file;
use super::replay::{self, Recovered, Refusal};
use super::scan::{Scan, scan};
use crate::durable::Config;
use crate::durable::index::segment_index::Entry;
use crate::durable::log::aligned;
use crate::durable::log::files::Files;
use crate::durable::log::keys::Encryption;
use crate::durable::log::records::SegmentRecord;
use crate::durable::log::seal::Keyring;
use crate::durable::log::segment::{BLOCK, FORMAT, Kind, Owner};
use crate::durable::read::drain_throttle::ReadIntensity;
use crate::durable::read::reader;
use crate::positions::Positions;

mod report;
mod traced;

use report::tickets_at;
pub use report::{Report, Stats};
pub use traced::{Traced, TracedLines};

/// A channel's directory that is looked at.
pub struct Inspection {
    files: Files,
    recovered: Recovered,
    names: Names,
    name: String,
    /// `None`: it may be in use, and change during the inspection.
    lock: Option<Box<dyn Lock>>,
}

/// Maximum number of reads of a channel that changes at the same time.
const READS_MAX: u32 = 20;

impl Inspection {
    /// Reads the directory of a channel that no agent uses, with the keys of `encryption`.
    ///
    /// # Errors
    /// There is no channel, it is in use, a key is missing, or it cannot be read.
    pub fn open(
        env: &Env,
        directory: &Path,
        encryption: Option<&Encryption>,
    ) -> Result<Self, ChannelError> {
        Self::read(env, directory, encryption, true)
    }

    /// Reads the directory of a channel that an agent may use at the same time, and changes nothing
    /// in it. The result was valid a moment ago.
    ///
    /// # Errors
    /// There is no channel, a key is missing, or it cannot be read.
    pub fn inspect(
        env: &Env,
        directory: &Path,
        encryption: Option<&Encryption>,
    ) -> Result<Self, ChannelError> {
        let mut found = Self::read(env, directory, encryption, false);
        // A listed segment was removed before it was opened: read everything again.
        for _ in 1..READS_MAX {
            if !matches!(found, Err(ChannelError::Disk { .. })) {
                break;
            }
            found = Self::read(env, directory, encryption, false);
        }
        found
    }

    fn read(
        env: &Env,
        directory: &Path,
        encryption: Option<&Encryption>,
        alone: bool,
    ) -> Result<Self, ChannelError> {
        let disk = &env.disk;
        let directory = &*resolved(&**disk, directory);
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unusable = |problem: String| ChannelError::Unusable {
            channel: name.clone(),
            path: directory.display().to_string(),
            problem,
        };
        let refused = |refusal| match refusal {
            Refusal::Unusable(problem) => unusable(problem),
            Refusal::Disk(source) => ChannelError::Disk { channel: name.clone(), source },
        };
        let log = directory.join("log");
        if disk.list(&log).is_err() {
            return Err(unusable(
                "the directory contains no durable channel; name a directory such as \
                 DATA_DIR/channels/CHANNEL"
                    .into(),
            ));
        }
        let lock = alone.then(|| disk.lock(&directory.join("LOCK"))).transpose();
        let lock = lock.map_err(|error| match error {
            LockError::Held { pid } => {
                unusable(format!("process {pid} uses it; stop that process first"))
            }
            LockError::Io(error) => refused(Refusal::Disk(error)),
        })?;
        let keys = match encryption {
            None => Keyring::empty(),
            Some(keys) => keys.keyring(env).map_err(|error| unusable(error.to_string()))?,
        };
        // The sizes only matter to writes.
        let files = Files::new(disk.clone(), log, keys, 0..=0, 0, Duration::ZERO);
        // An inspection creates no owner: a directory without one is not a channel.
        let none = || ([0; 16], Origin([0; 16]));
        let owner = replay::owner(&**disk, none, &directory.join("channel"), &files);
        let recovered = owner.and_then(|owner| replay::recover(&files, owner));
        let recovered = recovered.map_err(refused)?;
        let names = Names::read(&**disk, &directory.join("names"));
        let names = names.map_err(|error| unusable(error.to_string()))?;
        Ok(Self { files, recovered, names, name, lock })
    }

    fn segments(&self) -> impl Iterator<Item = SegmentRecord> {
        self.recovered.tickets.segments.iter().map(|segment| segment.record)
    }

    /// Returns statistics of the channel.
    pub fn stats(&self) -> Stats {
        let tickets = &self.recovered.tickets;
        let all = tickets.segments.front().map_or(0, |segment| segment.record.first);
        let all = IntervalSet::from(all..tickets.in_flight.next());
        let left = |acked: &IntervalSet| all.difference(acked).count();
        let sealed: BTreeSet<u32> = tickets.keys().map(|key| key.id).collect();
        Stats {
            format: FORMAT,
            origin: self.recovered.owner.origin.to_string(),
            epoch: tickets.epoch,
            starts: Epoch(tickets.epoch).starts(),
            events: tickets.events,
            batches: left(&tickets.in_flight.acked_by_all(None)),
            segments: tickets.segments.len() as u64,
            bytes: self.segments().map(|record| record.room).sum(),
            used_bytes: tickets.bytes(),
            oldest_at_ms: self.oldest_at_ms(),
            consumers: tickets
                .in_flight
                .acked()
                .map(|(n, set)| (n.to_string(), left(set)))
                .collect(),
            identities: tickets.window.all().count(),
            positions: tickets.positions.len() as u64,
            encryption_keys: sealed.into_iter().collect(),
        }
    }

    /// When the oldest event was stored that some consumer has not committed.
    fn oldest_at_ms(&self) -> Option<u64> {
        let settled = self.recovered.tickets.in_flight.acked_by_all(None);
        self.segments().find_map(|record| {
            let there = IntervalSet::from(record.first..record.first + record.tickets);
            let oldest = there.difference(&settled).iter().next()?;
            let index = self.scan(&record).ok().map(|scan| reader::index_of(&scan, &record));
            let entry = index.as_ref().and_then(|index| index.get(oldest));
            Some(record.since_ms + entry.map_or(0, |entry| u64::from(entry.after_ms)))
        })
    }

    /// Returns its account.
    pub fn account(&self) -> Account {
        let window = &self.recovered.tickets.window;
        let mut account = window.account(&self.name, self.recovered.owner.origin);
        account.held_events = self.recovered.tickets.events;
        self.names.account(account, window.all())
    }

    /// Returns the positions of the sources that fill it.
    pub fn positions(&self) -> Vec<SourcePosition> {
        self.recovered.tickets.positions.all()
    }

    /// Reads every frame of every segment.
    ///
    /// # Errors
    /// The disk could not be read.
    pub fn check(&self) -> Result<Report, ChannelError> {
        let mut lost = self.recovered.lost.clone();
        lost.insert_all(&self.recovered.struck);
        let settled = self.recovered.tickets.in_flight.acked_by_all(None);
        let mut report = Report { torn_bytes: self.recovered.torn_bytes, ..Report::default() };
        for record in self.segments() {
            let found = self.scan(&record)?;
            let mended = self.inspect_damage(&record, &found, &settled, &mut report)?;
            for offset in found.damaged.iter().filter(|offset| !mended.contains(offset)) {
                let is_superseded = record.id < self.recovered.replayed_from;
                let there = tickets_at(&found, &record, *offset);
                let struck = !there.intersection(&lost).is_empty();
                let wanted = !there.difference(&settled).is_empty();
                let needed = struck || wanted || !is_superseded;
                if needed && found.frames.iter().all(|frame| frame.offset != *offset) {
                    let lines = heal::around(Positions::default(), &found.frames, *offset);
                    report.given_up.extend(lines);
                }
                let places = if needed { &mut report.damaged } else { &mut report.done_with };
                places.push((record.id, *offset));
            }
            let mut there = IntervalSet::EMPTY;
            for frame in &found.frames {
                if !frame.body_sound && !mended.contains(&frame.offset) {
                    continue;
                }
                report.sound_frames += 1;
                if frame.header.kind == Kind::Put {
                    let (first, count) = (frame.header.ticket, frame.header.tickets);
                    there.insert_range(first..first + u64::from(count));
                }
            }
            let all = IntervalSet::from(record.first..record.first + record.tickets);
            lost.insert_all(&all.difference(&there).difference(&settled));
        }
        report.lost = lost.runs().iter().map(|run| (run.start, run.end)).collect();
        Ok(report)
    }

    /// Finds out which damaged batches of a segment can be restored from their files. Returns their
    /// locations, and notes the lines of the others.
    fn inspect_damage(
        &self,
        record: &SegmentRecord,
        found: &Scan,
        settled: &IntervalSet,
        report: &mut Report,
    ) -> Result<BTreeSet<u64>, ChannelError> {
        let mut mended = BTreeSet::new();
        let damaged = found.frames.iter().filter(|frame| !frame.body_sound);
        for frame in damaged.filter(|frame| frame.header.kind == Kind::Put) {
            let tickets =
                frame.header.ticket..frame.header.ticket + u64::from(frame.header.tickets);
            let all = IntervalSet::from(tickets.clone());
            let mut wanted = all.difference(settled);
            wanted.insert_all(&all.intersection(&self.recovered.struck));
            if wanted.is_empty() {
                continue;
            }
            let file = self.files.open(record.id, false).map_err(|e| self.disk_error(e))?;
            let seed = self.files.seed(&self.recovered.owner.uuid, record.id);
            let (offset, len) = (frame.offset as u32, frame.header.frame_len() as u32);
            let entry = Entry { offset, len, ..Entry::default() };
            let wounded = DamagedPut::read(&*file, seed, &entry).map_err(|e| self.disk_error(e))?;
            let Some(mut wounded) = wounded else { continue };
            let is_mendable = wounded.heal(self.files.disk());
            for (nth, ticket) in (0..).zip(tickets) {
                if is_mendable {
                    report.mendable.extend(wounded.lines(nth));
                } else if wanted.contains(ticket) {
                    report.given_up.extend(wounded.lines(nth));
                }
            }
            if is_mendable {
                mended.insert(frame.offset);
            }
        }
        Ok(mended)
    }

    /// Hands every batch that some consumer has not committed to `each`, oldest first, until it
    /// answers `false`. Damaged ones are left out.
    ///
    /// # Errors
    /// The disk could not be read.
    pub fn export(&self, mut each: impl FnMut(Ticket, Batch) -> bool) -> Result<(), ChannelError> {
        let settled = self.recovered.tickets.in_flight.acked_by_all(None);
        let buffers = aligned::buffers();
        for record in self.segments() {
            let (scanned, file) = match (self.scan(&record), self.files.open(record.id, false)) {
                (Ok(scanned), Ok(file)) => (scanned, file),
                // Its events were delivered in the meantime, and its file was removed.
                (_, Err(error)) if self.is_gone(&error) => continue,
                (Err(error), _) => return Err(error),
                (_, Err(error)) => return Err(self.disk_error(error)),
            };
            let index = reader::index_of(&scanned, &record);
            let seed = self.files.seed(&self.recovered.owner.uuid, record.id);
            let end = record.first + record.tickets;
            let mut ticket = record.first;
            while ticket < end {
                let entries = reader::stretch(&index, ticket, ReadIntensity::Full);
                let read = reader::read(&file, seed, &entries, &buffers);
                let read = read.map_err(|e| self.disk_error(e))?;
                let first = ticket;
                ticket += read.len().max(1) as u64;
                for (ticket, batch) in (first..).zip(read) {
                    let Some(Ok(batch)) = batch.filter(|_| !settled.contains(ticket)) else {
                        continue;
                    };
                    if !each(ticket, batch) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn scan(&self, record: &SegmentRecord) -> Result<Scan, ChannelError> {
        let file = self.files.open(record.id, false).map_err(|e| self.disk_error(e))?;
        let seed = self.files.seed(&self.recovered.owner.uuid, record.id);
        scan(&*file, seed, BLOCK as u64, record.end).map_err(|error| self.disk_error(error))
    }

    /// Returns `true` if a segment was removed by a running agent.
    fn is_gone(&self, error: &std::io::Error) -> bool {
        self.lock.is_none() && error.kind() == std::io::ErrorKind::NotFound
    }

    fn disk_error(&self, source: std::io::Error) -> ChannelError {
        ChannelError::Disk { channel: self.name.clone(), source }
    }
}

/// Gives a channel that no agent uses a new origin for future batches, bound to `name` if it is
/// set. The stored batches keep their identities. Returns the old and the new origin.
///
/// # Errors
/// There is no channel, it is in use, or its owner file cannot be read or written.
pub fn renew(
    env: &Env,
    directory: &Path,
    encryption: Option<&Encryption>,
    name: Option<&str>,
) -> Result<(Origin, Origin), ChannelError> {
    let inspection = Inspection::open(env, directory, encryption)?;
    let old = inspection.recovered.owner;
    let origin = match name {
        Some(name) => Origin::bound(name, env.entropy.next_u64()),
        None => Origin(env.entropy.bytes16()),
    };
    let new = Owner { origin, ..old };
    let written = owner_file::write(&*env.disk, &directory.join("channel"), &new);
    written.map_err(|error| inspection.disk_error(error))?;
    Ok((old.origin, new.origin))
}

/// Repairs a channel that no agent uses: cuts off a torn end, reads every batch once, and
/// quarantines damaged ones. Returns how many batches were given up. Blocks.
///
/// # Errors
/// The disk failed, or the directory cannot be used.
pub fn repair(config: Config, cx: &BuildContext) -> Result<u64, ChannelError> {
    let dirty = Arc::new(Notify::new());
    let core = Opening { config, cx: cx.clone(), dirty }.run()?;
    let records: Vec<SegmentRecord> =
        core.state().tickets.segments.iter().map(|segment| segment.record).collect();
    let mut given_up = 0;
    for record in records {
        let wanted = IntervalSet::from(record.first..record.first + record.tickets);
        let wanted = wanted.difference(&core.state().tickets.in_flight.acked_by_all(None));
        for ticket in wanted.iter() {
            given_up += core.verify(ticket).map_err(|error| core.disk_error(error))?;
        }
    }
    core.state().unwritten.flush = true;
    core.lead_until_idle();
    let written = !core.state().has_unwritten();
    core.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    if written {
        Ok(given_up)
    } else {
        Err(core.disk_error(std::io::Error::other("cannot write the results of the check")))
    }
}
