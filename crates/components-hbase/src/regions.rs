//! Finds the region of a row: a cache, and the lookup in `hbase:meta`.
//!
//! A row of `hbase:meta` is a region: `table,first row,number.hash.`, with its last row and its
//! server. The region of a row is the last one that starts at or before the row, so it is the first
//! result of a reverse scan.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use prost::Message;

use crate::failure::HbaseError;
use crate::proto::{Cell, Column, RegionInfo, RegionSpecifier, Scan, ScanRequest, ScanResponse};

/// The only region of `hbase:meta`.
const META: &[u8] = b"hbase:meta,,1";
/// Sorts after all region numbers.
const LAST_NUMBER: &str = "99999999999999";

/// A region of a table: the rows from `start` to before `end`, which is empty for the last region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) name: Vec<u8>,
    start: Vec<u8>,
    end: Vec<u8>,
    /// `host:port`.
    pub(crate) server: Arc<str>,
}

impl Region {
    fn has(&self, row: &[u8]) -> bool {
        *self.start <= *row && (self.end.is_empty() || *row < *self.end)
    }
}

/// The known regions of a table. They never overlap.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    by_start: BTreeMap<Vec<u8>, Arc<Region>>,
}

impl Regions {
    /// Returns the region of a row.
    pub(crate) fn find(&self, row: &[u8]) -> Option<Arc<Region>> {
        let up_to = (Bound::Unbounded, Bound::Included(row));
        let (_, region) = self.by_start.range::<[u8], _>(up_to).next_back()?;
        region.has(row).then(|| region.clone())
    }

    /// Adds a region, and removes those that overlap with it.
    pub(crate) fn put(&mut self, region: Arc<Region>) {
        let before = self.find(&region.start).map(|before| before.start.clone());
        let from = before.as_deref().unwrap_or(&region.start);
        let to = match &*region.end {
            [] => Bound::Unbounded,
            end => Bound::Excluded(end),
        };
        let old = self.by_start.range::<[u8], _>((Bound::Included(from), to));
        let old: Vec<Vec<u8>> = old.map(|(start, _)| start.clone()).collect();
        for start in old {
            self.by_start.remove(&start);
        }
        self.by_start.insert(region.start.clone(), region);
    }

    /// Removes the region of this name.
    pub(crate) fn forget(&mut self, name: &[u8]) {
        self.by_start.retain(|_, region| *region.name != *name);
    }

    /// Removes the regions of a server.
    pub(crate) fn forget_server(&mut self, address: &str) {
        self.by_start.retain(|_, region| &*region.server != address);
    }
}

/// Returns the scan of `hbase:meta` for the region of a row.
pub(crate) fn scan(table: &str, row: &[u8]) -> ScanRequest {
    let start = [table.as_bytes(), b",", row, b",", LAST_NUMBER.as_bytes()].concat();
    ScanRequest {
        region: Some(RegionSpecifier::for_name(META)),
        scan: Some(Scan {
            column: vec![Column { family: b"info".to_vec() }],
            start_row: Some(start),
            reversed: Some(true),
            caching: Some(1),
        }),
        number_of_rows: Some(1),
        close_scanner: Some(true),
    }
}

/// Finds the region of a row in the response to [`scan`].
///
/// # Errors
/// The table does not exist, or no server has the region now.
pub(crate) fn read(
    answer: &ScanResponse,
    table: &Arc<str>,
    row: &[u8],
) -> Result<Region, HbaseError> {
    let no_table = || HbaseError::NoTable { table: table.clone() };
    let nowhere =
        |problem: &str| HbaseError::Nowhere { table: table.clone(), problem: problem.to_owned() };
    let cells = answer.results.first().map(|row| &*row.cell).unwrap_or_default();
    let name = cells.first().and_then(|cell| cell.row.clone()).ok_or_else(no_table)?;
    // The last region of the preceding table, or of `hbase:meta` itself.
    if !name.strip_prefix(table.as_bytes()).is_some_and(|rest| rest.starts_with(b",")) {
        return Err(no_table());
    }
    let info = value(cells, b"regioninfo").and_then(|value| value.strip_prefix(b"PBUF"));
    let info = info.and_then(|info| RegionInfo::decode(info).ok());
    let info = info.ok_or_else(|| {
        nowhere("hbase:meta describes the region in an unknown format; check the version of HBase")
    })?;
    if info.offline == Some(true) || info.split == Some(true) {
        return Err(nowhere("the region is split or offline"));
    }
    let server = value(cells, b"server").and_then(|server| std::str::from_utf8(server).ok());
    let server = server.filter(|server| !server.is_empty());
    let server = server.ok_or_else(|| nowhere("the region is not assigned yet"))?.into();
    let (start, end) = (info.start_key.unwrap_or_default(), info.end_key.unwrap_or_default());
    let region = Region { name, start, end, server };
    match region.has(row) {
        true => Ok(region),
        false => Err(nowhere(
            "no entry of hbase:meta covers the row, probably because regions are being moved; if \
             this lasts, check the cluster with `hbck`",
        )),
    }
}

