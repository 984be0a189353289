//! Builds a sink from its settings: validation and defaults.

use std::sync::Arc;
use std::time::Duration;

use formats::dates::zone;
use formats::format::Format;
use ledger::{FileNames, Known, Options, Turns};
use metrics::SinkLabel;
use pipeline::{BuildContext, BuildError};
use storage::{CreateOptions, StoreUrl};

use super::announce::partitions;
use super::bucket::{
    Calendar, HostNames, LocalHost, Round, Rules, Template, WithoutTime, branch, confined,
};
use super::config::{CompactConfig, MarkerConfig, Promise, TimeFrom};
use super::decision::RepairHint;
use super::named::NamedLedger;
use super::roll::Limits;
use super::settings::{Compact, Marker, Settings};
use super::visible::Visible;
use super::{BLOCK_RESERVE, Config, Connect, HdfsSink, place};

/// Ledger entries after which a checkpoint replaces them.
const COMPACT_AFTER: u64 = 1_000;

impl Config {
    pub(super) fn sink(
        self,
        url: &StoreUrl,
        cx: &BuildContext,
        connect: Connect,
    ) -> Result<HdfsSink, BuildError> {
        let format = Format::new(&self.encoder, &self.codec, cx)?;
        let rules = self.rules(url.path(), &LocalHost(&cx.env))?;
        self.check_numbers()?;
        let names = self.names(cx, &format)?;
        let marker = self.marker(&rules, cx)?;
        let mut complete = self.complete(url, &rules, cx)?;
        let compact = self.compact(&rules, &format, cx)?;
        let registration = self.registration(url, &rules, &format, cx)?;
        if let Some((complete, table)) = complete.as_mut().zip(registration.as_ref()) {
            complete.recipients.push(partitions::recipient(&table.table, cx)?);
        }
        let target = self.target(url, &rules, &format, cx)?;
        let keeping =
            Options { names, compact_after: COMPACT_AFTER, sweep_after: self.sweep_after.0 };
        let limits = Limits {
            size_max: self.roll.size_max.map_or(0, |size| size.0),
            count_max: self.roll.count_max,
            age_max: self.roll.age_max.0,
            idle_max: self.roll.idle_max.0,
            on: self.roll.on,
        };
        let dataset = place::dataset(url, &cx.name).map_err(|it| BuildError::invalid("url", it));
        let (dataset, dataset_name) = dataset?;
        let decision = RepairHint::new(&self.url, &cx.name, &cx.directory);
        let settings = Settings {
            env: cx.env.clone(),
            rules,
            late: cx.scope::<Self>().counter("late_events")?,
            overflow: cx.scope::<Self>().counter("overflow_events")?,
            format: Arc::new(format),
            limits,
            buckets_max: self.buckets_max,
            marker,
            complete,
            compact,
            registration,
            target,
        };
        let block_size = self.block_size.map(|size| size.0);
        let options = CreateOptions { block_size, replication: self.replication };
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
            noted: Arc::default(),
            session: None,
            traces: cx.get(),
        })
    }

    /// Rejects numbers that cannot work.
    fn check_numbers(&self) -> Result<(), BuildError> {
        let positive = |setting: &str, value: Option<u64>| match value {
            Some(0) => Err(BuildError::invalid(setting, "must be greater than 0")),
            _ => Ok(()),
        };
        positive("roll.size_max", self.roll.size_max.map(|size| size.0))?;
        positive("roll.count_max", self.roll.count_max)?;
        positive("replication", self.replication.map(u64::from))?;
        positive("buckets_max", Some(self.buckets_max as u64))?;
        if self.block_size.is_some_and(|size| size.0 <= BLOCK_RESERVE) {
            return Err(BuildError::invalid("block_size", "must be more than 1MiB"));
        }
        if self.sweep_after.0 < self.roll.age_max.0 {
            let problem = "must be at least `roll.age_max`, because an open file may stay \
                           unchanged that long";
            return Err(BuildError::invalid("sweep_after", problem));
        }
        Ok(())
    }

    /// Returns the rules that map events to directories.
    pub(super) fn rules(&self, path: &str, host: &dyn HostNames) -> Result<Rules, BuildError> {
        let invalid = |setting: &str, problem: String| BuildError::invalid(setting, problem);
        let template = Template::parse(path, host).map_err(|it| invalid("url", it))?;
        let zone = zone("zone", &self.zone)?;
        let round = self.round.map(|step| Round::to(step.0)).transpose();
        let round = round.map_err(|it| invalid("round", it))?;
        let without_time = match self.without_time.as_str() {
            "arrival" => WithoutTime::Arrival,
            "reject" => WithoutTime::Reject,
            path => {
                let path = branch(path).map_err(|problem| {
                    invalid(
                        "without_time",
                        format!("must be `arrival`, `reject` or a path: {problem}"),
                    )
                })?;
                WithoutTime::Below(path)
            }
        };
        let late_path = branch(&self.late_path).map_err(|it| invalid("late_path", it))?;
        let late = self.late_after.map(|after| (after.0, late_path));
        let by_arrival = self.time_from == TimeFrom::Arrival;
        let is_set = [
            ("without_time", without_time != WithoutTime::Arrival),
            ("late_after", late.is_some()),
        ];
        if let Some((setting, _)) = is_set.into_iter().find(|(_, is_set)| *is_set) {
            if !template.has_time() {
                let problem = "the path of `url` has no time: add an escape such as `%Y-%m-%d`, or \
                               remove the setting";
                return Err(BuildError::invalid(setting, problem));
            }
            if by_arrival {
                let problem = "has no effect with `time_from = \"arrival\"`, which gives every \
                               event the current time: remove one of the two";
                return Err(BuildError::invalid(setting, problem));
            }
        }
        let calendar = Calendar { zone, round };
        Ok(Rules { template, calendar, by_arrival, without_time, late })
    }

    /// Returns the marker of complete directories.
    fn marker(&self, rules: &Rules, cx: &BuildContext) -> Result<Option<Marker>, BuildError> {
        let Some(MarkerConfig { name, after }) = &self.success_marker else { return Ok(None) };
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("success_marker{setting}"), problem))
        };
        marker_name("success_marker.name", name)?;
        if self.guarantee != Promise::ExactlyOnce {
            let problem = "needs the commit ledger, which records complete directories: remove \
                           this setting, or remove `guarantee`";
            return invalid("", problem);
        }
        if !rules.template.has_time() {
            let problem = "the path of `url` has no time, so a directory never becomes complete: \
                           add an escape such as `%Y-%m-%d`";
            return invalid("", problem);
        }
        let late = match &rules.late {
            Some((late, _)) => *late,
            None if rules.by_arrival => Duration::ZERO,
            None => {
                let problem = "events for a directory may arrive at any time, so it never becomes \
                               complete: set `late_after`, or `time_from = \"arrival\"`";
                return invalid("", problem);
            }
        };
        let Some(margin) = after.0.checked_sub(late).filter(|margin| !margin.is_zero()) else {
            let problem = "must be more than `late_after`, because events may arrive until then";
            return invalid(".after", problem);
        };
        let scope = cx.scope::<Self>();
        Ok(Some(Marker {
            name: name.clone(),
            after: after.0,
            margin,
            made: scope.counter("success_markers")?,
            due: scope.gauge("unmarked_directories")?,
        }))
    }

    /// Checks that the store can concatenate files.
    pub(super) fn compact_fits(&self, url: &StoreUrl) -> Result<(), BuildError> {
        if self.compact.is_none() || matches!(url.scheme(), "hdfs" | "viewfs" | "file") {
            return Ok(());
        }
        let problem = format!(
            "does not work on `{}://`, which cannot concatenate files: use `hdfs://` or `file://`, \
             or remove the setting",
            url.scheme()
        );
        Err(BuildError::invalid("compact", problem))
    }

    /// Returns the settings for merging small files.
    fn compact(
        &self,
        rules: &Rules,
        format: &Format,
        cx: &BuildContext,
    ) -> Result<Option<Compact>, BuildError> {
        let Some(CompactConfig { after }) = &self.compact else { return Ok(None) };
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("compact{setting}"), problem))
        };
        if self.guarantee != Promise::ExactlyOnce {
            let problem = "needs the commit ledger, which records merged files: remove this \
                           setting, or remove `guarantee`";
            return invalid("", problem);
        }
        if !rules.template.has_time() {
            let problem = "the path of `url` has no time, so its directories always receive new \
                           files: add an escape such as `%Y-%m-%d`";
            return invalid("", problem);
        }
        if let Err(setting) = format.concatenates() {
            let problem = format!(
                "files of this `{setting}` cannot be concatenated: remove this setting, or choose \
                 another `{setting}`"
            );
            return invalid("", &problem);
        }
        let late = rules.late.as_ref().map_or(Duration::ZERO, |(late, _)| *late);
        if after.0 <= late {
            let problem = match rules.late {
                Some(_) => "must be more than `late_after`, because events may arrive until then",
                None => "must be greater than 0",
            };
            return invalid(".after", problem);
        }
        let scope = cx.scope::<Self>();
        Ok(Some(Compact {
            after: after.0,
            merges: scope.counter("merges")?,
            files: scope.counter("merged_files")?,
            bytes: scope.counter("merged_bytes")?,
            given_up: scope.counter("unmerged_given_up")?,
            due: scope.gauge("unmerged_directories")?,
        }))
    }

    /// Returns the format of file names.
    fn names(&self, cx: &BuildContext, format: &Format) -> Result<FileNames, BuildError> {
        let is_plain =
            |text: &str| !text.is_empty() && text.len() <= 64 && confined(Some(text)) == text;
        if let Some(prefix) = &self.file_prefix
            && (!is_plain(prefix) || prefix.starts_with(['_', '.']))
        {
            let problem = "must have 1 to 64 letters, digits, `.`, `_`, `=` or `-`, and must not \
                           begin with `_` or `.`, because Hadoop's readers skip such files";
            return Err(BuildError::invalid("file_prefix", problem));
        }
        let extension = match &self.file_suffix {
            None => format.extension(),
            Some(suffix) => {
                let extension = suffix.strip_prefix('.').filter(|extension| is_plain(extension));
                let problem =
                    "must be a dot and 1 to 64 letters, digits, `.`, `_`, `=` or `-`, as in `.txt`";
                extension.ok_or_else(|| BuildError::invalid("file_suffix", problem))?.to_owned()
            }
        };
        // `aqueduct verify` counts lines in files with these extensions.
        let given = format.extension();
        if ["log", "json"].iter().any(|lines| extension.ends_with(lines) && !given.ends_with(lines))
        {
            let problem = format!(
                "files with this suffix must contain lines, but these are `.{given}` files: choose \
                 another suffix"
            );
            return Err(BuildError::invalid("file_suffix", problem));
        }
        let prefix = self.file_prefix.clone().unwrap_or_else(|| confined(Some(&cx.env.host)));
        let stem = format!("{prefix}-{}", confined(Some(&cx.name)));
        Ok(FileNames { stem, extension })
    }
}

/// Checks the name of a marker.
pub(super) fn marker_name(setting: &str, name: &str) -> Result<(), BuildError> {
    if confined(Some(name)) == name && name.starts_with(['_', '.']) && name.len() >= 2 {
        return Ok(());
    }
    let problem = "must begin with `_` or `.`, so that readers skip the file, and may only have \
                   letters, digits, `.`, `_`, `=` and `-`";
    Err(BuildError::invalid(setting, problem))
}
