//! From settings to a sink: what is checked, and what is not set.

use std::sync::Arc;

use components::format::Format;
use ledger::{FileNames, Known, Options, Turns};
use metrics::SinkLabel;
use pipeline::{BuildContext, BuildError};
use storage::{CreateOptions, StoreUrl};

use super::bucket::{Template, confined};
use super::decision::Decision;
use super::named::NamedLedger;
use super::roll::Limits;
use super::visible::Visible;
use super::writer::Settings;
use super::{BLOCK_RESERVE, Config, Connect, HdfsSink, place};

/// Entries of the commit ledger after which it is made into one checkpoint.
const COMPACT_AFTER: u64 = 1_000;

impl Config {
    pub(super) fn sink(
        self,
        url: &StoreUrl,
        cx: &BuildContext,
        connect: Connect,
    ) -> Result<HdfsSink, BuildError> {
        let format = Format::new(&self.encoder, &self.codec, cx)?;
        let template =
            Template::parse(url.path()).map_err(|problem| BuildError::invalid("url", problem))?;
        let positive = |setting: &str, value: Option<u64>| match value {
            Some(0) => Err(BuildError::invalid(setting, "it must be more than 0")),
            _ => Ok(()),
        };
        positive("roll.size_max", self.roll.size_max.map(|size| size.0))?;
        positive("roll.count_max", self.roll.count_max)?;
        positive("replication", self.replication.map(u64::from))?;
        positive("buckets_max", Some(self.buckets_max as u64))?;
        if self.block_size.is_some_and(|size| size.0 <= BLOCK_RESERVE) {
            return Err(BuildError::invalid("block_size", "it must be more than 1MiB"));
        }
        let sink = confined(Some(&cx.name));
        let extension = format.extension();
        let stem = format!("{}-{sink}", confined(Some(&cx.env.host)));
        let names = FileNames { stem, extension };
        if self.sweep_after.0 < self.roll.age_max.0 {
            let problem = "files lie unchanged for `roll.age_max` at least; it must not be less";
            return Err(BuildError::invalid("sweep_after", problem));
        }
        let sweep_after = self.sweep_after.0;
        let keeping = Options { names, compact_after: COMPACT_AFTER, sweep_after };
        let limits = Limits {
            size_max: self.roll.size_max.map_or(0, |size| size.0),
            count_max: self.roll.count_max,
            age_max: self.roll.age_max.0,
            idle_max: self.roll.idle_max.0,
        };
        let dataset = place::dataset(url, &cx.name);
        let (dataset, dataset_name) =
            dataset.map_err(|problem| BuildError::invalid("url", problem))?;
        let decision = Decision::of(&self.url, &cx.name, &cx.directory);
        let settings = Settings {
            env: cx.env.clone(),
            template,
            format: Arc::new(format),
            limits,
            buckets_max: self.buckets_max,
        };
        let options = CreateOptions {
            block_size: self.block_size.map(|size| size.0),
            replication: self.replication,
        };
        let label = SinkLabel { sink: cx.name.to_string() };
        Ok(HdfsSink {
            settings: Arc::new(settings),
            connect,
            dataset,
            named_ledger: Arc::new(NamedLedger::new(cx, &dataset_name)),
            dataset_name,
            decision: Arc::new(decision),
            keeping,
            promise: self.guarantee,
            options,
            directory: cx.directory.clone(),
            held: Arc::default(),
            visible: Arc::new(Visible::new(cx)),
            floors: cx.get(),
            unpublished: cx.metrics.sink_unpublished.get_or_create(&label).clone(),
            known: Known::default(),
            turns: Turns::default(),
            session: None,
        })
    }
}
