//! Prepares an export: finds out the format of the files and the columns of the table, and whether
//! the ledger of the database knows the export.

use std::path::{Path, PathBuf};

use components_hdfs::{files, sequence_file};
use components_sql::sink::{self, Staging, Survey};
use config::{ConfigErrors, Plan};
use pipeline::{BuildContext, Env};
use program::cli;
use sqoop::{Export, Layout, Notes, Packed, World};

use crate::ending::{HostContext, Problem};

/// Name of the source and the channel.
const NAME: &str = "rows";

/// First bytes of ORC files, which cannot be read, and of SequenceFiles.
const ORC: &[u8] = b"ORC";
const SEQUENCE: &[u8] = b"SEQ";
/// First bytes of formats whose rows have column names.
const PACKED: [(&[u8], Packed); 2] = [(b"Obj\x01", Packed::Avro), (b"PAR1", Packed::Parquet)];

/// An export that is ready to start.
pub(super) struct PreparedExport {
    pub(super) export: Export,
    pub(super) plan: Plan,
    /// The configuration, as text to keep.
    pub(super) text: String,
    pub(super) data_dir: PathBuf,
    /// Whether this is the first call.
    pub(super) is_new: bool,
    files: usize,
}

impl PreparedExport {
    /// Describes the export.
    pub(super) fn description(&self) -> String {
        let Export { url, .. } = &self.export;
        let dir = self.data_dir.display();
        let by = |staging: &str| format!(" through the staging table {staging}");
        let what = self.export.what().to_owned();
        let what = what + &self.export.staging().map(by).unwrap_or_default();
        let begins = if self.is_new { "starts" } else { "resumes" };
        let files = self.files;
        format!("export: {url} into {what} {begins}; {files} files, position in {dir}")
    }

    /// Moves the rows of the staging table and returns their number; `None` without such a table.
    ///
    /// # Errors
    /// The move failed, or its result is unknown: the next call finds out.
    pub(super) async fn move_rows(&self, env: &Env) -> Result<Option<u64>, Problem> {
        let Some(staging) = staging(&self.export, &self.plan, env).await? else { return Ok(None) };
        Ok(Some(staging.move_rows().await?))
    }
}

/// Inspects the files, and reads missing options from the database.
///
/// # Errors
/// The export cannot start.
pub(super) async fn prepare(mut export: Export, env: &Env) -> Result<PreparedExport, Problem> {
    let home = HostContext(env).variable("HOME");
    let data_dir = export.data_dir(home.as_deref());
    let unset = || Problem::Other("HOME is not set: set it, or pass --data-dir".to_owned());
    let data_dir = PathBuf::from(data_dir.ok_or_else(unset)?);
    let is_new = env.disk.stat(&data_dir.join("channels").join(NAME)).is_err();
    let draft = |export: &Export| -> Result<Plan, Problem> {
        let (_, settings) = settings(export, &data_dir, env)?;
        Ok(config::examine("export", settings, &env.host).0)
    };
    let Survey { mut columns, hidden, has_applied } = survey(&draft(&export)?, env).await?;
    if is_new && has_applied && !export.is_dry {
        let what = export.what();
        return Err(Problem::Other(format!(
            "an earlier run applied rows of {} to {what}, and its --data-dir {} no longer \
             exists: restore it, or set another --data-dir to apply all rows again",
            export.url,
            data_dir.display()
        )));
    }
    let is_named = !export.columns().is_empty();
    if is_named {
        // Hidden columns are written only by name.
        columns.extend(hidden);
    }
    export.learn_columns(columns.clone()).map_err(Problem::Other)?;
    let look = inspect_files(&draft(&export)?, env).await?;
    if !is_named && !export.calls() && !is_packed(&look) {
        learn_names(&mut export, &look.columns, columns).map_err(Problem::Other)?;
    }
    if let Some(staging) = staging(&export, &draft(&export)?, env).await? {
        check_staging(staging, &export, is_new).await?;
    }
    let url = &export.url;
    if look.head.starts_with(ORC) {
        return Err(Problem::Other(format!(
            "{url} contains ORC files, which are not supported; write the rows as text, Avro or \
             Parquet"
        )));
    }
    let is_sequence = export.is_sequence() || !export.says_form();
    if is_sequence && look.head.starts_with(SEQUENCE) {
        let class = sequence_file::value_class(&look.head).ok_or_else(|| {
            Problem::Other(format!(
                "{url} contains SequenceFiles that are incomplete or not of version 6; write the \
                 rows as text, Avro or Parquet"
            ))
        })?;
        export.learn_class(&class).map_err(Problem::Other)?;
    }
    if !export.says_form()
        && let Some((_, packed)) = PACKED.iter().find(|(begin, _)| look.head.starts_with(begin))
    {
        export.learn_packed(*packed);
    }
    if export.packed().is_none() && look.is_ours && export.learn_quotes() {
        cli::print_line(
            "the files were written by `aqueduct import`: reading quoted values as in RFC 4180",
        );
    }
    let (text, settings) = settings(&export, &data_dir, env)?;
    let draft = config::examine("export", settings, &env.host);
    if export.packed().is_some() || export.is_sequence() {
        files::begin(source_of(&draft.0)?, &context(NAME, env)).await?;
    }
    let (plan, checked) = agent::checked(draft, catalogue::FULL, env)?;
    checked.warnings.iter().for_each(|warning| cli::print_line(&format!("warning: {warning}")));
    Ok(PreparedExport { export, plan, text, data_dir, is_new, files: look.files })
}

