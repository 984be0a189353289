//! Goal: acts of operators on pins do what the documentation states, and survive a restart.
//!
//! Method: the fleet with agents that apply each offer immediately, and the directory of a server.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![allow(clippy::disallowed_methods, reason = "the test is the operator that edits files")]

use std::collections::BTreeMap;
use std::fs;

use aqueduct_fleet::{
    Act, Counts, Directory, Fleet, FleetView, Offer, Phase, Policy, Report, Target,
};
use tempfile::TempDir;

/// A fleet of four agents: `a` and `b` in the west, two `c` in the east.
struct Site {
    folder: TempDir,
    directory: Option<Directory>,
    fleet: Fleet,
    in_force: BTreeMap<String, String>,
    now_ms: u64,
}

const AGENTS: [(&str, &str, &str); 4] =
    [("1", "a", "west"), ("2", "b", "west"), ("3", "c", "east"), ("4", "c", "east")];

fn agent(name: &str) -> Target {
    Target::Agent(name.to_owned())
}

fn site(value: &str) -> Target {
    Target::Label("site".to_owned(), value.to_owned())
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path(), &env::real()).unwrap();
        let fleet = directory.load().unwrap();
        let (directory, in_force) = (Some(directory), BTreeMap::new());
        let mut site = Self { folder, directory, fleet, in_force, now_ms: 1_000_000_000_000_000 };
        fs::write(site.folder.path().join("assign.toml"), "[[assign]]\nfragments = [\"a\"]\n")
            .unwrap();
        site.run(5);
        site
    }

    /// A new server.
    fn restart(&mut self) {
        self.directory = None;
        let directory = Directory::open(self.folder.path(), &env::real()).unwrap();
        self.fleet = directory.load().unwrap();
        self.directory = Some(directory);
        self.run(3);
    }

    /// Seconds in which each agent reports, and applies what it is offered.
    fn run(&mut self, seconds: u64) {
        let directory = self.directory.as_ref().unwrap();
        for _ in 0..seconds {
            self.now_ms += 1_000;
            for (uid, name, site) in AGENTS {
                let report = Report {
                    uid: uid.to_owned(),
                    name: name.to_owned(),
                    labels: [("site".to_owned(), site.to_owned())].into(),
                    counts: Some(Counts::default()),
                    poll_ms: 1_000,
                    in_force: self.in_force.get(uid).cloned(),
                    ..Report::default()
                };
                let offer = self.fleet.report(self.now_ms, report, &mut &*directory).unwrap();
                if let Offer::Text(text) = offer {
                    self.in_force.insert(uid.to_owned(), text.hash.clone());
                }
            }
            self.fleet.advance(self.now_ms, &mut &*directory).unwrap();
        }
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        self.fleet.act((self.now_ms, "test"), act, &mut self.directory.as_ref().unwrap())
    }

    /// Starts a roll-out of a text; returns the number of its agents.
    fn start(&mut self, text: &str) -> Result<usize, String> {
        let path = self.folder.path().join("fragments/a.toml");
        fs::write(path, format!("[sinks.{text}]\n")).unwrap();
        let directory = self.directory.as_ref().unwrap();
        let revision = directory.current().unwrap();
        let number = directory.add(&revision).unwrap();
        let policy = Policy { soak_ms: 2_000, ..Policy::default() };
        self.act(Act::RollOut(number, Box::new(revision), policy))?;
        Ok(self.view().rollout.unwrap().members)
    }

    /// The same, to its end.
    fn roll_out(&mut self, text: &str) -> Result<usize, String> {
        let members = self.start(text)?;
        self.run(20);
        assert_eq!(self.view().rollout.unwrap().phase, Phase::Completed);
        Ok(members)
    }

    fn pin(&mut self, target: Target, revision: Option<u64>) -> Result<(), String> {
        let read =
            |number| (number, Box::new(self.directory.as_ref().unwrap().numbered(number).unwrap()));
        let chosen = revision.map(read);
        self.act(Act::Pin(target, chosen))
    }

    fn view(&self) -> FleetView {
        FleetView::new(&self.fleet, self.now_ms)
    }

    /// The pinned revision of each agent, by uid; 0 if it is not pinned.
    fn pinned(&self) -> Vec<u64> {
        let mut agents = self.view().agents;
        agents.sort_by(|one, other| one.uid.cmp(&other.uid));
        agents.iter().map(|it| it.pinned_revision.unwrap_or_default()).collect()
    }

    /// The texts that agents have, by uid.
    fn texts(&self, numbers: &[u64]) -> Vec<u64> {
        let hash = |number: &u64| {
            let revision = self.directory.as_ref().unwrap().numbered(*number).unwrap();
            (revision.render(&BTreeMap::new()).unwrap().hash.clone(), *number)
        };
        let hashes: BTreeMap<String, u64> = numbers.iter().map(hash).collect();
        self.in_force.values().map(|it| hashes[it]).collect()
    }
}

