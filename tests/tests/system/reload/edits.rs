//! The files of both agents, and their edits.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http;
use serde_json::Value;

/// Number of kinds of edits.
pub(super) const KINDS: usize = 11;

/// The result of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Applied,
    Unchanged,
    Refused,
    RolledBack,
}

impl Ending {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The settings of the edited flow in the two files.
#[derive(Clone)]
pub(super) struct Edited {
    /// The collector's address for it.
    pub(super) address: SocketAddr,
    /// A value of the interceptor `static`.
    pub(super) team: u32,
    pub(super) capacity: u32,
    pub(super) age: u32,
    /// The name of the collector's group.
    pub(super) group: u32,
    /// Whether the collector's channel has a second group.
    pub(super) has_audit: bool,
    /// The address of an additional source of the edge.
    pub(super) taken: Option<SocketAddr>,
    /// Text that makes a file wrong.
    pub(super) wrong: &'static str,
}

pub(super) struct Site {
    pub(super) dir: PathBuf,
    pub(super) calm: SocketAddr,
}

impl Site {
    pub(super) fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Writes the edge's file and its included file.
    pub(super) fn write_edge(&self, edited: &Edited) {
        let mut text = format!(
            "include = [\"wild.toml\"]\n\
             [agent]\nname = \"e\"\ndata_dir = \"{}\"\n\
             [sources.calm]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"calm\"]\n\
             [channels.calm]\ntype = \"durable\"\n\
             [sinks.calm]\ntype = \"grpc\"\naddress = \"{}\"\nchannel = \"calm\"\n",
            self.at("edge"),
            self.at("calm.log"),
            self.calm,
        );
        if let Some(taken) = edited.taken {
            write!(
                text,
                "[sources.http]\ntype = \"http\"\nlisten = \"{taken}\"\nchannels = [\"wild\"]\n"
            )
            .expect("a string takes all");
        }
        let included = format!(
            "{}\n[sources.wild]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"wild\"]\n\
             interceptors = [{{ type = \"static\", headers = {{ team = \"{}\" }} }}]\n\
             [channels.wild]\ntype = \"durable\"\ncapacity = \"{}MiB\"\n\
             [sinks.wild]\ntype = \"grpc\"\naddress = \"{}\"\nchannel = \"wild\"\n",
            edited.wrong,
            self.at("wild.log"),
            edited.team,
            64 + edited.capacity,
            edited.address,
        );
        self.replace("wild.toml", &included);
        self.replace("edge.toml", &text);
    }

    pub(super) fn write_collector(&self, edited: &Edited) {
        let flow = |name: &str, listen: SocketAddr, age: u32| {
            format!(
                "[sources.{name}]\ntype = \"grpc\"\nlisten = \"{listen}\"\n\
                 channels = [\"{name}\"]\n[channels.{name}]\ntype = \"durable\"\n\
                 [sinks.{name}]\ntype = \"hdfs\"\nurl = \"file://{}\"\n\
                 roll = {{ age_max = \"{}ms\" }}\n",
                self.at(&format!("store/{name}")),
                300 + age,
            )
        };
        let mut text = format!(
            "{}\n[agent]\nname = \"c\"\ndata_dir = \"{}\"\n{}channel = \"calm\"\n{}\
             [groups.wild-{}]\ntype = \"single\"\nchannel = \"wild\"\nsinks = [\"wild\"]\n",
            edited.wrong,
            self.at("collector"),
            flow("calm", self.calm, 0),
            flow("wild", edited.address, edited.age),
            edited.group,
        );
        if edited.has_audit {
            text += "[sinks.audit]\ntype = \"discard\"\nchannel = \"wild\"\n";
        }
        self.replace("collector.toml", &text);
    }

    /// Replaces a file atomically, like editors do.
    pub(super) fn replace(&self, name: &str, text: &str) {
        let new = self.dir.join("new.tmp");
        fs::write(&new, text).expect("the test's own folder");
        fs::rename(new, self.dir.join(name)).expect("the test's own folder");
    }

    pub(super) fn agent(&self, program: &'static str, name: &str) -> Agent {
        let config = self.at(&format!("{name}.toml"));
        Agent::new(program, &["--config", &config], &self.dir.join(format!("{name}.out")))
    }
}

/// An edit, as the seed decides.
pub(super) struct Edit {
    pub(super) next: Edited,
    /// Whether the collector reloads; then whether the edge does.
    pub(super) collector: bool,
    pub(super) edge: bool,
    pub(super) ending: Ending,
    /// Text that the error must contain.
    pub(super) error: &'static str,
}

impl Edit {
    /// Returns an edit of this kind, below [`KINDS`].
    pub(super) fn of(kind: usize, now: &Edited, taken: SocketAddr) -> Self {
        let mut edit = Self {
            next: now.clone(),
            collector: false,
            edge: true,
            ending: Ending::Applied,
            error: "",
        };
        let next = &mut edit.next;
        match kind {
            0 => next.team += 1,
            1 => next.capacity += 1,
            2 => (next.address, edit.collector) = (http::free_address(), true),
            3 => (next.age, edit.collector, edit.edge) = (next.age + 1, true, false),
            4 => (next.group, edit.collector, edit.edge) = (next.group + 1, true, false),
            5 => (next.has_audit, edit.collector, edit.edge) = (!next.has_audit, true, false),
            6 => edit.ending = Ending::Unchanged,
            7 => {
                next.wrong = "[sinks.x]\ntype = \"grpk\"\nchannel = \"wild\"";
                (edit.ending, edit.error) = (Ending::Refused, "wild.toml:2:8: ");
            }
            8 => {
                next.wrong = "= =";
                (edit.ending, edit.error) = (Ending::Refused, "collector.toml:1:");
                (edit.collector, edit.edge) = (true, false);
            }
            9 => {
                next.taken = Some(taken);
                (edit.ending, edit.error) = (Ending::RolledBack, "source `http`");
            }
            _ => {
                next.address = taken;
                (edit.ending, edit.error) = (Ending::RolledBack, "source `wild`");
                (edit.collector, edit.edge) = (true, false);
            }
        }
        edit
    }

    pub(super) fn check(&self, answer: &Value) {
        assert_eq!(answer["result"], self.ending.name(), "{answer:#}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(self.error), "{error}");
        let touched = ["started", "stopped", "restarted"];
        let touched = touched.map(|kind| answer[kind].to_string()).join("");
        assert!(!touched.contains(".calm\""), "{answer:#}");
    }
}
