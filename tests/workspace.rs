//! The house's own rules, read from Cargo's metadata: imports go one way, pure crates stay pure,
//! and everything is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace and which of the others each may import. The root package may
/// import all of them, and nobody imports it.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("wire", &[]),
    ("engine", &["wire"]),
    ("auth", &["wire"]),
    ("replication", &["wire"]),
    ("driver", &["engine", "wire"]),
    ("sim", &["engine", "replication", "wire"]),
];

/// The crates without a clock, a socket, a thread, an environment or a randomly seeded map.
const PURE: [&str; 5] = ["wire", "engine", "auth", "replication", "sim"];

/// What a pure crate's `clippy.toml` must forbid at the least.
const BANNED: [&str; 7] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::env::var",
    "std::net::TcpStream",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

#[test]
fn imports_go_one_way() {
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = DIRECTIONS
        .iter()
        .map(|(name, allowed)| (*name, allowed.iter().copied().collect()))
        .collect();
    let ours: Vec<&str> = DIRECTIONS.iter().map(|(name, _)| *name).collect();
    expected.insert("tailrace", ours.iter().copied().collect());
    let metadata = metadata();
    let packages = metadata["packages"]
        .as_array()
        .expect("metadata lists packages");
    assert_eq!(
        packages.len(),
        expected.len(),
        "a crate without a place in the design"
    );
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let allowed = expected
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the design"));
        for dependency in package["dependencies"].as_array().expect("a list") {
            let imported = dependency["name"]
                .as_str()
                .expect("a dependency has a name");
            let is_ours = imported == "tailrace" || ours.contains(&imported);
            assert!(
                !is_ours || allowed.contains(imported),
                "{name} imports {imported}; the design lets it import {allowed:?}"
            );
        }
    }
}

#[test]
fn unsafe_code_is_in_the_driver_alone() {
    for (name, root) in roots() {
        let text = fs::read_to_string(&root).expect("Cargo names files that are there");
        let forbids = text.contains("#![forbid(unsafe_code)]");
        assert_eq!(forbids, name != "driver", "{root}: #![forbid(unsafe_code)]");
    }
}

#[test]
fn what_measures_is_held_to_the_same_rules() {
    let workspace = fs::read_to_string(rooted("benches/Cargo.toml"));
    let workspace = workspace.expect("the benches' workspace has a manifest");
    for rule in ["unsafe_code = \"forbid\"", "missing_docs = \"deny\""] {
        assert!(workspace.contains(rule), "benches/Cargo.toml: {rule}");
    }
    let (_, members) = workspace
        .split_once("\nmembers = [\n")
        .expect("it has members");
    let (members, _) = members.split_once("\n]").expect("their list ends");
    for member in members.lines() {
        let folder = member.trim().trim_matches(['"', ',']);
        let manifest = fs::read_to_string(rooted(&format!("benches/{folder}/Cargo.toml")));
        let manifest = manifest.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(
            inherits,
            "benches/{folder}/Cargo.toml does not inherit the lints"
        );
    }
}

#[test]
fn every_crate_is_documented() {
    let workspace = fs::read_to_string(rooted("Cargo.toml")).expect("the manifest is there");
    assert!(workspace.contains("missing_docs = \"deny\""));
    for (name, root) in roots() {
        let folder = if name == "tailrace" {
            ""
        } else {
            name.as_str()
        };
        let manifest = fs::read_to_string(rooted(&format!("{folder}/Cargo.toml")));
        let manifest = manifest.expect("every crate has a manifest");
        let inherits = manifest.contains("[lints]\nworkspace = true");
        let text = fs::read_to_string(&root).expect("Cargo names files that are there");
        assert!(
            inherits || text.contains("#![deny(missing_docs)]"),
            "{name}"
        );
        assert!(!text.contains("#![allow(missing_docs)]"), "{name}");
    }
}

#[test]
fn pure_crates_have_their_gate() {
    for name in PURE {
        let gate = fs::read_to_string(rooted(&format!("{name}/clippy.toml")));
        let gate = gate.unwrap_or_else(|error| panic!("{name}/clippy.toml: {error}"));
        for banned in BANNED {
            assert!(
                gate.contains(&format!("\"{banned}\"")),
                "{name}/clippy.toml: {banned}"
            );
        }
        let manifest = fs::read_to_string(rooted(&format!("{name}/Cargo.toml")));
        let manifest = manifest.expect("every crate has a manifest");
        for impure in [
            "tokio",
            "rustix",
            "crossbeam-channel",
            "getrandom",
            "tracing",
        ] {
            assert!(
                !manifest.contains(&format!("\n{impure}")),
                "{name} depends on {impure}"
            );
        }
    }
}

/// A target without seeds begins with nothing, one that no page names is not run, and one whose body is
/// not a crate's own rots. That the seeds are replayed is for the tests of each crate.
#[test]
fn every_fuzz_target_has_its_body_its_seeds_and_its_line_in_the_docs() {
    let page = fs::read_to_string(rooted("docs/fuzzing.md")).expect("the page is there");
    let manifest = fs::read_to_string(rooted("fuzz/Cargo.toml")).expect("the manifest is there");
    let folder = fs::read_dir(rooted("fuzz/fuzz_targets")).expect("there are targets");
    for entry in folder {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("targets are named in UTF-8");
        let text = fs::read_to_string(&path).expect("a target is text");
        assert!(text.contains("::fuzzing::"), "{name} has a body of its own");
        assert!(
            page.contains(&format!("\n| `{name}` | ")),
            "{name}: docs/fuzzing.md"
        );
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\n")),
            "{name}"
        );
        let seeds = fs::read_dir(rooted(&format!("fuzz/corpus/{name}")));
        assert!(
            seeds.is_ok_and(|mut seeds| seeds.next().is_some()),
            "{name}: no seeds"
        );
    }
}

/// The name and the root source file of every library and binary of the workspace.
fn roots() -> Vec<(String, String)> {
    let mut roots = Vec::new();
    for package in metadata()["packages"]
        .as_array()
        .expect("metadata lists packages")
    {
        let name = package["name"].as_str().expect("a package has a name");
        for target in package["targets"].as_array().expect("a list") {
            let kinds = target["kind"].as_array().expect("a list");
            if kinds.iter().any(|kind| kind == "lib" || kind == "bin") {
                let root = target["src_path"].as_str().expect("a path");
                roots.push((name.to_owned(), root.to_owned()));
            }
        }
    }
    assert!(roots.len() > DIRECTIONS.len(), "{roots:?}");
    roots
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--offline",
            "--manifest-path",
        ])
        .arg(rooted("Cargo.toml"))
        .output()
        .expect("the tests are run by Cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("metadata is JSON")
}

fn rooted(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}
