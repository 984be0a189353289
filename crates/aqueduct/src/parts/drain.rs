//! `aqueduct drain`: requests a drain and shows its progress until it is over.

use std::process::ExitCode;
use std::time::Duration;

use agent::status::words::{printable, rate, seconds};
use agent::status::{DrainState, DrainStatus, PartsStatus, Snapshot};
use clap::Args;
use humantime::parse_duration;
use program::cli::{self, EXIT_RUNTIME};
use tokio::time::{Instant, sleep};

use super::{encoded, is_done};
use crate::admin::{Access, Admin};
use crate::runtime;
use crate::status::EXIT_UNREACHABLE;

const EXAMPLES: &str = "\
Examples:
  aqueduct drain 127.0.0.1:9464
  aqueduct drain 127.0.0.1:9464 --exit --timeout 30m
  aqueduct drain 127.0.0.1:9464 --channel main --json
  aqueduct drain https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin --exit

The sources stop, so that senders use other agents, and the groups deliver until the channels are
empty; sinks also close and commit their open files. The agent keeps running with its sources
stopped until `aqueduct start ADDRESS --all`. With --exit it exits, and starts normally the next
time. If you interrupt this command, the drain continues.

Exit codes: 0 drained, 1 not drained, 2 the agent does not answer, or wrong arguments";

/// Interval between requests.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Interval between progress lines.
const PACE: Duration = Duration::from_secs(2);

/// An agent may exit before it reports that it is drained. Without an answer for this long, it is
/// considered gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Stop the sources of a running agent, and wait until its channels are empty
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct DrainArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    /// Only this channel and the sources that fill it
    #[arg(long, value_name = "NAME", conflicts_with = "exit")]
    channel: Option<String>,
    /// Stop the agent when its channels are empty
    #[arg(long)]
    exit: bool,
    /// Time limit until the channels are empty
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
    /// Print the progress as lines of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &DrainArgs) -> ExitCode {
    match watch(args) {
        Ok(Some(DrainState::Drained)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_RUNTIME),
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

fn query(args: &DrainArgs) -> String {
    let channel = args.channel.as_ref().map(|name| format!("&channel={}", encoded(name)));
    let exit = if args.exit { "&exit" } else { "" };
    let seconds = args.timeout.as_secs().max(1);
    format!("?timeout={seconds}{}{exit}", channel.unwrap_or_default())
}

fn watch(args: &DrainArgs) -> Result<Option<DrainState>, String> {
    let admin = Admin::new(&env::real(), &args.address, &args.access)?;
    runtime::block_on(async {
        let (answer, status): (_, PartsStatus) = admin.changed("drain", &query(args)).await?;
        if !is_done(&status) {
            cli::print(&if args.json { answer } else { status.to_string() });
            return Ok(None);
        }
        if !args.json {
            cli::print(&status.to_string());
        }
        follow(&admin, args, status.drain).await.map(Some)
    })
}

/// Shows the drain until it is over.
async fn follow(
    admin: &Admin,
    args: &DrainArgs,
    mut drain: Option<DrainStatus>,
) -> Result<DrainState, String> {
    let (mut shown, mut heard) = (None::<Instant>, Instant::now());
    let mut leaving = 0.0;
    loop {
        if let Some(drain) = &drain {
            let is_over = drain.state != DrainState::Draining;
            if is_over || shown.is_none_or(|at| at.elapsed() >= PACE) {
                shown = Some(Instant::now());
                cli::print(&match args.json {
                    true => serde_json::to_string(drain).expect("names and numbers") + "\n",
                    false => line(drain, leaving) + "\n",
                });
            }
            if is_over {
                return Ok(drain.state);
            }
        }
        sleep(POLL_INTERVAL).await;
        match admin.get("/status").await {
            Ok(text) => {
                let snapshot = admin.snapshot(&text)?;
                (drain, leaving, heard) =
                    (snapshot.drain.clone(), rate_of(&snapshot, args), Instant::now());
                if drain.is_none() {
                    return Err(format!("the agent at {} was restarted", admin.address()));
                }
            }
            // The agent may be busy.
            Err(_) if heard.elapsed() < ANSWER_TIMEOUT => {}
            Err(error) => return Err(admin.unanswered(&error)),
        }
    }
}

/// Returns the events per second that leave the channels.
fn rate_of(snapshot: &Snapshot, args: &DrainArgs) -> f64 {
    let is_meant = |name: &String| args.channel.as_ref().is_none_or(|channel| channel == name);
    let groups = snapshot.groups.iter().filter(|group| is_meant(&group.channel));
    groups.map(|group| group.delivered.events_per_second).sum()
}

/// Formats a progress line.
fn line(drain: &DrainStatus, leaving: f64) -> String {
    let DrainStatus { state, left_events, began_seconds_ago, why, exit, .. } = drain;
    let took = seconds(Some(*began_seconds_ago));
    let why = why.as_ref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
    match state {
        DrainState::Draining => {
            let to_go = match leaving > 0.0 {
                true => format!(", about {} left", seconds(Some(*left_events as f64 / leaving))),
                false => String::new(),
            };
            format!("{left_events} events left, {} a second{to_go}{why}", rate(leaving))
        }
        DrainState::Drained if *exit => format!("drained after {took}; the agent stops"),
        DrainState::Drained => format!("drained after {took}; its sources stay stopped"),
        DrainState::TimedOut => {
            format!("{left_events} events are left after {took}{why}; the sources stay stopped")
        }
        DrainState::Ended => format!("the drain was cancelled after {took}{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_lines_show_the_rest_and_the_result() {
        let drain = |state, left_events, why: Option<&str>| DrainStatus {
            state,
            channel: None,
            exit: false,
            by: "loopback".into(),
            began_seconds_ago: 61.0,
            time_limit_seconds: 600.0,
            left_events,
            why: why.map(str::to_owned),
        };
        for (drain, leaving, expected) in [
            (
                drain(DrainState::Draining, 50, None),
                25.0,
                "50 events left, 25 a second, about 2s left",
            ),
            (
                drain(DrainState::Draining, 9, Some("group `a` is stopped")),
                0.0,
                "9 events left, 0.0 a second: group `a` is stopped",
            ),
            (
                drain(DrainState::Drained, 0, None),
                0.0,
                "drained after 1m 1s; its sources stay stopped",
            ),
            (
                drain(DrainState::Ended, 3, Some("source `a` runs")),
                0.0,
                "the drain was cancelled after 1m 1s: source `a` runs",
            ),
        ] {
            assert_eq!(line(&drain, leaving), expected);
        }
    }
}
