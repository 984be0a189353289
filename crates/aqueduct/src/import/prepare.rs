//! Prepares an import: finds the key and the columns, and checks that the directory is empty.

use std::path::{Path, PathBuf};

use components_hdfs::hdfs::publish::{PublishedTable, publish};
use components_hdfs::hdfs::store::{self, Access};
use components_sql::source;
use config::{ConfigErrors, Plan};
use pipeline::{BuildContext, Env};
use program::cli;
use sqoop::{Column, Hive, Import, Layout, Mode, Notes, World};
use storage::{FsError, StoreUrl};

use super::columns::Recorded;
use crate::ending::{HostContext, Problem};

/// Name of the source and the channel.
pub(super) const NAME: &str = "rows";

/// An import that is ready to start.
pub(super) struct PreparedImport {
    pub(super) import: Import,
    pub(super) plan: Plan,
    /// The configuration, as text to keep.
    pub(super) text: String,
    pub(super) data_dir: PathBuf,
    /// Whether this is the first call.
    pub(super) is_new: bool,
}

impl PreparedImport {
    /// Describes the import.
    pub(super) fn description(&self) -> String {
        let Import { url, .. } = &self.import;
        let (what, dir) = (self.import.what(), self.data_dir.display());
        let begins = if self.is_new { "starts" } else { "resumes" };
        let connections = self.import.connections();
        format!("import: {what} into {url} {begins}; {connections} connections, position in {dir}")
    }

    /// Returns the settings of the source.
    ///
    /// # Errors
    /// The settings are wrong.
    pub(super) fn source(&self) -> Result<source::Config, String> {
        source_of(&self.plan)
    }
}

fn source_of(plan: &Plan) -> Result<source::Config, String> {
    let source =
        plan.sources.first().ok_or("the configuration has no source; report this as a bug")?;
    source.component.settings.read().map_err(|error| error.to_string())
}

/// Returns the build context for reading the database and the files.
pub(crate) fn context(env: &Env) -> BuildContext {
    let alone = BuildContext::alone(NAME, Path::new("unused"), env.clone());
    BuildContext { catalogue: catalogue::FULL, ..alone }
}

/// Reads missing options from the database, and checks that the directory is free.
///
/// # Errors
/// The import cannot start.
pub(super) async fn prepare(mut import: Import, env: &Env) -> Result<PreparedImport, Problem> {
    let home = HostContext(env).variable("HOME");
    let data_dir = import.data_dir(home.as_deref());
    let unset = || Problem::Other("HOME is not set: set it, or pass --data-dir".to_owned());
    let data_dir = PathBuf::from(data_dir.ok_or_else(unset)?);
    let asked_with = |import: &Import| asked_with(import, &data_dir, env);
    if import.lacks_key() {
        import.learn_key(source::primary_key(asked_with(&import)?, &context(env)).await?);
    }
    if import.lacks_key() && import.mode != Mode::Append {
        let what = import.what();
        return Err(Problem::Other(format!(
            "the table {what} has no primary key; set --key to columns that are unique together \
             and never NULL"
        )));
    }
    let is_new = env.disk.stat(&data_dir.join("channels").join(NAME)).is_err();
    let file = Recorded::of(&import, env).map_err(Problem::Other)?;
    let recorded = if is_new { None } else { file.read().await.map_err(Problem::Other)? };
    if import.lacks_names() && (is_new || recorded.is_some()) {
        choose_columns(&mut import, recorded.as_deref(), asked_with, env).await?;
    }
    let survey = source::survey(asked_with(&import)?, false, &context(env)).await?;
    if import.is_typed() && !import.is_dry {
        source::check_zeros(asked_with(&import)?, &context(env)).await?;
    }
    if import.lacks_schema() {
        let schema = source::avro_schema(import.name(), &survey.columns);
        import.learn_schema(schema.map_err(Problem::Other)?.to_string());
    }
    let names: Vec<String> = survey.columns.iter().map(|(name, _)| name.clone()).collect();
    if import.lacks_columns() {
        let columns = survey.columns.into_iter();
        let columns = columns.map(|(name, kind)| Column { name, kind: kind.in_parquet() });
        import.learn_columns(columns.collect());
    }
    let (text, settings) = settings(&import, &data_dir, env)?;
    let draft = config::examine("import", settings, &env.host);
    let (plan, checked) = agent::checked(draft, catalogue::FULL, env)?;
    checked.warnings.iter().for_each(|warning| cli::print_line(&format!("warning: {warning}")));
    if is_new && !import.appends && !import.is_dry {
        check_free(&import.url, env).await.map_err(Problem::Other)?;
    }
    if let Some(hive) = import.hive.as_ref().filter(|_| !import.is_dry) {
        publish_table(hive, &import.url, &plan, env).await.map_err(Problem::Other)?;
    }
    if is_new && !import.is_dry {
        record(&import, &file, &names).await.map_err(Problem::Other)?;
    }
    Ok(PreparedImport { import, plan, text, data_dir, is_new })
}

