//! A call of the store, as the books see it, and the directories that its paths begin with.

/// Directory of the store's files in every configuration.
pub(crate) const PREFIX: &str = "/logs";
/// Directory of the commit ledgers, with a subdirectory per dataset.
pub(crate) const ROOT: &str = "/logs/_aqueduct/";

/// A call, as the books see it.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Create(String),
    Rename(String, String),
    Concat(String, Vec<String>),
    Replace(String, String),
    Delete(String),
    Mkdirs(String),
    /// A whole object.
    Put(String),
    Other(&'static str, String),
}

impl Asked {
    pub(crate) fn call(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Rename(..) => "rename",
            Self::Concat(..) => "concat",
            Self::Replace(..) => "replace",
            Self::Delete(_) => "delete",
            Self::Mkdirs(_) => "mkdirs",
            Self::Put(_) => "put",
            Self::Other(call, _) => call,
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Rename(_, path)
            | Self::Replace(_, path)
            | Self::Concat(path, _)
            | Self::Create(path)
            | Self::Delete(path)
            | Self::Mkdirs(path)
            | Self::Put(path)
            | Self::Other(_, path) => path,
        }
    }
}
