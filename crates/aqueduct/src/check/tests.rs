//! Tests of the report of `check`. Method: change a valid configuration in one place.

use std::io::IoSlice;

use pipeline::env::OpenMode;

use super::*;

const GOOD: &str = r#"
[agent]
data_dir = "/d"
[sources.files]
type = "tail_dir"
paths = ["/a/*.log"]
channels = ["safe", "fast"]
optional_channels = ["spare"]
[channels.safe]
type = "durable"
[channels.fast]
type = "memory"
[channels.spare]
type = "durable"
[sinks.next]
type = "grpc"
address = "localhost:4141"
channel = "safe"
[sinks.again]
type = "grpc"
address = "localhost:4141"
channel = "fast"
[sinks.other]
type = "grpc"
address = "localhost:4141"
channel = "spare"
[sinks.show]
type = "logger"
channel = "safe"
"#;

#[test]
fn each_path_shows_its_weakest_promise() {
    let text = checked(GOOD).unwrap();
    let expected = "valid, for aqueduct-edge and aqueduct-collector
files (tail_dir) -> safe (durable) -> next: exactly once
files (tail_dir) -> safe (durable) -> show: best effort: events may be lost; weakest link: sink show
files (tail_dir) -> fast (memory) -> again: at least once: events may be repeated; weakest link: \
channel fast is lost with its process: events are reread or resent
files (tail_dir) -> spare (durable) -> other: best effort: events may be lost; weakest link: \
channel spare is optional: skipped when it is full
";
    assert_eq!(text, expected);
}

#[test]
fn names_sources_that_hold_back_reports_for_receipts() {
    let tail = "type = \"tail_dir\"\npaths = [\"/a/*.log\"]";
    let http = GOOD.replace(tail, "type = \"http\"\nlisten = \"127.0.0.1:0\"");
    let text = checked(&http).unwrap();
    let silent =
        |channel| format!("\n{channel} reports no progress for receipts, because of files\n");
    assert!(text.contains(&silent("safe")) && !text.contains(&silent("spare")), "{text}");
    let memory = "[sinks.next]\ntype = \"grpc\"\naddress = \"localhost:4141\"";
    let text = checked(&http.replace(memory, "[sinks.next]\ntype = \"logger\"")).unwrap();
    assert!(!text.contains(&silent("safe")), "it leads to no receipts: {text}");
}

#[test]
fn a_program_reads_the_same_as_json() {
    let settings = config::read(std::path::Path::new("a.toml"), GOOD).unwrap();
    let found = report("a.toml", settings, &offline(), &env::real()).unwrap();
    let found = serde_json::to_value(&found).unwrap();
    assert_eq!((&found["file"], &found["valid"]), (&json!("a.toml"), &json!(true)));
    assert_eq!(found["programs"], json!(["aqueduct-edge", "aqueduct-collector"]));
    let first = json!({
        "source": "files (tail_dir)", "channel": "safe (durable)", "sink": "next",
        "guarantee": "exactly_once", "weakest": null,
    });
    assert_eq!(found["paths"][0], first);
    let wrong = GOOD.replace("localhost:4141", "nowhere");
    let settings = config::read(std::path::Path::new("a.toml"), &wrong).unwrap();
    let errors = report("a.toml", settings, &offline(), &env::real()).err().unwrap();
    let found = refused("a.toml", &errors);
    assert!(found["errors"][0].as_str().unwrap().starts_with("a.toml:"), "{found}");
    assert_eq!(found["valid"], json!(false));
}

#[test]
fn a_source_whose_senders_have_no_identity_is_the_weakest_link() {
    let tail = "type = \"tail_dir\"\npaths = [\"/a/*.log\"]";
    for (source, promise) in [
        (
            "type = \"http\"\nlisten = \"127.0.0.1:0\"",
            "at least once: events may be repeated; weakest link: source files: clients \
             resend unanswered events under a new identity\n",
        ),
        (
            "type = \"syslog\"\nlisten = [\"udp://127.0.0.1:514\"]",
            "best effort: events may be lost; weakest link: source files: its protocol has no \
             acknowledgements\n",
        ),
    ] {
        let text = checked(&GOOD.replace(tail, source)).unwrap();
        assert!(text.contains(&format!("-> safe (durable) -> next: {promise}")), "{text}");
    }
}

#[test]
fn discovered_sink_is_one_path_and_shows_its_lookup() {
    let address = "address = \"localhost:4141\"\nchannel = \"safe\"";
    let discover = "discover = \"dns:127.0.0.1:4141\"\nchannel = \"safe\"";
    let text = checked(&GOOD.replace(address, discover)).unwrap();
    assert!(text.contains("-> safe (durable) -> next: exactly once\n"), "{text}");
    assert!(text.ends_with("next discovers dns:127.0.0.1:4141\n"), "{text}");
    let query: Query = "dns:127.0.0.1:4141".parse().unwrap();
    let discovery = Discovery { query, server: None };
    assert_eq!(found(&discovery, &env::real()), "127.0.0.1:4141");
}

