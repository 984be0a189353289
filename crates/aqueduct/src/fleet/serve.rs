//! `aqueduct fleet serve`: runs the fleet server.

use std::path::PathBuf;
use std::process::ExitCode;

use ::fleet::{Directory, Settings as Listening};
use clap::Args;
use pipeline::{Env, Secret, Settings};
use program::cli::{self, LogFormat};
use support::causes::chain;
use tls::Tokens;

use super::ADDRESS;
use crate::admin::token;

const EXAMPLES: &str = "\
Examples:
  aqueduct fleet serve /srv/fleet
  aqueduct fleet serve /srv/fleet --listen 0.0.0.0:9470 \\
      --certificate fleet.pem --key fleet.key --client-ca ca.pem --admin-token-file admin
  aqueduct fleet serve /srv/fleet --listen 0.0.0.0:9470 \\
      --certificate fleet.pem --key fleet.key --tokens-file tokens --admin-token-file admin

DIR contains assign.toml and fragments/, which you edit, and the state of the server. Agents find
the server by `[agent.fleet]` in their configuration. `aqueduct pki` creates certificates and
tokens. On loopback, neither is needed.

Exit codes: 0 stopped as asked, 1 failed, 2 wrong arguments";

/// Run the fleet server
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Directory of fragments, assignments and state; created if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Address for agents and operators
    #[arg(long, value_name = "HOST:PORT", default_value = ADDRESS)]
    listen: String,
    /// PEM file with the certificate of the server
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// PEM file of the authority that signs certificates of agents; without a certificate an agent
    /// needs a token
    #[arg(long, value_name = "FILE", requires = "certificate")]
    client_ca: Option<PathBuf>,
    /// File with the tokens of agents: lines NAME TOKEN, or NAME sha256:HEX
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// File with the token of operators
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Allow plain text, and agents without certificate and token, on a network address
    #[arg(long)]
    insecure: bool,
    /// Format of log lines
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Runs the server until a signal.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    cli::serve(args.log_format, async |env| {
        let directory = Directory::open(&args.directory, env).map_err(|error| chain(&error))?;
        let listening = listening(args, env)?;
        match ::fleet::serve(directory, listening, env).await {
            Ok(never) => match never {},
            Err(error) => Err(chain(&error)),
        }
    })
}

fn listening(args: &ServeArgs, env: &Env) -> Result<Listening, String> {
    let mut table = Settings::empty();
    for (setting, file) in
        [("certificate", &args.certificate), ("key", &args.key), ("client_ca", &args.client_ca)]
    {
        if let Some(file) = file {
            table.set(setting, Settings::text(file.display().to_string()));
        }
    }
    if args.client_ca.is_some() {
        // Operators have no certificate, but the token.
        table.set("client_auth", Settings::text("optional"));
    }
    let tls = args.certificate.is_some().then(|| table.read()).transpose();
    let admin = args.admin_token_file.as_deref().map(|path| token(env, path)).transpose();
    let admin: Option<Secret> =
        admin.map_err(|problem| problem.replace("--token-file", "--admin-token-file"))?;
    Ok(Listening {
        listen: args.listen.clone(),
        tls: tls.map_err(|error| error.to_string())?,
        tokens: args.tokens_file.as_deref().map(|path| Tokens::new(path, env)),
        admin,
        insecure: args.insecure,
        files_max: env::files_max(),
    })
}
