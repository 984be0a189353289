//! Receipts as events of OpenLineage, version 2-0-2 of its specification.
//!
//! ```text
//!   receipt          START and COMPLETE of a run, whose output is the dataset
//!   record of late   OTHER of the same run
//! ```
//!
//! The id of the run and the content of the events result from the receipt and the record only. So
//! a repeated event is equal to the first one, also if another collector sends it.

use jiff::Timestamp;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::{Announcement, EdgeLine, LateRecord, Receipt};

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const STATISTICS: &str = "https://openlineage.io/spec/facets/1-0-2/\
                          OutputStatisticsOutputDatasetFacet.json\
                          #/$defs/OutputStatisticsOutputDatasetFacet";
/// The schema of the facets of receipts and late files: in `docs`.
const OWN: &str = "https://aqueduct.example/open-lineage-receipt-1-0-0.json#/$defs/";
const PRODUCER: &str = concat!("https://aqueduct.example/", env!("CARGO_PKG_VERSION"));

/// Maximum number of edges in an event: servers limit the size of an event.
const EDGES_MAX: usize = 1_000;

/// The names in the events of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Namespace of the job that completes the directories.
    pub namespace: String,
    /// Name of the job.
    pub job: String,
    /// Namespace of the dataset: its store.
    pub dataset_namespace: String,
    /// Name of the dataset.
    pub dataset: String,
}

impl Lineage {
    /// Returns the events to send, in this order.
    pub fn events(&self, announcement: &Announcement) -> Vec<Value> {
        let receipt = &announcement.receipt;
        let late = announcement.record();
        match (announcement.entry, late) {
            (None, _) => {
                let made_at = receipt.made_at_ms;
                let statistics = statistics(receipt.events, receipt.bytes, receipt.files.len());
                let facet = receipt_facet(receipt);
                let facets = json!({
                    "outputStatistics": statistics,
                    "aqueduct_receipt": facet,
                });
                vec![
                    self.event("START", made_at, receipt, &json!({})),
                    self.event("COMPLETE", made_at, receipt, &facets),
                ]
            }
            (Some(_), Some(record)) => {
                let facets = json!({ "aqueduct_lateFiles": late_facet(receipt, record) });
                vec![self.event("OTHER", record.found_at_ms, receipt, &facets)]
            }
            (Some(_), None) => Vec::new(),
        }
    }

    fn event(&self, kind: &str, at_ms: i64, receipt: &Receipt, facets: &Value) -> Value {
        json!({
            "eventType": kind,
            "eventTime": time(at_ms),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": { "runId": run_id(receipt) },
            "job": { "namespace": self.namespace, "name": self.job },
            "inputs": [],
            "outputs": [{
                "namespace": self.dataset_namespace,
                "name": self.dataset,
                "outputFacets": facets,
            }],
        })
    }
}

/// Returns the UUID of version 8 for the run that has made this receipt.
fn run_id(receipt: &Receipt) -> String {
    let Receipt { ledger, directory, hash, .. } = receipt;
    let name = format!("{ledger}\n{directory}\n{}", hash.as_deref().unwrap_or_default());
    let bits = xxh3_128(name.as_bytes());
    let version_and_variant: u128 = 0xf << 76 | 0x3 << 62;
    let hex = format!("{:032x}", bits & !version_and_variant | 0x8 << 76 | 0x2 << 62);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap_or_default().to_string()
}

fn facet(schema: &str, mut content: Value) -> Value {
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] = schema.into();
    content
}

fn statistics(events: Option<u64>, bytes: Option<u64>, files: usize) -> Value {
    let mut content = json!({ "fileCount": files });
    for (name, value) in [("rowCount", events), ("size", bytes)] {
        if let Some(value) = value {
            content[name] = value.into();
        }
    }
    facet(STATISTICS, content)
}

fn receipt_facet(receipt: &Receipt) -> Value {
    let Receipt { edges, waived, left, .. } = receipt;
    let some = |edges: &[EdgeLine]| json!(edges[..edges.len().min(EDGES_MAX)]);
    let content = json!({
        "directory": receipt.directory,
        "ledger": receipt.ledger,
        "entries": receipt.entries,
        "files_hash": receipt.files_hash,
        "hash": receipt.hash,
        "edge_count": edges.len(),
        "edges": some(edges),
        "waived_count": waived.len(),
        "waived": some(waived),
        "left_count": left.len(),
        "left": some(left),
    });
    facet(&format!("{OWN}AqueductReceiptOutputDatasetFacet"), content)
}

