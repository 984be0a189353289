//! Assigns cores and priorities to the parts of a benchmark.
//!
//! Threads and processes inherit the core set and the priority of the thread that starts them.

use std::io;
use std::process::Command;

use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

use crate::error::{Doing, Error, Result};
use crate::process;

/// One core for the benchmark and its helpers, the others for the measured programs.
pub(crate) struct Apart {
    aside: CpuSet,
    others: CpuSet,
}

impl Apart {
    /// Moves this thread, and everything that it starts from now on, to the last of its cores.
    pub(crate) fn begin() -> Result<Self> {
        let all = sched_getaffinity(None).map_err(io::Error::from);
        let all = all.doing(|| "ask which cores there are".into())?;
        let (aside, others) = split(&all).ok_or(Error::OneCore)?;
        use_only(&aside)?;
        Ok(Self { aside, others })
    }

    /// Runs `start` on the other cores, where everything that it starts stays.
    pub(crate) fn on_the_others<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        use_only(&self.others)?;
        let started = start();
        use_only(&self.aside)?;
        started
    }
}

/// Gives this thread, and everything that it starts from now on, priority on its core. Needs a
/// privilege.
pub(crate) fn go_first() -> Result<()> {
    let this = gettid().as_raw_nonzero().to_string();
    process::run("chrt", Command::new("chrt").args(["--rr", "--pid", "1", &this]))?;
    Ok(())
}

fn use_only(cores: &CpuSet) -> Result<()> {
    sched_setaffinity(None, cores).map_err(io::Error::from).doing(|| "choose cores".into())
}

/// Returns the last core, and those before it.
fn split(all: &CpuSet) -> Option<(CpuSet, CpuSet)> {
    let last = (0..CpuSet::MAX_CPU).rev().find(|core| all.is_set(*core))?;
    let (mut aside, mut others) = (CpuSet::new(), *all);
    aside.set(last);
    others.unset(last);
    (others.count() > 0).then_some((aside, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_core_is_set_aside_and_one_core_cannot_be_divided() {
        let mut all = CpuSet::new();
        all.set(1);
        assert!(split(&all).is_none());
        all.set(4);
        let (aside, others) = split(&all).expect("there are two");
        assert!(aside.is_set(4) && aside.count() == 1);
        assert!(others.is_set(1) && others.count() == 1);
    }
}
