//! `aqueduct pki token`: creates a token with which an agent proves its name to the next one.

use std::path::PathBuf;

use clap::Args;
use pipeline::env::Env;
use tls::Token;

use super::write_new;

const EXAMPLES: &str = "\
Examples:
  aqueduct pki token web-1 --hash >> tokens
  aqueduct pki token web-1 --out /root/new --hash

Copy web-1.token to the agent and set it as `token_file` of its `grpc` sink. Add the printed line to
the `tokens_file` of the `grpc` source. Agents reread both files when they change. To replace a
token without an interruption, keep two lines with the same name for a while.";

/// Create the token of an agent, and the line for the tokens file of the next agent.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct TokenArgs {
    /// Name of the agent, for example of its host
    name: String,
    /// Directory of NAME.token; created if it does not exist
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Print the SHA-256 of the token instead, so that the next agent never has the token
    #[arg(long)]
    hash: bool,
}

/// Writes the token file of the agent. Returns the line for the next agent's file.
pub(super) fn make(args: &TokenArgs, env: &Env) -> Result<String, String> {
    let name = &args.name;
    let token = Token::new(name, &*env.entropy);
    let token = token.map_err(|problem| format!("`{name}`: {problem}"))?;
    if name.contains('/') {
        return Err(format!("`{name}`: it becomes a file name, so it cannot contain `/`"));
    }
    let path = args.out.join(format!("{}.token", token.name));
    let cannot = |error| {
        format!(
            "cannot write {}: {error}; check the owner and the permissions of the directory",
            path.display()
        )
    };
    if env.disk.stat_link(&path).is_ok() {
        let path = path.display();
        return Err(format!("{path} already exists; move it away, or use another name"));
    }
    env.disk.create_dir_all(&args.out).map_err(cannot)?;
    write_new(&path, token.line().expose().as_bytes(), 0o600, env).map_err(cannot)?;
    Ok(match args.hash {
        true => token.hashed_line(),
        false => token.line().expose().to_owned(),
    })
}
