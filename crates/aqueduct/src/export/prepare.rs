//! What is found out before an export begins: the files and their form, the columns of the table,
//! and whether the ledger of the database knows it.

use std::path::{Path, PathBuf};

use agent::cli;
use components_hdfs::files;
use components_sql::sink::{self, Survey};
use config::{ConfigErrors, Plan};
use pipeline::{BuildContext, Env};
use sqoop::{Export, Layout, Notes, World};

use crate::ending::{Here, Problem};

/// Name of source and channel.
const NAME: &str = "rows";

/// How files begin whose form is not read.
const FORMS: [(&[u8], &str); 4] = [
    (b"SEQ", "SequenceFiles"),
    (b"PAR1", "files of Parquet"),
    (b"ORC", "files of ORC"),
    (b"Obj\x01", "files of Avro"),
];

/// An export that can begin.
pub(super) struct Ready {
    pub(super) export: Export,
    pub(super) plan: Plan,
    /// The configuration as it can be kept.
    pub(super) text: String,
    pub(super) data_dir: PathBuf,
    /// It has not begun before.
    pub(super) is_new: bool,
    files: usize,
}

impl Ready {
    /// What is about to be done.
    pub(super) fn words(&self) -> String {
        let Export { url, .. } = &self.export;
        let (what, dir) = (self.export.what(), self.data_dir.display());
        let begins = if self.is_new { "begins" } else { "goes on" };
        let files = self.files;
        format!("export: {url} into {what} {begins}; files {files}, position in {dir}")
    }
}

/// Looks at the files, and asks the database for what the call does not say.
///
/// # Errors
/// The export cannot begin.
pub(super) async fn prepare(mut export: Export, env: &Env) -> Result<Ready, Problem> {
    let home = Here(env).variable("HOME");
    let data_dir = export.data_dir(home.as_deref());
    let unset = || Problem::Other("HOME is not set: name a --data-dir".to_owned());
    let data_dir = PathBuf::from(data_dir.ok_or_else(unset)?);
    let is_new = env.disk.stat(&data_dir.join("channels").join(NAME)).is_err();
    let draft = |export: &Export| -> Result<Plan, Problem> {
        let (_, settings) = settings(export, &data_dir, env)?;
        Ok(config::examine("export", settings, &env.host).0)
    };
    let Survey { columns, has_applied } = survey(&draft(&export)?, env).await?;
    if is_new && has_applied && !export.is_dry {
        let what = export.what();
        return Err(Problem::Other(format!(
            "rows of {} were applied to {what} by this call, and {} is not there any more: give a \
             --data-dir of its own to apply all of them, or bring the directory back",
            export.url,
            data_dir.display()
        )));
    }
    export.learn_columns(columns).map_err(Problem::Other)?;
    let look = look(&draft(&export)?, env).await?;
    if let Some((_, form)) = FORMS.iter().find(|(begin, _)| look.head.starts_with(begin)) {
        let url = &export.url;
        return Err(Problem::Other(format!(
            "{url} holds {form}, which are not read yet; write the rows as text"
        )));
    }
    if look.is_ours && export.learn_quotes() {
        cli::say(
            "the files were written by `aqueduct import`: values are quoted as RFC 4180 has it",
        );
    }
    let (text, settings) = settings(&export, &data_dir, env)?;
    let draft = config::examine("export", settings, &env.host);
    let (plan, checked) = cli::checked(draft, catalogue::FULL, env)?;
    checked.warnings.iter().for_each(|warning| cli::say(&format!("warning: {warning}")));
    Ok(Ready { export, plan, text, data_dir, is_new, files: look.files })
}

/// The table that the sink of a draft names.
async fn survey(draft: &Plan, env: &Env) -> Result<Survey, Problem> {
    let sink = draft.groups.first().and_then(|group| group.sinks.first());
    let sink = sink.ok_or_else(|| Problem::Other("the configuration has no sink".to_owned()))?;
    let config: sink::Config =
        sink.settings.read().map_err(|error| Problem::Other(error.to_string()))?;
    Ok(sink::survey(config, &context(&sink.name, env)).await?)
}

/// The files that the source of a draft names.
async fn look(draft: &Plan, env: &Env) -> Result<files::Look, Problem> {
    let source = draft.sources.first();
    let source = source.ok_or_else(|| Problem::Other("the configuration has no source".into()))?;
    let config: files::Config =
        source.component.settings.read().map_err(|error| Problem::Other(error.to_string()))?;
    Ok(files::look(config, &context(NAME, env)).await?)
}

fn context(name: &str, env: &Env) -> BuildContext {
    let alone = BuildContext::alone(name, Path::new("unused"), env.clone());
    BuildContext { catalogue: catalogue::FULL, ..alone }
}

/// The configuration, as text and as settings.
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
