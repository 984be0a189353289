//! Steady loads that are compared with another load of ours, or with Flume's file channel.

use std::time::Duration;

use super::flume::FileChannel;
use super::steady::{self, Case, PRODUCERS};
use super::{Options, Results, Shape, What};
use crate::Setup;
use crate::cache::Cache;
use crate::error::Result;
use crate::load::{Load, SIZES};
use crate::report::{Better, Figure, Report, Series};

const ORIGINS: u64 = 10_000;
const CONSUMERS: usize = 3;
/// Flume starts slowly and is then steady, so a few runs suffice.
const FLUME_RUNS: u32 = 3;
const FLUME_TIME: Duration = Duration::from_secs(5);
const SMALL: Load = SIZES[0];
const MIDDLE: Load = SIZES[1];

/// The series of these loads, in MB/s; Flume's in events/s.
pub(super) struct Special {
    wanted: Vec<What>,
    file_channel: Option<FileChannel>,
    one_consumer: Series,
    consumers: Series,
    dedupe: Series,
    no_dedupe: Series,
    buffered: [Series; SIZES.len()],
    /// One for each of [`steady::PRODUCERS`].
    flume: [Series; PRODUCERS.len()],
}

impl Special {
    /// Prepares empty series.
    pub(super) fn prepare(options: &Options, setup: &Setup) -> Result<Self> {
        let all = [What::Consumers, What::Dedupe, What::Buffered, What::Flume];
        let wanted = all.into_iter().filter(|what| options.wants(*what) && !setup.peers_only);
        let wanted: Vec<What> = wanted.collect();
        let file_channel = match wanted.contains(&What::Flume) {
            true => Some(FileChannel::prepare(&setup.cache)?),
            false => None,
        };
        Ok(Self {
            wanted,
            file_channel,
            one_consumer: Series::default(),
            consumers: Series::default(),
            dedupe: Series::default(),
            no_dedupe: Series::default(),
            buffered: Default::default(),
            flume: Default::default(),
        })
    }

    /// Runs each load once.
    pub(super) async fn run(&mut self, round: u32, limit: Duration, cache: &Cache) -> Result<()> {
        let plain = Case::plain(MIDDLE, 1);
        let measure = async |case| {
            let outcome = steady::measure(case, limit, cache).await?;
            Ok(outcome.moved.mb_per_s())
        };
        if self.wanted.contains(&What::Consumers) {
            let shape = Shape { consumers: CONSUMERS, ..plain.shape };
            self.one_consumer.push(measure(plain).await?);
            self.consumers.push(measure(Case { shape, ..plain }).await?);
        }
        if self.wanted.contains(&What::Dedupe) {
            let many = Case { origins: ORIGINS, ..Case::plain(SMALL, 1) };
            let shape = Shape { dedupe: false, ..many.shape };
            self.dedupe.push(measure(many).await?);
            self.no_dedupe.push(measure(Case { shape, ..many }).await?);
        }
        if self.wanted.contains(&What::Buffered) {
            for (load, series) in SIZES.into_iter().zip(&mut self.buffered) {
                let case = Case::plain(load, 1);
                let shape = Shape { direct: false, ..case.shape };
                series.push(measure(Case { shape, ..case }).await?);
            }
        }
        if let Some(file_channel) = self.file_channel.as_ref().filter(|_| round < FLUME_RUNS) {
            for (producers, series) in PRODUCERS.into_iter().zip(&mut self.flume) {
                series.push(file_channel.measure(MIDDLE, producers, FLUME_TIME, cache)?);
            }
        }
        Ok(())
    }

    /// Compares all of them with their references.
    pub(super) fn figures(&self, report: &mut Report, puts: &[(Load, Results)]) {
        let mut add = |case: String, unit, ours: &Series, name: &'static str, against: &Series| {
            report.add(Figure {
                bench: "channel",
                case,
                unit,
                better: Better::More,
                ours: ours.spread(),
                reference: against.spread().map(|spread| (name, spread)),
            });
        };
        if self.wanted.contains(&What::Consumers) {
            let case = format!("put {} x 1, {CONSUMERS} consumers", MIDDLE.name);
            add(case, "MB/s", &self.consumers, "one consumer", &self.one_consumer);
        }
        if self.wanted.contains(&What::Dedupe) {
            let case = format!("put {} x 1 of {ORIGINS} origins", SMALL.name);
            add(case, "MB/s", &self.dedupe, "dedupe off", &self.no_dedupe);
        }
        for (load, results) in puts.iter().filter(|_| self.wanted.contains(&What::Buffered)) {
            let at = SIZES.iter().position(|size| size == load).expect("it is one of the sizes");
            let ours = &self.buffered[at];
            let case = format!("put {} x 1 without direct I/O", load.name);
            add(case.clone(), "MB/s", ours, "raw-append", &results.append);
            add(case, "MB/s", ours, "raw-direct", &results.direct);
        }
        let Some((load, results)) = puts.iter().find(|(load, _)| *load == MIDDLE) else { return };
        if self.file_channel.is_none() {
            return;
        }
        let events_per_mb = load.events as f64 * 1e6 / load.batch().size().bytes as f64;
        for (index, producers) in PRODUCERS.into_iter().enumerate() {
            let ours = results.ours[index].map(|rate| rate * events_per_mb);
            let case = format!("put {} x {producers}", load.name);
            add(case, "events/s", &ours, "flume-1.11", &self.flume[index]);
        }
    }
}
