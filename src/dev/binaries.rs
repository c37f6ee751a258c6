//! Where PostgreSQL's programs are, and which of several installed versions is taken.
//!
//! Only looks; nothing is started here but `postgres --version`.

use super::error::ClusterError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version that the node reads from.
const MAJOR_MIN: u32 = 14;

/// A directory with PostgreSQL's programs, and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// The newest version found, or exactly `wanted` where a data directory demands it: the files
    /// of one major version cannot be read by another (PostgreSQL, "Upgrading a Cluster").
    ///
    /// Looks along `path` (the environment's `PATH`) and where Debian, Ubuntu and the packages of
    /// postgresql.org keep several versions side by side, outside of it.
    pub(crate) fn find(path: Option<&OsStr>, wanted: Option<u32>) -> Result<Self, ClusterError> {
        let mut found: Vec<Self> = directories(path)
            .iter()
            .filter_map(|dir| Self::at(dir))
            .collect();
        // A stable sort: of the same version, the one earlier in `PATH` is kept.
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        let newest = found.first().map(|binaries| binaries.major);
        let suits = |binaries: &Self| match wanted {
            Some(major) => binaries.major == major,
            None => binaries.major >= MAJOR_MIN,
        };
        match (found.into_iter().find(suits), wanted) {
            (Some(binaries), _) => Ok(binaries),
            (None, Some(wanted)) => Err(ClusterError::OtherMajor { wanted, newest }),
            (None, None) => Err(ClusterError::NoBinaries {
                newest,
                oldest: MAJOR_MIN,
            }),
        }
    }

    /// The full path of a program, such as `initdb`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn at(directory: &Path) -> Option<Self> {
        let directory = directory.canonicalize().ok()?;
        if !directory.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(directory.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { directory, major })
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, `… 19beta1` and the like.
fn major_of(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

fn directories(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = path
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .collect();
    // Debian and Ubuntu: /usr/lib/postgresql/15/bin. Red Hat: /usr/pgsql-15/bin.
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        });
        directories.extend(versions.map(|entry| entry.path().join("bin")));
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_postgresql_prints_them() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major_of(debian), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major_of("postgres (PostgreSQL) 18\n"), Some(18));
        for other in [
            "",
            "postgres",
            "postgres (PostgreSQL) ",
            "postgres (PostgreSQL) devel",
        ] {
            assert_eq!(major_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn finds_the_installed_server_without_a_path() {
        let binaries = Binaries::find(None, None).expect("PostgreSQL is installed for the tests");
        assert!(binaries.major >= MAJOR_MIN);
        assert!(binaries.program("initdb").is_file());
        assert_eq!(Binaries::find(None, Some(binaries.major)), Ok(binaries));
    }

    #[test]
    fn a_missing_version_is_named_with_what_to_install() {
        let error = Binaries::find(None, Some(7)).expect_err("nobody has PostgreSQL 7");
        assert!(error.to_string().contains("postgresql-7"), "{error}");
    }
}
