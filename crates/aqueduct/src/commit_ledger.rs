//! `aqueduct ledger`: operator decisions after a commit ledger was changed from outside.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::Access;
use ledger::{Decided, DecisionError, KnownState, Operator};
use pipeline::Env;
use pipeline::env::{Lock, LockError, resolved};
use program::cli::{self, EXIT_RUNTIME};
use proof::{StoreError, open_store};
use serde_json::{Value, json};
use thiserror::Error;

use crate::channel::print_json;
use crate::runtime::{self, NoThreads};

const EXAMPLES: &str = "\
Examples:
  # The ledger in the store, and the state that the collector of this data directory remembers:
  aqueduct ledger show --store 'hdfs://nn:8020/logs/%Y' --sink store --data-dir /var/lib/aqueduct

  # The ledger was deleted, truncated or damaged; the visible files still exist:
  aqueduct ledger rebuild --store file:///data/logs --sink store --data-dir /var/lib/aqueduct

  # The current ledger is right (an older copy was restored with its files, or the dataset was
  # emptied on purpose):
  aqueduct ledger adopt --store file:///data/logs --sink store --data-dir /var/lib/aqueduct

If a collector finds a ledger that differs from what it remembers, it stores nothing. Its batches
wait in its channel and on the edges until you run one of these:

            effect                                        repeats                     losses
  rebuild   creates a complete ledger from the store and  none of the batches that    none
            from what this collector remembers; other     either of them lists
            collectors resume automatically, or need a
            rebuild too if they remember more
  adopt     accepts the ledger as it is, or creates an    batches that only the lost  none
            empty one if it is missing; run it for each   part listed and a channel
            collector                                     still has

Run `rebuild` with the data directory of each stopped collector, beginning with the one that stored
last. Stop the collector of the given data directory; for `rebuild`, stop all that store there.
Replaced files are moved aside below _aqueduct/SINK, never deleted.

Exit codes: 0 done (show: the ledger is sound and as remembered), 1 not done, 2 wrong arguments";

const SHOW: &str = "\
Examples:
  aqueduct ledger show --store file:///data/logs --sink store --data-dir /var/lib/aqueduct";

const ADOPT: &str = "\
Examples:
  aqueduct ledger adopt --store file:///data/logs --sink store --data-dir /var/lib/aqueduct

`aqueduct ledger --help` explains repeats and losses.";

const REBUILD: &str = "\
Examples:
  aqueduct ledger rebuild --store file:///data/logs --sink store --data-dir /var/lib/aqueduct

`aqueduct ledger --help` explains repeats and losses.";

/// Show, adopt or rebuild a commit ledger that was changed from outside.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the ledger in the store, and what the collector remembers of it
    #[command(after_help = SHOW)]
    Show(Target),
    /// Accept the ledger in the store, or create an empty one if it is missing
    #[command(after_help = ADOPT)]
    Adopt(Target),
    /// Create a complete ledger from the store and from what the collector remembers
    #[command(after_help = REBUILD)]
    Rebuild(Target),
}

