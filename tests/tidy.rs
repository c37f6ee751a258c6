//! Habits that no compiler checks: every file says what it is for, none grows past its bound, no
//! machine's paths, and every dependency gives its reason.

use std::path::Path;

use crate::support::files;

/// The most lines of code in a file, the tests at its end not counted.
const LINES_MAX: usize = 500;

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for (path, text) in files("rs") {
        assert!(text.starts_with("//! "), "{path} does not open with //!");
    }
}

#[test]
fn no_file_is_too_long_to_be_one_room() {
    for (path, text) in files("rs") {
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(&text);
        let lines = code.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines: it wants a second floor"
        );
    }
}

#[test]
fn nothing_is_left_to_do_silently() {
    // Put together here, so that this file does not find itself.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
    ];
    for (path, text) in files("rs") {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{path}: {mark}");
        }
    }
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let places = ["/home", "/root", "/work", "/Users"].map(|place| format!("{place}/"));
    for ending in ["rs", "toml", "md", "mjs", "json", "html", "sql", "sh", ""] {
        for (path, text) in files(ending) {
            for place in &places {
                assert!(!text.contains(place.as_str()), "{path}: {place}");
            }
        }
    }
}

#[test]
fn every_dependency_gives_its_reason() {
    for (path, text) in files("toml") {
        if Path::new(&path)
            .file_name()
            .is_some_and(|name| name == "Cargo.toml")
        {
            assert_reasons(&path, &text);
        }
    }
}

/// In the lists of dependencies, a comment stands above every group of lines without a gap.
fn assert_reasons(path: &str, manifest: &str) {
    let mut in_list = false;
    let mut has_reason = false;
    for line in manifest.lines() {
        match line.as_bytes() {
            [] => has_reason = false,
            [b'[', ..] => {
                // The workspace's table only holds versions; the reason is where it is used.
                in_list = line.ends_with("dependencies]") && line != "[workspace.dependencies]";
                has_reason = false;
            }
            [b'#', ..] => has_reason = true,
            _ => assert!(!in_list || has_reason, "{path}: why {line:?}?"),
        }
    }
}
