//! Goal: if a collector's sink rejects some events and stores the rest of their batch, every hop
//! and `aqueduct verify` count the rejected ones until an operator replays or drops them, while the
//! agents run.
//!
//! Method: an edge and a collector in child processes. The collector stores JSON in Parquet files,
//! and some lines are not JSON.

use std::path::Path;

use agent::status::Snapshot;
use serde_json::Value;
use support::loopback::free_address;

use crate::common::{Agent, aqueduct, edge, read, text, write};

/// An edge and a collector, and the addresses of their admin pages.
struct Site {
    dir: tempfile::TempDir,
    agents: Vec<Agent>,
    edge_admin: String,
    collector_admin: String,
}

impl Site {
    /// Starts both; the edge sends these lines.
    fn new(lines: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [listen, edge_admin, collector_admin] = [(); 3].map(|()| free_address().to_string());
        let at = |name: &str| dir.path().join(name).display().to_string();
        let collector = format!(
            "[agent]\ndata_dir = \"{}\"\ngrace = \"5s\"\nadmin = \"{collector_admin}\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{}\"\nchannel = \"main\"\n\
             encoder = {{ type = \"parquet\", columns = [\
             {{ name = \"n\", type = \"int64\" }}] }}\n\
             roll = {{ age_max = \"200ms\" }}\n",
            at("collector"),
            at("store"),
        );
        let collector = Agent::configured(dir.path(), "collector", &collector);
        let settings = edge(&at("edge"), &at("in.log"));
        let settings = settings.replace("grace", &format!("admin = \"{edge_admin}\"\ngrace"));
        write(&dir.path().join("edge.toml"), &settings);
        write(&dir.path().join("in.log"), &(lines.join("\n") + "\n"));
        let edge = Agent::edge(dir.path(), &listen);
        Self { dir, agents: vec![collector, edge], edge_admin, collector_admin }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Returns the snapshot of an agent when all events that the edge has read are settled.
    fn settled(&self, admin: &str, events: u64) -> Snapshot {
        let snapshot = || {
            let output = aqueduct(&["status", admin, "--json"]);
            serde_json::from_str::<Snapshot>(&text(&output)).ok()
        };
        let is_settled = |it: &Snapshot| {
            let sum = &it.conservation;
            sum.accepted_events == events && sum.held_events == 0 && sum.difference_events == 0
        };
        self.agents[0].until(|| snapshot().is_some_and(|it| is_settled(&it)));
        snapshot().unwrap()
    }

    /// Returns exit code and text of `aqueduct verify` with both accounts.
    fn verify(&self, more: &[&str]) -> (Option<i32>, String) {
        let store = format!("file://{}", self.at("store"));
        let accounts = [&self.edge_admin, &self.collector_admin].map(|at| format!("http://{at}"));
        let fixed = ["verify", "--deep", "--store", &store, &accounts[0], &accounts[1]];
        let output = aqueduct(&[&fixed, more].concat());
        (output.status.code(), text(&output))
    }
}

/// Returns the actions in the audit log of an agent.
fn audited(data_dir: &Path) -> Vec<(String, String)> {
    let log = String::from_utf8(read(&data_dir.join("audit.log"))).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.map(|line| (word(&line, "action"), word(&line, "outcome"))).collect()
}

fn lines(count: u64, bad: &[u64]) -> Vec<String> {
    let line = |n| match bad.contains(&n) {
        true => format!("line {n} is not JSON"),
        false => format!("{{\"n\":{n}}}"),
    };
    (0..count).map(line).collect()
}

#[test]
fn refused_events_of_a_stored_batch_are_counted_by_agents_and_verify() {
    for (count, bad, told) in [
        (6, &[3][..], "1 event is in dead letters"),
        (103, &[1, 50, 102], "3 events are in dead letters"),
    ] {
        let site = Site::new(&lines(count, bad));
        let letters = bad.len() as u64;
        let collector = site.settled(&site.collector_admin, count).conservation;
        assert_eq!(collector.delivered_events, count - letters);
        assert_eq!(collector.dead_letter_events, letters);
        let edge = site.settled(&site.edge_admin, count);
        assert_eq!(edge.conservation.delivered_events, count - letters);
        assert_eq!(edge.conservation.downstream_dead_letter_events, letters);
        assert!(edge.verdict.text.contains("dead letters at the next agents"), "{edge:?}");
        let line = text(&aqueduct(&["status", &site.edge_admin]));
        let expected = format!(
            "{count} accepted = {} delivered + {letters} dead letters of the next agents; \
             difference 0",
            count - letters
        );
        assert!(line.contains(&expected), "{line}");
        for more in [&["--complete"][..], &[]] {
            let (code, said) = site.verify(more);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(told) && said.ends_with("NOT PROVED\n"), "{said}");
            assert!(said.contains(&format!("{letters} events, unwritable_event")), "{said}");
        }
    }
}

#[test]
fn letters_are_put_back_and_dropped_while_the_agent_runs() {
    let site = Site::new(&lines(10, &[2, 7]));
    site.settled(&site.collector_admin, 10);
    let admin = &site.collector_admin;
    let list = aqueduct(&["dlq", "list", admin]);
    assert_eq!(text(&list), "unwritable_event   1 letter, 2 events\n", "{list:?}");
    let none = aqueduct(&["dlq", "replay", admin, "--reason", "too_large"]);
    assert_eq!(text(&none), "0 letters with 0 events replayed; 0 were already waiting\n");
    // The sink rejects them again, so that the replayed letter is written again.
    let replayed = aqueduct(&["dlq", "replay", admin]);
    assert!(replayed.status.success(), "{replayed:?}");
    assert_eq!(text(&replayed), "1 letter with 2 events replayed; 0 were already waiting\n");
    let done = |it: &Snapshot| it.conservation.replayed_events == 2 && it.dead_letters.events == 2;
    let snapshot = || {
        let output = aqueduct(&["status", admin, "--json"]);
        serde_json::from_str::<Snapshot>(&text(&output)).ok()
    };
    site.agents[0].until(|| snapshot().is_some_and(|it| done(&it)));
    let sum = site.settled(admin, 10).conservation;
    assert_eq!((sum.replayed_events, sum.dead_letter_events), (2, 4));
    assert_eq!(site.verify(&["--complete"]).0, Some(1));
    // With a data directory, the agent must be stopped, as the message explains.
    let held = aqueduct(&["dlq", "drop", &site.at("collector"), "--yes"]);
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(said.contains("while the agent is running, use its admin address"), "{said}");
    let dropped = aqueduct(&["dlq", "drop", admin, "--reason", "unwritable_event", "--yes"]);
    assert_eq!(text(&dropped), "1 letter dropped, 2 events lost\n", "{dropped:?}");
    assert_eq!(text(&aqueduct(&["dlq", "list", admin])), "no dead letters\n");
    assert_eq!(site.verify(&["--complete"]).0, Some(0), "{}", site.verify(&[]).1);
    let lines = audited(&site.dir.path().join("collector"));
    let line = |action: &str, outcome: &str| (action.to_owned(), outcome.to_owned());
    let expected = [
        line("dlq replay", "done"),
        line("dlq replay", "done"),
        line("dlq drop", "failed"),
        line("dlq drop", "done"),
    ];
    assert_eq!(lines, expected);
}
