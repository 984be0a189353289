//! Headless Chromium, driven by WebDriver.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct_tests::process::Process;
use aqueduct_tests::{http, wait};
use thirtyfour::{
    By, CapabilitiesHelper, ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities,
    WebDriver,
};

use super::LIMIT;

/// A browser with its driver. Dropping it stops both.
pub(super) struct Browser {
    /// Set until the end.
    driver: Option<WebDriver>,
    runtime: tokio::runtime::Runtime,
    _process: Process,
}

impl Browser {
    pub(super) fn start(dir: &Path) -> Self {
        let address = http::free_address();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).env("HOME", dir);
        let process = Process::start("chromedriver", command, &dir.join("driver.out"));
        wait::until("the driver of the browser", LIMIT, || TcpStream::connect(address).ok());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let driver = runtime.block_on(WebDriver::new(format!("http://{address}"), wanted(dir)));
        Self { driver: Some(driver.expect("Chromium starts")), runtime, _process: process }
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().expect("it is there until the end")
    }

    pub(super) fn open(&self, url: &str) {
        self.runtime.block_on(self.driver().goto(url)).unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    /// Evaluates this expression in the page.
    pub(super) fn value(&self, expression: &str) -> serde_json::Value {
        let script = format!("return {expression}");
        let answer = self.runtime.block_on(self.driver().execute(script, Vec::new()));
        answer.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }

    /// Returns the displayed text of an element.
    pub(super) fn text(&self, id: &str) -> String {
        let value = self.value(&format!("document.getElementById('{id}').innerText"));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of an element contains all of these.
    pub(super) fn wait_for(&self, id: &str, wanted: &[&str]) {
        let mut last = String::new();
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            last = self.text(id);
            if wanted.iter().all(|part| last.contains(part)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("#{id} holds not all of {wanted:?}:\n{last}");
    }

    pub(super) fn click(&self, id: &str) {
        self.runtime.block_on(async {
            let button = self.driver().find(By::Id(id)).await.expect("a button");
            button.click().await.expect("it can be clicked");
        });
    }

    pub(super) fn write(&self, id: &str, text: &str) {
        self.runtime.block_on(async {
            let field = self.driver().find(By::Id(id)).await.expect("a field");
            field.send_keys(text).await.expect("it takes text");
        });
    }

    /// Sends keys to the focused element.
    pub(super) fn press(&self, keys: &str) {
        self.runtime.block_on(async {
            let element = self.driver().active_element().await.expect("the focus is somewhere");
            element.send_keys(keys).await.expect("it takes keys");
        });
    }

    /// Asserts that no external text has become an element or a script, and that the browser
    /// blocked nothing.
    pub(super) fn assert_no_markup(&self) {
        assert!(self.value("window.hacked").is_null(), "a script of an event has run");
        // The page itself creates the links of the findings.
        let elements = "main img, main script, main a:not(.help > a)";
        let found = self.value(&format!("document.querySelectorAll('{elements}').length"));
        assert_eq!(found, 0, "a text has become markup");
    }

    /// Saves a screenshot if `AQUEDUCT_SCREENSHOTS` names a directory.
    pub(super) fn keep(&self, name: &str) {
        if let Some(dir) = std::env::var_os("AQUEDUCT_SCREENSHOTS") {
            let path = Path::new(&dir).join(name);
            self.runtime.block_on(self.driver().screenshot(&path)).expect("a screenshot");
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _it_may_have_ended = self.runtime.block_on(driver.quit());
        }
    }
}

fn wanted(dir: &Path) -> ChromeCapabilities {
    let mut wanted = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    for argument in
        ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile]
    {
        wanted.add_arg(argument).expect("an argument");
    }
    wanted.add_arg("--window-size=1280,1600").expect("an argument");
    // The test's certificate is self-signed.
    wanted.accept_insecure_certs(true).expect("a capability");
    wanted
}
