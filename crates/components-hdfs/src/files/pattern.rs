//! Lists the files that match a path. Hidden names never match, unless the path names a file
//! itself.

use std::collections::VecDeque;

use storage::{FileSystem, FsError, Listed};

/// Maximum number of listed files.
const FILES_MAX: usize = 1_000_000;
/// Maximum length of a path, which positions contain.
const PATH_BYTES_MAX: usize = 3_000;

/// A directory, a file, or names with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The part without wildcards.
    root: String,
    /// Patterns of the names below it.
    names: Vec<String>,
}

/// Why files cannot be listed.
#[derive(Debug)]
pub(super) enum Unlisted {
    Store(FsError),
    Other(String),
}

impl From<FsError> for Unlisted {
    fn from(error: FsError) -> Self {
        Self::Store(error)
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

fn has_wildcard(name: &str) -> bool {
    name.contains(['*', '?'])
}

fn below(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// Matches a name with `*` and `?`, in time proportional to the product of the lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of, mut star) = (0, 0, None);
    while at < name.len() {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(c) if *c == '?' || *c == name[at] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, of) = (from + 1, back + 1);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|c| *c == '*')
}

impl Pattern {
    /// # Errors
    /// The path contains an unknown wildcard.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if let Some(other) = path.chars().find(|c| "{}[]".contains(*c)) {
            return Err(format!(
                "`{other}` is not supported in a pattern, only `*` and `?` are; name a directory, \
                 or configure one source for each pattern"
            ));
        }
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let fixed = names.iter().take_while(|name| !has_wildcard(name)).count();
        let names_below = names[fixed..].iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { root: format!("/{}", names[..fixed].join("/")), names: names_below })
    }

    /// Returns the directory or the file before the wildcards.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Lists the files in path order.
    ///
    /// # Errors
    /// The path does not exist, the store failed, or there are too many files.
    pub(super) async fn list(&self, fs: &dyn FileSystem) -> Result<Vec<String>, Unlisted> {
        let mut files = Vec::new();
        if self.names.is_empty() && !fs.stat(&self.root).await?.directory {
            files.push(self.root.clone());
            return Ok(files);
        }
        // Directories, with the index of the pattern for their entries.
        let mut todo = VecDeque::from([(self.root.clone(), 0)]);
        while let Some((directory, depth)) = todo.pop_front() {
            let listed = match fs.list(&directory).await {
                // It was deleted after its parent was listed.
                Err(FsError::NotFound { .. }) if directory != self.root => continue,
                listed => listed?,
            };
            for Listed { name, directory: is_directory } in listed {
                let is_meant = match self.names.get(depth) {
                    Some(pattern) if has_wildcard(pattern) => {
                        fits(pattern, &name) && !is_hidden(&name)
                    }
                    Some(pattern) => *pattern == name,
                    None => !is_hidden(&name),
                };
                let path = below(&directory, &name);
                if !is_meant {
                    continue;
                }
                if path.len() > PATH_BYTES_MAX {
                    let problem = format!("the path is longer than {PATH_BYTES_MAX} bytes: {path}");
                    return Err(Unlisted::Other(problem));
                }
                if is_directory {
                    todo.push_back((path, depth + 1));
                } else if depth + 1 >= self.names.len() {
                    files.push(path);
                }
                if files.len() + todo.len() > FILES_MAX {
                    let problem = format!(
                        "`url` matches more than {FILES_MAX} files; use a narrower pattern"
                    );
                    return Err(Unlisted::Other(problem));
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use storage::CreateOptions;
    use storage::memory::Memory;

    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b", "abc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("é?", "éß", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Pattern::parse("/a/{b,c}").unwrap_err().contains("`{`"));
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_listed_in_order_without_what_is_hidden() {
        let fs = Memory::default();
        for path in [
            "/d/b.txt",
            "/d/a/2.txt",
            "/d/a/1.txt",
            "/d/_aqueduct/l",
            "/d/.x",
            "/d/a/_tmp",
            "/d/day=1/x/y",
            "/d/day=2/z",
        ] {
            fs.mkdirs(storage::split(path).0).await.unwrap();
            fs.create(path, CreateOptions::default()).await.unwrap().close().await.unwrap();
        }
        for (pattern, expected) in [
            ("/d", vec!["/d/a/1.txt", "/d/a/2.txt", "/d/b.txt", "/d/day=1/x/y", "/d/day=2/z"]),
            ("/d/", vec!["/d/a/1.txt", "/d/a/2.txt", "/d/b.txt", "/d/day=1/x/y", "/d/day=2/z"]),
            ("/d/*", vec!["/d/a/1.txt", "/d/a/2.txt", "/d/b.txt", "/d/day=1/x/y", "/d/day=2/z"]),
            ("/d/*.txt", vec!["/d/b.txt"]),
            ("/d/day=*", vec!["/d/day=1/x/y", "/d/day=2/z"]),
            ("/d/*/?.txt", vec!["/d/a/1.txt", "/d/a/2.txt"]),
            ("/d/*/x", vec!["/d/day=1/x/y"]),
            ("/d/.x", vec!["/d/.x"]),
            ("/d/no*", vec![]),
        ] {
            let found = Pattern::parse(pattern).unwrap().list(&fs).await.unwrap();
            assert_eq!(found, expected, "{pattern}");
        }
        let missing = Pattern::parse("/no").unwrap().list(&fs).await.unwrap_err();
        assert!(matches!(missing, Unlisted::Store(FsError::NotFound { .. })));
    }
}
