//! What a tenant has in work, given back whatever becomes of it.

use std::sync::Arc;

use support::mutant;

use super::Registry;

/// Bytes of a tenant that are in work, until it is dropped.
#[derive(Debug)]
pub(super) struct InWork {
    registry: Arc<Registry>,
    name: Arc<str>,
    bytes: u64,
}

impl InWork {
    /// They are counted already.
    pub(super) fn new(registry: &Arc<Registry>, name: &Arc<str>, bytes: u64) -> Self {
        Self { registry: registry.clone(), name: name.clone(), bytes }
    }

    /// So many more, of the same tenant.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// What is more than so many bytes is in work no longer.
    pub(super) fn keep(&mut self, bytes: u64) {
        let over = self.bytes.saturating_sub(bytes);
        // Without any, the tenant may be forgotten by now.
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