/// Returns whether the rows of the files have column names.
fn is_packed(look: &files::Listing) -> bool {
    PACKED.iter().any(|(begin, _)| look.head.starts_with(begin))
}

/// Assigns the values of lines to columns by the names that imports have recorded.
fn learn_names(
    export: &mut Export,
    recorded: &[Vec<String>],
    known: Vec<(String, bool)>,
) -> Result<(), String> {
    let Some((names, others)) = recorded.split_first() else { return Ok(()) };
    let (url, table) = (export.url.clone(), export.what().to_owned());
    if !others.is_empty() {
        return Err(format!(
            "{url} has files of imports with different columns: pass --columns, or export the \
             directory of each import"
        ));
    }
    if let Some(name) = names.iter().find(|name| known.iter().all(|(other, _)| other != *name)) {
        return Err(format!(
            "the files in {url} have the column `{name}`, but {table} has no such column that can \
             be written; pass --columns with the columns of the table in the order of the values"
        ));
    }
    export.learn_names(names);
    export.learn_columns(known)
}

/// Returns the sink settings of a plan and their build context.
fn sink_of(plan: &Plan, env: &Env) -> Result<(sink::Config, BuildContext), Problem> {
    let sink = plan.groups.first().and_then(|group| group.sinks.first());
    let sink = sink.ok_or_else(|| {
        Problem::Other("the configuration has no sink; report this as a bug".to_owned())
    })?;
    let config = sink.settings.read().map_err(|error| Problem::Other(error.to_string()))?;
    Ok((config, context(&sink.name, env)))
}

/// Inspects the table that the sink of a draft names.
async fn survey(draft: &Plan, env: &Env) -> Result<Survey, Problem> {
    let (config, context) = sink_of(draft, env)?;
    Ok(sink::survey(config, &context).await?)
}

/// Opens the staging table of a plan, if it has one.
async fn staging(export: &Export, plan: &Plan, env: &Env) -> Result<Option<Staging>, Problem> {
    if export.staging().is_none() {
        return Ok(None);
    }
    let (config, context) = sink_of(plan, env)?;
    let opened = Staging::open(config, export.what(), &export.columns(), &context).await;
    Ok(Some(opened?))
}

/// Makes sure that the staging table is empty before the first row. Later calls find their own rows
/// there.
async fn check_staging(mut staging: Staging, export: &Export, is_new: bool) -> Result<(), Problem> {
    if !is_new || export.is_dry {
        return Ok(());
    }
    if export.clears_staging {
        return Ok(staging.clear().await?);
    }
    if staging.is_empty().await? {
        return Ok(());
    }
    let table = export.staging().unwrap_or_default();
    Err(Problem::Other(format!(
        "the staging table {table} has rows: empty it, or set --clear-staging-table"
    )))
}

/// Inspects the files that the source of a draft names.
async fn inspect_files(draft: &Plan, env: &Env) -> Result<files::Listing, Problem> {
    Ok(files::inspect(source_of(draft)?, &context(NAME, env)).await?)
}

/// Returns the source settings of a plan.
fn source_of(plan: &Plan) -> Result<files::Config, Problem> {
    let source = plan.sources.first();
    let source = source.ok_or_else(|| {
        Problem::Other("the configuration has no source; report this as a bug".into())
    })?;
    source.component.settings.read().map_err(|error| Problem::Other(error.to_string()))
}

fn context(name: &str, env: &Env) -> BuildContext {
    let alone = BuildContext::alone(name, Path::new("unused"), env.clone());
    BuildContext { catalogue: catalogue::FULL, ..alone }
}

/// Returns the configuration, as text and as settings.
fn settings(
    export: &Export,
    data_dir: &Path,
    env: &Env,
) -> Result<(String, pipeline::Settings), ConfigErrors> {
    let mut text = sqoop::agent(&data_dir.display().to_string()) + "\n";
    text += &export.to_toml(Layout::Once(&export.sink()), &Notes::default());
    let settings = config::read_text("export", Path::new("export.toml"), &text, env)?;
    Ok((text, settings))
}
