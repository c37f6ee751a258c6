//! Debian's nginx in front of a node, with a configuration and a port of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::directory::Directory;
use super::ports::free_port;
use super::process::{Process, Program, Signal};
use super::wait_until;

/// A running nginx.
pub(crate) struct Nginx {
    // Dropped in this order: the process ends before its directory goes.
    _process: Process,
    _directory: Directory,
    address: SocketAddr,
}

impl Nginx {
    /// Starts it with these `location` blocks, in which `$node` stands for the node's address and
    /// the upstream `nextjs_backend` is the node.
    pub(crate) fn start(node: SocketAddr, locations: &str) -> Self {
        let directory = Directory::new();
        let port = free_port();
        let files = directory.join("");
        let locations = locations.replace("$node", &node.to_string());
        let user = if rustix::process::getuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let config = format!(
            "daemon off;
             worker_processes 1;
             {user}
             pid {files}nginx.pid;
             error_log {files}error.log;
             events {{ worker_connections 128; }}
             http {{
                 access_log off;
                 client_body_temp_path {files}body;
                 proxy_temp_path {files}proxy;
                 fastcgi_temp_path {files}fastcgi;
                 uwsgi_temp_path {files}uwsgi;
                 scgi_temp_path {files}scgi;
                 upstream nextjs_backend {{ server {node}; }}
                 server {{
                     listen 127.0.0.1:{port};
                     {locations}
                 }}
             }}"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config).expect("the directory of a test can be written");
        let log = directory.join("error.log");
        let program = Program::new(binary())
            .args(["-p", &files, "-e", &log, "-c", &file])
            .output(directory.join("output.log"));
        let mut process = Process::spawn(&program, Signal::TERM);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("nginx takes connections", Duration::from_secs(10), || {
            let output = || fs::read_to_string(directory.join("output.log")).unwrap_or_default();
            assert!(
                process.is_running(),
                "nginx ended at its start: {}",
                output()
            );
            TcpStream::connect(address).is_ok()
        });
        Self {
            _process: process,
            _directory: directory,
            address,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Debian keeps it in a directory that is not in everybody's `PATH`.
fn binary() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if fs::exists(debian).unwrap_or(false) {
        debian
    } else {
        "nginx"
    }
}
