//! The terminal of `top`: a task follows the agent, and a loop draws and reads keys.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::view::{Update, View};
use crate::admin::Admin;

/// Maximum delay of a key while waiting for a snapshot, and vice versa.
const TURN: Duration = Duration::from_millis(100);

/// Interval between requests for `/config`, upon which the agent compares the file with its running
/// configuration.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// Maximum time between attempts to reach a lost agent.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Messages that wait to be drawn; further ones are dropped.
const UPDATES_MAX: usize = 8;

/// Shows the agent until a key or a signal ends the program.
///
/// # Errors
/// The terminal cannot be used.
pub(super) fn run(runtime: &Runtime, admin: Admin) -> Result<(), String> {
    let (tell, heard) = sync_channel(UPDATES_MAX);
    let mut view = View::new(admin.address());
    runtime.spawn(end_by_signal(tell.clone()));
    runtime.spawn(follow(admin, tell));
    let terminal = ratatui::try_init();
    let shown = terminal.and_then(|mut terminal| show(&mut terminal, &mut view, &heard));
    ratatui::restore();
    shown
        .map_err(|error| format!("cannot use the terminal: {error}; pass --once to print one page"))
}

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    heard: &Receiver<Update>,
) -> std::io::Result<()> {
    while !view.has_ended() {
        heard.try_iter().for_each(|update| view.apply(update));
        terminal.draw(|frame| view.draw(frame))?;
        if event::poll(TURN)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            view.press(key);
        }
    }
    Ok(())
}

/// Ends the program on a signal, so that the terminal is restored.
async fn end_by_signal(tell: SyncSender<Update>) {
    let listen = |kind| signal(kind).ok();
    let (Some(mut terminate), Some(mut hang_up)) =
        (listen(SignalKind::terminate()), listen(SignalKind::hangup()))
    else {
        return;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    // The loop reads continuously, so a place becomes free.
    while tell.try_send(Update::End).is_err() {
        sleep(TURN).await;
    }
}

/// Follows the agent, and reconnects when it is lost.
async fn follow(admin: Admin, tell: SyncSender<Update>) {
    let mut pause = Duration::from_secs(1);
    loop {
        let lost = followed(&admin, &tell, &mut pause).await;
        // Fails only when the loop has ended.
        let _ = tell.try_send(Update::Lost(lost));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Follows the agent. Returns why the stream ended.
async fn followed(admin: &Admin, tell: &SyncSender<Update>, pause: &mut Duration) -> String {
    let mut compared: Option<Instant> = None;
    let mut follow = match admin.follow().await {
        Ok(follow) => follow,
        Err(error) => return error.to_string(),
    };
    loop {
        if compared.is_none_or(|at| at.elapsed() > COMPARE_EVERY) {
            compared = Some(Instant::now());
            // The next snapshot contains the result. Agents without a configuration page report
            // nothing.
            let _ = admin.get("/config").await;
        }
        let snapshot = match follow.next().await {
            Ok(text) => admin.snapshot(&text),
            Err(error) => return error.to_string(),
        };
        match snapshot {
            Ok(snapshot) => {
                *pause = Duration::from_secs(1);
                let _ = tell.try_send(Update::Snapshot(Box::new(snapshot)));
            }
            Err(problem) => return problem,
        }
    }
}
