//! The floor of the side-by-side comparison: bare loops with nothing around them.
//!
//! `floor send` sends each event to each socket by a `send(2)` of its own. `floor coalesce` takes all
//! events that are pending and sends them once to each socket, as one slice. `floor connect` accepts,
//! reads a request and writes a response head. None of them has a log, a filter, a session, a
//! watch on an open stream (but for `connect`, which has to learn that a client left), or a bound on
//! what it queues for a client.
//!
//! All serve `GET /stream?organizationId=o1&user=u1` and `POST /publish?organizationId=o1`, whose body is
//! sent as it is to the streams of that organisation, or of all without the name.

mod connect;
mod listener;
mod request;
mod serve;
mod streams;

use std::io::Write as _;

use serve::{Loop, serve};

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let (listener, address) = listener::open().expect("loopback has a free port");
    writeln!(std::io::stdout(), "listening {address}").expect("whoever starts it reads");
    match mode.as_str() {
        "send" => serve(&listener, Loop::Send),
        "coalesce" => serve(&listener, Loop::Coalesce),
        "connect" => connect::serve(&listener),
        other => panic!("floor send, floor coalesce or floor connect, not {other:?}"),
    }
}
