//! `lookup`: adds headers from a table, by the value of another header.
//!
//! The table is a part of the settings, inline or by a reference (`${file:…}`): it is read with the
//! configuration, and again only when the configuration is read again. So the same settings always
//! add the same headers.
//!
//! Keys are strings, or networks and address ranges, of which the narrowest match counts, as in
//! tables of address locations (GeoLite2, DB-IP, IP2Location).

use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt};
use formats::csv;
use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::networks::{Networks, Range};

/// Maximum length of a value in bytes: each matching event stores it.
const VALUE_MAX: usize = 4096;

/// Settings of the `lookup` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header whose value is looked up.
    from: String,
    /// Table in CSV. The first line contains the column names, unless `names` does. Use a reference
    /// to a file, such as `"${file:hosts.csv}"`.
    table: String,
    /// Column names of a table without a header line.
    #[serde(default)]
    names: Vec<String>,
    /// Kind of the keys in the searched column.
    #[serde(default)]
    keys: Keys,
    /// Name of the searched column. Default: the first column.
    #[serde(default)]
    key: Option<String>,
    /// Names of the columns that become headers. An empty list selects all but the keys.
    #[serde(default)]
    columns: Vec<String>,
    /// Prefix of each column name.
    #[serde(default)]
    prefix: String,
    /// Whether an event keeps an existing header.
    #[serde(default)]
    preserve_existing: bool,
}

/// What a key is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Keys {
    /// The exact value of the header.
    #[default]
    Texts,
    /// An IPv4 or IPv6 network, such as `203.0.113.0/24`, or an address.
    Networks,
    /// The first address of a range, as an address or a number. The next column contains the last
    /// address.
    Ranges,
}

impl Component for Config {
    const KIND: &'static str = "lookup";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "missing_events",
        "Events without the header, or whose value is not in the table.",
    )];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("from", &self.from)?;
        let mut columns = None;
        let mut table = Table::new(self.keys);
        if !self.names.is_empty() {
            columns = Some(Columns::new(&self, &self.names)?);
        }
        let mut wrong = None;
        let read = csv::each_line(&self.table, |number, line| {
            let Some(columns) = &columns else {
                let names: Vec<String> = line.iter().map(|name| (*name).to_owned()).collect();
                // This error is about another setting than the table.
                columns = Columns::new(&self, &names).map_err(|error| wrong = Some(error)).ok();
                return if columns.is_some() { Ok(()) } else { Err(String::new()) };
            };
            if line.len() != columns.count {
                let (found, count) = (line.len(), columns.count);
                return Err(format!(
                    "line {number} must have {count} columns like the first line, but has {found}; \
                     correct the table"
                ));
            }
            table.add(number, line, columns)
        });
        if let Some(error) = wrong {
            return Err(error);
        }
        let invalid = |problem: String| BuildError::invalid("table", problem);
        read.map_err(invalid)?;
        let columns = columns.ok_or_else(|| invalid("must have at least one line".to_owned()))?;
        let (keys, rows) = table.end().map_err(invalid)?;
        Ok(Box::new(Lookup {
            digest: xxh3_64(self.table.as_bytes()),
            existing: super::existing(self.preserve_existing),
            by: format!("{:?} as {:?}", self.from, self.keys),
            from: self.from,
            headers: columns.headers,
            keys,
            rows,
            missing: cx.scope::<Self>().counter("missing_events")?,
        }))
    }
}

/// Columns of a table that are used.
struct Columns {
    count: usize,
    key: usize,
    key_end: usize,
    taken: Vec<usize>,
    headers: Vec<String>,
}

