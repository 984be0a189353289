//! `aqueduct pki`: a small certificate authority, for sites without one.
//!
//! ```text
//!   pki init DIR ──► DIR/ca.pem, DIR/ca.key          the key stays here
//!                         │ signs
//!   pki collector NAME ───┼──► NAME.pem, NAME.key    server and client, for its host names
//!   pki edge NAME ────────┤──► NAME.pem, NAME.key    client
//!   pki revoke NAME.pem ──┘──► DIR/ca.crl            what counts no more
//!   pki token NAME ──────────► NAME.token            a token, where certificates are too much
//! ```
//!
//! Keys are P-256, signatures ECDSA with SHA-256 (RFC 5480, RFC 5758), certificates X.509 v3 with
//! the profile of RFC 5280: the authority signs no other authority (`pathLenConstraint` 0), and
//! each certificate names its permitted uses. Only the revocation list is ever overwritten; all
//! other existing files stay. Only the owner can read a key.

mod authority;
mod revoked;
mod token;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use env::real;
use pipeline::env::{Env, OpenMode, small_file};
use program::cli::{self, EXIT_RUNTIME};
use rustix::fs::Mode;

use authority::{Authority, Issued, Role};

const EXAMPLES: &str = "\
Examples:
  aqueduct pki init /root/ca
  aqueduct pki collector collector-1.example 10.0.0.7 --ca /root/ca --out .
  aqueduct pki edge web-1 --ca /root/ca --out .
  aqueduct pki revoke web-1.pem --ca /root/ca
  aqueduct pki token web-2 --hash

ca.key signs certificates that all agents trust: keep it off the machines that they run on.
docs/tls.md explains where to copy the files and how to configure the agents.";

/// Create a certificate authority, certificates of edges and collectors, and tokens.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    Init(InitArgs),
    Edge(EdgeArgs),
    Collector(CollectorArgs),
    Revoke(RevokeArgs),
    Token(token::TokenArgs),
}

const INIT: &str = "\
Examples:
  aqueduct pki init /root/ca
  aqueduct pki init /root/ca --name 'Logs of example.com' --days 1825";

