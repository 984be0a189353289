//! The pages of `docs/components` describe each component completely and correctly.
//!
//! Method: generates the snippet of each page from the schema of its component, with the page's
//! values where there is no default, and compares it with the page. Then builds the snippet, once
//! unchanged and once for each disabled setting. All TOML is also validated against the schema of
//! whole files.
//!
//! `AQUEDUCT_BLESS=1 cargo test -p aqueduct --test it pages::` writes comments, defaults and
//! missing settings into the snippets, and the list into the index.

pub(crate) mod page;
mod snippet;

use std::collections::BTreeSet;
use std::path::PathBuf;

use config::{ConfigErrors, schema};
use pipeline::catalogue::ROLES;
use pipeline::{Guarantee, Listed};

use page::Page;

fn listed() -> Vec<Listed> {
    catalogue::FULL.all()
}

/// A secret that must have a certain format: the seed from the documentation of NATS.
const SEED: (&str, &str) =
    ("${file:/run/secrets/nats.nk}", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY");

/// Builds every component of a text and returns the plan.
fn checked(text: &str) -> Result<(config::Plan, agent::Checked), ConfigErrors> {
    let env = env::real();
    let text = text.replace(SEED.0, SEED.1);
    let settings = config::read(&PathBuf::from("page.toml"), &text)?;
    agent::checked(config::examine("page.toml", settings, &env.host), catalogue::FULL, &env)
}

/// Same for a snippet, whose first line is `header`. Its addresses belong to other hosts, and its
/// TLS tables are disabled, which needs `insecure = true`.
fn checked_snippet(
    text: &str,
    header: &str,
) -> Result<(config::Plan, agent::Checked), ConfigErrors> {
    match checked(text) {
        Err(errors) if errors.0.iter().all(|it| it.problem.contains("in plain text")) => {
            checked(&text.replacen(header, &format!("{header}\ninsecure = true"), 1))
        }
        result => result,
    }
}

fn fail_if(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_component_has_a_page_and_every_page_a_component() {
    let components: BTreeSet<PathBuf> = listed().iter().map(page::path).collect();
    let pages: BTreeSet<PathBuf> = ROLES.iter().flat_map(|role| page::all_of_role(role)).collect();
    assert_eq!(pages, components);
    for listed in listed() {
        let page = Page::read(&listed);
        let embedded = catalogue::page(listed.role, listed.kind);
        // The program contains a page written by this run only after the next build.
        let is_same = embedded == Some(page.text.as_str());
        assert!(is_same || page::blesses(), "{} is not in the program", page.path.display());
    }
}

#[test]
fn each_snippet_has_every_setting_with_its_default_and_meaning() {
    let mut problems = Vec::new();
    for listed in listed() {
        let page = Page::read(&listed);
        match snippet::anew(&listed, page.snippet()) {
            Ok(anew) if anew == page.snippet() => {}
            Ok(anew) if page::blesses() => page.write_snippet(&anew),
            Ok(anew) => problems.push(page.difference(&anew)),
            Err(problem) => problems.push(format!("{}: {problem}", page.path.display())),
        }
    }
    fail_if(&problems);
}

#[test]
fn each_setting_of_a_shared_table_is_on_the_page_of_that_table() {
    let (mut problems, mut found) = (Vec::new(), 0);
    for (table, page) in snippet::SHARED {
        let text = page::doc(page);
        for listed in listed() {
            let settings = schema::settings(&schema::component(&listed));
            for setting in settings.iter().filter(|it| it.name == table).flat_map(|it| &it.below) {
                found += 1;
                let name = &setting.name;
                if !text.contains(&format!("\n{name} = ")) && !text.contains(&format!("`{name}`")) {
                    problems.push(format!("{page}: no `{name}` of {}", listed.kind));
                }
            }
        }
    }
    fail_if(&problems);
    assert!(found > 50, "{found}");
}

#[test]
fn each_snippet_builds_as_it_is_and_with_each_setting_switched_on() {
    let mut problems = Vec::new();
    for listed in listed() {
        let page = Page::read(&listed);
        let frame = page::frame(&listed);
        let header = page.snippet().lines().next().unwrap_or_default();
        for (what, text) in snippet::variants(page.snippet()) {
            // Some settings replace another one.
            let error = |text| checked_snippet(&format!("{frame}{text}"), header).err();
            let error = text.iter().map(error);
            let errors: Vec<ConfigErrors> = error.take_while(Option::is_some).flatten().collect();
            if errors.len() == text.len() {
                problems.push(format!("{}: {what}: {}", page.path.display(), errors[0]));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn each_example_is_a_whole_configuration() {
    let mut problems = Vec::new();
    for listed in listed() {
        let page = Page::read(&listed);
        let examples = page.examples();
        if examples.is_empty() {
            problems.push(format!("{}: no example", page.path.display()));
        }
        for example in examples {
            let kind = format!("\"{}\"", listed.kind);
            if !example.contains(&kind) {
                problems.push(format!("{}: no {kind} in its example", page.path.display()));
            }
            if let Err(errors) = checked(example) {
                problems.push(format!("{}: {errors}", page.path.display()));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn each_page_states_the_guarantee_of_its_component() {
    let mut problems = Vec::new();
    for listed in listed() {
        let page = Page::read(&listed);
        let text = format!("{}{}", page::frame(&listed), page.snippet());
        let header = page.snippet().lines().next().unwrap_or_default();
        let (_, checked) =
            checked_snippet(&text, header).unwrap_or_else(|e| panic!("{}: {e}", listed.kind));
        let (name, promise) = (page.name(), checked.promises.iter());
        let promised = match listed.role {
            "source" => checked.sources.get(name).copied(),
            "channel" => {
                promise.filter(|it| it.channel == name).map(|it| it.channel_guarantee).next()
            }
            "sink" => promise.filter(|it| it.sink == name).map(|it| it.guarantee).next(),
            _ => continue,
        };
        let words = match promised.unwrap_or_else(|| panic!("{} is not in its plan", listed.kind)) {
            Guarantee::BestEffort => "best effort",
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::ExactlyOnce => "exactly once",
        };
        if !page.text.contains(&format!("\n\n**Guarantee:** {words}")) {
            problems.push(format!("{}: it promises {words}", page.path.display()));
        }
    }
    fail_if(&problems);
}

#[test]
fn each_page_has_its_parts_in_order() {
    for listed in listed() {
        let page = Page::read(&listed);
        let title = format!("# `{}` ({})\n\n", listed.kind, listed.role);
        assert!(page.text.starts_with(&title), "{}: {title}", page.path.display());
        let sections: Vec<&str> =
            page.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let known = ["Settings", "Limits", "Metrics", "Example"];
        let expected: Vec<&str> =
            known.into_iter().filter(|section| sections.contains(section)).collect();
        assert_eq!(sections, expected, "{}", page.path.display());
        assert!(sections.contains(&"Settings") && sections.contains(&"Example"), "{sections:?}");
        let wide = page.text.lines().position(|line| line.chars().count() > 110);
        let place = wide.map(|line| format!("{}:{}", page.path.display(), line + 1));
        assert_eq!(place, None, "a line has at most 110 columns");
    }
}

#[test]
fn the_index_lists_every_page_with_its_first_sentence() {
    let (path, text) = page::index();
    let (intro, _) = text.split_once(page::LIST).expect("the index has a place for the list");
    let expected = format!("{intro}{}{}", page::LIST, page::list(&listed()));
    if expected != text {
        assert!(page::blesses(), "{} is not as it would be written:\n{expected}", path.display());
        page::write(&path, &expected);
    }
}

#[test]
fn each_metric_of_a_page_is_a_known_one() {
    let known = page::doc("metrics.md");
    let mut found = 0;
    for listed in listed() {
        let page = Page::read(&listed);
        let metrics = page.text.split_once("\n## Metrics\n").map(|(_, rest)| rest);
        let metrics = metrics.and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
        for name in metrics.split('`').skip(1).step_by(2) {
            let is_setting = page.snippet().contains(&format!("{name} = "));
            let is_known = known.contains(&format!("| `{name}` |"));
            assert!(is_known || is_setting, "{}: `{name}`", page.path.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn a_page_that_is_wrong_is_found() {
    let all = listed();
    let tail = all.iter().find(|listed| listed.kind == "tail_dir").unwrap();
    let page = Page::read(tail);
    let snippet = page.snippet();
    for (wrong, right) in [
        ("batch_events = 100000\n", "batch_events = 1000\n"),
        ("batch_events = 100000\n", ""),
        ("# Limit of lines in a batch.\n", "# Least lines in a batch.\n"),
    ] {
        assert!(snippet.contains(wrong), "{wrong}");
        assert_ne!(
            snippet::anew(tail, &snippet.replace(wrong, right)).unwrap(),
            snippet.replace(wrong, right)
        );
    }
    let more = snippet.replace("batch_events =", "batch_evnts = 1\nbatch_events =");
    let error = snippet::anew(tail, &more).unwrap_err();
    assert_eq!(error, "`batch_evnts` is no setting of it");
    let wrong = format!("{}{}", page::frame(tail), snippet.replace("\"beginning\"", "\"middle\""));
    assert!(checked(&wrong).is_err());
}
