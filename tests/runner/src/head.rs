//! Parses the head of a system test: its requirements, and when it runs.
//!
//! The last paragraph of the documentation of `tests/tests/system/NAME.rs` has these lines:
//!
//! ```text
//! //! Lane: connector          core | connector | flume | container | long
//! //! Needs: java mvn          programs, by the names in `programs.rs`; optional
//! //! Root: yes                optional
//! //! Weight: 0                0 waits for its server, 1 uses one core, 2 runs alone
//! //! Limit: 10m               the test is killed after that time
//! //! Exclusive: docker        no two tests of the same group run together; optional
//! //! Paths: crates/wire       what concerns it besides its own files; may be repeated
//! ```

use std::path::Path;
use std::time::Duration;

use crate::programs;

/// The lanes of system tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Proves the guarantees of the core; runs each time.
    Core,
    /// Tests a connector with its real server.
    Connector,
    /// Runs an agent together with Apache Flume.
    Flume,
    /// Runs images, manifests or packages.
    Container,
    /// Too long to run for every change.
    Long,
    /// A step that runs with `--all`; no head of a system test names it.
    All,
}

impl Lane {
    /// Returns the lane of this name in a head.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Core, Self::Connector, Self::Flume, Self::Container, Self::Long];
        all.into_iter().find(|lane| lane.name() == name)
    }

    /// Returns its name in heads and lists.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Connector => "connector",
            Self::Flume => "flume",
            Self::Container => "container",
            Self::Long => "long",
            Self::All => "all",
        }
    }
}

/// The head of one system test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its module.
    pub(crate) name: String,
    /// The first sentence of its documentation, without `Goal:`.
    pub(crate) goal: String,
    pub(crate) lane: Lane,
    pub(crate) needs: Vec<String>,
    pub(crate) root: bool,
    pub(crate) weight: u8,
    pub(crate) limit: Duration,
    pub(crate) exclusive: Option<String>,
    pub(crate) paths: Vec<String>,
}

/// The values of the lines, while they are parsed.
#[derive(Default)]
struct Lines {
    lane: Option<Lane>,
    needs: Option<Vec<String>>,
    root: bool,
    weight: Option<u8>,
    limit: Option<Duration>,
    exclusive: Option<String>,
    paths: Vec<String>,
}

/// Parses the head of `text`, the content of `file`.
///
/// # Errors
///
/// The file, the line and the mistake.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Head, String> {
    let docs: Vec<&str> =
        text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let at = |line: usize, message: String| format!("{}:{line}: {message}", file.display());
    let last = docs.iter().rposition(|line| line.is_empty()).map_or(0, |blank| blank + 1);
    let mut lines = Lines::default();
    for (index, line) in docs.iter().enumerate().skip(last) {
        lines.read(line).map_err(|message| at(index + 1, message))?;
    }
    let missing = |key: &str| at(docs.len().max(1), format!("the head has no line `{key}: …`"));
    Ok(Head {
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        goal: goal(&docs).ok_or_else(|| at(1, "must begin with `//! Goal: …`".to_owned()))?,
        lane: lines.lane.ok_or_else(|| missing("Lane"))?,
        needs: lines.needs.unwrap_or_default(),
        root: lines.root,
        weight: lines.weight.ok_or_else(|| missing("Weight"))?,
        limit: lines.limit.ok_or_else(|| missing("Limit"))?,
        exclusive: lines.exclusive,
        paths: if lines.paths.is_empty() { Err(missing("Paths"))? } else { lines.paths },
    })
}

/// Returns the first sentence after `Goal:`.
fn goal(docs: &[&str]) -> Option<String> {
    let paragraph: Vec<&str> = docs.iter().take_while(|line| !line.is_empty()).copied().collect();
    let text = paragraph.join(" ");
    let goal = text.strip_prefix("Goal: ")?;
    let end = goal.find(". ").unwrap_or(goal.len());
    Some(goal[..end].trim_end_matches('.').to_owned())
}