fn late_facet(receipt: &Receipt, record: &LateRecord) -> Value {
    let events: Option<u64> = record.files.iter().map(|file| file.events).sum();
    let content = json!({
        "directory": receipt.directory,
        "hash": receipt.hash,
        "entry": record.entry,
        "file_count": record.files.len(),
        "events": events,
    });
    facet(&format!("{OWN}AqueductLateFilesOutputDatasetFacet"), content)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{LateFile, Share, file_hash};

    pub(crate) fn edge(name: &str) -> EdgeLine {
        let share = Share { events: 9, epochs: Some((1, 1)), numbers: Some((0, 3)) };
        EdgeLine {
            name: name.to_owned(),
            origin: "0".repeat(32),
            sent_before_ms: Some(8),
            batches: 4,
            epochs: Some((1, 1)),
            numbers: Some((0, 3)),
            in_directory: Some(share),
        }
    }

    pub(crate) fn receipt() -> Receipt {
        let files = vec!["a-store-3-0.log".to_owned()];
        let mut receipt = Receipt {
            format: 1,
            directory: "2027-01-15-08".into(),
            made_at_ms: 1_800_000_000_500,
            ledger: "0".repeat(32),
            entries: 5,
            events: Some(9),
            bytes: Some(180),
            files_hash: file_hash(&files),
            files,
            edges: vec![edge("web-17")],
            waived: Vec::new(),
            left: Vec::new(),
            hash: None,
        };
        receipt.seal();
        receipt
    }

    pub(crate) fn record(entry: u64, events: Option<u64>) -> LateRecord {
        let files = vec![LateFile { name: format!("a-store-{entry}-0.log"), events }];
        LateRecord { format: 1, entry, found_at_ms: 1_800_000_100_000, files }
    }

    fn lineage() -> Lineage {
        Lineage {
            namespace: "aqueduct".into(),
            job: "store".into(),
            dataset_namespace: "hdfs://nn:8020".into(),
            dataset: "/logs".into(),
        }
    }

    fn events(receipt: Receipt, late: Vec<LateRecord>, entry: Option<u64>) -> Vec<Value> {
        lineage().events(&Announcement { receipt, late, entry })
    }

    /// Checks the fields that the specification requires.
    fn check(event: &Value) {
        let uri = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("https://"));
        assert!(uri(&event["producer"]) && event["schemaURL"] == SCHEMA, "{event}");
        let time = event["eventTime"].as_str().unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        let id = event["run"]["runId"].as_str().unwrap();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id.as_bytes()[14] == b'8' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        for part in [&event["job"], &event["outputs"][0]] {
            assert!(part["namespace"].is_string() && part["name"].is_string(), "{event}");
        }
        for (name, facet) in event["outputs"][0]["outputFacets"].as_object().unwrap() {
            assert!(uri(&facet["_producer"]) && uri(&facet["_schemaURL"]), "{name}: {facet}");
        }
    }

    #[test]
    fn a_receipt_starts_and_completes_a_run() {
        let sent = events(receipt(), vec![], None);
        sent.iter().for_each(check);
        let kinds: Vec<_> = sent.iter().map(|event| event["eventType"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["START", "COMPLETE"]);
        assert_eq!(sent[0]["run"], sent[1]["run"]);
        assert_eq!(sent[1]["eventTime"], "2027-01-15T08:00:00.5Z");
        let facets = &sent[1]["outputs"][0]["outputFacets"];
        let statistics = &facets["outputStatistics"];
        let numbers = ["rowCount", "size", "fileCount"].map(|name| statistics[name].as_u64());
        assert_eq!(numbers, [Some(9), Some(180), Some(1)]);
        let own = &facets["aqueduct_receipt"];
        assert_eq!(own["hash"].as_str(), receipt().hash.as_deref());
        assert_eq!(own["edges"][0]["in_directory"]["numbers"], json!([0, 3]));
        assert_eq!(own["edges"][0]["name"], "web-17");
    }

    #[test]
    fn late_files_are_another_event_of_the_same_run() {
        let late = vec![record(7, Some(2)), record(9, Some(3))];
        let sent = events(receipt(), late.clone(), Some(9));
        sent.iter().for_each(check);
        assert_eq!((sent.len(), &sent[0]["eventType"]), (1, &json!("OTHER")));
        assert_eq!(sent[0]["run"], events(receipt(), vec![], None)[0]["run"]);
        let own = &sent[0]["outputs"][0]["outputFacets"]["aqueduct_lateFiles"];
        assert_eq!((&own["entry"], &own["events"]), (&json!(9), &json!(3)));
        assert_eq!(events(receipt(), late.clone(), None), events(receipt(), vec![], None));
        assert_eq!(events(receipt(), late, Some(8)), Vec::<Value>::new(), "without its record");
    }

    #[test]
    fn each_receipt_has_a_run_of_its_own_and_a_repetition_is_equal() {
        let run = |receipt: &Receipt| events(receipt.clone(), vec![], None)[0]["run"].clone();
        let (one, mut other) = (receipt(), receipt());
        assert_eq!(events(one.clone(), vec![], None), events(other.clone(), vec![], None));
        other.directory = "2027-01-15-09".into();
        assert_ne!(run(&one), run(&other));
        let mut of_other_ledger = receipt();
        of_other_ledger.ledger = "1".repeat(32);
        assert_ne!(run(&one), run(&of_other_ledger));
    }

    #[test]
    fn facets_have_the_fields_of_their_published_schema() {
        let schema = include_str!("../../../docs/open-lineage-receipt-1-0-0.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        assert!(OWN.starts_with(schema["$id"].as_str().unwrap()));
        let complete = events(receipt(), vec![], None).remove(1);
        let other = events(receipt(), vec![record(7, Some(2))], Some(7)).remove(0);
        for (event, key) in [(complete, "aqueduct_receipt"), (other, "aqueduct_lateFiles")] {
            let facet = event["outputs"][0]["outputFacets"][key].as_object().unwrap();
            let (_, name) = facet["_schemaURL"].as_str().unwrap().rsplit_once('/').unwrap();
            let fields = &schema["$defs"][name]["allOf"][1]["properties"];
            let mut fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
            fields.sort();
            let mut own: Vec<&String> = facet.keys().filter(|it| !it.starts_with('_')).collect();
            own.sort();
            assert_eq!(own, fields, "{key}");
        }
    }

    #[test]
    fn an_event_is_small_also_with_many_edges_and_unknown_counts() {
        let edges = vec![edge("web"); 20_000];
        let unknown = Receipt { edges, events: None, bytes: None, ..receipt() };
        let sent = events(unknown, vec![], None);
        sent.iter().for_each(check);
        let facets = &sent[1]["outputs"][0]["outputFacets"];
        assert!(facets["outputStatistics"].get("rowCount").is_none());
        assert_eq!(facets["aqueduct_receipt"]["edge_count"], 20_000);
        assert!(sent[1].to_string().len() < 512 << 10);
    }
}
