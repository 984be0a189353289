//! The catalogue: the components that a program knows, by role.
//!
//! A crate of components has one [`Group`], with a table for each role. A program lists the groups
//! that it is linked with, so only the programs that name a heavy crate contain it. A catalogue
//! knows the names of the components of all crates, so that an error can name the program and the
//! feature.

use std::fmt;

use schemars::{Schema, SchemaGenerator};

use crate::channel::Channel;
use crate::component::Entry;
use crate::condition::Condition;
use crate::decoder::Decoder;
use crate::encoder::{Codec, Encoder};
use crate::framing::Framing;
use crate::interceptor::Interceptor;
use crate::processor::SinkProcessor;
use crate::selector::ChannelSelector;
use crate::settings::unknown;
use crate::sink::Sink;
use crate::source::Source;

/// The components of one crate.
pub struct Group {
    /// The package that has them.
    pub package: &'static str,
    /// The cargo feature of the full programs that brings them; `None` if every program has them.
    pub feature: Option<&'static str>,
    /// Receive events.
    pub sources: &'static [Entry<dyn Source>],
    /// Change or drop events on their way in.
    pub interceptors: &'static [Entry<dyn Interceptor>],
    /// Evaluate expressions over events, for interceptors.
    pub conditions: &'static [Entry<dyn Condition>],
    /// Choose the channels of events.
    pub selectors: &'static [Entry<dyn ChannelSelector>],
    /// Hold events.
    pub channels: &'static [Entry<dyn Channel>],
    /// Choose the next sink of a group.
    pub processors: &'static [Entry<dyn SinkProcessor>],
    /// Deliver events.
    pub sinks: &'static [Entry<dyn Sink>],
    /// Encode events in files.
    pub encoders: &'static [Entry<dyn Encoder>],
    /// Compression of the files.
    pub codecs: &'static [Entry<dyn Codec>],
    /// Decode messages into events.
    pub decoders: &'static [Entry<dyn Decoder>],
    /// Find the ends of messages in a stream.
    pub framings: &'static [Entry<dyn Framing>],
}

impl Group {
    /// Without components.
    pub const EMPTY: Self = Self {
        package: "",
        feature: None,
        sources: &[],
        interceptors: &[],
        conditions: &[],
        selectors: &[],
        channels: &[],
        processors: &[],
        sinks: &[],
        encoders: &[],
        codecs: &[],
        decoders: &[],
        framings: &[],
    };
}

/// The components of a cargo feature of the full programs. Programs without it have their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// The feature, as [`Group::feature`] has it.
    pub feature: &'static str,
    /// The name of the role, as [`Role::NAME`] has it, and the kind of each.
    pub components: &'static [(&'static str, &'static str)],
}

impl Unavailable {
    /// The message for a component of this feature.
    pub fn problem(&self, role: &str, kind: &str) -> String {
        format!(
            "this program does not include the {role} `{kind}`; use aqueduct-collector or aqueduct \
             with the feature `{}`",
            self.feature
        )
    }
}

/// The components that a program knows.
#[derive(Clone, Copy)]
pub struct Catalogue {
    /// The groups that are linked into it.
    pub groups: &'static [&'static Group],
    /// The components that some programs do not have.
    pub unavailable: &'static [Unavailable],
}

/// A component of any role, for lists, references and schemas.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The name of its role, as [`Role::NAME`] has it.
    pub role: &'static str,
    /// The value of `type = "…"`.
    pub kind: &'static str,
    /// The schema of its settings.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// The group that it is in.
    pub group: &'static Group,
}

/// A role that components can have.
pub trait Role: 'static {
    /// Its name, as errors and lists show it.
    const NAME: &'static str;

    /// The table of this role in a group.
    fn table(group: &'static Group) -> &'static [Entry<Self>];
}