#[derive(Debug, Args)]
struct Target {
    /// The `url` of the `hdfs` sink
    #[arg(long, value_name = "URL")]
    store: String,
    /// Name of that sink
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// Data directory of a collector that stores there
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// `webhdfs.synconclose` of that sink: the DataNodes of the gateway (HttpFS) in --store sync
    /// files when they close them, so the command may write through it
    #[cfg(feature = "webhdfs")]
    #[arg(long)]
    synconclose: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why the command failed.
#[derive(Debug, Error)]
enum LedgerCommandError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "--data-dir {path}: not the data directory of an agent, because it has no file `format`; \
         name the value of `agent.data_dir`"
    )]
    NoDataDir { path: String },
    #[error("--data-dir {path}: process {pid} is using it; stop that collector first")]
    InUse { path: String, pid: String },
    #[error(
        "--data-dir {path}: cannot use its lock file: {problem}; run this command as the user of \
         the agent"
    )]
    Lock { path: String, problem: String },
    #[error(transparent)]
    Runtime(#[from] NoThreads),
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

/// The output of a command.
struct Output {
    text: String,
    json: Value,
    /// Whether the ledger is intact.
    sound: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &LedgerArgs) -> ExitCode {
    let (Action::Show(target) | Action::Adopt(target) | Action::Rebuild(target)) = &args.action;
    match done(args, &env::real()) {
        Ok(Output { text, json, sound }) => {
            let printed = if target.json { print_json(&json) } else { cli::print(&text) };
            if sound { printed } else { ExitCode::from(EXIT_RUNTIME) }
        }
        Err(error) => {
            cli::print_line(&agent::chain(&error));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn done(args: &LedgerArgs, env: &Env) -> Result<Output, LedgerCommandError> {
    runtime::block_on(async {
        match &args.action {
            Action::Show(target) => {
                let operator = operator(target, env)?;
                let (stored, known) = (operator.stored().await?, operator.remembered()?);
                Ok(shown(&operator.name, &stored, known.as_ref()))
            }
            Action::Adopt(target) => {
                let _lock = lock_data_dir(&target.data_dir, env)?;
                Ok(changed("adopted", &operator(target, env)?.adopt().await?))
            }
            Action::Rebuild(target) => {
                let _lock = lock_data_dir(&target.data_dir, env)?;
                Ok(changed("rebuilt", &operator(target, env)?.rebuild().await?))
            }
        }
    })
}

fn operator(target: &Target, env: &Env) -> Result<Operator, LedgerCommandError> {
    let Target { store, sink, data_dir, .. } = target;
    if env.disk.stat(&data_dir.join("format")).is_err() {
        return Err(LedgerCommandError::NoDataDir { path: data_dir.display().to_string() });
    }
    let (url, fs) = open_store(store, &access(target), env)?;
    let dataset = place::dataset(&url, sink);
    let (dataset, name) = dataset.map_err(|problem| StoreError::invalid(store, problem))?;
    let directory = data_dir.join("sinks").join(sink);
    Ok(Operator { fs, dataset, name, env: env.clone(), directory })
}

/// Returns the access settings of the store that the environment does not provide.
#[cfg_attr(not(feature = "webhdfs"), expect(unused_variables, unused_mut))]
fn access(target: &Target) -> Access {
    let mut access = Access::default();
    #[cfg(feature = "webhdfs")]
    {
        access.webhdfs.synconclose = target.synconclose;
    }
    access
}

/// Locks the data directory so that no agent uses it.
fn lock_data_dir(data_dir: &Path, env: &Env) -> Result<Box<dyn Lock>, LedgerCommandError> {
    let path = data_dir.display().to_string();
    if env.disk.stat(&data_dir.join("format")).is_err() {
        return Err(LedgerCommandError::NoDataDir { path });
    }
    env.disk.lock(&resolved(&*env.disk, data_dir).join("LOCK")).map_err(|error| match error {
        LockError::Held { pid } => LedgerCommandError::InUse { path, pid },
        LockError::Io(error) => LedgerCommandError::Lock { path, problem: error.to_string() },
    })
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes it");
}

fn describe(text: &mut String, title: &str, standing: &KnownState) {
    let KnownState { identity, view, problems } = standing;
    put(text, format_args!("{title}"));
    let named = identity.map_or_else(|| "none".to_owned(), |identity| identity.to_string());
    put(text, format_args!("  identity   {named}"));
    let (generation, next) = (view.generation(), view.next());
    put(text, format_args!("  records    up to {next}, newest directory g{generation}"));
    let (totals, batches) = (view.totals(), view.settled().keys.count());
    put(
        text,
        format_args!(
            "  committed  {batches} batches by name, {} events in {} files, {} bytes",
            totals.events, totals.files, totals.bytes
        ),
    );
    for problem in problems {
        put(text, format_args!("  problem: {problem}"));
    }
}

fn as_json(standing: &KnownState) -> Value {
    let KnownState { identity, view, problems } = standing;
    let totals = view.totals();
    json!({
        "identity": identity.map(|identity| identity.to_string()),
        "generation": view.generation(),
        "next_entry": view.next(),
        "batches": view.settled().keys.count(),
        "events": totals.events,
        "files": totals.files,
        "bytes": totals.bytes,
        "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn shown(name: &str, stored: &KnownState, known: Option<&KnownState>) -> Output {
    let mut text = String::new();
    let mut json = json!({
        "ledger": name, "stored": as_json(stored), "remembered": known.map(as_json),
    });
    describe(&mut text, &format!("ledger of {name}, in the store"), stored);
    let Some(known) = known else {
        put(&mut text, format_args!("this collector does not remember a ledger of this dataset"));
        let sound = stored.problems.is_empty();
        json["sound"] = sound.into();
        return Output { text, json, sound };
    };
    describe(&mut text, "as this collector remembers it", known);
    let mut forgotten = known.view.settled().keys.clone();
    forgotten.remove_all(&stored.view.settled_of(&known.view.settled().keys));
    let same = stored.identity == known.identity;
    let sound = stored.problems.is_empty() && same && forgotten.is_empty();
    if !same {
        put(
            &mut text,
            format_args!("the ledger in the store is not the one that this collector remembers"),
        );
    }
    if !forgotten.is_empty() {
        let count = forgotten.count();
        put(
            &mut text,
            format_args!(
                "this collector remembers {count} committed batches that the ledger in the store \
                 does not list"
            ),
        );
    }
    let verdict = if sound {
        "no action needed"
    } else {
        "run `aqueduct ledger rebuild` or `aqueduct ledger adopt` with the same --store, --sink \
         and --data-dir; `aqueduct ledger --help` explains the difference"
    };
    put(&mut text, format_args!("{verdict}"));
    json["same_ledger"] = same.into();
    json["forgotten_batches"] = forgotten.count().into();
    json["sound"] = sound.into();
    Output { text, json, sound }
}

fn changed(done: &str, decided: &Decided) -> Output {
    let mut text = String::new();
    for note in &decided.notes {
        put(&mut text, format_args!("note: {note}"));
    }
    describe(&mut text, &format!("the ledger is {done}"), &decided.standing);
    let notes: Vec<String> = decided.notes.iter().map(ToString::to_string).collect();
    let json = json!({ "done": done, "notes": notes, "stored": as_json(&decided.standing) });
    Output { text, json, sound: true }
}

#[cfg(test)]
mod tests;
