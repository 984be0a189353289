//! Maps a directory to a partition: `day=2026-11-26/host=web-1`.

use iceberg::partition::unescaped;

/// The partition columns of a path, from its folders `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<String>);

/// A partition: a directory, and the values of its folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Below the prefix.
    pub(crate) directory: String,
    /// One for each partition column.
    pub(crate) values: Vec<String>,
}

impl Keys {
    /// Parses the folders below the prefix, each up to its first escape.
    ///
    /// # Errors
    /// The problem with a folder, and the fix.
    pub(crate) fn from_folders(folders: &[&str]) -> Result<Self, String> {
        if folders.is_empty() {
            return Err("the path of `url` has no directory with an escape; add one for each \
                        partition column, such as `day=%Y-%m-%d`"
                .to_owned());
        }
        let mut keys = Vec::new();
        for folder in folders {
            let Some((name, _)) = folder.split_once('=') else {
                return Err(format!(
                    "the directory that begins with `{folder}` has no partition column: write it \
                     as `name=…`, such as `day=%Y-%m-%d`"
                ));
            };
            let is_name = |text: &str| {
                let small = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
                !text.is_empty() && text.len() <= 128 && text.chars().all(small)
            };
            if !is_name(name) {
                return Err(format!(
                    "`{name}` is not a valid partition column: use lower case letters, digits and \
                     `_`"
                ));
            }
            if keys.iter().any(|key| key == name) {
                return Err(format!("the partition column `{name}` appears twice"));
            }
            keys.push(name.to_owned());
        }
        Ok(Self(keys))
    }

    /// Returns the columns with these names.
    pub(crate) fn fixed(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Returns the column names, in order.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns the partition of a directory below the prefix. `None` for other directories, such as
    /// directories of late events.
    pub(crate) fn partition(&self, directory: &str) -> Option<Partition> {
        let folders: Vec<&str> = directory.split('/').collect();
        if folders.len() != self.0.len() {
            return None;
        }
        let values = folders.iter().zip(&self.0).map(|(folder, key)| {
            let value = folder.strip_prefix(key.as_str())?.strip_prefix('=')?;
            (!value.is_empty()).then(|| unescaped(value))
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        Some(Partition { directory: directory.to_owned(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_partition_columns_or_are_refused_with_the_remedy() {
        let keys = Keys::from_folders(&["day=", "host=web-"]).unwrap();
        assert_eq!(keys.names(), ["day", "host"]);
        for (folders, problem) in [
            (&[][..], "`day=%Y-%m-%d`"),
            (&["day=", ""], "has no partition column"),
            (&["Day="], "lower case letters"),
            (&["="], "lower case letters"),
            (&["day=", "day="], "twice"),
        ] {
            let error = Keys::from_folders(folders).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_directory_is_the_partition_of_its_values_or_none() {
        let keys = Keys::from_folders(&["day=", "host="]).unwrap();
        let values = |directory: &str| keys.partition(directory).map(|found| found.values);
        let two = |day: &str, host: &str| Some(vec![day.to_owned(), host.to_owned()]);
        assert_eq!(values("day=2026-11-26/host=web-1"), two("2026-11-26", "web-1"));
        assert_eq!(values("day=_/host=a%3Ab=c%C3%A9"), two("_", "a:b=cé"));
        assert_eq!(values("day=1/host=cut%C3"), two("1", "cut%C3"));
        assert_eq!(values("day=1/host=%+1%4"), two("1", "%+1%4"));
        for none in ["late/day=1/host=a", "_overflow", "day=1", "day=1/host=", "dax=1/host=a"] {
            assert_eq!(values(none), None, "{none}");
        }
    }
}
