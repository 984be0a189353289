//! `aqueduct verify`: proves or disproves that everything that edges accepted is in the store.
//!
//! ```text
//!  accounts: batches that each channel accepted and holds, ──┐
//!            events among the dead letters                   ├─► complete, consistent so far,
//!  commit ledgers: batches in visible files ─────────────────┘   or not proved
//! ```
//!
//! `verify` changes nothing. It reads data files only with `--deep`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent::account;
use clap::Args;
use pipeline::env::OpenMode;
use pipeline::{Account, AccountError, ChannelError, Env};
use program::cli::{self, EXIT_RUNTIME};
use proof::{ProofError, Report, Request, TableSource, Verdict, prove};
use thiserror::Error;

use crate::admin::{self, Admin};
use crate::runtime::{self, NoThreads};

const EXAMPLES: &str = "\
Examples:
  # From an edge that runs, by its admin address, and from one that is stopped:
  curl -s http://127.0.0.1:9464/account > edge-1.json
  aqueduct channel account /var/lib/aqueduct/channels/main > edge-2.json

  # Anywhere:
  aqueduct verify --store 'hdfs://namenode:8020/logs/%Y-%m-%d' edge-1.json edge-2.json
  aqueduct verify --store file:///data/logs --deep /var/lib/aqueduct/channels/main
  aqueduct verify --store file:///data/logs http://127.0.0.1:9464
  aqueduct verify --store file:///data/logs --retention 30d /var/lib/aqueduct/channels/main

  # With the Iceberg table of the files, which may have been compacted:
  curl -s http://catalog:8181/v1/namespaces/logs/tables/web > table.json
  aqueduct verify --store hdfs://nn:8020/web/data --table table.json edge-1.json

The verdict is the last line:

  COMPLETE           every accepted event is in visible files, once
  CONSISTENT SO FAR  nothing is missing, repeated or damaged, and batches or files are on their way
  NOT PROVED         something is missing, repeated or damaged, or events are among dead letters

A batch is missing if an account lists it as accepted, no ledger lists it as committed, and no
account lists it as pending or among the dead letters. Give the accounts of all agents on the way:

- collectors: their dead letters hold events of batches whose rest is committed
- edges and collectors where edges have `retain = \"stored\"`
- relays whose selector splits batches over channels: their channel names identify the parts

Events among dead letters are not in the store. Deliver them with `aqueduct dlq replay`. Letters
that an operator dropped are not known any more: where they were whole batches, these are missing.
If the selector or the interceptors of a collector leave out every event of a batch, the collector
writes nothing of it, and the batch is missing. The report of a running agent also lists the events
that the agent has cut, altered or stored elsewhere since its start: cut lines, truncated files,
late events.

A file that the ledger names and that the store does not have is lost, unless --retention says that
files of that age are deleted on purpose: then it is expired. Its age is that of its entry in the
ledger. With --table, a file that a compaction of the Iceberg table has replaced is not lost, if the
table has as many rows as the sink has appended and the ledger has committed, and each file of the
table exists. Files are compared by their length, so this does not show changed rows.

A ledger with a hole is never proved: `aqueduct ledger --help` explains the repair.

Exit codes: 0 complete, 1 not proved or not readable, 2 wrong arguments, 3 consistent so far (1 with
--complete)";

/// Prove that everything that edges accepted is in visible files, once.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The `url` of an `hdfs` sink; several where batches are spread over several
    #[arg(long, value_name = "URL", required = true)]
    store: Vec<String>,
    /// Name of that sink; needed where several have stored below one URL
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Also read every visible file, and compare it with the ledger
    #[arg(long)]
    deep: bool,
    /// Fail (exit code 1) unless the verdict is COMPLETE
    #[arg(long)]
    complete: bool,
    /// Files committed longer ago than this may have been deleted by a retention job (30d, 12h)
    #[arg(long, value_name = "PERIOD", value_parser = humantime::parse_duration)]
    retention: Option<Duration>,
    /// The Iceberg table of the files: a file with the catalog's answer, or with the metadata of
    /// the table; without a catalog server, the URL of its directory. It must be in the same store
    #[arg(long, value_name = "FILE|URL")]
    table: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Access to running agents
    #[command(flatten)]
    access: admin::Access,
    /// The admin address of a running agent: http://HOST:PORT, or https://; a file with its
    /// /account page or with the output of `aqueduct channel account`; or the directory of a
    /// durable channel that no agent uses and that is not encrypted: DATA_DIR/channels/NAME
    #[arg(value_name = "ACCOUNT", required = true)]
    accounts: Vec<PathBuf>,
}

/// Exit code: the verdict may become complete later.
const EXIT_CONSISTENT: u8 = 3;

