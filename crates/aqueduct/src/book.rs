//! Tests of the user guide: the folder `docs` with its `SUMMARY.md`.
//!
//! | object | check |
//! |---|---|
//! | pages | the summary names each page once, and nothing else |
//! | links within the repository | the file and the heading exist |
//! | whole configurations | read and built, as `aqueduct check` does |
//! | parts of configurations | read as TOML; the test `pages` checks the pages of components |
//! | command lines of Aqueduct | parsed by the program's own parser |
//! | commands in the text, and shortened ones | the command and each of its options exist |
//!
//! A block that cannot be checked has `<!-- not checked: REASON -->` in the line before it.
//! Decisions (`adr`) and measurements describe their time and are not pages of the guide.

#![allow(clippy::unwrap_used, reason = "a page that cannot be read is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use program::cli::{self, CollectorArgs, EdgeArgs};

mod words;

use words::commands;

/// A block of code on a page.
struct Block {
    /// Page and line, for messages.
    at: String,
    lang: String,
    text: String,
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Finds the pages below a folder. Keys are paths below `docs`.
fn pages(below: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(docs().join(below)).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            if !["adr", "measurements"].contains(&name.as_str()) {
                pages(&path, found);
            }
        } else if path.ends_with(".md") && path != "SUMMARY.md" {
            found.insert(path, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn all_pages() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    pages("", &mut found);
    assert!(found.len() > 100, "{}", found.len());
    found
}

/// Splits a page into the code blocks to check and the text around them.
fn split_blocks(page: &str, text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut before = "";
    let mut open: Option<(Block, bool)> = None;
    for (line, number) in text.lines().zip(1..) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(lang)) => {
                let excused = before.starts_with("<!-- not checked: ");
                let (at, lang) = (format!("{page}:{number}"), lang.to_owned());
                open = Some((Block { at, lang, text: String::new() }, excused));
            }
            (Some(_), Some(_)) => {
                let (block, excused) = open.take().expect("it is open");
                blocks.extend((!excused).then_some(block));
            }
            (Some((block, _)), None) => block.text += &format!("{line}\n"),
            (None, None) => prose += &format!("{line}\n"),
        }
        before = line.trim();
    }
    (blocks, prose)
}

/// Returns the error in a command line, if any.
fn wrong_command(words: &[String]) -> Option<String> {
    let shown = words.join(" ");
    let words = words.to_vec();
    let program = match &*words[0] {
        "aqueduct-edge" => cli::program::<EdgeArgs>("aqueduct-edge"),
        "aqueduct-collector" => cli::program::<CollectorArgs>("aqueduct-collector"),
        _ => crate::program(),
    };
    let short = |word: &String| word.contains('…') || word.contains("...");
    if words.iter().any(short) {
        return unknown_option(&program, &words).map(|problem| format!("`{shown}`: {problem}"));
    }
    let error = program.try_get_matches_from(words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ => {
            let said = error.to_string();
            let said = said.split("\n\n").next().unwrap_or_default();
            let said: Vec<&str> = said.split_whitespace().collect();
            Some(format!("`{shown}`: {}", said.join(" ")))
        }
    }
}

/// Returns a command or option that does not exist. The command line may be shortened.
fn unknown_option(program: &clap::Command, words: &[String]) -> Option<String> {
    let mut command = program;
    for (nth, word) in words.iter().skip(1).enumerate() {
        let option = word.split('=').next().unwrap_or_default().trim_end_matches(['…', ',', '.']);
        if let Some(name) = option.strip_prefix("--").filter(|name| !name.is_empty()) {
            let known = command.get_arguments().any(|it| it.get_long() == Some(name));
            if !known && !["help", "version"].contains(&name) {
                return Some(format!("`{}` has no --{name}", command.get_name()));
            }
        } else if let Some(below) = command.find_subcommand(word) {
            command = below;
        } else if nth == 0 && word != "help" && word.chars().all(|c| c.is_ascii_lowercase()) {
            return Some(format!("there is no command `{word}`"));
        }
    }
    None
}

/// Returns the errors in a block.
fn wrong_block(block: &Block) -> Vec<String> {
    let text = match block.lang.as_str() {
        "toml" => return wrong_configuration(&block.text).into_iter().collect(),
        "sh" => block.text.clone(),
        // Console output: check only the commands after a prompt.
        _ => {
            let prompted = |line: &str| line.starts_with("$ ") || line.starts_with("    ");
            let lines = block.text.lines().filter(|line| prompted(line));
            lines.map(|line| format!("{}\n", line.trim_start_matches("$ "))).collect()
        }
    };
    commands(&text).iter().filter_map(|words| wrong_command(words)).collect()
}

fn wrong_configuration(text: &str) -> Option<String> {
    let env = env::real();
    let settings = match config::read(Path::new("page.toml"), text) {
        Ok(settings) => settings,
        Err(errors) => return Some(errors.to_string()),
    };
    let is_whole = ["agent", "sources", "channels"].iter().all(|part| settings.get(part).is_some());
    if !is_whole {
        return None;
    }
    let draft = config::examine("page.toml", settings, &env.host);
    agent::checked(draft, catalogue::FULL, &env).err().map(|errors| errors.to_string())
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    let text: String = heading.trim().to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

/// Returns the anchors of all headings on a page. Repeated headings get a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let (_, prose) = split_blocks("", text);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for heading in prose.lines().filter(|line| line.starts_with('#')) {
        let name = anchor(heading.trim_start_matches('#'));
        let count = seen.entry(name.clone()).or_default();
        found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    found
}

