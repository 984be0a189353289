//! An edge names the programs that have a kind which it has not.
//!
//! Method: the program itself is started with a configuration for each such kind, and ends with all
//! problems of it.

use std::path::Path;
use std::process::Command;

#[test]
fn a_kind_of_another_program_is_named_with_that_program() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!components::UNAVAILABLE.is_empty());
    for (role, kind) in components::UNAVAILABLE.iter().flat_map(|it| it.components).copied() {
        let file = dir.path().join("edge.toml");
        let far = format!("/far\"\nencoder = \"{kind}");
        let into_files = format!("file_roll\"\ndirectory = \"{far}");
        let of_files = format!("spool_dir\"\ndirectory = \"/far\"\ndecoder = \"{kind}");
        let source = match role {
            "source" => kind,
            "decoder" => &of_files,
            _ => "sequence",
        };
        let selector = match role {
            "selector" => format!("selector = {{ type = \"{kind}\" }}\n"),
            _ => String::new(),
        };
        let channel = if role == "channel" { kind } else { "memory" };
        let (sink, place) = match role {
            "channel" => ("discard", "channels.main.type"),
            "source" => ("discard", "sources.numbers.type"),
            "interceptor" => ("discard", "sources.numbers.interceptors.0.type"),
            "sink" => (kind, "sinks.far.type"),
            "condition" => ("discard", "sources.numbers.interceptors.0.drop.0"),
            "decoder" => ("discard", "sources.numbers.decoder"),
            "selector" => ("discard", "sources.numbers.selector.type"),
            "encoder" => (&*into_files, "sinks.far.encoder"),
            role => panic!("this test does not know the setting of a {role}"),
        };
        let interceptors = match role {
            "interceptor" => format!("{{ type = \"{kind}\" }}"),
            "condition" => format!("{{ type = \"filter\", drop = [{{ type = \"{kind}\" }}] }}"),
            _ => String::new(),
        };
        let text = format!(
            "[agent]\ndata_dir = \"{}\"\n[sources.numbers]\ntype = \"{source}\"\n\
             channels = [\"main\"]\n{selector}interceptors = [{interceptors}]\n\
             [channels.main]\ntype = \"{channel}\"\n\
             [sinks.far]\ntype = \"{sink}\"\nchannel = \"main\"\n",
            dir.path().join("data").display(),
        );
        write(&file, &text);
        let mut program = Command::new(env!("CARGO_BIN_EXE_aqueduct-edge"));
        let output = program.arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        let problem =
            format!("{place}: {}", components::EDGE.unavailable(Some(role), kind).unwrap());
        assert!(said.contains(&problem), "{said}");
        assert!(!dir.path().join("data").exists(), "it has made its directory");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test makes its input")]
fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the file can be written");
}
