//! Goal: a command that starts a Flume agent starts one of ours. `deploy/flume-ng` accepts the
//! command line of Flume's script, and the systemd unit calls it correctly.
//!
//! Method: a script replaces `aqueduct` and prints its arguments.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Prints its log level, the variable exported by flume-env.sh, and its arguments.
const STAND_IN: &str = "#!/bin/sh\n\
    printf '%s|%s' \"${RUST_LOG:-}\" \"${STREAM:-}\"\n\
    for it in \"$@\"; do printf '|%s' \"$it\"; done\n";

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// Creates a configuration folder with this flume-env.sh.
    fn new(env: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("stand-in");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/flume-env.sh"), env).unwrap();
        Self { dir }
    }

    /// Returns exit code, output and errors.
    fn call(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(Path::new(ROOT).join("deploy/flume-ng"));
        command.args(arguments).current_dir(self.dir.path());
        for unset in ["RUST_LOG", "FLUME_CONF_DIR", "JAVA_OPTS", "STREAM"] {
            command.env_remove(unset);
        }
        let output = command.env("AQUEDUCT_PROGRAM", "./stand-in").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn the_command_lines_that_start_flume_start_an_agent() {
    let place = Place::new("export STREAM=orders\n");
    let given = "agent|-n|a1|-c|conf|-f|conf/flume.conf";
    for (line, expected) in [
        ("agent -n a1 -c conf -f conf/flume.conf", format!("|orders|{given}")),
        ("agent --conf conf --conf-file conf/flume.conf --name a1", format!("|orders|{given}")),
        ("agent --conf=conf --conf-file=conf/flume.conf --name=a1", format!("|orders|{given}")),
        (
            "agent -c conf -f conf/flume.conf -n a1 -Dflume.root.logger=DEBUG,console",
            format!("debug|orders|{given}"),
        ),
        (
            "agent -n a1 -c conf -f conf/flume.conf -f more.conf --no-reload-conf --strict \
             -Dflume.monitoring.type=http -Dflume.monitoring.port=34545",
            format!(
                "|orders|{given}|-f|more.conf|--strict|-Dflume.monitoring.type=http|\
                 -Dflume.monitoring.port=34545"
            ),
        ),
        ("agent -n a1 -f x.conf", "||agent|-n|a1|-f|x.conf".to_owned()),
        ("version", "||--version".to_owned()),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(place.call(&arguments), (Some(0), expected, String::new()), "{line}");
    }
}

#[test]
fn the_command_lines_of_avro_client_send() {
    let place = Place::new("");
    for (line, expected) in [
        ("avro-client -H h -p 41 -d", "./stand-in send avro://h:41\n"),
        (
            "avro-client --host=h --port 41 -R my.headers -F a.log -c conf -d",
            "./stand-in send --header-file my.headers avro://h:41\n",
        ),
        ("avro-client --rpcProps rpc.conf -d", "./stand-in send --rpc-props rpc.conf\n"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(place.call(&arguments), (Some(0), expected.to_owned(), String::new()), "{line}");
    }
}

#[test]
fn java_options_are_passed_on() {
    let place = Place::new("");
    let line = ["agent", "-n", "a1", "-f", "x y.conf", "-Xmx2g", "-C", "lib/*"];
    let expected = "||agent|-n|a1|-f|x y.conf|-C|lib/*|-Xmx2g".to_owned();
    assert_eq!(place.call(&line), (Some(0), expected, String::new()));
    let place = Place::new("export FLUME_CLASSPATH=/own JAVA_OPTS=-Xss1m\n");
    let line = ["agent", "-n", "a1", "-c", "conf", "-f", "f", "-C", "a", "--plugins-path", "p"];
    let expected = "||agent|-n|a1|-c|conf|-f|f|-C|/own:a|-Xss1m|--plugins-path|p".to_owned();
    assert_eq!(place.call(&line), (Some(0), expected, String::new()));
}

#[test]
fn the_properties_of_java_opts_come_before_those_of_the_command_line() {
    let place = Place::new("export JAVA_OPTS=\"-Xms100m -Da=1 -Dflume.root.logger=WARN\"\n");
    let (code, called, said) = place.call(&["agent", "-n", "a1", "-c", "conf", "-f", "f", "-Da=2"]);
    let expected = "warn||agent|-n|a1|-c|conf|-f|f|-Xms100m|-Da=1|-Da=2";
    assert_eq!((code, &*called, &*said), (Some(0), expected, ""));
}

#[test]
fn a_dry_run_prints_the_command() {
    let line = ["agent", "-n", "a1", "-f", "x y.conf", "-d"];
    let (code, printed, _) = Place::new("").call(&line);
    assert_eq!((code, &*printed), (Some(0), "./stand-in agent -n a1 -f x\\ y.conf\n"));
}

#[test]
fn missing_features_are_refused_by_name_with_the_remedy() {
    let place = Place::new("");
    for (line, wanted) in [
        ("agent -n a1 -f x --fast", "unknown option --fast"),
        ("agent -n a1 -f x y", "unexpected argument y"),
        ("agent -n a1", "-f FILE"),
        ("agent -f x", "-n NAME"),
        ("agent -f x -n", "option -n needs a value"),
        ("agent -n a1 -z zk:2181 -p /flume", "option -z: a configuration in ZooKeeper"),
        ("agent -n a1 -u http://h/f.conf", "option -u: a configuration is read from files"),
        ("avro-client -p 1", "-H HOST"),
        ("avro-client -H h", "-p PORT"),
        ("avro-client -H h -p 1 -F nowhere", "the file nowhere cannot be read"),
        ("avro-client -H h -p 1 --dirname d", "a source spool_dir"),
        ("avro-client -H h -p 1 -Z", "unknown option -Z"),
        ("tool FCINTEGRITYTOOL", "aqueduct channel"),
        ("agnet", "unknown command agnet"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let (code, called, said) = place.call(&arguments);
        assert_eq!((code, &*called), (Some(2), ""), "{line}: {said}");
        assert!(said.starts_with("flume-ng: ") && said.contains(wanted), "{line}: {said}");
    }
    for line in [&["help"][..], &["agent", "--help"], &[]] {
        let (code, printed, _) = place.call(line);
        assert!(code == Some(0) && printed.starts_with("Usage: flume-ng"), "{line:?}");
    }
}

#[test]
fn the_unit_starts_the_agent_of_its_name_from_a_configuration_folder() {
    let unit = Path::new(ROOT).join("deploy/systemd/aqueduct-flume@.service");
    let unit = fs::read_to_string(unit).unwrap();
    let setting = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("the unit has no {name}"))
    };
    let line = setting("ExecStart=").replace("%i", "a1");
    let line = setting("Environment=").split(' ').fold(line, |line, pair| {
        let (name, value) = pair.split_once('=').unwrap();
        line.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    });
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let (code, called, said) = Place::new("").call(&arguments);
    let expected = "||agent|-n|a1|-c|/etc/flume/conf|-f|/etc/flume/conf/flume.conf";
    assert_eq!((code, &*called, &*said), (Some(0), expected, ""));
}