/// Returns the links within the repository.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let inside = |target: &&str| !target.is_empty() && !target.contains("://");
    targets.filter(inside).collect()
}

/// Returns the error in a link, if any.
fn wrong_link(page: &str, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let at = docs().join(page);
    let file = if path.is_empty() { at } else { at.parent().expect("a page").join(path) };
    if !file.exists() {
        return Some(format!("{page}: {target}: there is no such file"));
    }
    if heading.is_empty() || file.extension().is_none_or(|kind| kind != "md") {
        return None;
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let is_there = anchors(&text).contains(heading);
    (!is_there).then(|| format!("{page}: {target}: there is no such heading"))
}

fn wrong_page(page: &str, text: &str) -> Vec<String> {
    let (blocks, prose) = split_blocks(page, text);
    let mut problems = Vec::new();
    for block in &blocks {
        // The test `pages` builds the snippets of components; they are not whole files.
        let is_snippet = block.lang == "toml" && page.starts_with("components/");
        if !is_snippet {
            let said = wrong_block(block);
            problems.extend(said.into_iter().map(|it| format!("{}: {it}", block.at)));
        }
    }
    let program = crate::program();
    // Markdown allows a line break within a command.
    let spans = prose.split('`').skip(1).step_by(2).filter(|it| it.starts_with("aqueduct "));
    for span in spans {
        let words: Vec<String> = span.split_whitespace().map(str::to_owned).collect();
        let problem = unknown_option(&program, &words);
        problems.extend(problem.map(|it| format!("{page}: `{span}`: {it}")));
    }
    problems.extend(links(&prose).into_iter().filter_map(|target| wrong_link(page, target)));
    problems
}

#[test]
fn each_command_configuration_and_link_of_the_guide_is_right() {
    let pages = all_pages();
    let problems: Vec<_> = pages.iter().flat_map(|(page, text)| wrong_page(page, text)).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// The folders of components, in the order in which an event passes them.
const ROLES: [&str; 11] = [
    "sources",
    "interceptors",
    "conditions",
    "selectors",
    "channels",
    "processors",
    "sinks",
    "framings",
    "decoders",
    "encoders",
    "codecs",
];

/// Returns the summary lines for the pages of components.
fn lines_of_components(pages: &BTreeMap<String, String>) -> String {
    let mut lines = String::new();
    for role in ROLES {
        let (first, rest) = role.split_at(1);
        lines += &format!("- [{}{rest}]()\n", first.to_uppercase());
        let below = format!("components/{role}/");
        for kind in pages.keys().filter_map(|page| page.strip_prefix(&below)?.strip_suffix(".md")) {
            lines += &format!("  - [{kind}]({below}{kind}.md)\n");
        }
    }
    lines
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it writes a page, if it is asked to")]
fn the_summary_lists_the_components_as_it_would_be_written() {
    let path = docs().join("SUMMARY.md");
    let summary = std::fs::read_to_string(&path).unwrap();
    let (head, tail) = ("- [All components](components/README.md)\n", "\n# Run\n");
    let (before, rest) = summary.split_once(head).unwrap();
    let (_, after) = rest.split_once(tail).unwrap();
    let components = lines_of_components(&all_pages());
    let expected = [before, head, &components, tail, after].concat();
    if expected != summary {
        let blesses = env::real().blocking.variable("AQUEDUCT_BLESS").is_some();
        assert!(blesses, "AQUEDUCT_BLESS=1 writes docs/SUMMARY.md:\n{components}");
        std::fs::write(&path, expected).unwrap();
    }
}

#[test]
fn each_page_is_in_the_guide_once() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let listed = links(&summary);
    let unique: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(listed.len(), unique.len(), "a page is in it twice");
    let pages = all_pages();
    assert_eq!(unique, pages.keys().map(String::as_str).collect());
}

#[test]
fn problems_of_a_page_are_found() {
    let page = "# A page\n\n```sh\naqueduct check --conect a.toml\n\
        sudo aqueduct-edge --tail '/a b' --to x:1 # --data-dir /d\n\
        aqueduct status web:1 | jq . > out\nX=1 aqueduct top web:1 --jsn\n```\n\n\
        ```toml\n[agent]\ndata_dir = \"/d\"\n[sources.a]\ntype = \"sequense\"\nchannels = [\"m\"]\n\
        [channels.m]\ntype = \"memory\"\n[sinks.s]\ntype = \"discard\"\nchannel = \"m\"\n```\n\n\
        ```toml\nkey = = 1\n```\n\n<!-- not checked: it shows a mistake -->\n\
        ```sh\naqueduct nothing\n```\n\n\
        ```text\n$ aqueduct drian web:1\n```\n\n\
        See `aqueduct stats X`, `aqueduct tap HOST --wear x`, [a](no.md), [b](start.md#no-such),\n\
        [c](start.md#see-it) and [d](#a-page-2).\n";
    let problems = wrong_page("start.md", page);
    for found in [
        "--conect",
        "--data-dir",
        "--jsn",
        "sequense",
        "page.toml:1:",
        "drian",
        "stats",
        "--wear",
        "no.md",
        "#no-such",
        "#a-page-2",
    ] {
        let count = problems.iter().filter(|it| it.contains(found)).count();
        assert_eq!(count, 1, "{found}:\n{}", problems.join("\n"));
    }
    assert_eq!(problems.len(), 11, "{}", problems.join("\n"));
}
