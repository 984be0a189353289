//! Reassembles a file from its parts.

use std::collections::BTreeSet;

use bytes::Bytes;
use crypto::digest::{Context, SHA256};
use futures::{StreamExt, stream};
use storage::{CreateOptions, FsError, Listed};
use support::hex::hex;
use support::mutant;

use super::cover::{Part, Slice, cover};
use super::layout::{self, DAMAGED, END, Record};
use super::store::{Claimed, TransferStore};

/// Bytes per read, and parallel reads per file.
const READ_BYTES: u64 = 4 << 20;
const READS: usize = 3;

/// Result of checking a transfer.
pub(super) enum Checked {
    /// Its file is complete.
    Done,
    /// Parts are missing, or another collector is reassembling it.
    Unfinished,
    /// Its parts do not make the source file.
    Damaged,
}

impl TransferStore {
    /// Returns the names in a directory.
    pub(super) async fn names(&self, directory: &str) -> Result<BTreeSet<String>, FsError> {
        match self.fs.list(directory).await {
            Ok(listed) => Ok(listed.into_iter().map(|Listed { name, .. }| name).collect()),
            Err(error) if error.is_not_found() => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Reassembles the file of a transfer if all parts are there.
    pub(super) async fn check(&self, transfer: &str, by_scan: bool) -> Result<Checked, FsError> {
        let layout = &self.shared.layout;
        let Some(end) = self.record(&layout.among_parts(transfer, END)).await? else {
            return Ok(Checked::Unfinished);
        };
        let names = self.names(&layout.parts(transfer)).await?;
        if names.contains(DAMAGED) {
            return Ok(Checked::Damaged);
        }
        let parts: Vec<Part> = names.iter().filter_map(|name| layout::part_of(name)).collect();
        let Ok(mut slices) = cover(&parts, end.size) else { return Ok(Checked::Unfinished) };
        if mutant!("part_left_out") {
            slices.pop();
        }
        if !by_scan {
            let whole = self.names(&layout.all_whole()).await?;
            if whole.iter().any(|name| layout::transfer_of(name) == Some(transfer)) {
                return Ok(Checked::Unfinished);
            }
        }
        let whole = self.new_whole(transfer);
        let put_together = self.put_together(transfer, slices, &layout.whole(&whole)).await;
        let is_right = match put_together {
            Ok(digest) => digest == end.sha256 || mutant!("part_left_out"),
            Err(error) => {
                // If that fails, too, a scan removes it.
                drop(self.fs.delete(&layout.whole(&whole)).await);
                return Err(error);
            }
        };
        if !is_right {
            self.fs.delete(&layout.whole(&whole)).await?;
            self.put(&layout.among_parts(transfer, DAMAGED), Bytes::new()).await?;
            return Ok(Checked::Damaged);
        }
        match self.claim(transfer, Record { whole, ..end }).await? {
            Claimed::Same(record) => {
                self.publish(&record, transfer).await?;
                self.fs.delete(&layout.parts(transfer)).await?;
                Ok(Checked::Done)
            }
            Claimed::Other => Ok(Checked::Damaged),
        }
    }

    /// Writes parts into a file. Returns the digest of the whole file.
    async fn put_together(
        &self,
        transfer: &str,
        slices: Vec<Slice>,
        path: &str,
    ) -> Result<String, FsError> {
        let mut file = self.fs.create(path, CreateOptions::default()).await?;
        let mut digest = Context::new(&SHA256);
        let (fs, directory) = (self.fs.clone(), self.shared.layout.parts(transfer));
        let read = move |(part, at, bytes): (String, u64, usize)| {
            let fs = fs.clone();
            async move { fs.read_part(&part, at, bytes).await }
        };
        let mut content = stream::iter(reads(directory, slices)).map(read).buffered(READS).boxed();
        while let Some(bytes) = content.next().await {
            let bytes = bytes?;
            digest.update(&bytes);
            file.write(bytes).await?;
        }
        file.close().await?;
        Ok(hex(digest.finish().as_ref()))
    }
}

/// Returns the reads of parts below `directory`, in order.
fn reads(directory: String, slices: Vec<Slice>) -> impl Iterator<Item = (String, u64, usize)> {
    slices.into_iter().flat_map(move |slice| {
        let part = format!("{directory}/{}", layout::part_name(slice.part));
        let reads = slice.bytes.div_ceil(READ_BYTES);
        (0..reads).map(move |number| {
            let at = number * READ_BYTES;
            (part.clone(), slice.skip + at, READ_BYTES.min(slice.bytes - at) as usize)
        })
    })
}
