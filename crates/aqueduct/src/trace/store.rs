//! Searches a store and its commit ledger.

use ledger::{Audit, LedgerError, Place, VisibleFile, VisibleFiles, is_lines};
use memchr::memmem::find;
use pipeline::Env;
use proof::Opened;
use storage::FileSystem;

use super::SearchTarget;
use super::report::{Commit, FileFound, Report};

/// Searches the ledger of a sink for the batches, and its files for the text. Searches only the
/// files of the batches' entries if these name them, otherwise all files, newest first.
///
/// # Errors
/// The store or its ledger cannot be read.
pub(super) async fn search_store(
    (url, sink): (&str, Option<&str>),
    env: &Env,
    wanted: &SearchTarget,
    read_max: u64,
    report: &mut Report,
) -> Result<(), String> {
    let opened = proof::opened(url, sink, env).await;
    let Opened { fs, dataset, sink } = opened.map_err(|error| agent::chain(&error))?;
    let failed = |error: LedgerError| format!("{url}: {}", agent::chain(&error));
    let audit = Audit::read(fs.clone(), dataset.clone()).await.map_err(failed)?;
    let mut files = Vec::new();
    let mut all_are_named = !report.batches.is_empty();
    for batch in report.batches.clone() {
        let entry = audit.commits.iter().find(|(keys, _)| keys.contains(batch));
        let named = entry.map_or(&[][..], |(_, range)| &audit.files[range.clone()]);
        let is_committed = audit.view.is_settled(batch);
        all_are_named &= entry.is_some();
        report.commits.push(Commit {
            batch: batch.to_string(),
            store: url.to_owned(),
            sink: sink.clone(),
            is_committed,
            is_closed: audit.view.settled().is_closed(batch),
            files: named.iter().map(|(file, _)| dataset.published(&file.target)).collect(),
        });
        for (file, place) in named {
            let path = dataset.published(audit.moved.get(&file.target).unwrap_or(&file.target));
            match place {
                Place::Visible => files.push(path),
                Place::Staged => report.note(format!(
                    "{path} is committed and not visible yet; the sink publishes it; no action \
                     needed"
                )),
                Place::WrongLength(_) | Place::Gone(_) => {
                    report.note(format!(
                        "{path} is in the ledger, but was deleted or changed in length; restore \
                         it, for example from the trash"
                    ));
                }
            }
        }
    }
    if wanted.text.is_empty() {
        return Ok(());
    }
    if !all_are_named {
        let mut all = Vec::new();
        let mut visible = VisibleFiles::new(fs.clone(), &dataset, &sink);
        while let Some(file) = visible.next().await.map_err(failed)? {
            all.push(file);
        }
        all.sort_by(|a, b| b.index.cmp(&a.index).then_with(|| a.path.cmp(&b.path)));
        files = all.into_iter().map(|VisibleFile { path, .. }| path).collect();
    }
    search(&*fs, (url, files), wanted, read_max, report).await
}

/// Searches these files for the text, up to a limit of bytes.
async fn search(
    fs: &dyn FileSystem,
    (url, files): (&str, Vec<String>),
    wanted: &SearchTarget,
    read_max: u64,
    report: &mut Report,
) -> Result<(), String> {
    let (mut read, mut others, mut left_out) = (0_u64, 0_u64, 0_u64);
    // JSON encoders escape some characters.
    let written = serde_json::to_string(&String::from_utf8_lossy(&wanted.text));
    let written = written.map_err(|error| error.to_string())?.into_bytes();
    let escaped = &written[1..written.len() - 1];
    for path in files {
        if !is_lines(&path) {
            others += 1;
            continue;
        }
        if read >= read_max {
            left_out += 1;
            continue;
        }
        let bytes = fs
            .read(&path)
            .await
            .map_err(|error| format!("{url}: {}", agent::chain(&LedgerError::from(error))))?;
        read += bytes.len() as u64;
        let lines = bytes.split(|byte| *byte == b'\n').zip(1_u64..);
        let holds = |line: &[u8]| match wanted.line.is_some() && path.ends_with(".log") {
            // The body is the whole line, or follows headers.
            true => line.ends_with(&wanted.text),
            false => find(line, &wanted.text).or_else(|| find(line, escaped)).is_some(),
        };
        let found = lines.filter(|(line, _)| holds(line)).map(|(_, number)| number);
        let lines: Vec<u64> = found.collect();
        if !lines.is_empty() {
            report.files.push(FileFound { path, lines });
        }
    }
    if others > 0 {
        report.note(format!(
            "{url}: {others} files were not searched: they are compressed or columnar"
        ));
    }
    if left_out > 0 {
        report.note(format!(
            "{url}: {left_out} files were not searched after {read} bytes; raise --read-max"
        ));
    }
    Ok(())
}
