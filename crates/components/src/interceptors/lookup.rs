//! `lookup`: adds headers from a table, by the value of another header.
//!
//! The table is a part of the settings, in the file or by a reference (`${file:…}`): it is read
//! with the configuration and not again before that is. So the same settings always add the same.

use foldhash::{HashMap, HashMapExt};
use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects, Values,
};
use schemars::JsonSchema;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::parse::csv;

/// Longest value of a table, in bytes: each event that finds it stores it.
const VALUE_MAX: usize = 4096;

/// Settings of the `lookup` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header whose value is looked up.
    from: String,
    /// The table as CSV; the first line has the names of its columns. Best a reference to a file,
    /// `"${file:hosts.csv}"`.
    table: String,
    /// Name of the column that is searched. The first one unless set.
    #[serde(default)]
    key: Option<String>,
    /// Names of the columns that become headers; all but the key where the list is empty.
    #[serde(default)]
    columns: Vec<String>,
    /// Text in front of each column's name.
    #[serde(default)]
    prefix: String,
    /// Whether an event that has such a header already keeps it.
    #[serde(default)]
    preserve_existing: bool,
}

impl Component for Config {
    const KIND: &'static str = "lookup";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "missing_events",
        "Events without the header, or with a value that the table lacks.",
    )];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("from", &self.from)?;
        let invalid = |problem: String| BuildError::invalid("table", problem);
        let mut lines = csv::table(&self.table).map_err(invalid)?.into_iter();
        let names = lines.next().ok_or_else(|| invalid("it has no line".to_owned()))?;
        let place = |setting: &str, name: &String| {
            let problem =
                || BuildError::invalid(setting, format!("the table has no column `{name}`"));
            names.iter().position(|known| known == name).ok_or_else(problem)
        };
        let key = self.key.as_ref().map_or(Ok(0), |key| place("key", key))?;
        let taken = if self.columns.is_empty() {
            (0..names.len()).filter(|at| *at != key).collect()
        } else {
            self.columns.iter().map(|name| place("columns", name)).collect::<Result<Vec<_>, _>>()?
        };
        if taken.is_empty() {
            return Err(invalid("it has no column but the key".to_owned()));
        }
        let mut rows = HashMap::new();
        for (at, mut line) in lines.enumerate() {
            let key = std::mem::take(&mut line[key]);
            let row: Vec<String> = taken.iter().map(|at| std::mem::take(&mut line[*at])).collect();
            if row.iter().any(|value| value.len() > VALUE_MAX) {
                return Err(invalid(format!(
                    "a value of row {} has over {VALUE_MAX} bytes",
                    at + 1
                )));
            }
            if rows.insert(key.clone(), row).is_some() {
                return Err(invalid(format!("the key `{key}` of row {} is there twice", at + 1)));
            }
        }
        let header = |at: &usize| format!("{}{}", self.prefix, names[*at]);
        let headers: Vec<String> = taken.iter().map(header).collect();
        for header in &headers {
            super::check_name("table", header)?;
        }
        Ok(Box::new(Lookup {
            digest: xxh3_64(self.table.as_bytes()),
            existing: super::existing(self.preserve_existing),
            from: self.from,
            headers,
            rows,
            missing: cx.scope::<Self>().counter("missing_events")?,
        }))
    }
}

struct Lookup {
    from: String,
    /// The headers that are added; each row has their values.
    headers: Vec<String>,
    rows: HashMap<String, Vec<String>>,
    digest: u64,
    existing: Existing,
    missing: Counter,
}

impl Interceptor for Lookup {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let mut columns: Vec<Values> = self.headers.iter().map(|_| Values::default()).collect();
        let mut missing = 0;
        for (value, events) in batch.value_runs(&self.from) {
            let row = value.and_then(|value| self.rows.get(value));
            missing += if row.is_some() { 0 } else { events as u64 };
            for (at, column) in columns.iter_mut().enumerate() {
                column.push_run(row.map(|row| &*row[at]), events);
            }
        }
        for (header, column) in self.headers.iter().zip(columns) {
            batch.merge_values(header, column, self.existing);
        }
        self.missing.inc_by(missing);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let header = self.headers.iter().find(|own| Some(own.as_str()) == header)?;
        let table = format!("table {:016x} by {:?}", self.digest, self.from);
        Some(format!("{header:?} of {table}, {:?}", self.existing))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::json;

    use super::super::testing::{refused, through, values};
    use super::*;

    const TABLE: &str = "host,site,rack\nweb-1,fra,\"r 1, left\"\nweb-2,ber,\n";

    #[test]
    fn columns_of_the_row_become_headers() {
        let mut batch = Batch::of(["a", "b", "c", "d"]);
        let hosts = [Some("web-1"), Some("web-9"), None, Some("web-2")];
        batch.set_column("host", hosts.into_iter());
        batch.set_header("at_site", "own", Existing::Keep);
        for (preserve, site) in [(false, ["fra", "own", "own", "ber"]), (true, ["own"; 4])] {
            let settings = json!({
                "from": "host", "table": TABLE, "prefix": "at_", "preserve_existing": preserve,
            });
            let batch = through::<Config>(&settings, batch.clone());
            assert_eq!(values(&batch, "at_site"), site);
            assert_eq!(values(&batch, "at_rack"), ["r 1, left", "-", "-", ""]);
        }
    }

    #[test]
    fn another_column_can_be_the_key_and_columns_be_chosen() {
        let settings = json!({
            "from": "place", "table": TABLE, "key": "site", "columns": ["host"],
        });
        let mut batch = Batch::of(["a"]);
        batch.set_header("place", "ber", Existing::Keep);
        let batch = through::<Config>(&settings, batch);
        assert_eq!(values(&batch, "host"), ["web-2"]);
        assert_eq!(batch.header_names().count(), 2);
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        for (table, path) in [
            ("", "table"),
            ("host", "table"),
            ("host,site\na,1\na,2", "table"),
            ("host,site\na", "table"),
            ("host,\na,1", "table"),
            (&format!("host,site\na,{}", "x".repeat(VALUE_MAX + 1)), "table"),
        ] {
            let settings = json!({ "from": "host", "table": table });
            assert_eq!(refused::<Config>(&settings), path, "{table}");
        }
        for setting in ["key", "columns"] {
            let mut settings = json!({ "from": "host", "table": TABLE });
            settings[setting] = if setting == "key" { json!("no") } else { json!(["no"]) };
            assert_eq!(refused::<Config>(&settings), setting);
        }
        assert_eq!(refused::<Config>(&json!({ "from": "", "table": TABLE })), "from");
    }
}
