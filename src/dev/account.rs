//! As whom PostgreSQL runs, and how a program is started so that it ends with this process.
//!
//! PostgreSQL refuses to run as root; then it runs as `postgres` where that account exists, else as
//! `nobody`. Which program is started, and when it stops, is decided in `cluster`.

use super::error::ClusterError;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The account that owns the cluster's files and processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether this process is root and steps down to the account.
    is_other: bool,
}

impl Account {
    /// Our own account, or an unprivileged one where we are root.
    pub(crate) fn choose() -> Result<Self, ClusterError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            let gid = rustix::process::getegid().as_raw();
            return Ok(Self {
                uid: uid.as_raw(),
                gid,
                is_other: false,
            });
        }
        let accounts = std::fs::read_to_string("/etc/passwd")
            .map_err(|error| ClusterError::io("read", Path::new("/etc/passwd"), error))?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| account_in(&accounts, name))
            .map(|(uid, gid)| Self {
                uid,
                gid,
                is_other: true,
            })
            .ok_or(ClusterError::NoAccount)
    }

    /// A command that runs `program` as this account, outside of our process group (a terminal's
    /// Ctrl-C is for us alone: the server is stopped after the node), with nothing of our
    /// environment, and that is sent `signal` if the thread that starts it ends.
    ///
    /// That last part is what `setpriv` of util-linux adds: even `kill -9` of this process leaves
    /// no server behind. Where `setpriv` is missing or cannot do it, the server is stopped in order
    /// only.
    pub(crate) fn command(&self, program: &Path, signal: &str) -> Command {
        let mut command = match setpriv() {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", signal]);
                if self.is_other {
                    command.args(["--reuid", &self.uid.to_string()]);
                    command.args(["--regid", &self.gid.to_string()]);
                    command.arg("--clear-groups");
                }
                command.arg("--").arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                if self.is_other {
                    command.uid(self.uid).gid(self.gid);
                }
                command
            }
        };
        // The account may not be allowed to stand where we stand.
        command.current_dir("/").process_group(0);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command
    }

    /// Makes `path` the account's own.
    pub(crate) fn own(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.is_other {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(|error| ClusterError::io("hand over", path, error))
    }

    /// A directory that nobody else may enter, made if it is missing. A directory of another
    /// account, or a link, is refused: under `/tmp` anybody could have put it there.
    pub(crate) fn make_private(&self, directory: &Path) -> Result<(), ClusterError> {
        match std::fs::create_dir(directory) {
            Ok(()) => self.own(directory)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ClusterError::io("make", directory, error)),
        }
        let found = std::fs::symlink_metadata(directory)
            .map_err(|error| ClusterError::io("look at", directory, error))?;
        if !found.is_dir() || found.uid() != self.uid {
            return Err(ClusterError::Foreign {
                path: directory.to_owned(),
            });
        }
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| ClusterError::io("close to others", directory, error))
    }

    /// Whether the account can reach what lies in `directory`, which is absolute: root's home is
    /// usually closed to others.
    pub(crate) fn reaches(&self, directory: &Path) -> bool {
        !self.is_other
            || directory.ancestors().all(|step| {
                std::fs::metadata(step).is_ok_and(|found| {
                    let search = match found.uid() == self.uid {
                        true => 0o100,
                        false if found.gid() == self.gid => 0o010,
                        false => 0o001,
                    };
                    found.mode() & search != 0
                })
            })
    }
}

/// Finds a line `name:password:uid:gid:…` (passwd(5)).
fn account_in(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

fn setpriv() -> Option<PathBuf> {
    ["/usr/bin/setpriv", "/bin/setpriv"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| {
            // BusyBox has a program of this name without the option.
            let help = Command::new(path)
                .arg("--help")
                .env("LC_ALL", OsStr::new("C"))
                .output();
            help.is_ok_and(|help| help.stdout.windows(11).any(|text| text == b"--pdeathsig"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts_as_passwd_has_them() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgresql:x:7:7::/:\n\
                        postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account_in(accounts, "postgres"), Some((101, 104)));
        assert_eq!(account_in(accounts, "nobody"), None);
        assert_eq!(account_in(accounts, "broken"), None);
    }

    #[test]
    fn a_link_in_place_of_a_private_directory_is_refused() {
        let account = Account::choose().expect("an account to run as");
        let place = std::env::temp_dir().join(format!("tailrace-account-{}", std::process::id()));
        std::os::unix::fs::symlink("/", &place).expect("a link");
        let refused = account.make_private(&place);
        std::fs::remove_file(&place).expect("the link is removed");
        assert!(
            matches!(refused, Err(ClusterError::Foreign { .. })),
            "{refused:?}"
        );
    }
}
