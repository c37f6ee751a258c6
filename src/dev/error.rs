//! Why the private PostgreSQL did not come up, in words that say how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// What kept the private cluster from starting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClusterError {
    /// No PostgreSQL of a version that we read from.
    NoBinaries {
        /// The newest one that is too old, if there is any.
        newest: Option<u32>,
        /// The oldest one that would do.
        oldest: u32,
    },
    /// The data directory was made by a major version that is not installed.
    OtherMajor {
        /// The version that made it.
        wanted: u32,
        /// The newest version that is installed.
        newest: Option<u32>,
    },
    /// We are root, and there is no account to step down to.
    NoAccount,
    /// Another `tailrace dev` has the data directory.
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// Its process, if it could be read.
        process: String,
    },
    /// A directory that should be ours belongs to somebody else, or is a link.
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// `initdb` failed.
    Initdb {
        /// What it said.
        said: String,
    },
    /// The server ended while it started, or did not become ready.
    Server {
        /// What happened to it.
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        said: String,
    },
    /// A file, a directory or a process could not be handled.
    System {
        /// A verb: what was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
}

impl ClusterError {
    pub(crate) fn io(tried: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::System {
            tried,
            path: path.to_owned(),
            cause: error.to_string(),
        }
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries {
                newest: None,
                oldest,
            } => write!(
                f,
                "PostgreSQL's server programs (initdb, postgres) are not in PATH nor in \
                 /usr/lib/postgresql/*/bin. Install version {oldest} or later: on Debian and \
                 Ubuntu `apt-get install postgresql`, on Fedora `dnf install postgresql-server`"
            ),
            Self::NoBinaries {
                newest: Some(newest),
                oldest,
            } => write!(
                f,
                "the newest PostgreSQL found is {newest}, and {oldest} is the oldest that works. \
                 Install a later one: on Debian and Ubuntu `apt-get install postgresql`"
            ),
            Self::OtherMajor { wanted, newest } => {
                write!(f, "the data directory was made by PostgreSQL {wanted}, ")?;
                match newest {
                    Some(newest) => write!(f, "and the newest installed is {newest}. ")?,
                    None => write!(f, "which is not installed. ")?,
                }
                write!(
                    f,
                    "Install that version (on Debian and Ubuntu `apt-get install \
                     postgresql-{wanted}`), or start with another --data-dir"
                )
            }
            Self::NoAccount => f.write_str(
                "PostgreSQL does not run as root, and /etc/passwd has neither `postgres` nor \
                 `nobody`. Run `tailrace dev` as an ordinary user",
            ),
            Self::InUse { data_dir, process } => write!(
                f,
                "`tailrace dev` is already running on {} (process {process}). Stop that one, or \
                 start this one with another --data-dir and --listen",
                data_dir.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is a link or belongs to another account. Remove it, or start with another \
                 --data-dir",
                path.display()
            ),
            Self::Initdb { said } => write!(f, "initdb failed: {said}"),
            Self::Server { what, log, said } => write!(
                f,
                "the private PostgreSQL {what}. The end of its log, {}:\n{said}\nIf its data is \
                 damaged (it does not wait for the disk), remove the data directory: it only \
                 holds samples",
                log.display()
            ),
            Self::System { tried, path, cause } => {
                write!(f, "cannot {tried} {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for ClusterError {}
