//! Builds what the benches run beside themselves, by `cargo`, and says where it lies.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds with `cargo build` and these arguments, and returns every executable by its target's name.
pub(crate) fn executables(arguments: &[&str]) -> Vec<(String, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .arg("build")
        .args(arguments)
        .arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: see its message above"
    );
    let messages = String::from_utf8(output.stdout).expect("cargo prints JSON");
    let message = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
    let built = messages.lines().filter_map(message).filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    built.collect()
}

/// The executable of a target among what was built.
pub(crate) fn find(built: &[(String, PathBuf)], target: &str) -> PathBuf {
    let found = built.iter().find(|(name, _)| name == target);
    found
        .unwrap_or_else(|| panic!("cargo built no {target}"))
        .1
        .clone()
}