#[test]
fn roll_outs_leave_pinned_agents_out_until_they_are_unpinned() {
    let mut it = Site::new();
    assert_eq!(it.roll_out("one"), Ok(4));
    it.pin(site("west"), None).unwrap();
    it.pin(agent("3"), None).unwrap();
    assert_eq!(it.pinned(), [1, 1, 1, 0]);
    assert_eq!(it.roll_out("two"), Ok(1));
    it.restart();
    assert_eq!((it.pinned(), it.texts(&[1, 2])), (vec![1, 1, 1, 0], vec![1, 1, 1, 2]));
    // To an earlier revision, and back: without a roll-out, and without a gate.
    it.pin(agent("4"), Some(1)).unwrap();
    it.run(2);
    assert_eq!(it.texts(&[1, 2]), [1; 4]);
    let refused = it.start("three").unwrap_err();
    assert!(refused.contains("all 4 agents whose configuration changes are pinned"), "{refused}");
    it.pin(agent("4"), Some(2)).unwrap();
    it.run(2);
    assert_eq!(it.texts(&[1, 2]), [1, 1, 1, 2]);
    // Unpinned agents keep their text until the next roll-out, also when the server restarts.
    it.act(Act::Unpin(site("west"))).unwrap();
    it.act(Act::Unpin(agent("3"))).unwrap();
    it.restart();
    assert_eq!((it.pinned(), it.texts(&[1, 2])), (vec![0, 0, 0, 2], vec![1, 1, 1, 2]));
    assert_eq!(it.view().pins.iter().filter(|pin| pin.released).count(), 2);
    assert_eq!(it.roll_out("four"), Ok(3));
    let last = it.view().accepted_revision;
    assert_eq!(it.texts(&[1, 2, last]), [last, last, last, 2]);
    assert_eq!(it.view().pins.len(), 1);
}

#[test]
fn a_failed_roll_out_returns_unpinned_agents_to_their_revision() {
    let mut it = Site::new();
    it.roll_out("one").unwrap();
    it.pin(agent("1"), None).unwrap();
    it.roll_out("two").unwrap();
    it.act(Act::Unpin(agent("1"))).unwrap();
    assert_eq!(it.start("two"), Ok(1), "the only agent that lacks it");
    it.run(1);
    it.act(Act::Abort).unwrap();
    it.run(5);
    assert_eq!(it.view().rollout.unwrap().phase, Phase::RolledBack);
    assert_eq!(it.texts(&[1, 2]), [1, 2, 2, 2]);
}

#[test]
fn refused_acts_name_the_reason_and_change_nothing() {
    let mut it = Site::new();
    it.roll_out("one").unwrap();
    it.start("two").unwrap();
    it.run(1);
    let before = it.fleet.saved().clone();
    let mut refused = |act: Act, cause: &str| {
        let problem = it.act(act).unwrap_err();
        assert!(problem.contains(cause), "{cause}: {problem}");
        assert_eq!(it.fleet.saved().pins, before.pins);
    };
    let members = before.rollout.as_ref().unwrap().members.clone();
    let (first, _) = members.iter().find(|(_, it)| it.wave == 0).unwrap();
    refused(Act::Pin(agent(first), None), "is in an open wave");
    refused(Act::Pin(agent("c"), None), "use a uid: 3, 4");
    refused(Act::Pin(agent("d"), None), "no agent has the name or uid d");
    refused(Act::Pin(site("north"), None), "no selected agent");
    refused(Act::Unpin(agent("a")), "a roll-out is running");
    // A member of a later wave leaves the roll-out.
    let (last, _) = members.iter().find(|(_, it)| it.wave > 1).unwrap();
    it.pin(agent(last), None).unwrap();
    it.run(20);
    let rollout = it.view().rollout.unwrap();
    assert_eq!((rollout.phase, rollout.members), (Phase::Completed, 3));
    // A revision that no roll-out has accepted.
    it.start("three").unwrap();
    it.act(Act::Abort).unwrap();
    it.run(5);
    let problem = it.pin(site("east"), Some(3)).unwrap_err();
    assert!(problem.contains("revision 3 is not one of the last accepted ones"), "{problem}");
    let problem = it.act(Act::Unpin(site("east"))).unwrap_err();
    assert!(problem.contains("label site=east is not pinned itself"), "{problem}");
}