/// Returns the settings of a source that can ask the database about this import.
///
/// # Errors
/// The settings are wrong.
pub(crate) fn asked_with(
    import: &Import,
    data_dir: &Path,
    env: &Env,
) -> Result<source::Config, Problem> {
    let (plan, _) = config::examine("import", settings(import, data_dir, env)?.1, &env.host);
    source_of(&plan).map_err(Problem::Other)
}

/// Chooses the columns of a table: without those that the database computes, which no export can
/// write. Lines of later calls have the columns of the first one.
async fn choose_columns(
    import: &mut Import,
    recorded: Option<&[String]>,
    asked_with: impl Fn(&Import) -> Result<source::Config, Problem>,
    env: &Env,
) -> Result<(), Problem> {
    let survey = source::survey(asked_with(import)?, false, &context(env)).await?;
    let all: Vec<String> = survey.columns.into_iter().map(|(name, _)| name).collect();
    let generated = source::generated(asked_with(import)?, &context(env)).await?;
    let is_left = |name: &String| !generated.contains(name);
    let names = match recorded.filter(|_| !import.is_typed()) {
        Some(names) => names.to_vec(),
        None => all.iter().filter(|name| is_left(name)).cloned().collect(),
    };
    if let Some(name) = names.iter().find(|name| !all.contains(name)) {
        return Err(Problem::Other(format!(
            "the files in {} have the column `{name}`, but {} does not; use another --target-dir",
            import.url,
            import.what()
        )));
    }
    let others = |is_generated: bool| {
        let others = all.iter().filter(|name| !names.contains(name));
        let others = others.filter(|name| is_left(name) != is_generated);
        others.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let (computed, new) = (others(true), others(false));
    if !computed.is_empty() {
        cli::print_line(&format!(
            "import: leaving out the columns that the database computes: {computed}; name them in \
             --columns to import them"
        ));
    }
    if !new.is_empty() {
        cli::print_line(&format!(
            "import: leaving out the columns that the earlier files do not have: {new}; use \
             another --target-dir to import them"
        ));
    }
    if names.len() < all.len() {
        import.learn_names(names);
    }
    Ok(())
}

/// Records the columns of a new import.
async fn record(import: &Import, file: &Recorded, names: &[String]) -> Result<(), String> {
    match file.read().await? {
        None => file.write(names).await,
        Some(others) if import.is_typed() || others == names => Ok(()),
        Some(others) => Err(format!(
            "the files in {} have the columns {}, but this import has {}; pass the same --columns, \
             or use another --target-dir",
            import.url,
            others.join(", "),
            names.join(", ")
        )),
    }
}

/// Returns the configuration, as text and as settings.
fn settings(
    import: &Import,
    data_dir: &Path,
    env: &Env,
) -> Result<(String, pipeline::Settings), ConfigErrors> {
    let mut text = sqoop::agent(&data_dir.display().to_string()) + "\n";
    text += &import.to_toml(Layout::Once(&import.sink()), &Notes::default());
    let settings = config::read_text("import", Path::new("import.toml"), &text, env)?;
    Ok((text, settings))
}

/// Creates the Hive table of the files, and prints its name. It is empty until the first file.
async fn publish_table(hive: &Hive, url: &str, plan: &Plan, env: &Env) -> Result<(), String> {
    let sink = plan
        .groups
        .first()
        .and_then(|group| group.sinks.first())
        .ok_or("the configuration has no sink; report this as a bug")?;
    let Hive { metastore, database, table, partition } = hive.clone();
    let published = PublishedTable { metastore, database, table, partition };
    let cx = context(env);
    publish(&sink.settings, &published, &cx)
        .await
        .map_err(|problem| format!("the Hive table {}.{}: {problem}", hive.database, hive.table))?;
    cli::print_line(&format!(
        "import: the Hive table {}.{} reads {url}",
        hive.database, hive.table
    ));
    Ok(())
}

/// Fails if the directory contains visible files: an import whose data directory was lost would
/// store its rows a second time.
async fn check_free(url: &str, env: &Env) -> Result<(), String> {
    let parsed = StoreUrl::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let fs = store::open(&parsed, &Access::default(), env).map_err(|error| agent::chain(&error))?;
    let listed = match fs.list(parsed.path()).await {
        Ok(listed) => listed,
        Err(FsError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(format!("{url}: {}", agent::chain(&error))),
    };
    match listed.iter().find(|entry| !entry.name.starts_with(['_', '.'])) {
        None => Ok(()),
        Some(entry) => Err(format!(
            "{url} already contains `{}`, and the import deletes nothing; use another \
             --target-dir, remove the files, or add to them with --append",
            entry.name
        )),
    }
}