/// Why there is no result.
#[derive(Debug, Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("cannot read {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} is not a file; for a running agent write http://{address}")]
    Scheme { address: String },
    #[error(
        "{path} does not list the batches of an agent (its account); write the list with `aqueduct \
         channel account DATA_DIR/channels/CHANNEL > FILE`, or with `curl -s \
         http://ADDRESS/account > FILE`"
    )]
    Account {
        path: String,
        #[source]
        source: AccountError,
    },
    #[error(
        "cannot read {path} (--table); write it with `curl -s \
         CATALOG/v1/namespaces/NAMESPACE/tables/TABLE > FILE`"
    )]
    Table {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Access(String),
    #[error("cannot read the page `/account` of the agent at {address}")]
    Agent {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Runtime(#[from] NoThreads),
    #[error(
        "{path} contains no account of a channel; write one with `aqueduct channel account \
         DATA_DIR/channels/CHANNEL > FILE`"
    )]
    Empty { path: String },
    #[error("cannot read the batches (the account) of the durable channel in {path}")]
    Channel {
        path: String,
        #[source]
        source: ChannelError,
    },
}

/// Runs the proof and prints the result.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    let env = env::real();
    match runtime::block_on(verified(args, &env)) {
        Ok(report) => {
            let text = if args.json { report.json() } else { report.text() };
            let printed = cli::print(&text);
            match report.verdict() {
                Verdict::Complete => printed,
                Verdict::ConsistentSoFar if !args.complete => ExitCode::from(EXIT_CONSISTENT),
                Verdict::ConsistentSoFar | Verdict::NotProved => ExitCode::from(EXIT_RUNTIME),
            }
        }
        Err(error) => {
            cli::print_line(&agent::chain(&error));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Returns where the metadata of the table is.
fn table_source(given: &str, env: &Env) -> Result<TableSource, VerifyError> {
    if given.contains("://") {
        return Ok(TableSource::Directory(given.to_owned()));
    }
    let read = bytes_of(Path::new(given), env);
    let failed = |source| VerifyError::Table { path: given.to_owned(), source };
    read.map(TableSource::Metadata).map_err(failed)
}

fn bytes_of(path: &Path, env: &Env) -> Result<Vec<u8>, std::io::Error> {
    let file = env.disk.open(path, OpenMode::default())?;
    file.read(0, env.disk.stat(path)?.len as usize)
}

/// Reads accounts before stores, so that a batch committed in between does not look missing.
async fn verified(args: &VerifyArgs, env: &Env) -> Result<Report, VerifyError> {
    let mut accounts = Vec::new();
    for path in &args.accounts {
        accounts.extend(accounts_of(path, &args.access, env).await?);
    }
    let request = Request {
        stores: args.store.clone(),
        sink: args.sink.clone(),
        deep: args.deep,
        table: args.table.as_deref().map(|given| table_source(given, env)).transpose()?,
        expired: args.retention.and_then(|period| env.clock.now().checked_sub(period)),
    };
    Ok(prove(accounts, &request, env).await?)
}

async fn accounts_of(
    path: &Path,
    access: &admin::Access,
    env: &Env,
) -> Result<Vec<Account>, VerifyError> {
    let shown = path.display().to_string();
    if env.disk.list(path).is_ok() {
        let accounts = account::from_directory(path, None, env);
        return accounts.map_err(|source| VerifyError::Channel { path: shown, source });
    }
    let text = if shown.starts_with("http://") || shown.starts_with("https://") {
        let agent = Admin::new(env, &shown, access).map_err(VerifyError::Access)?;
        let said = agent.get("/account").await;
        let address = agent.address().to_owned();
        said.map_err(|source| VerifyError::Agent { address, source })?.into_bytes()
    } else {
        text_of(path, &shown, env)?
    };
    let accounts = Account::from_json(&text);
    let accounts =
        accounts.map_err(|source| VerifyError::Account { path: shown.clone(), source })?;
    if accounts.is_empty() { Err(VerifyError::Empty { path: shown }) } else { Ok(accounts) }
}

fn text_of(path: &Path, shown: &str, env: &Env) -> Result<Vec<u8>, VerifyError> {
    bytes_of(path, env).map_err(|source| {
        let port = shown.rsplit_once(':').map(|(_, port)| port.split('/').next().unwrap_or(port));
        let is_address = port.is_some_and(|port| port.parse::<u16>().is_ok());
        if source.kind() == std::io::ErrorKind::NotFound && is_address {
            return VerifyError::Scheme { address: shown.to_owned() };
        }
        VerifyError::File { path: shown.to_owned(), source }
    })
}

#[cfg(test)]
pub(crate) mod tests;
