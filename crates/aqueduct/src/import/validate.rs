//! `--validate`: compares the row count of the table with the ledger of the store.

use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::{self, Access};
use components_sql::source;
use ledger::{Audit, Place};
use pipeline::Env;
use storage::StoreUrl;

use super::prepare::{PreparedImport, context};

/// Counts the rows on both sides, and checks that each file exists.
///
/// # Errors
/// The counts differ, or one side cannot be counted.
pub(super) async fn validate(ready: &PreparedImport, env: &Env) -> Result<String, String> {
    let url = &ready.import.url;
    let failed = |error: &dyn std::error::Error| format!("{url}: {}", agent::chain(error));
    let counted = source::survey(ready.source()?, true, &context(env)).await;
    let counted = counted.map_err(|error| agent::chain(&error))?;
    let wanted = counted.rows.ok_or("the database returned no row count; see its log")?;
    let parsed = StoreUrl::parse(url).map_err(|error| failed(&error))?;
    let fs = store::open(&parsed, &Access::default(), env).map_err(|error| failed(&error))?;
    let (dataset, _) = place::dataset(&parsed, &ready.import.sink())?;
    let audit = Audit::read(fs, dataset).await.map_err(|error| failed(&error))?;
    if let Some((file, _)) = audit.files.iter().find(|(_, place)| *place != Place::Visible) {
        return Err(format!(
            "the file {} below {url} was deleted or changed after it was stored; restore it",
            file.target
        ));
    }
    let stored = audit.view.totals().events;
    match stored == wanted {
        true => Ok(format!("import: validated; {stored} rows in the table and in the store")),
        false => Err(format!(
            "the counts differ: the table has {wanted} rows now, and {stored} are stored; rows \
             that were added or deleted since the import began count as well: if no program \
             changes the table, import it again into another --target-dir"
        )),
    }
}
