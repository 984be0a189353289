//! `aqueduct plugin new`: writes a plug-in to begin with, and the SDK of its language.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use pipeline::Env;
use pipeline::env::OpenMode;
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};

const EXAMPLES: &str = "\
Examples:
  aqueduct plugin new enrich --language python --role interceptor";

const NEW: &str = "\
Examples:
  aqueduct plugin new enrich --language python --role interceptor
  aqueduct plugin new to_table --language go --role sink
  aqueduct plugin new levels --language rust-wasm --role interceptor

It creates a directory with that name and prints the settings of the component. The plug-in works:
change it step by step. docs/plugins.md explains the contract.";

/// Create a plug-in: a process in Python or Go, or a WebAssembly module in Rust or C
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    New(NewArgs),
}

/// Write a new plug-in and the SDK of its language into a directory
#[derive(Debug, Args)]
#[command(long_about = None, after_help = NEW)]
struct NewArgs {
    /// Name of the plug-in and its directory: lower case letters, digits and `_`
    name: String,
    /// Programming language; `-wasm` makes a WebAssembly module, which is always an interceptor
    #[arg(long)]
    language: Language,
    /// Role of the plug-in
    #[arg(long)]
    role: Role,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    Python,
    Go,
    RustWasm,
    CWasm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Source,
    Interceptor,
    Sink,
}

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../examples/plugins/", $path))
    };
}

/// Runs `aqueduct plugin`.
pub(crate) fn run(args: &PluginArgs) -> ExitCode {
    let PluginCommand::New(args) = &args.command;
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !args.name.starts_with(|c: char| c.is_ascii_lowercase()) || !args.name.chars().all(is_known)
    {
        let name = &args.name;
        cli::print_line(&format!(
            "`{name}` is not a name: begin with a lower case letter; use letters, digits and `_`"
        ));
        return ExitCode::from(EXIT_USAGE);
    }
    if matches!(args.language, Language::RustWasm | Language::CWasm)
        && args.role != Role::Interceptor
    {
        cli::print_line(
            "a WebAssembly module is always an interceptor; use `--role interceptor`, or another \
             `--language`",
        );
        return ExitCode::from(EXIT_USAGE);
    }
    match write(args, &env::real()) {
        Ok(text) => cli::print(&text),
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Writes the files of a plug-in; returns what to do with them.
fn write(args: &NewArgs, env: &Env) -> Result<String, String> {
    let NewArgs { name, language, role } = args;
    let here = Path::new(name);
    let (files, build, settings) = match language {
        Language::Python => python(name, *role),
        Language::Go => go(name, *role),
        Language::RustWasm => rust_wasm(name),
        Language::CWasm => c_wasm(name),
    };
    for (file, text) in files {
        let path = here.join(file);
        let cannot = |error| {
            format!(
                "cannot write {}: {error}; use another name, or another working directory",
                path.display()
            )
        };
        env.disk.create_dir_all(path.parent().unwrap_or(here)).map_err(cannot)?;
        let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
        let file = env.disk.open(&path, mode).map_err(cannot)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0, false).map_err(cannot)?;
    }
    let table = match role {
        Role::Source => format!("[sources.{name}]\nchannels = [\"main\"]\n"),
        Role::Interceptor => "[[sources.NAME.interceptors]]\n".to_owned(),
        Role::Sink => format!("[sinks.{name}]\nchannel = \"main\"\n"),
    };
    Ok(format!("{build}{table}{settings}\n"))
}

/// Returns the settings of a process.
fn process(role: Role, command: &str) -> String {
    let settings = match role {
        Role::Interceptor => "settings = { least = \"INFO\" }",
        Role::Source | Role::Sink => "settings = { path = \"/CHANGE/ME\" }",
    };
    format!("type = \"process\"\ncommand = {command}\n{settings}")
}

/// Returns the settings of a WebAssembly module.
fn module(name: &str) -> String {
    format!(
        "type = \"wasm\"\nmodule = \"/CHANGE/ME/{name}/{name}.wasm\"\n\
         settings = {{ least = \"INFO\" }}"
    )
}

type Files = Vec<(PathBuf, String)>;

/// Returns the files, how to build them, and the settings.
fn python(name: &str, role: Role) -> (Files, String, String) {
    let plugin = match role {
        Role::Source => example!("python/source.py"),
        Role::Interceptor => example!("python/interceptor.py"),
        Role::Sink => example!("python/sink.py"),
    };
    let files = vec![
        ("aqueduct_plugin.py".into(), example!("python/aqueduct_plugin.py").to_owned()),
        (format!("{name}.py").into(), plugin.to_owned()),
    ];
    let command = format!("[\"python3\", \"/CHANGE/ME/{name}/{name}.py\"]");
    (files, String::new(), process(role, &command))
}

/// As [`python`].
fn go(name: &str, role: Role) -> (Files, String, String) {
    let plugin = match role {
        Role::Source => example!("go/source/main.go"),
        Role::Interceptor => example!("go/interceptor/main.go"),
        Role::Sink => example!("go/sink/main.go"),
    };
    let module = format!("{name}/aqueduct");
    let files = vec![
        ("aqueduct/aqueduct.go".into(), example!("go/aqueduct/aqueduct.go").to_owned()),
        (
            "go.mod".into(),
            example!("go/go.mod").replacen("module plugins", &format!("module {name}"), 1),
        ),
        ("main.go".into(), plugin.replacen("plugins/aqueduct", &module, 1)),
    ];
    let build = format!("# Build it: cd {name} && go build\n");
    (files, build, process(role, &format!("[\"/CHANGE/ME/{name}/{name}\"]")))
}

/// As [`python`], for an interceptor.
fn rust_wasm(name: &str) -> (Files, String, String) {
    let files = vec![
        ("aqueduct.rs".into(), example!("wasm-rust/aqueduct.rs").to_owned()),
        (format!("{name}.rs").into(), example!("wasm-rust/levels.rs").to_owned()),
    ];
    let build = format!(
        "# Build it: cd {name} && rustc --target wasm32-unknown-unknown --crate-type cdylib -O \
         -C strip=symbols {name}.rs\n"
    );
    (files, build, module(name))
}

/// As [`python`], for an interceptor.
fn c_wasm(name: &str) -> (Files, String, String) {
    let files = vec![
        ("aqueduct.h".into(), example!("wasm-c/aqueduct.h").to_owned()),
        (format!("{name}.c").into(), example!("wasm-c/levels.c").to_owned()),
    ];
    let build = format!(
        "# Build it: cd {name} && clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry \
         -Wl,--strip-all -o {name}.wasm {name}.c\n"
    );
    (files, build, module(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_the_plugin() {
        let (files, _, command) = python("enrich", Role::Interceptor);
        assert!(files.iter().any(|(path, _)| path == Path::new("enrich.py")));
        assert!(command.contains("enrich/enrich.py"));
        let (files, build, _) = go("to_table", Role::Sink);
        let text = |name: &str| &files.iter().find(|(path, _)| path == Path::new(name)).unwrap().1;
        assert!(text("go.mod").starts_with("module to_table\n"));
        assert!(text("main.go").contains("\"to_table/aqueduct\""));
        assert!(build.contains("go build"));
        let (files, build, settings) = rust_wasm("levels");
        assert!(files.iter().any(|(path, _)| path == Path::new("levels.rs")));
        assert!(build.contains("levels.rs") && settings.contains("levels/levels.wasm"));
        let (files, build, settings) = c_wasm("levels");
        assert!(files.iter().any(|(path, _)| path == Path::new("levels.c")));
        assert!(build.contains("levels.c") && settings.contains("type = \"wasm\""));
    }
}