/// Returns the newest value of a column.
fn value<'a>(cells: &'a [Cell], qualifier: &[u8]) -> Option<&'a [u8]> {
    let cell = cells.iter().find(|cell| cell.qualifier.as_deref() == Some(qualifier))?;
    cell.value.as_deref()
}

/// Returns a region of the table `t`.
#[cfg(test)]
pub(crate) fn region_of(start: &str, end: &str, server: &str) -> Arc<Region> {
    let name = format!("t,{start},1.{end}.").into_bytes();
    let (start, end) = (start.into(), end.into());
    Arc::new(Region { name, start, end, server: server.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Row;

    fn all(regions: &Regions) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let of = |region: &Arc<Region>| format!("{}-{}", text(&region.start), text(&region.end));
        regions.by_start.values().map(of).collect()
    }

    #[test]
    fn a_row_is_in_the_region_that_begins_before_it_and_ends_behind_it() {
        let mut regions = Regions::default();
        assert_eq!(regions.find(b""), None);
        for (start, end) in [("", "d"), ("m", "")] {
            regions.put(region_of(start, end, "a:1"));
        }
        for (row, start) in [("", Some("")), ("c", Some("")), ("d", None), ("m", Some("m"))] {
            let found = regions.find(row.as_bytes());
            assert_eq!(found.map(|it| it.start.clone()), start.map(Into::into), "{row}");
        }
    }

    #[test]
    fn a_region_takes_the_place_of_all_that_had_its_rows() {
        let mut regions = Regions::default();
        regions.put(region_of("", "", "a:1"));
        regions.put(region_of("d", "m", "b:1"));
        assert_eq!(all(&regions), ["d-m"]);
        regions.put(region_of("", "d", "a:1"));
        regions.put(region_of("m", "", "a:1"));
        assert_eq!(all(&regions), ["-d", "d-m", "m-"]);
        // Two regions were merged.
        regions.put(region_of("d", "", "b:1"));
        assert_eq!(all(&regions), ["-d", "d-"]);
        regions.forget_server("a:1");
        assert_eq!(all(&regions), ["d-"]);
        regions.forget(&region_of("d", "", "b:1").name);
        assert_eq!(all(&regions), [""; 0]);
    }

    fn answer(name: &str, info: &RegionInfo, server: &str) -> ScanResponse {
        let cell = |qualifier: &str, value: Vec<u8>| Cell {
            row: Some(name.into()),
            qualifier: Some(qualifier.into()),
            value: Some(value),
        };
        let info = [b"PBUF".to_vec(), info.encode_to_vec()].concat();
        let cell = vec![cell("regioninfo", info), cell("server", server.into())];
        ScanResponse { results: vec![Row { cell }] }
    }

    #[test]
    fn a_row_of_meta_is_a_region_unless_it_is_of_another_table_or_not_there() {
        let table: Arc<str> = "t".into();
        let info = RegionInfo {
            start_key: Some(b"d".to_vec()),
            end_key: Some(b"m".to_vec()),
            ..RegionInfo::default()
        };
        let found = read(&answer("t,d,1.m.", &info, "a:1"), &table, b"e").unwrap();
        assert_eq!(found, *region_of("d", "m", "a:1"));
        let split = RegionInfo { split: Some(true), ..info.clone() };
        for (answer, row, expected) in [
            (ScanResponse::default(), "e", "table `t` does not exist"),
            (answer("s,d,1.m.", &info, "a:1"), "e", "table `t` does not exist"),
            (answer("tt,d,1.m.", &info, "a:1"), "e", "table `t` does not exist"),
            (answer("t,d,1.m.", &info, "a:1"), "m", "no entry of hbase:meta covers the row"),
            (answer("t,d,1.m.", &info, ""), "e", "not assigned yet"),
            (answer("t,d,1.m.", &split, "a:1"), "e", "split"),
        ] {
            let error = read(&answer, &table, row.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