impl Columns {
    fn new(config: &Config, names: &[String]) -> Result<Self, BuildError> {
        let place = |setting: &str, name: &String| {
            let problem =
                || BuildError::invalid(setting, format!("the table has no column `{name}`"));
            names.iter().position(|known| known == name).ok_or_else(problem)
        };
        let key = config.key.as_ref().map_or(Ok(0), |key| place("key", key))?;
        let key_end = key + usize::from(config.keys == Keys::Ranges);
        let taken = if config.columns.is_empty() {
            (0..names.len()).filter(|at| *at != key && *at != key_end).collect()
        } else {
            let places = config.columns.iter().map(|name| place("columns", name));
            places.collect::<Result<Vec<_>, _>>()?
        };
        if taken.is_empty() || key_end >= names.len() {
            return Err(BuildError::invalid("table", "must have a column besides the key"));
        }
        let header = |at: &usize| format!("{}{}", config.prefix, names[*at]);
        let headers: Vec<String> = taken.iter().map(header).collect();
        for header in &headers {
            super::check_name("table", header)?;
        }
        Ok(Self { count: names.len(), key, key_end, taken, headers })
    }
}

/// Table under construction.
struct Table {
    keys: Keys,
    texts: HashMap<String, u32>,
    ranges: Vec<(Range, u32)>,
    /// Line of each range.
    lines: Vec<usize>,
    /// Distinct rows with their index: in an address table, many keys have equal rows.
    rows: HashMap<Vec<String>, u32>,
}

impl Table {
    fn new(keys: Keys) -> Self {
        let (texts, rows) = (HashMap::new(), HashMap::new());
        Self { keys, texts, ranges: Vec::new(), lines: Vec::new(), rows }
    }

    fn add(&mut self, number: usize, line: &[&str], columns: &Columns) -> Result<(), String> {
        let values: Vec<String> = columns.taken.iter().map(|at| line[*at].to_owned()).collect();
        if values.iter().any(|value| value.len() > VALUE_MAX) {
            return Err(format!(
                "a value of line {number} has more than {VALUE_MAX} bytes; shorten it"
            ));
        }
        let next = u32::try_from(self.rows.len())
            .map_err(|_| format!("must have at most {} different rows", u32::MAX))?;
        let row = *self.rows.entry(values).or_insert(next);
        let key = line[columns.key];
        let range = match self.keys {
            Keys::Texts => {
                let Entry::Vacant(entry) = self.texts.entry(key.to_owned()) else {
                    return Err(format!(
                        "the key `{key}` of line {number} occurs twice: remove one"
                    ));
                };
                entry.insert(row);
                return Ok(());
            }
            Keys::Networks => Range::network(key),
            Keys::Ranges => Range::between(key, line[columns.key_end]),
        };
        let range =
            range.map_err(|problem| format!("line {number}: {problem}; correct the table"))?;
        self.ranges.push((range, row));
        self.lines.push(number);
        Ok(())
    }

    /// Returns the index of keys, and the rows.
    fn end(self) -> Result<(Found, Rows), String> {
        let mut rows: Vec<(Vec<String>, u32)> = self.rows.into_iter().collect();
        rows.sort_unstable_by_key(|(_, place)| *place);
        let rows = rows.into_iter().map(|(row, _)| row.into()).collect();
        if self.keys == Keys::Texts {
            return Ok((Found::Texts(self.texts), rows));
        }
        let networks = Networks::new(&self.ranges).map_err(|(one, other)| {
            let (one, other) = (self.lines[one], self.lines[other]);
            format!(
                "the addresses of lines {one} and {other} are the same, or overlap without one \
                 being in the other; remove one of the two lines"
            )
        })?;
        Ok((Found::Addresses(networks), rows))
    }
}

/// Header values of each row.
type Rows = Vec<Box<[String]>>;

/// Index of keys.
enum Found {
    Texts(HashMap<String, u32>),
    Addresses(Networks),
}

struct Lookup {
    from: String,
    /// Description of the key, for a routing.
    by: String,
    /// Names of the added headers; each row has their values.
    headers: Vec<String>,
    keys: Found,
    rows: Rows,
    digest: u64,
    existing: Existing,
    missing: Counter,
}

