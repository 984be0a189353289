//! Goal: only changed parts are touched, in an order that loses and repeats nothing.
//!
//! Method: two flows, `a` and `b`, each with a source, a channel and a group; one thing is changed
//! at a time. Then changes by seed, for which only the rules are checked.

use super::*;

fn names(names: &[&str]) -> Names {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn flow(shape: &mut Shape, name: &str) {
    let key: Arc<str> = name.into();
    let (digest, channels) = (1, vec![key.clone()]);
    let source = SourceShape { digest, wiring: Wiring::default(), channels };
    shape.sources.insert(key.clone(), source);
    let (kind, consumers) = ("durable".to_owned(), vec![key.clone()]);
    shape.channels.insert(key.clone(), ChannelShape { digest, kind, keeps: true, consumers });
    shape.groups.insert(key.clone(), GroupShape { digest, channel: key });
}

fn two() -> Shape {
    let mut shape = Shape::default();
    ["a", "b"].iter().for_each(|name| flow(&mut shape, name));
    shape
}

/// Returns the changes between two flows and the result of `change`.
fn changed(change: impl FnOnce(&mut Shape)) -> Changes {
    let mut new = two();
    change(&mut new);
    Changes::between(&two(), &new)
}

/// A second group at channel `a`.
fn joins(shape: &mut Shape, name: &str) {
    shape.groups.insert(name.into(), GroupShape { digest: 1, channel: "a".into() });
    shape.channels.get_mut("a").unwrap().consumers.push(name.into());
}

#[test]
fn nothing_is_done_where_nothing_has_changed() {
    let changes = changed(|_| {});
    assert_eq!(changes.steps, []);
    assert_eq!(changes.kept.len(), 6);
    assert!(changes.started.is_empty() && changes.stopped.is_empty());
}

#[test]
fn a_changed_source_stops_before_it_starts_and_nothing_else_is_touched() {
    let changes = changed(|new| new.sources.get_mut("a").unwrap().digest = 2);
    let a = || names(&["a"]);
    assert_eq!(changes.steps, [Step::StopSources(a()), Step::StartSources(a())]);
    let expected = BTreeMap::from([("sources.a".to_owned(), SETTINGS.to_owned())]);
    assert_eq!(changes.restarted, expected);
    assert_eq!(changes.kept.len(), 5);
}

#[test]
fn a_changed_group_is_started_again_and_stays_a_consumer() {
    let changes = changed(|new| new.groups.get_mut("a").unwrap().digest = 2);
    let a = || names(&["a"]);
    assert_eq!(changes.steps, [Step::StopGroups(a()), Step::StartGroups(a())]);
}

#[test]
fn source_restarts_when_a_group_of_its_channels_has_changed() {
    let changes = changed(|new| {
        new.sources.get_mut("a").unwrap().wiring.naming.insert("a".to_owned());
    });
    assert_eq!(changes.restarted.keys().collect::<Vec<_>>(), ["sources.a"]);
}

#[test]
fn a_new_flow_touches_no_other() {
    let changes = changed(|new| flow(new, "c"));
    let c = || names(&["c"]);
    let steps = [Step::Open("c".into()), Step::StartGroups(c()), Step::StartSources(c())];
    assert_eq!(changes.steps, steps);
    assert_eq!((changes.started.len(), changes.kept.len()), (3, 6));
}

#[test]
fn a_flow_that_is_removed_drains_before_its_channel_is_closed() {
    let changes = changed(|new| {
        new.sources.remove("a");
        new.channels.remove("a");
        new.groups.remove("a");
    });
    let a = || names(&["a"]);
    let drain = vec![("a".into(), a())];
    let steps = [
        Step::StopSources(a()),
        Step::Drain(drain),
        Step::StopGroups(a()),
        Step::Close("a".into()),
    ];
    assert_eq!(changes.steps, steps);
    assert_eq!((changes.stopped.len(), changes.kept.len()), (3, 3));
}

#[test]
fn a_group_that_joins_is_registered_before_it_starts_and_no_source_stops() {
    let changes = changed(|new| joins(new, "z"));
    let steps = [Step::Register("a".into()), Step::StartGroups(names(&["z"]))];
    assert_eq!(changes.steps, steps);
}

#[test]
fn channel_drains_with_stopped_sources_when_a_group_only_leaves() {
    let mut old = two();
    joins(&mut old, "z");
    let changes = Changes::between(&old, &two());
    let (a, z) = (names(&["a"]), names(&["z"]));
    let steps = [
        Step::StopSources(a.clone()),
        Step::Drain(vec![("a".into(), z.clone())]),
        Step::StopGroups(z),
        Step::Register("a".into()),
        Step::StartSources(a),
    ];
    assert_eq!(changes.steps, steps);
    let why = "channel `a` drains because group `z` leaves it";
    assert_eq!(changes.restarted, BTreeMap::from([("sources.a".to_owned(), why.to_owned())]));
}

#[test]
fn a_group_under_another_name_takes_over_the_backlog_without_a_drain() {
    let changes = changed(|new| {
        let group = new.groups.remove("a").unwrap();
        new.groups.insert("z".into(), group);
        new.channels.get_mut("a").unwrap().consumers = vec!["z".into()];
    });
    let steps = [
        Step::StopGroups(names(&["a"])),
        Step::Register("a".into()),
        Step::StartGroups(names(&["z"])),
    ];
    assert_eq!(changes.steps, steps);
}

#[test]
fn durable_channel_is_reopened_and_a_volatile_one_drains_first() {
    let (a, channel) = (|| names(&["a"]), || Arc::from("a"));
    let changes = changed(|new| new.channels.get_mut("a").unwrap().digest = 2);
    let steps = [
        Step::StopSources(a()),
        Step::StopGroups(a()),
        Step::Reopen(channel()),
        Step::StartGroups(a()),
        Step::StartSources(a()),
    ];
    assert_eq!(changes.steps, steps);
    let drained = [
        Step::StopSources(a()),
        Step::Drain(vec![(channel(), a())]),
        Step::StopGroups(a()),
        Step::Reopen(channel()),
        Step::StartGroups(a()),
        Step::StartSources(a()),
    ];
    let other_kind = changed(|new| {
        let of = new.channels.get_mut("a").unwrap();
        (of.digest, of.kind) = (2, "memory".to_owned());
    });
    assert_eq!(other_kind.steps, drained, "what a durable one holds is not found by another kind");
    let (mut old, mut new) = (two(), two());
    old.channels.get_mut("a").unwrap().keeps = false;
    new.channels.get_mut("a").unwrap().digest = 2;
    assert_eq!(Changes::between(&old, &new).steps, drained);
}

#[test]
fn group_moving_to_a_draining_channel_stops_before_its_own_forgets_it() {
    let (mut old, mut new) = (two(), two());
    joins(&mut old, "z");
    // `z` moves from `a`, which `y` joins, to `b`, which is of another kind now.
    joins(&mut new, "y");
    new.groups.insert("z".into(), GroupShape { digest: 2, channel: "b".into() });
    let b = new.channels.get_mut("b").unwrap();
    (b.digest, b.kind) = (2, "memory".to_owned());
    b.consumers.push("z".into());
    let changes = Changes::between(&old, &new);
    walk(&old, &new, &changes);
    let at = |wanted: &Step| changes.steps.iter().position(|step| step == wanted).unwrap();
    let forgets = at(&Step::Register("a".into()));
    assert!(at(&Step::StopGroups(names(&["z"]))) < forgets);
}

#[test]
fn drain_delays_nothing_else() {
    let changes = changed(|new| {
        new.sources.remove("a");
        new.channels.remove("a");
        new.groups.remove("a");
        new.sources.get_mut("b").unwrap().digest = 2;
        new.groups.get_mut("b").unwrap().digest = 2;
    });
    let at = |wanted: &dyn Fn(&Step) -> bool| changes.steps.iter().position(wanted).unwrap();
    let drains = at(&|step| matches!(step, Step::Drain(_)));
    assert!(at(&|step| *step == Step::StartSources(names(&["b"]))) < drains);
    assert!(at(&|step| *step == Step::StartGroups(names(&["b"]))) < drains);
}

/// The next number of a SplitMix64 sequence.
fn dice(state: &mut u64, sides: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % sides
}

/// A digest covers the channels too.
fn digest(settings: u64, channels: &[Arc<str>]) -> u64 {
    channels
        .iter()
        .flat_map(|name| name.bytes())
        .fold(settings, |sum, it| sum * 256 + u64::from(it))
}

/// Any agent of up to four channels.
fn any(seed: &mut u64) -> Shape {
    let mut shape = Shape::default();
    let all = ["k", "l", "m", "n"];
    let channels: Vec<&str> = all.into_iter().filter(|_| dice(seed, 4) > 0).collect();
    for name in &channels {
        let kind = ["durable", "memory"][dice(seed, 2) as usize].to_owned();
        let (digest, keeps) = (dice(seed, 2), kind == "durable");
        let channel = ChannelShape { digest, kind, keeps, consumers: Vec::new() };
        shape.channels.insert((*name).into(), channel);
    }
    for name in ["g", "h", "i"] {
        if channels.is_empty() || dice(seed, 4) == 0 {
            continue;
        }
        let channel: Arc<str> = channels[dice(seed, channels.len() as u64) as usize].into();
        shape.channels.get_mut(&channel).unwrap().consumers.push(name.into());
        let digest = digest(dice(seed, 2), std::slice::from_ref(&channel));
        shape.groups.insert(name.into(), GroupShape { digest, channel });
    }
    for name in ["s", "t"] {
        if dice(seed, 4) == 0 {
            continue;
        }
        let fed = channels.iter().filter(|_| dice(seed, 2) == 0).map(|name| Arc::from(*name));
        let channels: Vec<Arc<str>> = fed.collect();
        let (digest, wiring) = (digest(dice(seed, 2), &channels), Wiring::default());
        shape.sources.insert(name.into(), SourceShape { digest, wiring, channels });
    }
    shape
}

/// Executes the steps; fails if one would lose or repeat events.
fn walk(old: &Shape, new: &Shape, changes: &Changes) {
    let mut sources: Names = old.sources.keys().cloned().collect();
    let mut groups: Names = old.groups.keys().cloned().collect();
    let mut open: Names = old.channels.keys().cloned().collect();
    let mut fed = old.sources.clone();
    let mut takes = old.groups.clone();
    let mut drained = BTreeSet::new();
    for step in &changes.steps {
        let feeds = |channel: &Arc<str>| {
            sources.iter().any(|source| fed[source].channels.contains(channel))
        };
        let taken =
            |channel: &Arc<str>| groups.iter().any(|group| takes[group].channel == *channel);
        match step {
            Step::Open(name) => assert!(open.insert(name.clone())),
            Step::StopSources(names) => names.iter().for_each(|name| assert!(sources.remove(name))),
            Step::Drain(all) => {
                for (channel, names) in all {
                    assert!(!feeds(channel), "it would never be empty");
                    assert!(names.iter().all(|name| groups.contains(name)), "they take from it");
                    drained.extend(names.iter().map(|name| (channel.clone(), name.clone())));
                }
            }
            Step::StopGroups(names) => names.iter().for_each(|name| assert!(groups.remove(name))),
            Step::Close(name) => {
                assert!(!feeds(name) && !taken(name) && open.remove(name));
                let all = &old.channels[name].consumers;
                assert!(all.iter().all(|it| drained.contains(&(name.clone(), it.clone()))));
            }
            Step::Reopen(name) => {
                assert!(!feeds(name) && !taken(name) && open.contains(name));
                let (was, is) = (&old.channels[name], &new.channels[name]);
                let is_drained =
                    was.consumers.iter().all(|it| drained.contains(&(name.clone(), it.clone())));
                assert!(is_drained || (was.keeps && was.kind == is.kind), "it would lose events");
            }
            Step::Register(name) => {
                let (was, is) = (&old.channels[name].consumers, &new.channels[name].consumers);
                let joins = is.iter().any(|it| !was.contains(it));
                for left in was.iter().filter(|it| !is.contains(it)) {
                    assert!(joins || drained.contains(&(name.clone(), left.clone())), "it loses");
                    assert!(!groups.contains(left) || takes[left].channel != *name);
                }
            }
            Step::StartGroups(names) => {
                for name in names {
                    takes.insert(name.clone(), new.groups[name].clone());
                    assert!(groups.insert(name.clone()), "two of one name");
                    assert!(open.contains(&new.groups[name].channel));
                }
            }
            Step::StartSources(names) => {
                for name in names {
                    fed.insert(name.clone(), new.sources[name].clone());
                    assert!(sources.insert(name.clone()), "two of one name");
                    assert!(new.sources[name].channels.iter().all(|it| open.contains(it)));
                }
            }
        }
    }
    assert!(sources.iter().eq(new.sources.keys()) && groups.iter().eq(new.groups.keys()));
    assert!(open.iter().eq(new.channels.keys()));
}

#[test]
fn any_change_reaches_the_new_configuration_without_loss_or_repeat() {
    let mut seed = 0x5eed;
    let mut touched = 0;
    for _ in 0..20_000 {
        let (old, new) = (any(&mut seed), any(&mut seed));
        let changes = Changes::between(&old, &new);
        walk(&old, &new, &changes);
        touched += changes.steps.len();
        assert_eq!(Changes::between(&new, &new).steps, []);
    }
    assert!(touched > 20_000, "{touched} steps");
}
