//! Settings of the access to an HDFS: its configuration, the user, and the mode of new files.

/// Default permissions of new files and directories: the owner writes, the group reads.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Access to an HDFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdfsAccess {
    /// Directory with `core-site.xml` and `hdfs-site.xml`; `None` leaves it to `HADOOP_CONF_DIR`.
    pub conf_dir: Option<String>,
    /// The identity that is shown to Kerberos; `None` leaves it to the ticket cache of the process,
    /// or to the keytab that `KRB5_CLIENT_KTNAME` names.
    pub login: Option<Login>,
    /// The owner of the files, if it is not the user that logs in.
    pub proxy_user: Option<String>,
    /// Rights of a new file, as `0o640`.
    pub file_mode: u32,
    /// Rights of a new directory, as `0o750`.
    pub directory_mode: u32,
}

/// A principal of Kerberos with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The principal, as `aqueduct@EXAMPLE.COM`; `_HOST` in it is replaced by the name of this
    /// host.
    pub principal: String,
    /// File with its key.
    pub keytab: String,
}

impl Default for HdfsAccess {
    fn default() -> Self {
        Self {
            conf_dir: None,
            login: None,
            proxy_user: None,
            file_mode: FILE_MODE,
            directory_mode: DIRECTORY_MODE,
        }
    }
}