#[test]
fn srv_records_are_for_the_collector_program_only() {
    let address = "address = \"localhost:4141\"\nchannel = \"safe\"";
    let discover = "discover = \"srv:_aqueduct._tcp.test\"\nchannel = \"safe\"\ninsecure = true";
    let text = checked(&GOOD.replace(address, discover)).unwrap();
    assert!(text.starts_with("valid, for aqueduct-collector\n"), "{text}");
}

#[test]
fn settings_that_weaken_a_path_are_reported() {
    let text = GOOD
        .replace("[channels.fast]\ntype = \"memory\"", "[channels.fast]\ntype = \"durable\"")
        .replacen("type = \"durable\"", "type = \"durable\"\noverflow = \"drop_oldest\"", 1)
        .replace("channel = \"fast\"", "channel = \"fast\"\nretain = \"stored\"");
    let text = checked(&text).unwrap();
    for line in [
        "-> next: best effort: events may be lost; weakest link: channel safe drops events \
         when it is full\n",
        "-> again: exactly once; weakest link: sink again has `retain = \"stored\"`: events \
         are lost with the disk of the next agent\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn collector_only_configurations_are_marked() {
    let text = GOOD.replace("type = \"logger\"", "type = \"hdfs\"\nurl = \"file:///logs/%Y\"");
    assert!(checked(&text).unwrap().starts_with("valid, for aqueduct-collector\n"));
}

#[test]
fn a_wrong_address_gets_one_message_that_names_the_cause() {
    for (address, cause) in [
        ("c:161001", "has port 161001, but the highest port is 65535"),
        ("c:0", "has port 0, which is not a valid destination"),
        ("c", "has no port"),
        ("http://c:4141", "begins with `http://`, but an address is only host and port"),
    ] {
        let errors = checked(&GOOD.replacen("localhost:4141", address, 1)).unwrap_err();
        let example = "write for example \"collector-1:4141\"";
        let expected = format!(":17:11: sinks.next.address: `{address}` {cause}; {example}");
        assert!(errors.ends_with(&expected) && errors.lines().count() == 1, "{errors}");
    }
}

#[test]
fn plain_text_that_leaves_the_host_is_refused_or_warned_of() {
    let refused =
        "data would leave this host in plain text; set the table `tls`, or set `insecure = true`";
    let leaves = GOOD.replacen("localhost:4141", "c:4141", 1);
    let errors = checked(&leaves).unwrap_err();
    let expected = format!(":17:11: sinks.next.address: `c:4141`: {refused}");
    assert!(errors.ends_with(&expected) && errors.lines().count() == 1, "{errors}");

    let meant = leaves.replacen("address = \"c", "insecure = true\naddress = \"c", 1);
    checked(&meant).unwrap();
    let tls = "insecure = true\ntls = { ca = \"/ca.pem\" }\n";
    let errors = checked(&meant.replace("insecure = true\n", tls)).unwrap_err();
    let expected = "has no effect, because no address uses plain text; remove it";
    let expected = format!(":17:12: sinks.next.insecure: {expected}");
    assert!(errors.ends_with(&expected) && errors.lines().count() == 1, "{errors}");

    let flume = "data_dir = \"/d\"\nflume_metrics = \"0.0.0.0:5\"";
    let errors = checked(&GOOD.replacen("data_dir = \"/d\"", flume, 1)).unwrap_err();
    assert!(errors.contains(":4:17: agent.flume_metrics: `0.0.0.0:5`: "), "{errors}");
    let both = format!("{flume}\ninsecure = true");
    checked(&GOOD.replacen("data_dir = \"/d\"", &both, 1)).unwrap();
    let errors =
        checked(&GOOD.replacen("data_dir = \"/d\"", "data_dir = \"/d\"\ninsecure = true", 1));
    assert!(errors.unwrap_err().contains(":4:12: agent.insecure: has no effect"));
}

#[test]
fn an_address_that_two_listen_on_is_refused_with_both_places() {
    let listens = "data_dir = \"/d\"\nadmin = \"[::]:5\"\ninsecure = true";
    let admin = GOOD.replacen("data_dir = \"/d\"", listens, 1);
    let source = |name: &str, listen: &str| {
        let table = "type = \"grpc\"\ninsecure = true\nchannels = [\"safe\"]";
        format!("[sources.{name}]\n{table}\nlisten = \"{listen}\"\n")
    };
    let two = |one: &str, other: &str| admin.clone() + &source("a", one) + &source("b", other);
    let errors = checked(&two("127.0.0.1:5", "10.0.0.1:6")).unwrap_err();
    let expected = "a.toml:4:9)` already listens on [::]:5";
    assert!(errors.contains(": sources.a.listen: `agent.admin ("), "{errors}");
    assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
    let errors = checked(&two("0.0.0.0:6", "localhost:6")).unwrap_err();
    let expected = ": sources.b.listen: `sources.a.listen (";
    assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
    assert!(checked(&two("127.0.0.1:6", "127.0.0.1:7")).is_ok());
    assert!(checked(&two("127.0.0.1:0", "127.0.0.1:0")).is_ok());
}

#[test]
fn the_names_the_graph_and_the_components_are_all_checked() {
    let text = GOOD
        .replace("channel = \"fast\"", "channel = \"fsat\"")
        .replace("paths =", "pahts =")
        .replace("type = \"logger\"", "type = \"loger\"");
    let errors = checked(&text).unwrap_err();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 4, "{errors}");
    assert!(
        lines[0].contains(":6:1: sources.files.pahts: unknown key `pahts`; did you mean `paths`?")
    );
    assert!(lines[1].contains(":11:11: channels.fast: no sink reads this channel"), "{errors}");
    assert!(lines[2].contains("unknown channel `fsat`; did you mean `fast`?"), "{errors}");
    assert!(lines[3].contains("unknown type `loger`; did you mean `logger`?"), "{errors}");
}