impl Lookup {
    fn row(&self, value: &str) -> Option<&[String]> {
        let row = match &self.keys {
            Found::Texts(texts) => texts.get(value).copied(),
            Found::Addresses(networks) => networks.row(value),
        };
        self.rows.get(row? as usize).map(|row| &**row)
    }
}

impl Interceptor for Lookup {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let mut columns: Vec<Values> = self.headers.iter().map(|_| Values::default()).collect();
        let mut missing = 0;
        for (value, events) in batch.value_runs(&self.from) {
            let row = value.and_then(|value| self.row(value));
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
        let table = format!("table {:016x} by {}", self.digest, self.by);
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

    /// Returns the value of `header` for each address.
    fn placed(settings: &serde_json::Value, header: &str, addresses: &[&str]) -> Vec<String> {
        let mut batch = Batch::of(addresses);
        batch.set_column("client", addresses.iter().map(|address| Some(*address)));
        values(&through::<Config>(settings, batch), header)
    }

    /// Lines in the format of the vendors of such tables.
    #[test]
    fn an_address_gets_the_columns_of_the_narrowest_network_or_range() {
        let geolite = "network,geoname_id,registered_country_geoname_id\n\
                       1.0.0.0/24,2077456,2077456\n1.0.0.0/8,1814991,1814991\n\
                       2001:200::/32,1861060,1861060\n";
        let settings = json!({
            "from": "client", "table": geolite, "keys": "networks", "columns": ["geoname_id"],
        });
        let addresses =
            ["1.0.0.255", "1.0.1.0", "2.0.0.0", "::ffff:1.0.0.9", "2001:200::1", "2001:201::", "x"];
        let expected = ["2077456", "1814991", "-", "2077456", "1861060", "-", "-"];
        assert_eq!(placed(&settings, "geoname_id", &addresses), expected);

        let db_ip = "1.0.0.0,1.0.0.255,AU\n1.0.1.0,1.0.3.255,CN\n2001:200::,2001:200:ffff::,JP\n";
        let settings = json!({
            "from": "client", "table": db_ip, "keys": "ranges", "names": ["from", "to", "country"],
            "prefix": "geo_",
        });
        let expected = ["AU", "CN", "-", "AU", "JP", "-", "-"];
        assert_eq!(placed(&settings, "geo_country", &addresses), expected);

        let ip2location = "\"16777216\",\"16777471\",\"AU\",\"Australia\"\n\
                           \"281470698521088\",\"281470698521343\",\"CN\",\"China\"\n\
                           \"42540528726795050063891204319802818560\",\
                           \"42540528806023212578155541913346768895\",\"JP\",\"Japan\"\n";
        let settings = json!({
            "from": "client", "table": ip2location, "keys": "ranges",
            "names": ["first", "last", "code", "country"], "columns": ["code"],
        });
        let expected = ["AU", "-", "-", "AU", "JP", "-", "-"];
        assert_eq!(placed(&settings, "code", &addresses), expected);
    }

    #[test]
    fn a_table_of_addresses_that_contradicts_itself_is_refused() {
        for (keys, table, part) in [
            ("networks", "net,a\n1.0.0.0/33,x", "line 2: `1.0.0.0/33`"),
            ("networks", "net,a\n1.0.0.0/24,x\n1.0.0.0/24,y", "lines 2 and 3"),
            ("ranges", "a,b,c\n1.0.0.0,1.0.0.9,x\n1.0.0.5,1.0.0.12,y", "lines 2 and 3"),
            ("ranges", "a,b,c\n1.0.0.9,1.0.0.0,x", "line 2"),
            ("ranges", "a,b\n1.0.0.9,1.0.0.0", "a column besides the key"),
        ] {
            let settings = json!({ "from": "client", "table": table, "keys": keys });
            let error = super::super::testing::built::<Config>(&settings).err().unwrap();
            assert!(error.path == "table" && error.problem.contains(part), "{table}: {error}");
        }
        let settings = json!({ "from": "client", "table": TABLE, "names": ["a", "b"] });
        assert_eq!(refused::<Config>(&settings), "table");
    }
}
