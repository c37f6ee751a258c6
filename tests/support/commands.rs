//! Commands of the binary that end by themselves, and psql, for what a person would type.

use std::fs;

use super::directory::Directory;
use super::process::Program;

/// What a command printed, and how it ended.
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

/// Runs the binary in a directory of its own, with nothing of the machine's configuration.
pub(crate) fn tailrace<const N: usize>(arguments: [&str; N]) -> Said {
    let directory = Directory::new();
    tailrace_in(&directory, arguments)
}

/// Runs the binary in this directory.
pub(crate) fn tailrace_in<const N: usize>(directory: &Directory, arguments: [&str; N]) -> Said {
    let program = Program::new(env!("CARGO_BIN_EXE_tailrace"));
    said(&program.args(arguments).directory(directory.path()))
}

/// Runs a script with psql, as somebody would who has copied it there; it ends at the first error.
pub(crate) fn psql(url: &str, script: &str) {
    let said = try_psql(url, script);
    assert_eq!(said.status, 0, "{}\n{script}", said.error);
}

/// The same, where it may fail.
pub(crate) fn try_psql(url: &str, script: &str) -> Said {
    let directory = Directory::new();
    let file = directory.join("script.sql");
    fs::write(&file, script).expect("the directory of a test can be written");
    let program = Program::new("psql").args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
    said(&program.args(["--file", &file, url]))
}

pub(crate) fn said(program: &Program) -> Said {
    let output = program.finish();
    let text = |bytes| String::from_utf8(bytes).expect("the programs we run write UTF-8");
    Said {
        status: output.status.code().expect("nothing kills it"),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}
