//! The settings of receipts: validation.

use std::time::Duration;

use complete::{Expected, RECEIPT};
use pipeline::{BuildContext, BuildError};
use storage::StoreUrl;

use super::Config;
use super::bucket::{Rules, confined};
use super::build::marker_name;
use super::config::{CompleteConfig, Promise};
use super::settings::Complete;

impl Config {
    /// Returns when directories get a receipt.
    pub(super) fn complete(
        &self,
        url: &StoreUrl,
        rules: &Rules,
        cx: &BuildContext,
    ) -> Result<Option<Complete>, BuildError> {
        let Some(CompleteConfig { edges, leave_after, grace, marker, open_lineage }) =
            &self.complete
        else {
            return Ok(None);
        };
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("complete{setting}"), problem))
        };
        if self.guarantee != Promise::ExactlyOnce {
            let problem = "needs the commit ledger, whose entries show which files are late: \
                           remove this setting, or remove `guarantee`";
            return invalid("", problem);
        }
        if !rules.template.has_time() {
            let problem = "the path of `url` has no time, so a directory never becomes complete: \
                           add an escape such as `%Y-%m-%d`";
            return invalid("", problem);
        }
        let others = [
            ("success_marker", self.success_marker.is_some()),
            ("compact", self.compact.is_some()),
        ];
        if let Some((other, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
            let remedy = match other {
                "compact" => "remove one of the two",
                _ => "set `complete.marker` instead of it",
            };
            return invalid("", &format!("cannot be combined with `{other}`: {remedy}"));
        }
        if let Some(marker) = marker {
            marker_name("complete.marker", marker)?;
            if marker == RECEIPT {
                return invalid(".marker", "must differ from the name of the receipt");
            }
        }
        if grace.0.is_zero() {
            return invalid(".grace", "must be greater than 0");
        }
        if let Some(after) = leave_after.filter(|after| after.0 <= grace.0) {
            let problem = format!("{} must be greater than `complete.grace`", after.0.as_secs());
            return invalid(".leave_after", &problem);
        }
        if edges.iter().any(|name| name.is_empty()) {
            return invalid(".edges", "a name must not be empty; remove it");
        }
        let millis = |period: Duration| i64::try_from(period.as_millis()).unwrap_or(i64::MAX / 2);
        let names = edges.iter().map(|name| confined(Some(name))).collect();
        let expected = Expected { names, leave_after: leave_after.map(|after| millis(after.0)) };
        let lineage = open_lineage.as_ref();
        let lineage = lineage.map(|it| it.recipient(url, rules.template.prefix(), cx));
        let scope = cx.scope::<Self>();
        Ok(Some(Complete {
            expected,
            grace: millis(grace.0),
            marker: marker.clone(),
            recipients: lineage.transpose()?.into_iter().collect(),
            progress: cx.get(),
            receipts: scope.counter("receipts")?,
            late: scope.counter("late_files")?,
            due: scope.gauge("directories_without_receipt")?,
            held_seconds: scope.gauge("incomplete_seconds")?,
            holders: scope.gauge("edges_that_hold_back")?,
        }))
    }
}
