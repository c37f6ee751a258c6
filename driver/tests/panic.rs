//! A panic on an engine's thread ends the process: there is no node of which half is dead.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use driver::{Choice, Forwarded, Options, Uplink};
use engine::{Notice, Overloaded};

/// Set in the process that is to end.
const CHILD: &str = "TAILRACE_TEST_PANICS";

/// The signal of abort(3).
const SIGABRT: i32 = 6;

struct Panics;

impl Uplink for Panics {
    fn forward(&mut self, _: Forwarded) -> Result<(), Overloaded> {
        panic!("as the test wants it");
    }

    fn notify(&mut self, _: Notice) {}
}

#[test]
fn a_panic_on_one_engine_ends_the_process() {
    if let Some(choice) = std::env::var_os(CHILD) {
        serve_until_it_panics(choice.to_str().unwrap().parse().unwrap());
    }
    for choice in ["uring", "epoll"] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_panic_on_one_engine_ends_the_process"])
            .env(CHILD, choice)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(SIGABRT), "{choice}: {status}");
    }
}

fn serve_until_it_panics(choice: Choice) -> ! {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        threads: 2,
        choice,
    };
    let config = |engine| engine::Config {
        engine,
        boot: 1,
        seed: [1; 16],
        streams: Vec::new(),
        heartbeat_ms: 15_000,
        log_bytes_max: 1 << 20,
        reset_spread_ms: 1_000,
        idle_close_ms: 0,
        resume_wait_ms: 1_000,
    };
    let engines = driver::start(&options, config, |_| Box::new(Panics)).unwrap();
    let mut client = TcpStream::connect(engines.local_addr()).unwrap();
    std::io::Write::write_all(&mut client, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
    std::process::exit(0);
}
