//! The sink that sends to an address, with its settings.

use pipeline::settings::Value;
use pipeline::{BuildContext, Env, Settings, Sink};

use super::{SendArgs, rpc_props};

/// Default maximum number of events in a call. A Flume source rejects more if its channels have the
/// default `transactionCapacity`.
const BATCH: usize = 100;

/// Schemes with their sink, its address setting, and whether the setting takes the whole URL.
const SCHEMES: &[(&str, &str, &str, bool)] = &[
    ("avro://", "avro", "address", false),
    ("thrift://", "thrift", "address", false),
    ("http://", "http", "url", true),
    ("https://", "http", "url", true),
];

/// Where to send.
pub(super) struct Target {
    pub(super) sink: Box<dyn Sink>,
    /// The address to show.
    pub(super) address: String,
    /// Maximum number of events in a call.
    pub(super) batch: usize,
}

/// Builds the target from these arguments. Does not connect.
///
/// # Errors
/// An argument is wrong; the message names it, the reason and the fix.
pub(super) fn from_args(args: &SendArgs, env: &Env) -> Result<Target, String> {
    let (mut kind, mut settings) = ("avro".to_owned(), Settings::empty());
    if let Some(path) = &args.rpc_props {
        (kind, settings) = rpc_props::read(path, env)?;
    }
    if let Some(address) = &args.address {
        let (sink, setting, value) = split(address)?;
        if args.rpc_props.is_some() && kind != sink {
            let file = "the file of --rpc-props configures a client of type";
            return Err(format!("{address}: {file} `{kind}`; write {kind}://HOST:PORT"));
        }
        sink.clone_into(&mut kind);
        settings.set(setting, Settings::text(value));
    }
    if args.tls || args.ca.is_some() {
        let mut tls = settings.take("tls").unwrap_or_else(Settings::empty);
        if let Some(ca) = &args.ca {
            tls.set("ca", Settings::text(ca.display().to_string()));
        }
        settings.set("tls", tls);
    }
    for (name, text) in &args.set {
        set(&mut settings, name, value(text)).map_err(|why| format!("--set {name}: {why}"))?;
    }
    let said = settings.get("events_max").and_then(|it| it.read().ok());
    let batch = args.batch.map(|batch| batch as usize).or(said).unwrap_or(BATCH);
    // One call is one batch, with one in flight: the acknowledged lines are a prefix of the input.
    settings.set("events_max", Settings::new(Value::Integer(batch as i64)));
    settings.set("in_flight_max", Settings::new(Value::Integer(1)));
    let shown = ["address", "url"].iter().find_map(|name| settings.get(name)?.read().ok());
    let address: String = shown.unwrap_or_default();
    let entry = catalogue::FULL.find::<dyn Sink>(&kind)?;
    let cx = BuildContext {
        catalogue: catalogue::FULL,
        ..BuildContext::alone("send", ".".as_ref(), env.clone())
    };
    let sink = (entry.build)(&settings, &cx);
    let sink = sink.map_err(|error| {
        let (setting, problem) = (&error.path, &error.problem);
        format!("setting `{setting}` of the sink `{kind}`: {problem}")
    })?;
    Ok(Target { sink, address, batch })
}

/// Returns the sink, the setting and its value for an address.
fn split(address: &str) -> Result<(&'static str, &'static str, &str), String> {
    for (scheme, kind, setting, is_whole) in SCHEMES {
        if let Some(rest) = address.strip_prefix(scheme) {
            return Ok((kind, setting, if *is_whole { address } else { rest }));
        }
    }
    let problem = if address.starts_with("grpc://") {
        "a `grpc` source accepts only batches from the channel of an agent; use a source of type \
         `avro`, `thrift` or `http`"
    } else {
        "must begin with avro://, thrift://, http:// or https://; write for example \
         avro://collector-1:4545"
    };
    Err(format!("{address}: {problem}"))
}

/// Parses numbers, flags, lists and tables as JSON; anything else is text.
fn value(text: &str) -> Settings {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if !value.is_null() => Settings::from_json(&value),
        Ok(_) | Err(_) => Settings::text(text),
    }
}

/// Sets the value of a dotted name.
fn set(settings: &mut Settings, name: &str, value: Settings) -> Result<(), String> {
    let Some((table, rest)) = name.split_once('.') else {
        settings.set(name, value);
        return Ok(());
    };
    let mut below = settings.take(table).unwrap_or_else(Settings::empty);
    if !matches!(below.value, Value::Table(_)) {
        return Err(format!("`{table}` is not a table"));
    }
    set(&mut below, rest, value)?;
    settings.set(table, below);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let command = SendArgs::augment_args(Command::new("send"));
        let matches = command.try_get_matches_from([&["send"], arguments].concat());
        let args = matches.and_then(|it| SendArgs::from_arg_matches(&it));
        from_args(&args.map_err(|error| error.to_string())?, &env::real())
    }

    #[test]
    fn each_scheme_has_its_sink_and_all_of_its_settings() {
        for arguments in [
            &["avro://h:1"][..],
            &["avro://h:1", "--set", "compression=deflate", "--set", "compression_level=9"],
            &["avro://h:1", "--tls", "--set", "tls.check_name=false", "--set", "timeout=5s"],
            &["thrift://h:1", "--set", "protocol=binary"],
            &["http://h/x?y=z"],
            &["https://h:8443/", "--ca", "ca.pem"],
        ] {
            let target = target(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert!(arguments[0].ends_with(&target.address) && target.batch == 100);
        }
        assert_eq!(target(&["avro://h:1", "--batch", "7"]).unwrap().batch, 7);
        assert_eq!(target(&["avro://h:1", "--set", "events_max=5"]).unwrap().batch, 5);
    }

    #[test]
    fn wrong_arguments_are_named_with_the_remedy() {
        for (arguments, wanted) in [
            (&["h:1"][..], "avro://collector-1:4545"),
            (&["grpc://h:1"], "only batches from the channel"),
            (&["avro://h"], "setting `address` of the sink `avro`: must have a host and a port"),
            (&["avro://h:1", "--set", "compresion=deflate"], "did you mean `compression`?"),
            (&["avro://h:1", "--set", "address.x=1"], "--set address.x: `address` is not a table"),
            (&["http://h", "--ca", "x"], "write `https://`"),
            (&["avro://h:1", "--batch", "0"], "0 is not in 1..=100000"),
            (&["avro://h:1", "--header", "x"], "write NAME=VALUE"),
        ] {
            let Err(error) = target(arguments) else { panic!("{arguments:?} is taken") };
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
