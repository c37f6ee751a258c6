//! The page in a real browser: `tests/browser/page.mjs`, run by Node with Debian's Chromium.

use std::io::Write;

use crate::dev::Dev;
use crate::support::directory::Directory;
use crate::support::process::Program;

/// Where the screenshot of the README goes, when somebody asks for a new one.
const SCREENSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/page.png");

/// Set it to 1 and the screenshot in `docs/images` is written anew.
const WANTS_SCREENSHOT: &str = "TAILRACE_SCREENSHOT";

/// The session cookie under `tailrace dev`; elsewhere it has the name that the application gives it.
const SESSION_COOKIE: &str = "session";

/// A script of tests/browser, which drives a browser.
pub(crate) fn script(name: &str) -> Program {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");
    let modules = format!("{folder}/node_modules/playwright-core");
    assert!(
        std::fs::exists(&modules).unwrap_or(false),
        "the browser's driver is not installed: run `npm ci` in tests/browser, or script/test"
    );
    Program::new("node").args([&format!("{folder}/{name}")])
}

/// Shows what a script said. Not by `println!`, which is shown only when a test fails: it is for whoever
/// runs the tests.
pub(crate) fn show(said: &str) {
    std::io::stdout()
        .write_all(said.as_bytes())
        .expect("somebody reads our output");
}

#[test]
fn two_windows_show_their_own_organisation() {
    let dev = Dev::start();
    let directory = Directory::new();
    let is_wanted = std::env::var_os(WANTS_SCREENSHOT).is_some_and(|value| value == "1");
    let screenshot = if is_wanted {
        SCREENSHOT.to_owned()
    } else {
        directory.join("page.png")
    };
    let said = script("page.mjs")
        .env("PAGE_URL", dev.text("url"))
        .env("DATABASE_URL", dev.text("databaseUrl"))
        .env("ALICE_TOKEN", dev.token("alice"))
        .env("SESSION_COOKIE", SESSION_COOKIE)
        .env("SCREENSHOT", &screenshot)
        .run();
    show(&said);
    let image = std::fs::read(&screenshot).expect("the test takes a screenshot");
    assert!(image.starts_with(b"\x89PNG"), "it is a picture");
}