impl Lines {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(": ").ok_or_else(|| {
            format!("`{line}` is not `Key: value`; the head is the last paragraph of the docs")
        })?;
        let value = value.trim();
        match key {
            "Lane" => {
                let lane = Lane::from_name(value).ok_or_else(|| format!("unknown lane `{value}`"));
                once(&mut self.lane, lane?, key)
            }
            "Needs" => {
                let needs: Vec<String> = value.split(' ').map(str::to_owned).collect();
                match needs.iter().find(|need| !programs::is_known(need)) {
                    Some(need) => Err(format!("unknown program `{need}`; add it to programs.rs")),
                    None => once(&mut self.needs, needs, key),
                }
            }
            "Root" if value == "yes" => {
                self.root = true;
                Ok(())
            }
            "Root" => Err("`Root` has the value `yes`, or the line is left out".to_owned()),
            "Weight" => match value.parse() {
                Ok(weight @ 0..=2) => once(&mut self.weight, weight, key),
                _ => Err(format!("the weight `{value}` is not 0, 1 or 2")),
            },
            "Limit" => once(&mut self.limit, minutes(value)?, key),
            "Exclusive" => once(&mut self.exclusive, value.to_owned(), key),
            "Paths" => {
                self.paths.extend(value.split(' ').map(str::to_owned));
                Ok(())
            }
            _ => Err(format!("unknown key `{key}`")),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T, key: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("the key `{key}` is repeated")),
    }
}

fn minutes(value: &str) -> Result<Duration, String> {
    let minutes = value.strip_suffix('m').and_then(|number| number.parse::<u64>().ok());
    match minutes {
        Some(minutes @ 1..) => Ok(Duration::from_secs(60 * minutes)),
        _ => Err(format!("the limit `{value}` is not a number of minutes, such as `10m`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "//! Goal: lines are stored\n//! once. More text.\n//!\n//! Method: real.\n";

    fn parsed(head: &str) -> Result<Head, String> {
        parse(Path::new("system/kafka.rs"), &format!("{DOCS}//!\n{head}\nuse std::fs;\n"))
    }

    #[test]
    fn reads_every_key() {
        let head = "//! Lane: connector\n//! Needs: java mvn\n//! Root: yes\n//! Weight: 0\n\
                    //! Limit: 15m\n//! Exclusive: docker\n//! Paths: crates/a crates/b\n\
                    //! Paths: deploy/c";
        let head = parsed(head).unwrap();
        assert_eq!((head.name.as_str(), head.goal.as_str()), ("kafka", "lines are stored once"));
        assert_eq!((head.lane, head.weight, head.root), (Lane::Connector, 0, true));
        assert_eq!(head.needs, ["java", "mvn"]);
        assert_eq!(head.limit, Duration::from_secs(900));
        assert_eq!(head.exclusive.as_deref(), Some("docker"));
        assert_eq!(head.paths, ["crates/a", "crates/b", "deploy/c"]);
    }

    #[test]
    fn names_file_and_line_of_a_mistake() {
        let good = "//! Lane: core\n//! Weight: 1\n//! Limit: 5m\n//! Paths: crates/a";
        assert!(parsed(good).is_ok());
        for (from, to, message) in [
            ("Lane: core", "Lane: kore", "system/kafka.rs:6: unknown lane `kore`"),
            ("Weight: 1", "Wait: 1", "system/kafka.rs:7: unknown key `Wait`"),
            ("Weight: 1", "Weight: 3", "system/kafka.rs:7: the weight `3` is not 0, 1 or 2"),
            ("Limit: 5m", "Limit: 5", "system/kafka.rs:8: the limit `5` is not"),
            ("Weight: 1", "Needs: cobol", "system/kafka.rs:7: unknown program `cobol`"),
            ("Weight: 1", "Lane: core", "system/kafka.rs:7: the key `Lane` is repeated"),
            ("//! Weight: 1\n", "", "system/kafka.rs:8: the head has no line `Weight: …`"),
            ("Weight: 1", "some text", "system/kafka.rs:7: `some text` is not `Key: value`"),
        ] {
            let error = parsed(&good.replace(from, to)).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
