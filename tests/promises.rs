//! `docs/reliability.md` names the tests that hold each promise, and the bounds by their constants: all of
//! them are there, and no promise is without one.
//!
//! With `TAILRACE_TESTS_LISTED`, what `cargo test -- --list` printed, every named test has to be in that
//! list, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The page.
const PAGE: &str = "docs/reliability.md";

/// How many promises there are of each kind: R1, R2 … as a user reads them, G1, G2 … below.
const PROMISES: [(&str, usize); 2] = [("R", 8), ("G", 10)];

#[test]
fn every_promise_names_a_test_that_holds_it() {
    let page = read(PAGE).expect("the page is part of the project");
    let mut promises: BTreeMap<&str, Vec<Named<'_>>> = BTreeMap::new();
    for section in page.split("\n### ").skip(1) {
        // The next chapter is no part of it.
        let section = section.split("\n## ").next().unwrap_or_default();
        let (name, _) = section.split_once(". ").expect("a promise has a number");
        let tests: Vec<_> = named(section).filter(Named::is_test).collect();
        assert!(promises.insert(name, tests).is_none(), "{name} is twice");
    }
    for (kind, count) in PROMISES {
        for number in 1..=count {
            let name = format!("{kind}{number}");
            let tests = promises.remove(name.as_str());
            let tests = tests.unwrap_or_else(|| panic!("{PAGE} does not have {name}"));
            assert!(!tests.is_empty(), "nothing holds {name}");
        }
    }
    assert!(promises.is_empty(), "more than was promised: {promises:?}");
}

#[test]
fn everything_that_is_named_is_there() {
    let page = read(PAGE).expect("the page is part of the project");
    let mut count = 0;
    for named in named(&page) {
        let Named { file, item } = named;
        let text = read(file).unwrap_or_else(|| panic!("{PAGE} names {file}, which is not there"));
        match named.is_test() {
            true => assert!(
                is_test_in(&text, item),
                "{PAGE} names {file}::{item}, which is no test there, or one that is left out (`#[ignore]`)"
            ),
            false => assert!(
                text.contains(&format!("const {item}: ")),
                "{PAGE} names {file}::{item}, which is not there"
            ),
        }
        count += 1;
    }
    assert!(count > 100, "{count} names were found: is the page read?");
}

#[test]
fn every_test_that_is_named_is_run() {
    let Ok(path) = std::env::var("TAILRACE_TESTS_LISTED") else {
        println!("not asked to compare with a list of tests: script/cases does");
        return;
    };
    let listed = fs::read_to_string(&path).expect("the list is where the script says");
    let page = read(PAGE).expect("the page is part of the project");
    for Named { file, item } in named(&page).filter(Named::is_test) {
        let mut tests = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        let is_listed = tests.any(|test| test.rsplit("::").next() == Some(item));
        assert!(is_listed, "{file}::{item} is never run");
    }
}

#[test]
fn a_name_without_a_test_is_noticed() {
    let text = "#[test]\nfn one() {}\n\nfn two() {}\n\non_both_drivers!(\n    two,\n);\n\nfn three() {}\n\
                /// of four\n#[test]\n#[should_panic]\nfn four_and_more() {}\n\
                #[test]\n#[ignore = \"a minute\"]\nfn six() {}\n#[ignore]\n#[test]\nfn seven() {}\n#[test]\n\
                fn eight() {}\n";
    assert!(is_test_in(text, "one") && is_test_in(text, "two"));
    assert!(is_test_in(text, "four_and_more"));
    assert!(!is_test_in(text, "three"), "a function is no test");
    assert!(!is_test_in(text, "four") && !is_test_in(text, "five"));
    assert!(
        !is_test_in(text, "six") && !is_test_in(text, "seven"),
        "what nobody runs holds nothing"
    );
    assert!(is_test_in(text, "eight"));
    let names: Vec<_> = named("of `a/b.rs::one`, `c.rs::TWO` and `not::this`").collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].is_test() && !names[1].is_test());
}

/// Something that the page names: a test, or a constant.
#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    file: &'a str,
    item: &'a str,
}

impl Named<'_> {
    fn is_test(&self) -> bool {
        !self
            .item
            .starts_with(|first: char| first.is_ascii_uppercase())
    }
}

/// All that a text names as `file.rs::item`.
fn named(text: &str) -> impl Iterator<Item = Named<'_>> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| {
        let (file, item) = quoted.split_once("::")?;
        file.ends_with(".rs").then_some(Named { file, item })
    })
}

/// Whether a file has a test of this name that is run with all others: a function with the attribute and
/// without `#[ignore]`, or one of those of which `on_both_drivers!` or `for_both_drivers!` makes two.
fn is_test_in(text: &str, name: &str) -> bool {
    let (mut is_marked, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") {
            is_marked = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let is_it = rest
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('('));
            if is_it && is_marked && !is_ignored {
                return true;
            }
            (is_marked, is_ignored) = (false, false);
        }
    }
    let lists = text.split("_both_drivers!(").skip(1);
    let mut lists = lists.filter_map(|list| list.split_once(')'));
    lists.any(|(list, _)| list.split(',').any(|listed| listed.trim() == name))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}
