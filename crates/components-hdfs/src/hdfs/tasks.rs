//! The tasks of an opening that work for readers.

use std::sync::Arc;

use ledger::{Ledger, WriterId};
use storage::FileSystem;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::HdfsSink;
use super::announce::Announcing;
use super::append::{self, Appending};
use super::error::HdfsSinkError;
use super::marker::Marking;
use super::merging::Merging;
use super::receipts::Receipting;
use super::register::Registering;

impl HdfsSink {
    /// Claims the entries from now on for the table, and checks its columns.
    pub(super) async fn claim_table(
        &self,
        ledger: &Ledger,
        fs: &Arc<dyn FileSystem>,
    ) -> Result<(), HdfsSinkError> {
        let Some(target) = &self.settings.target else { return Ok(()) };
        let claimed = append::claim(ledger).await?;
        let lacks = ledger.view().next().saturating_sub(claimed.number);
        target.due.set(lacks as f64);
        let checked = append::check_if_reachable(target, fs, &self.settings.env).await;
        checked.map_err(|error| {
            let (table, source) = (target.name.clone(), error.into());
            HdfsSinkError::Table { table, source }
        })
    }

    /// Starts the tasks for readers; merged files have up to this size.
    pub(super) fn tasks(
        &self,
        ledger: &Arc<Mutex<Ledger>>,
        size_max: u64,
        place: &(Arc<dyn FileSystem>, WriterId),
    ) -> Vec<AbortOnDropHandle<()>> {
        let behind = self.settings.env.blocking.behind();
        let marking = Marking::new(self.settings.clone(), ledger.clone());
        let board = self.visible.board().clone();
        let receipting = Receipting::new(self.settings.clone(), ledger.clone(), board);
        let merging = self.merging(ledger, size_max);
        let mut tasks = vec![
            AbortOnDropHandle::new(behind.spawn(marking.run())),
            AbortOnDropHandle::new(behind.spawn(receipting.run())),
            AbortOnDropHandle::new(behind.spawn(self.registering(ledger).run())),
            AbortOnDropHandle::new(behind.spawn(merging.run())),
            AbortOnDropHandle::new(behind.spawn(self.appending(ledger, place).run())),
        ];
        let recipients = self.settings.complete.as_ref().map_or(0, |it| it.recipients.len());
        for at in 0..recipients {
            let troubles = self.visible.troubles().clone();
            let announcing = Announcing::new(self.settings.clone(), ledger.clone(), troubles, at);
            tasks.push(AbortOnDropHandle::new(behind.spawn(announcing.run())));
        }
        tasks
    }

    pub(super) fn registering(&self, ledger: &Arc<Mutex<Ledger>>) -> Registering {
        Registering::new(self.settings.clone(), ledger.clone(), self.visible.troubles().clone())
    }

    pub(super) fn appending(
        &self,
        ledger: &Arc<Mutex<Ledger>>,
        (fs, author): &(Arc<dyn FileSystem>, WriterId),
    ) -> Appending {
        let troubles = self.visible.troubles().clone();
        Appending::new(self.settings.clone(), ledger.clone(), fs.clone(), *author, troubles)
    }

    fn merging(&self, ledger: &Arc<Mutex<Ledger>>, size_max: u64) -> Merging {
        let (settings, ledger) = (self.settings.clone(), ledger.clone());
        Merging::new(settings, ledger, size_max, self.options)
    }
}
