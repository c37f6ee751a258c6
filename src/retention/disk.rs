//! What is free on the server's disk: SQL does not say it, so only where the data directory is on
//! this machine, and known.

use std::path::{Path, PathBuf};

use replication::{ConnectInfo, Host};
use rustix::fs::statvfs;
use tokio_postgres::Client;

/// The free bytes of the disk that holds the log; `None` where it cannot be told.
pub(super) async fn free_bytes(client: &Client, info: &ConnectInfo) -> Option<u64> {
    if !is_local(info) {
        return None;
    }
    let data = match told(client).await {
        Some(path) => path,
        None => locked(&info.socket_path()?)?,
    };
    // The log may be on a disk of its own, which only the server's account may look at.
    let statistics = statvfs(data.join("pg_wal"))
        .or_else(|_| statvfs(&data))
        .ok()?;
    statistics.f_bavail.checked_mul(statistics.f_frsize)
}

fn is_local(info: &ConnectInfo) -> bool {
    match &info.host {
        Host::Unix(_) => true,
        // A tunnel looks the same; then the path is not there, or another server's.
        Host::Tcp(_) => false,
    }
}

/// The directory, where the role may see it.
async fn told(client: &Client) -> Option<PathBuf> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
    let row = client.query_opt(sql, &[]).await.ok()??;
    let path = PathBuf::from(row.get::<_, String>(0));
    path.is_absolute().then_some(path)
}

/// The directory as the second line of the socket's lock file has it, where we may read that.
fn locked(socket: &Path) -> Option<PathBuf> {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let text = std::fs::read_to_string(PathBuf::from(lock)).ok()?;
    text.lines().nth(1).map(PathBuf::from)
}
