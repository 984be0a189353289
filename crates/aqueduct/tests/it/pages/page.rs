//! A page on disk: its parts, and the configuration around its snippet.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pipeline::Listed;
use pipeline::catalogue::ROLES;

/// The line before the list in the index.
pub(crate) const LIST: &str = "<!-- The list is written by the test `pages`. -->\n";

const AGENT: &str = "[agent]\nname = \"a\"\ndata_dir = \"/var/lib/aqueduct\"\n";
const SOURCE: &str = "[sources.access]\ntype = \"tail_dir\"\npaths = [\"/var/log/*.log\"]\n\
                      channels = [\"main\", \"spare\"]\n";
const WEB: &str = "[sources.web]\ntype = \"http\"\nlisten = \"127.0.0.1:8080\"\n\
                   channels = [\"main\", \"spare\"]\n";
const LOGS: &str = "[sources.logs]\ntype = \"syslog\"\nlisten = [\"tcp://127.0.0.1:5140\"]\n\
                    channels = [\"main\", \"spare\"]\n";
const MAIN: &str = "[channels.main]\ntype = \"durable\"\n";
const SPARE: &str = "[channels.spare]\ntype = \"memory\"\n\
                     [sinks.nowhere]\ntype = \"discard\"\nchannel = \"spare\"\n";
const SINK: &str = "[sinks.out]\ntype = \"logger\"\nchannel = \"main\"\n";
const FILTER: &str = "[[sources.access.interceptors]]\ntype = \"filter\"\n";
const STORE: &str = "[sinks.store]\ntype = \"hdfs\"\nurl = \"hdfs://namenode:8020/logs/%Y-%m-%d\"\n\
                     channel = \"main\"\n";
const COLLECTORS: &str = "[sinks.collector-1]\ntype = \"grpc\"\naddress = \"127.0.0.1:4141\"\n\
                          [sinks.collector-2]\ntype = \"grpc\"\naddress = \"127.0.0.1:4142\"\n";

/// Returns the text that completes the snippet of this component to a configuration.
pub(crate) fn frame(listed: &Listed) -> String {
    let parts: &[&str] = match (listed.role, listed.kind) {
        ("source", _) => &[AGENT, MAIN, SINK],
        ("selector", "priority") => &[AGENT, WEB, MAIN, SINK, SPARE],
        ("interceptor" | "selector", _) => &[AGENT, SOURCE, MAIN, SINK, SPARE],
        ("condition", _) => &[AGENT, SOURCE, MAIN, SINK, SPARE, FILTER],
        ("channel", _) => &[AGENT, SOURCE, SINK, SPARE],
        ("processor", "single") => {
            &[AGENT, SOURCE, MAIN, SPARE, "[sinks.out]\ntype = \"logger\"\n"]
        }
        ("processor", _) => &[AGENT, SOURCE, MAIN, SPARE, COLLECTORS],
        ("sink", _) => &[AGENT, SOURCE, MAIN, SPARE],
        ("encoder" | "codec", _) => &[AGENT, SOURCE, MAIN, SPARE, STORE],
        ("decoder", _) => &[AGENT, MAIN, SINK, SPARE, WEB],
        ("framing", _) => &[AGENT, MAIN, SINK, SPARE, LOGS],
        (role, _) => panic!("the role {role} has no frame"),
    };
    parts.concat()
}

/// Returns whether to rewrite wrong pages.
pub(crate) fn blesses() -> bool {
    std::env::var_os("AQUEDUCT_BLESS").is_some()
}

#[expect(clippy::disallowed_methods, reason = "it writes a page of the documentation")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the page can be written");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/components")
}

pub(crate) fn path(listed: &Listed) -> PathBuf {
    folder().join(format!("{}s/{}.md", listed.role, listed.kind))
}

pub(crate) fn all_of_role(role: &str) -> Vec<PathBuf> {
    let files =
        std::fs::read_dir(folder().join(format!("{role}s"))).expect("each role has a folder");
    files.map(|file| file.expect("an entry").path()).collect()
}

pub(crate) fn index() -> (PathBuf, String) {
    let path = folder().join("README.md");
    let text = std::fs::read_to_string(&path).expect("there is an index");
    (path, text)
}

/// Reads a page of `docs`.
pub(crate) fn doc(name: &str) -> String {
    let path = folder().join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the list for the index.
pub(crate) fn list(all: &[Listed]) -> String {
    let mut text = String::new();
    for role in ROLES {
        let title = format!("{}{}s", role[..1].to_uppercase(), &role[1..]);
        let promises = matches!(*role, "source" | "channel" | "sink");
        let (head, rule) = if promises { (" guarantee |", "---|") } else { ("", "") };
        write!(text, "\n## {title}\n\n| kind |{head} description |\n|---|{rule}---|\n")
            .expect("a string takes it");
        for listed in all.iter().filter(|listed| listed.role == *role) {
            let page = Page::read(listed);
            let promise = if promises { format!(" {} |", page.promise()) } else { String::new() };
            let (kind, sentence) = (listed.kind, page.sentence());
            writeln!(text, "| [`{kind}`]({role}s/{kind}.md) |{promise} {sentence} |")
                .expect("a string takes it");
        }
    }
    text
}

/// One page.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(listed: &Listed) -> Self {
        let path = path(listed);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Returns the first TOML block, which has every setting.
    pub(crate) fn snippet(&self) -> &str {
        let settings = self.text.split_once("\n## Settings\n").map(|(_, rest)| rest);
        let block = settings.and_then(|rest| blocks(rest).into_iter().next());
        block.unwrap_or_else(|| panic!("{}: no snippet under Settings", self.path.display()))
    }

    /// Returns all other TOML blocks.
    pub(crate) fn examples(&self) -> Vec<&str> {
        let example = self.text.split_once("\n## Example\n").map(|(_, rest)| rest);
        example.map(blocks).unwrap_or_default()
    }

    /// Returns the component's name in the snippet.
    pub(crate) fn name(&self) -> &str {
        let header = self.snippet().lines().next().unwrap_or_default();
        header.trim_matches(['[', ']']).split('.').nth(1).unwrap_or_default()
    }

    fn sentence(&self) -> String {
        let paragraph = self.text.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
        paragraph.split_once(". ").map_or(paragraph.clone(), |(first, _)| format!("{first}."))
    }

    fn promise(&self) -> &str {
        let paragraph = self.text.split("\n\n**Guarantee:** ").nth(1).unwrap_or_default();
        paragraph.split(['.', ';', ',', '\n']).next().unwrap_or_default()
    }

    pub(crate) fn write_snippet(&self, anew: &str) {
        write(&self.path, &self.text.replacen(self.snippet(), anew, 1));
    }

    /// Describes how the snippet differs from the generated one.
    pub(crate) fn difference(&self, anew: &str) -> String {
        let mut lines = self.snippet().lines().zip(anew.lines());
        let (is, should) = lines.find(|(is, should)| is != should).unwrap_or(("its end", "more"));
        format!("{}:\n  it says        {is}\n  it should say  {should}", self.path.display())
    }
}

/// Returns the contents of all TOML blocks.
fn blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```toml\n").skip(1);
    blocks.filter_map(|rest| rest.find("\n```").map(|end| &rest[..=end])).collect()
}
