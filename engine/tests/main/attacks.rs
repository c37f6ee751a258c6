//! Attacks on HTTP/1, cut at every byte: each is refused once, nothing of it reaches the control thread,
//! and its connection ends.

#[path = "../../../tests/chaos/attacks.rs"]
mod list;

use crate::world::World;

/// Of a longer one, only the first cuts are tried: what decides comes before.
const CUTS_MAX: usize = 400;

#[test]
fn every_attack_is_refused_once_however_it_is_cut() {
    for (name, text) in list::all() {
        let bytes = text.as_bytes();
        let whole = answer(&name, &[bytes]);
        for cut in 1..bytes.len().min(CUTS_MAX) {
            let pieces = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(answer(&name, &pieces), whole, "{name} cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(answer(&name, &single), whole, "{name} byte by byte");
    }
}

/// What is answered to an attack in these pieces.
fn answer(name: &str, pieces: &[&[u8]]) -> String {
    let mut world = World::new(1 << 20);
    world.accept(1);
    for piece in pieces {
        world.bytes(1, piece);
        world.settle();
    }
    let requests = world.kernel.requests.len();
    assert_eq!(requests, 0, "{name} reaches the control thread");
    let socket = &world.kernel.sockets[&1];
    let received = String::from_utf8(socket.received.clone()).unwrap();
    let is_refusal = ["HTTP/1.1 4", "HTTP/1.1 501 ", "HTTP/1.1 505 "]
        .iter()
        .any(|beginning| received.starts_with(beginning));
    assert!(is_refusal, "{name}: {received:?}");
    assert_eq!(
        received.matches("\r\n\r\n").count(),
        1,
        "{name}: {received:?}"
    );
    assert!(socket.is_finished, "{name}: {received:?}");
    received
}
