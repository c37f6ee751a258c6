//! The table of cases: which tests cover which case of `docs/replication-cases.md`, printed for whoever
//! asks (`script/cases`), and whether one is left without.
//!
//! A tag is a comment `// Case: 17, 18` right above a test. With `TAILRACE_TESTS_LISTED`, a file with what
//! `cargo test -- --list` printed, every tagged test has to be in that list too: none is in a file
//! that no module names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::files;

/// What the design dropped. That it did is said in the document as well.
const DROPPED: [u32; 2] = [38, 56];

/// Why a test may be ignored: another major is needed. Its module then says which.
const IGNORED: &str = "script/test --all-postgres\"]";

/// A test, by its path within its crate, and the cases that it covers.
struct Tagged {
    test: String,
    file: String,
    cases: Vec<u32>,
}

#[test]
fn every_case_has_a_test_and_every_tag_a_case() {
    let mut table: BTreeMap<u32, Vec<String>> =
        expected().keys().map(|case| (*case, Vec::new())).collect();
    for Tagged { test, file, cases } in tagged() {
        for case in cases {
            let tests = table.get_mut(&case);
            let tests = tests.unwrap_or_else(|| panic!("{file}: {test}: there is no case {case}"));
            tests.push(format!("{test} ({file})"));
        }
    }
    for (case, tests) in &table {
        println!("{case:>3}  {}", tests.join("\n     "));
    }
    let expected = expected();
    let missing: Vec<u32> = table
        .iter()
        .filter(|(case, tests)| tests.is_empty() && expected[case] == Expected::Tested)
        .map(|(case, _)| *case)
        .collect();
    assert!(missing.is_empty(), "cases without a test: {missing:?}");
}

#[test]
fn every_tagged_test_is_run() {
    let Ok(path) = std::env::var("TAILRACE_TESTS_LISTED") else {
        println!("not asked to compare with a list of tests: script/cases does");
        return;
    };
    let listed = fs::read_to_string(&path).expect("the list is where the script says");
    let listed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    for Tagged { test, file, .. } in tagged() {
        let (module, name) = test.rsplit_once("::").unwrap_or(("", &test));
        // A test that a macro makes for both drivers is in a module of that driver's name.
        let is_listed = listed.iter().any(|path| {
            path.strip_prefix(module)
                .and_then(|rest| rest.strip_suffix(name))
                .is_some_and(|between| matches!(between, "" | "::" | "::uring::" | "::epoll::"))
        });
        assert!(is_listed, "{file}: {test} is never run");
    }
}

/// What the document says of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Tested,
    Dropped,
}

/// The cases of the document: 1 to 70, each once.
fn expected() -> BTreeMap<u32, Expected> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/replication-cases.md");
    let text = fs::read_to_string(path).expect("the document is part of the project");
    let mut cases = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let Some(Ok(case)) = cells.next().map(str::parse) else {
            continue;
        };
        let expectation = cells.nth(1).unwrap_or_default();
        let expected = match expectation {
            "" => panic!("case {case} expects nothing"),
            _ if expectation.starts_with("**Dropped:**") => Expected::Dropped,
            _ => Expected::Tested,
        };
        assert_eq!(expected == Expected::Dropped, DROPPED.contains(&case));
        assert_eq!(cases.insert(case, expected), None, "case {case} is twice");
    }
    assert!(cases.keys().copied().eq(1..=70), "{:?}", cases.keys());
    cases
}

/// Every tag in the project.
fn tagged() -> Vec<Tagged> {
    let mut all = Vec::new();
    for (path, text) in files("rs") {
        let path = path
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .expect("the files are the project's")
            .trim_start_matches('/');
        scan(path, &text, &mut all);
    }
    all
}

/// Every tag of a file. Formatting is checked, so that a module's end is a brace indented like its
/// beginning.
fn scan(path: &str, text: &str, all: &mut Vec<Tagged>) {
    let mut modules: Vec<(usize, &str)> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(name) = module_opened(code) {
            modules.push((indent, name));
        } else if code == "}" && modules.last().is_some_and(|(depth, _)| *depth == indent) {
            modules.pop();
        } else if let Some(list) = code.strip_prefix("// Case: ") {
            let cases = list.split(", ").map(|case| {
                case.parse()
                    .unwrap_or_else(|_| panic!("{path}:{}: {list:?}", at + 1))
            });
            let (name, is_ignored) = name_of_test(path, &lines, at + 1);
            let mut test = module_of(Path::new(path));
            test.extend(modules.iter().map(|(_, name)| (*name).to_owned()));
            let of_majors =
                |name: &String| ["from_1", "until_1"].iter().any(|it| name.starts_with(it));
            assert!(
                !is_ignored || test.iter().any(of_majors),
                "{path}: {name} is ignored, and no module says from or until which major it is run"
            );
            test.push(name.to_owned());
            all.push(Tagged {
                test: test.join("::"),
                file: path.to_owned(),
                cases: cases.collect(),
            });
        }
    }
}

fn module_opened(code: &str) -> Option<&str> {
    let rest = code
        .strip_prefix("mod ")
        .or_else(|| code.strip_prefix("pub(crate) mod "))?;
    rest.strip_suffix(" {")
}

/// The name of the test whose attributes, or whose `fn`, begin at this line, and whether it is left to
/// the majors that it is for.
fn name_of_test<'a>(path: &str, lines: &[&'a str], from: usize) -> (&'a str, bool) {
    let mut attributes = Vec::new();
    for line in &lines[from..] {
        let code = line.trim_start();
        if let Some(signature) = code.strip_prefix("fn ") {
            let name = signature.split('(').next().unwrap_or(signature);
            // Without the attribute itself it is handed to a macro, before.
            let is_test = attributes.contains(&"#[test]")
                || lines.iter().any(|line| line.trim() == format!("{name},"));
            assert!(is_test, "{path}:{from}: {name} is no test");
            let ignored = attributes.iter().find(|line| line.starts_with("#[ignore"));
            assert!(
                ignored.is_none_or(|reason| reason.ends_with(IGNORED)),
                "{path}:{from}: {name} is ignored"
            );
            return (name, ignored.is_some());
        }
        assert!(
            code.starts_with("#["),
            "{path}:{from}: a tag that stands above no test"
        );
        attributes.push(code);
    }
    panic!("{path}:{from}: a tag at the end of a file");
}

/// The modules that a file stands for within its crate: its path below `src` or `tests`, or below a
/// folder of `tests` that is a crate of its own.
fn module_of(path: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = path.parent().expect("a file is in a folder");
    if root.join(folder).join("main.rs").exists() {
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("files are named in UTF-8");
        return Vec::from_iter((name != "main").then(|| name.to_owned()));
    }
    let path: PathBuf = path.with_extension("");
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let from = names
        .iter()
        .position(|name| matches!(*name, "src" | "tests"))
        .expect("tests are in src or in tests");
    let names = names[from + 1..].iter();
    names
        .filter(|name| !matches!(**name, "mod" | "main" | "lib"))
        .map(|name| (*name).to_owned())
        .collect()
}
