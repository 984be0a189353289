//! `--checksum`: compares every row of the table with every row of the files, value by value.
//!
//! ```text
//!   table, once more, in one snapshot ──► sums ─┐
//!     up to the last row that was read          ├─► the same, or the first rows that differ
//!   files that the ledger knows ─► rows ─► sums ┘     (both sides are read a second time)
//! ```

use bytes::Bytes;
use channel::durable::inspect::Inspection;
use components_hdfs::files::Contents;
use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::{self, Access};
use components_sql::source::Reread;
use demo::grouped;
use ledger::Audit;
use pipeline::{Env, Settings};
use storage::StoreUrl;

use super::prepare::{NAME, PreparedImport, context};
use super::sums::{Columns, Part, Side, Sums, values};

/// Both sides of the comparison. Each can be read several times.
struct Sides {
    again: Reread,
    files: Contents,
    paths: Vec<String>,
    columns: Columns,
}

/// Compares table and files.
///
/// # Errors
/// They differ, with the differences; or one of them cannot be read.
pub(super) async fn compare(ready: &PreparedImport, env: &Env) -> Result<String, String> {
    let mut sides = Sides::open(ready, env).await?;
    let (mut table, mut files) = (Sums::new(), Sums::new());
    sides
        .each(|columns, side, row| match side {
            Side::Table => table.add(columns, row),
            Side::Files => files.add(columns, row),
        })
        .await?;
    if table == files {
        let (rows, sum) = (grouped(files.rows), files.shown());
        return Ok(format!(
            "import: the same; {rows} rows, sum {sum} in the table and in the files"
        ));
    }
    let parts = table.differing(&files);
    let mut first = Part::default();
    sides
        .each(|columns, side, row| {
            if Some(&columns.part(row)) == parts.first() {
                first.add(columns, side, row);
            }
        })
        .await?;
    let named = first.differing(&sides.columns).join("; ");
    let side = |what: &str, sums: &Sums| {
        format!("{what} {} rows, sum {}", grouped(sums.rows), sums.shown())
    };
    Err(format!(
        "table and files differ: {}; {}; {named}{}; rows that changed in the table after they were \
         read differ too: if no program changes them, import the table again into another \
         --target-dir",
        side("the table has", &table),
        side("the files have", &files),
        match parts.len() {
            0 | 1 => String::new(),
            more => format!("; and rows of {} more parts of 65,536", more - 1),
        }
    ))
}

impl Sides {
    async fn open(ready: &PreparedImport, env: &Env) -> Result<Self, String> {
        let channel = ready.data_dir.join("channels").join(NAME);
        let inspected = Inspection::open(env, &channel, None);
        let inspected = inspected.map_err(|error| agent::chain(&error))?;
        let positions = inspected.positions().into_iter().filter(|it| *it.source == *NAME);
        let known: Vec<(Bytes, Bytes)> =
            positions.filter_map(|it| Some((it.key, it.value?))).collect();
        drop(inspected);
        let again = Reread::open(ready.source()?, &known, &context(env)).await;
        let again = again.map_err(|error| agent::chain(&error))?;
        let columns =
            Columns { names: again.columns(), key: again.key(), is_typed: ready.import.is_typed() };
        let names: Vec<String> = columns.names.iter().map(|(name, _)| name.clone()).collect();
        let settings = Settings::from_json(&ready.import.reading(&names));
        let config = settings.read().map_err(|error| error.to_string())?;
        let files = Contents::open(config, &context(env)).map_err(|error| agent::chain(&error))?;
        Ok(Self { again, files, paths: paths(ready, env).await?, columns })
    }

    /// Passes each row of both sides to `take`, in canonical form.
    async fn each(
        &mut self,
        mut take: impl FnMut(&Columns, Side, &[Option<String>]),
    ) -> Result<(), String> {
        let columns = &self.columns;
        for path in &self.paths {
            let mut problem = None;
            let read = self.files.read(path, |events| {
                for event in events.iter() {
                    match values(event.body(), columns.names.len()) {
                        Ok(row) => take(columns, Side::Files, &columns.canonical(row)),
                        Err(error) => {
                            let reason = event.header("problem").map(str::to_owned);
                            problem.get_or_insert(reason.unwrap_or(error));
                        }
                    }
                }
            });
            read.await.map_err(|error| agent::chain(&error))?;
            if let Some(problem) = problem {
                return Err(format!(
                    "{path} has a row that does not match the table: {problem}; import the table \
                     again into another --target-dir"
                ));
            }
        }
        let table = self.again.each(|row| take(columns, Side::Table, &columns.canonical(row)));
        table.await.map_err(|error| agent::chain(&error))
    }
}

/// Returns the files that the ledger of the import lists.
async fn paths(ready: &PreparedImport, env: &Env) -> Result<Vec<String>, String> {
    let url = &ready.import.url;
    let failed = |error: &dyn std::error::Error| format!("{url}: {}", agent::chain(error));
    let parsed = StoreUrl::parse(url).map_err(|error| failed(&error))?;
    let fs = store::open(&parsed, &Access::default(), env).map_err(|error| failed(&error))?;
    let sink = ready.import.sink();
    let (dataset, _) = place::dataset(&parsed, &sink)?;
    let audit = Audit::read(fs.clone(), dataset.clone()).await.map_err(|error| failed(&error))?;
    let paths = audit.visible(fs, &dataset, &place::name(&sink)).await;
    paths.map_err(|error| failed(&error))
}