/// Create an authority: ca.pem, which agents trust, and ca.key, which signs.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = INIT)]
struct InitArgs {
    /// Directory of the two files; created if it does not exist
    directory: PathBuf,
    /// Common name of the authority
    #[arg(long, default_value = "Aqueduct")]
    name: String,
    /// Days for which it is valid
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

const EDGE: &str = "\
Examples:
  aqueduct pki edge web-1 --ca /root/ca
  aqueduct pki edge web-1 --ca /root/ca --out /root/web-1 --days 90";

/// Create the key and the certificate of an edge: a client.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EDGE)]
struct EdgeArgs {
    /// Name of the edge, for example of its host
    name: String,
    #[command(flatten)]
    common: IssueArgs,
}

const COLLECTOR: &str = "\
Examples:
  aqueduct pki collector collector-1.example --ca /root/ca
  aqueduct pki collector collector-1.example collectors.example 10.0.0.7 --ca /root/ca";

/// Create the key and the certificate of a collector: a server with these names, and a client.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = COLLECTOR)]
struct CollectorArgs {
    /// Host names and IP addresses that edges use; the files are named after the first one
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    common: IssueArgs,
}

const REVOKE: &str = "\
Examples:
  aqueduct pki revoke --ca /root/ca                    # an empty list, before anything is revoked
  aqueduct pki revoke web-1.pem web-2.pem --ca /root/ca

Copy ca.crl to the agents and set it as `tls.client_crl` of listeners and `tls.crl` of clients. It
takes effect at the next handshake, without a restart.";

/// Add certificates to the revocation list `ca.crl`.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = REVOKE)]
struct RevokeArgs {
    /// PEM files of the certificates; without any, the existing list is only renewed
    certificates: Vec<PathBuf>,
    /// The directory that `pki init` created
    #[arg(long)]
    ca: PathBuf,
}

#[derive(Debug, Args)]
struct IssueArgs {
    /// The directory that `pki init` created
    #[arg(long)]
    ca: PathBuf,
    /// Directory of the files; created if it does not exist
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Days for which the certificate is valid; never longer than the authority
    #[arg(long, default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Runs the subcommand and prints what to do with the result.
pub(crate) fn run(args: &PkiArgs) -> ExitCode {
    let env = real();
    let made = match &args.command {
        PkiCommand::Init(args) => init(args, &env),
        PkiCommand::Edge(args) => {
            issue(Role::Edge, std::slice::from_ref(&args.name), &args.common, &env)
        }
        PkiCommand::Collector(args) => issue(Role::Collector, &args.names, &args.common, &env),
        PkiCommand::Revoke(args) => revoke(args, &env),
        PkiCommand::Token(args) => token::make(args, &env),
    };
    match made {
        Ok(text) => cli::print(&text),
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn init(args: &InitArgs, env: &Env) -> Result<String, String> {
    let made = authority::make(&args.name, args.days, env.clock.now())?;
    let (certificate, key) = (args.directory.join("ca.pem"), args.directory.join("ca.key"));
    write_pair(&made, &certificate, &key, env)?;
    Ok(format!(
        "{}: certificate that agents trust; set it as `ca` and `client_ca`\n{}: key that signs \
         certificates; keep it off the machines of agents\nThe authority is valid until {}.\n",
        certificate.display(),
        key.display(),
        made.until
    ))
}

/// Loads the authority from this directory.
fn authority(dir: &Path, env: &Env) -> Result<Authority, String> {
    let [certificate, key] = ["ca.pem", "ca.key"].map(|name| {
        let text = read(&dir.join(name), env);
        text.map_err(|problem| {
            format!(
                "{problem}; `aqueduct pki init DIR` creates an authority: name its directory as \
                 --ca"
            )
        })
    });
    Authority::load(&certificate?, &key?).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Reads a small text file.
fn read(path: &Path, env: &Env) -> Result<String, String> {
    let bytes = env.disk.open(path, OpenMode::default()).and_then(|file| file.read(0, 16 << 20));
    let bytes = bytes.map_err(|error| format!("{}: {error}", path.display()))?;
    String::from_utf8(bytes)
        .map_err(|_| format!("{}: is not a text file; name a file in PEM", path.display()))
}

fn revoke(args: &RevokeArgs, env: &Env) -> Result<String, String> {
    let authority = authority(&args.ca, env)?;
    let path = args.ca.join("ca.crl");
    let mut list = match env.disk.stat_link(&path) {
        Ok(_) => Some(read(&path, env)?),
        Err(_) => None,
    };
    let mut count = 0;
    let certificates = args.certificates.iter().map(Some);
    // Without a certificate, renew the list.
    for certificate in certificates.chain(args.certificates.is_empty().then_some(None)) {
        let text = certificate.map(|path| read(path, env)).transpose()?;
        let texts: Vec<&str> = text.as_deref().into_iter().collect();
        let place = certificate.unwrap_or(&path).display();
        let made = revoked::revoke(&authority, list.as_deref(), &texts, env.clock.now());
        let made = made.map_err(|problem| format!("{place}: {problem}"))?;
        (list, count) = (Some(made.pem), made.count);
    }
    let written = small_file::replace(&*env.disk, &path, list.unwrap_or_default().as_bytes());
    let written = written.and_then(|()| Ok(rustix::fs::chmod(&path, Mode::from_raw_mode(0o644))?));
    let path = path.display();
    written.map_err(|error| {
        format!(
            "cannot write {path}: {error}; check the owner and the permissions of the directory"
        )
    })?;
    Ok(format!(
        "{path}: {count} revoked; copy it to the agents and set it as `tls.client_crl` of \
         listeners and `tls.crl` of clients\n"
    ))
}

fn issue(role: Role, names: &[String], args: &IssueArgs, env: &Env) -> Result<String, String> {
    let authority = authority(&args.ca, env)?;
    let issued = authority.issue(role, names, args.days, env.clock.now())?;
    let [pem, key] = ["pem", "key"].map(|kind| args.out.join(format!("{}.{kind}", names[0])));
    write_pair(&issued, &pem, &key, env)?;
    let ca = args.ca.join("ca.pem");
    let ca = ca.display();
    let (pem, key) = (pem.display(), key.display());
    let settings = match role {
        Role::Edge => {
            format!("[sinks.NAME.tls]\nca = \"{ca}\"\ncertificate = \"{pem}\"\nkey = \"{key}\"\n")
        }
        Role::Collector => format!(
            "[sources.NAME.tls]\ncertificate = \"{pem}\"\nkey = \"{key}\"\nclient_ca = \
             \"{ca}\"\n# for a `grpc` source of new agents, add this to [sources.NAME]:\n# \
             origins = \"require\"\n"
        ),
    };
    Ok(format!(
        "{settings}# valid until {}; adapt the paths to the agent's host, and keep ca.key here\n",
        issued.until
    ))
}

/// Writes both files if neither exists. The key comes first, so that no certificate lacks its key.
fn write_pair(made: &Issued, certificate: &Path, key: &Path, env: &Env) -> Result<(), String> {
    let directory = key.parent().unwrap_or(Path::new("."));
    let cannot = |path: &Path, error: &dyn std::fmt::Display| {
        format!(
            "cannot write {}: {error}; check the owner and the permissions of the directory",
            path.display()
        )
    };
    env.disk.create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    for path in [certificate, key] {
        if env.disk.stat_link(path).is_ok() {
            let path = path.display();
            return Err(format!("{path} already exists; move it away, or use another name"));
        }
    }
    let files = [(key, &made.key, 0o600), (certificate, &made.certificate, 0o644)];
    for (path, text, mode) in files {
        write_new(path, text.as_bytes(), mode, env).map_err(|error| cannot(path, &error))?;
    }
    Ok(())
}

/// Creates a file with exactly this mode, regardless of the umask.
fn write_new(path: &Path, bytes: &[u8], mode: u32, env: &Env) -> std::io::Result<()> {
    let open = OpenMode { write: true, create_new: true, ..OpenMode::default() };
    let file = env.disk.open(path, open)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    file.write_at(&[IoSlice::new(bytes)], 0, false)?;
    file.sync()
}
