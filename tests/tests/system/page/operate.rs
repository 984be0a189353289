//! Operator actions on the page.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};

use super::browser::Browser;
use super::{FLOW, TOKEN};

/// Keys without a character.
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const SHIFT_TAB: &str = "\u{e008}\u{e004}";

/// Focuses the button that stops or starts the source, and returns its accessible name.
const FOCUS: &str = "(() => { const it = document.querySelector('#sources button'); it.focus(); \
                     return it.getAttribute('aria-label') })()";

#[test]
#[ignore = "needs the programs and Chromium: tests/run"]
fn a_part_is_stopped_and_started_by_the_keyboard_and_by_no_other_site() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let shown = dir.display();
    let text = format!("[agent]\ndata_dir = \"{shown}/data\"\n{FLOW}");
    let mut agent = Agent::configured("aqueduct-edge", dir, "keys", &text);
    agent.start();
    let browser = Browser::start(dir);
    let page = format!("http://{}/", agent.admin());
    browser.open(&page);
    browser.wait_for("sources", &["in", "running", "Stop"]);
    browser.wait_for("held", &["Nothing is stopped"]);
    let is_open = || browser.value("document.getElementById('confirm').open");
    let focus = || browser.value("document.activeElement.id || document.activeElement.ariaLabel");

    // The question explains the effect; the safe answer has the focus.
    assert_eq!(browser.value(FOCUS), "Stop source in");
    browser.press(ENTER);
    assert_eq!((is_open(), focus()), (true.into(), "confirm-no".into()));
    browser.wait_for("confirm", &["Stop source in?", "Source in stops accepting events"]);
    browser.press(ESCAPE);
    assert_eq!((is_open(), focus()), (false.into(), "Stop source in".into()));
    browser.press(ENTER);
    browser.press(SHIFT_TAB);
    assert_eq!(focus(), "confirm-yes");
    browser.keep("page-stop.png");
    browser.press(ENTER);
    browser.wait_for("operated", &["Stop: sources.in"]);
    browser.wait_for("word", &["Needs attention: source in is stopped by an operator"]);
    browser.wait_for("sources", &["held", "stopped by loopback at 127.0.0.1:", "Start"]);
    browser.wait_for("held", &["sources.in has been stopped for"]);
    browser.wait_for("audit", &["done", "stop sources.in", "loopback at 127.0.0.1:"]);
    assert_eq!((is_open(), focus()), (false.into(), "Start source in".into()));

    // And back, with the same button.
    browser.press(ENTER);
    browser.wait_for("confirm", &["Start source in?", "from its position"]);
    browser.press(SHIFT_TAB);
    browser.press(ENTER);
    browser.wait_for("sources", &["running", "Stop"]);
    browser.wait_for("word", &["All is well"]);
    browser.click("drain");
    browser.click("confirm-yes");
    browser.wait_for("held", &["The channels are empty", "sources.in"]);
    browser.click("start-all");
    browser.click("confirm-yes");
    browser.wait_for("held", &["Nothing is stopped"]);
    browser.wait_for("word", &["All is well"]);

    send_from_elsewhere(&browser, &page);
    browser.open(&page);
    browser.wait_for("word", &["All is well"]);
    browser.wait_for("held", &["Nothing is stopped"]);
    browser.click("audit-load");
    browser.wait_for("audit", &["refused", "header `X-Aqueduct` is missing"]);
    browser.assert_no_markup();
    drop(browser);
    agent.stop(Duration::from_secs(25));
}

/// Sends a script request of the page without the header, and requests that another site can send.
fn send_from_elsewhere(browser: &Browser, page: &str) {
    let sent = "(() => { window.answer = ''; fetch('stop?source=in', { method: 'POST' })\
                .then((it) => { document.getElementById('operated').textContent = it.status }); \
                return 1 })()";
    browser.value(sent);
    browser.wait_for("operated", &["403"]);
    browser.open("data:text/html,<p id=done>none</p>");
    for (mode, headers) in [("no-cors", ""), ("cors", ", headers: { 'X-Aqueduct': 'stop' }")] {
        let sent = format!(
            "(() => {{ const it = document.getElementById('done'); it.textContent = 'asked'; \
             fetch('{page}stop?source=in', {{ method: 'POST', mode: '{mode}'{headers} }})\
             .catch(() => 0).then(() => {{ it.textContent = 'answered' }}); return 1 }})()"
        );
        browser.value(&sent);
        browser.wait_for("done", &["answered"]);
    }
}

/// A part is not stopped without the token, and the audit log contains both attempts.
pub(super) fn stop_needs_the_token(dir: &Path, admin: SocketAddr) {
    let call = |action: &str, more: &[&str]| {
        let mut command = program("aqueduct");
        command.args([action, &format!("https://{admin}"), "--ca", "cert.pem"]).args(more);
        command.current_dir(dir).output().expect("the program starts")
    };
    let (part, token) = (["--source", "in"], ["--token-file", "token"]);
    let refused = call("stop", &part);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for action in ["stop", "start"] {
        let done = call(action, &[part, token].concat());
        assert!(done.status.success(), "{done:?}");
    }
    let lines = call("audit", &token);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    for (line, expected) in lines.lines().zip([
        "done       start sources.in, by admin token at 127.0.0.1:",
        "done       stop sources.in, by admin token at 127.0.0.1:",
        "REFUSED    stop, by no token at 127.0.0.1:",
    ]) {
        assert!(line.contains(expected), "{lines}");
    }
    assert!(lines.lines().count() >= 3 && !lines.contains(TOKEN), "{lines}");
}
