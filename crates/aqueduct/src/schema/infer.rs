//! `aqueduct schema infer`: infers settings of the encoder `parquet` from sample events.

use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use components_parquet::parquet::infer::{Samples, settings};
use pipeline::env::OpenMode;
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};

const EXAMPLES: &str = "\
Examples:
  aqueduct schema infer visits.json
  aqueduct schema infer --format csv --delimiter ';' visits.csv
  head -n 1000 app.log | aqueduct schema infer -
  aqueduct schema infer --format avro part-0.avro

Copy the output into the table of a sink's encoder, such as [sinks.store.encoder], on each
collector. Check the types before you write files: later events that do not match them become
dead letters. A running agent infers nothing.

Exit codes: 0 done, 1 not readable, or no samples of this format, 2 wrong arguments";

/// Format of the samples.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Objects, one in a line.
    Json,
    /// Lines of values; the first line has their names.
    Csv,
    /// A container file, of which the schema counts.
    Avro,
}

/// Print columns of Parquet for events like these.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct InferArgs {
    /// Format of the samples.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// With csv: the delimiter of values, one ASCII character.
    #[arg(long, default_value = ",")]
    delimiter: char,
    /// The samples; - reads standard input.
    file: PathBuf,
}

/// Prints the settings.
pub(super) fn run(args: &InferArgs) -> ExitCode {
    if !args.delimiter.is_ascii() || "\"\r\n".contains(args.delimiter) {
        cli::print_line("--delimiter: must be one ASCII character, and not a quote or a line end");
        return ExitCode::from(EXIT_USAGE);
    }
    match inferred(args) {
        Ok(settings) => cli::print(&settings),
        Err(problem) => {
            cli::print_line(&format!("{}: {problem}", args.file.display()));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn inferred(args: &InferArgs) -> Result<String, String> {
    let bytes = read(&args.file).map_err(|error| error.to_string())?;
    let text = || {
        std::str::from_utf8(&bytes)
            .map_err(|_| "the file is not UTF-8; convert it, or pass its --format".to_owned())
    };
    settings(match args.format {
        Format::Json => Samples::Json(text()?),
        Format::Csv => Samples::Csv(text()?, args.delimiter as u8),
        Format::Avro => Samples::Avro(&bytes),
    })
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        let disk = env::real().disk;
        let length = disk.stat(file)?.len;
        return disk.open(file, OpenMode::default())?.read(0, length as usize);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}
