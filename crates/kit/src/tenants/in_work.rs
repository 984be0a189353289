//! Bytes that a tenant has in work, released in every case.

use std::sync::Arc;

use support::mutant;

use super::Registry;

/// Bytes of a tenant in work; released when dropped.
#[derive(Debug)]
pub(super) struct InWork {
    registry: Arc<Registry>,
    name: Arc<str>,
    bytes: u64,
}

impl InWork {
    /// Creates it for bytes that are counted already.
    pub(super) fn new(registry: &Arc<Registry>, name: &Arc<str>, bytes: u64) -> Self {
        Self { registry: registry.clone(), name: name.clone(), bytes }
    }

    /// Adds `other`, of the same tenant.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Releases all but `bytes` bytes.
    pub(super) fn keep(&mut self, bytes: u64) {
        let over = self.bytes.saturating_sub(bytes);
        // If it has no bytes, the tenant may have been forgotten.
        if over > 0 {
            self.bytes -= over;
            self.registry.with(&self.name, |tenant| tenant.in_work_bytes -= over);
        }
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        if !mutant!("tenant_share_kept") {
            self.keep(0);
        }
    }
}