macro_rules! roles {
    ($($role:ty, $name:literal, $table:ident;)+) => {
        /// The names of all roles, in the order of an event's way.
        pub const ROLES: &[&str] = &[$($name),+];

        impl Catalogue {
            /// Every component, role by role.
            pub fn all(self) -> Vec<Listed> {
                let mut all = Vec::new();
                $(all.extend(self.listed::<$role>());)+
                all
            }
        }

        $(impl Role for $role {
            const NAME: &'static str = $name;

            fn table(group: &'static Group) -> &'static [Entry<Self>] {
                group.$table
            }
        })+
    };
}

roles! {
    dyn Source, "source", sources;
    dyn Interceptor, "interceptor", interceptors;
    dyn Condition, "condition", conditions;
    dyn ChannelSelector, "selector", selectors;
    dyn Channel, "channel", channels;
    dyn SinkProcessor, "processor", processors;
    dyn Sink, "sink", sinks;
    dyn Encoder, "encoder", encoders;
    dyn Codec, "codec", codecs;
    dyn Decoder, "decoder", decoders;
    dyn Framing, "framing", framings;
}

impl Catalogue {
    /// Without components.
    pub const EMPTY: Self = Self { groups: &[], unavailable: &[] };

    /// Every component of a role, group by group.
    pub fn entries<R: Role + ?Sized>(self) -> impl Iterator<Item = &'static Entry<R>> {
        self.groups.iter().flat_map(|group| R::table(group))
    }

    fn listed<R: Role + ?Sized>(self) -> impl Iterator<Item = Listed> {
        self.groups.iter().flat_map(|group| {
            R::table(group).iter().map(|entry| {
                let (kind, schema) = (entry.kind, entry.schema);
                Listed { role: R::NAME, kind, schema, group }
            })
        })
    }

    /// The message for a component that other programs have, of this role or of any one.
    pub fn unavailable(self, role: Option<&str>, kind: &str) -> Option<String> {
        let is_it = |it: &&(&str, &str)| it.1 == kind && role.is_none_or(|role| role == it.0);
        let found = |other: &Unavailable| {
            other.components.iter().find(is_it).map(|(role, kind)| other.problem(role, kind))
        };
        self.unavailable.iter().find_map(found)
    }

    /// Returns the component of this kind.
    ///
    /// # Errors
    /// It is not in this program: the program that has it, or the closest kind here.
    pub fn find<R: Role + ?Sized>(self, kind: &str) -> Result<&'static Entry<R>, String> {
        if let Some(entry) = self.entries::<R>().find(|entry| entry.kind == kind) {
            return Ok(entry);
        }
        if let Some(problem) = self.unavailable(Some(R::NAME), kind) {
            return Err(problem);
        }
        let kinds: Vec<&str> = self.entries::<R>().map(|entry| entry.kind).collect();
        let common = COMMON_NAMES
            .iter()
            .find(|it| it.role == R::NAME && it.names.contains(&&*kind.to_ascii_lowercase()));
        match common {
            Some(CommonName { kind: meant, remedy, .. }) if kinds.contains(meant) => {
                Err(format!("unknown type `{kind}`; {remedy}"))
            }
            Some(CommonName { kind: meant, remedy, .. }) => match self.find::<R>(meant) {
                Err(other) if !other.starts_with("unknown") => {
                    Err(format!("unknown type `{kind}`; {remedy}; {other}"))
                }
                _ => Err(unknown("type", kind, &kinds)),
            },
            None => Err(unknown("type", kind, &kinds)),
        }
    }
}

/// A name that other programs use for the function of a component.
struct CommonName {
    role: &'static str,
    names: &'static [&'static str],
    /// The component that does it.
    kind: &'static str,
    /// How to configure the component for that.
    remedy: &'static str,
}

