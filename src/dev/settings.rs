//! The private cluster's configuration files.
//!
//! Everything is in files and nothing on the command line, so that `pg_ctl restart` brings back the
//! same server.

use super::account::Account;
use super::error::ClusterError;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// `sun_path` is 108 bytes with its terminating zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The superuser's name: over the socket only, and the socket's directory is closed to others.
pub(crate) const SUPERUSER: &str = "postgres";

/// Writes `postgresql.conf` and `pg_hba.conf` into `directory`.
pub(crate) fn write(
    directory: &Path,
    sockets: &Path,
    port: u16,
    account: &Account,
) -> Result<(), ClusterError> {
    replace(
        &directory.join("postgresql.conf"),
        &postgresql_conf(sockets, port),
        account,
    )?;
    replace(&directory.join("pg_hba.conf"), PG_HBA, account)
}

/// The port that the cluster had before, if nobody has taken it since, else a free one: an address
/// that somebody keeps in another window stays valid.
pub(crate) fn port(directory: &Path) -> Result<u16, ClusterError> {
    let file = directory.join("postgresql.conf");
    let before = fs::read_to_string(file)
        .ok()
        .and_then(|text| port_in(&text));
    let free = |port: u16| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(listener.local_addr()?.port())
    };
    before
        .and_then(|port| free(port).ok())
        .map_or_else(|| free(0), Ok)
        .map_err(|error| ClusterError::io("find a free port for", directory, error))
}

/// Whether a socket in this directory has a path that the kernel takes, whatever its port.
pub(crate) fn socket_fits(sockets: &Path) -> bool {
    sockets.join(".s.PGSQL.65535").as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

/// Over TCP with a password; over the socket, whose directory only the server's account and root
/// may enter, without.
const PG_HBA: &str = "\
# Written by `tailrace dev` at every start.
local all all trust
host all all 127.0.0.1/32 scram-sha-256
";

fn postgresql_conf(sockets: &Path, port: u16) -> String {
    let sockets = sockets.to_string_lossy().replace('\'', "''");
    format!(
        "\
# Written by `tailrace dev` at every start. Settings of your own: ALTER SYSTEM SET …
cluster_name = 'tailrace dev'
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 100

# What a node reads: every row change, decoded.
wal_level = logical
# Per node one copy of the anchor slot and one sender; the rest is for trying things out.
max_replication_slots = 20
max_wal_senders = 20
# An anchor that nobody moves must not fill the disk of a laptop.
max_slot_wal_keep_size = '4GB'

# Samples only: not waiting for the disk makes the change on the page as quick as a server's disk
# would, and a crash of the server alone (not of the machine) still loses nothing.
fsync = off
# On, as everywhere: without it a commit reaches the stream some 200 ms late.
synchronous_commit = on
max_wal_size = '1GB'
shared_buffers = '64MB'

lc_messages = 'C'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
"
    )
}

fn port_in(conf: &str) -> Option<u16> {
    conf.lines()
        .find_map(|line| line.strip_prefix("port = ")?.trim().parse().ok())
}

/// Writes beside the file and renames: a reader never sees half of it, and a link planted in its
/// place is replaced, not followed.
fn replace(path: &Path, text: &str, account: &Account) -> Result<(), ClusterError> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| ClusterError::io("write", &beside, error))?;
    account.own(&beside)?;
    fs::rename(&beside, path).map_err(|error| ClusterError::io("replace", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_back_from_what_was_written() {
        let conf = postgresql_conf(Path::new("/tmp/it's"), 54321);
        assert_eq!(port_in(&conf), Some(54321));
        assert!(
            conf.contains("unix_socket_directories = '/tmp/it''s'"),
            "{conf}"
        );
        assert_eq!(port_in(""), None);
    }

    #[test]
    fn a_socket_path_of_108_bytes_does_not_fit() {
        let name = "/.s.PGSQL.65535".len();
        let directory = |bytes: usize| format!("/{}", "d".repeat(bytes - 1));
        assert!(socket_fits(Path::new(&directory(
            SOCKET_PATH_BYTES_MAX - name
        ))));
        assert!(!socket_fits(Path::new(&directory(
            SOCKET_PATH_BYTES_MAX - name + 1
        ))));
    }
}
