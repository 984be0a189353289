//! Tests of the list, the pages, and the error for an unknown kind.

use pipeline::Group;

use super::*;

fn kinds(kind: &str, role: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let found = chosen(catalogue::FULL, Some(kind), role).unwrap();
    found.iter().map(|listed| (listed.role, listed.kind)).collect()
}

#[test]
fn a_kind_of_several_roles_is_found_in_each() {
    assert_eq!(kinds("http", None), [("source", "http"), ("sink", "http")]);
    assert_eq!(kinds("http", Some("sink")), [("sink", "http")]);
}

#[test]
fn an_unknown_kind_is_answered_with_the_closest_or_with_its_program() {
    let error = |kind, role| chosen(components::EDGE, kind, role).err().unwrap();
    assert_eq!(error(Some("tail_dr"), None), "unknown kind `tail_dr`; did you mean `tail_dir`?");
    let far = "this program does not include the encoder `parquet`; use aqueduct-collector or \
               aqueduct with the feature `parquet`";
    assert_eq!(error(Some("parquet"), None), far);
    assert_eq!(error(Some("parquet"), Some("encoder")), far);
    assert!(error(Some("parquet"), Some("sink")).starts_with("unknown kind `parquet`; known: "));
    let nothing = Catalogue { groups: &[&Group::EMPTY], unavailable: &[] };
    assert!(chosen(nothing, Some("hdfs"), None).is_err());
}

#[test]
fn a_role_is_taken_in_the_singular_and_the_plural() {
    assert_eq!(role("sinks"), Ok("sink"));
    assert_eq!(role("selector"), Ok("selector"));
    assert_eq!(role("sonk").unwrap_err(), "unknown role `sonk`; did you mean `sink`?");
}

#[test]
fn the_list_has_each_component_with_its_promise_package_and_sentence() {
    let list = show::list(&catalogue::FULL.all());
    for listed in catalogue::FULL.all() {
        let line = list
            .split(&format!("{}s\n", listed.role))
            .nth(1)
            .and_then(|lines| {
                lines.lines().find(|line| line.starts_with(&format!("  {} ", listed.kind)))
            })
            .unwrap_or_else(|| panic!("{} {} is not in\n{list}", listed.role, listed.kind));
        assert!(line.contains(listed.group.package), "{line}");
        assert!(line.ends_with(&summary(&listed)) && line.ends_with('.'), "{line}");
        assert!(line.contains(guarantee(&listed).unwrap_or_default()), "{line}");
    }
    let hdfs = list.lines().find(|line| line.starts_with("  hdfs ")).unwrap();
    assert!(hdfs.contains("exactly once"), "{hdfs}");
    assert!(hdfs.contains("aqueduct-components-hdfs (feature `hdfs`)"), "{hdfs}");
}

#[test]
fn a_page_has_every_setting_with_form_default_and_meaning() {
    let found = chosen(catalogue::FULL, Some("hdfs"), Some("sink")).unwrap();
    let page = show::page(&found[0]);
    for line in [
        "sink hdfs, from aqueduct-components-hdfs (feature `hdfs`)\n",
        "\n  url: text; required\n      Destination of the files: ",
        "\n  roll.idle_max: a duration with its unit, such as \"30s\"; default \"1m\"\n",
        "\n      Time since the last event. If every source of the agent has ended, files are ",
        "\n  roll.count_max: integer; not set by default\n",
        "\n  encoder: kind of encoder, or a table with its `type`; default \"text\"\n",
        "\n  guarantee: \"exactly_once\", \"at_least_once\" or \"best_effort\"; default ",
        "      \"best_effort\": Possibly lost",
        "\n## Example\n",
    ] {
        assert!(page.contains(line), "{line}\nis not in\n{page}");
    }
    assert!(!page.contains("[sinks.store]\ntype = \"hdfs\"\n# "), "{page}");
    let widest = page.lines().map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 110), "{page}");
}

#[test]
fn scripts_get_each_component_with_its_schema() {
    let all = chosen(catalogue::FULL, None, None).unwrap();
    let tail = all.iter().find(|listed| listed.kind == "tail_dir").map(described).unwrap();
    assert_eq!(tail["role"], "source");
    assert_eq!(tail["guarantee"], "exactly once");
    assert_eq!(tail["settings"]["properties"]["batch_events"]["default"], 100_000);
    assert_eq!(tail["feature"], Json::Null);
}