const COMMON_NAMES: &[CommonName] = &[
    CommonName {
        role: "source",
        names: &["file", "files", "tail", "log", "filelog", "filestream"],
        kind: "tail_dir",
        remedy: "use `tail_dir` to follow growing files, or `spool_dir` to read finished files",
    },
    CommonName {
        role: "sink",
        names: &["file", "filesystem", "local"],
        kind: "hdfs",
        remedy: "to write files to a local directory, use `type = \"hdfs\"` with `url = \
                 \"file:///var/lib/out\"`, or `file_roll`",
    },
    CommonName {
        role: "sink",
        names: BUCKETS,
        kind: "hdfs",
        remedy: "to write objects to a bucket, use `type = \"hdfs\"` with `url = \
                 \"s3://bucket/path\"`, `gs://` or `abfss://`",
    },
    CommonName {
        role: "source",
        names: BUCKETS,
        kind: "hdfs",
        remedy: "to read objects from a bucket, use `type = \"hdfs\"` with `url = \
                 \"s3://bucket/path\"`, `gs://` or `abfss://`",
    },
    CommonName {
        role: "sink",
        names: DATABASES,
        kind: "sql",
        remedy: "to write rows to a database, use `type = \"sql\"` with `database.url`",
    },
    CommonName {
        role: "source",
        names: DATABASES,
        kind: "sql",
        remedy: "to read rows from a database, use `type = \"sql\"`, or `sql_changes` to read its \
                 changes",
    },
    CommonName {
        role: "sink",
        names: &["opensearch", "elastic"],
        kind: "elasticsearch",
        remedy: "to write documents to OpenSearch or Elasticsearch, use `elasticsearch`",
    },
];

const BUCKETS: &[&str] =
    &["s3", "aws_s3", "minio", "gcs", "gs", "google_cloud_storage", "azure", "azure_blob", "abfs"];

const DATABASES: &[&str] = &["postgres", "postgresql", "mysql", "mariadb", "sqlite", "jdbc"];

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<R: Role + ?Sized>() -> (&'static str, String) {
        const UNAVAILABLE: &[Unavailable] = &[Unavailable {
            feature: "heavy",
            components: &[
                ("source", "far"),
                ("interceptor", "far"),
                ("condition", "far"),
                ("selector", "far"),
                ("channel", "far"),
                ("processor", "far"),
                ("sink", "far"),
                ("encoder", "far"),
                ("codec", "far"),
                ("decoder", "far"),
                ("framing", "far"),
            ],
        }];
        let catalogue = Catalogue { groups: &[&Group::EMPTY], unavailable: UNAVAILABLE };
        (R::NAME, catalogue.find::<R>("far").err().unwrap())
    }

    #[test]
    fn names_the_program_that_includes_a_missing_kind() {
        let refusals = [
            refusal::<dyn Source>(),
            refusal::<dyn Interceptor>(),
            refusal::<dyn Condition>(),
            refusal::<dyn ChannelSelector>(),
            refusal::<dyn Channel>(),
            refusal::<dyn SinkProcessor>(),
            refusal::<dyn Sink>(),
            refusal::<dyn Encoder>(),
            refusal::<dyn Codec>(),
            refusal::<dyn Decoder>(),
            refusal::<dyn Framing>(),
        ];
        assert_eq!(refusals.each_ref().map(|(role, _)| *role), ROLES);
        for (role, error) in refusals {
            let beginning = format!("this program does not include the {role} `far`; use ");
            assert!(error.starts_with(&beginning) && error.ends_with("`heavy`"), "{error}");
        }
    }

    #[test]
    fn a_name_of_other_programs_is_answered_with_the_component_that_is_meant() {
        const UNAVAILABLE: &[Unavailable] =
            &[Unavailable { feature: "hdfs", components: &[("sink", "hdfs")] }];
        let catalogue = Catalogue { groups: &[&Group::EMPTY], unavailable: UNAVAILABLE };
        let problem = catalogue.find::<dyn Sink>("S3").err().unwrap();
        let expected = "`type = \"hdfs\"` with `url = \"s3://bucket/path\"`";
        assert!(problem.contains(expected), "{problem}");
        assert!(problem.ends_with("with the feature `hdfs`"), "{problem}");
        // Nothing here does it.
        let problem = catalogue.find::<dyn Source>("s3").err().unwrap();
        assert_eq!(problem, "unknown type `s3`; no type is allowed here");
    }

    #[test]
    fn a_kind_is_elsewhere_only_in_its_own_role() {
        const UNAVAILABLE: &[Unavailable] =
            &[Unavailable { feature: "hdfs", components: &[("sink", "hdfs")] }];
        let catalogue = Catalogue { groups: &[&Group::EMPTY], unavailable: UNAVAILABLE };
        assert!(catalogue.find::<dyn Source>("hdfs").err().unwrap().starts_with("unknown type"));
    }
}