#[test]
fn an_unknown_channel_is_reported_where_it_is_the_only_problem() {
    let errors = checked(&GOOD.replace("channel = \"fast\"", "channel = \"fsat\"")).unwrap_err();
    assert!(errors.contains("unknown channel `fsat`; did you mean `fast`?"), "{errors}");
}

#[test]
fn a_capacity_that_no_batch_fits_is_refused_and_one_that_fits_is_not() {
    let text = |capacity: &str, batch: &str| {
        format!(
            "[agent]\nname = \"a\"\ndata_dir = \"/var/lib/aqueduct\"\n[sources.files]\n\
             type = \"tail_dir\"\npaths = [\"/var/log/*.log\"]\nchannels = [\"main\"]\n\
             batch_bytes = \"{batch}\"\n[channels.main]\ntype = \"durable\"\n\
             capacity = \"{capacity}\"\n[sinks.out]\ntype = \"logger\"\nchannel = \"main\"\n"
        )
    };
    let refused = checked(&text("1MiB", "1MiB")).unwrap_err();
    assert!(refused.contains(":11:12: channels.main.capacity: "), "{refused}");
    assert!(refused.contains("batches of source `files` have up to 1048576 bytes"), "{refused}");
    checked(&text("3MiB", "1MiB")).unwrap();
    checked(&text("1MiB", "256KiB")).unwrap();
}

#[test]
fn a_capacity_that_no_disk_holds_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let opened = env::real().disk.open(&file, mode).unwrap();
    let text = "[agent]\nname = \"a\"\ndata_dir = \"/nowhere/aqueduct\"\n[sources.files]\n\
         type = \"sequence\"\ncount = 1\nchannels = [\"main\"]\n[channels.main]\n\
         type = \"durable\"\ncapacity = \"900000TiB\"\n[sinks.out]\ntype = \"logger\"\n\
         channel = \"main\"\n";
    opened.write_at(&[IoSlice::new(text.as_bytes())], 0, false).unwrap();
    let settings = cli::read(&file, &env::real());
    let report = settings.and_then(|it| report("a.toml", it, &offline(), &env::real()));
    let Report { warnings, .. } = report.unwrap_or_else(|errors| panic!("{errors}"));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    for word in ["`main`", "900000TiB", "/nowhere/aqueduct/channels/main", "bytes free"] {
        assert!(warning.contains(word), "{word} is not in: {warning}");
    }
}

fn offline() -> CheckArgs {
    let format = Format::default();
    CheckArgs { files: Vec::new(), format, resolve: false, connect: false, json: false }
}

/// Returns the report without the file name.
fn checked(text: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let opened = env::real().disk.open(&file, mode).unwrap();
    opened.write_at(&[IoSlice::new(text.as_bytes())], 0, false).unwrap();
    let prefix = format!("{}: ", file.display());
    let settings = cli::read(&file, &env::real());
    let name = file.display().to_string();
    let report = settings.and_then(|it| report(&name, it, &offline(), &env::real()));
    report.map(|it| it.text().replace(&prefix, "")).map_err(|errors| errors.to_string())
}
