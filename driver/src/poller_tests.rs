//! One suite for both drivers, below the engine: sockets, watches, groups of sends, closes. What plays the
//! engine's part is in `bench`; the suite with engines is in `tests/`.

mod bench;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use engine::{Close, Handle, Outcome, Transmit, Watch};
use rustix::io::Errno;

use crate::connections::WATCHES;
use crate::poller::{Arming, Event};
use crate::socket::{self, Received};
use bench::{Bench, Kernel, both};

#[test]
fn a_report_says_that_somebody_waits_and_accepts_nobody() {
    both(|bench| {
        bench.arm_listener(Arming::Reports);
        // There is nothing to call off.
        bench.poller.disarm_listener();
        bench.expect_silence();
        let _clients = [(); 2].map(|()| TcpStream::connect(bench.address).unwrap());
        assert!(matches!(bench.event(), Event::Acceptable));
        bench.expect_silence();
        for _ in 0..2 {
            bench.accept_waiting().unwrap();
        }
        assert_eq!(bench.accept_waiting().unwrap_err(), Errno::AGAIN);
    });
}

#[test]
fn an_accept_that_is_called_off_ends_and_leaves_who_comes_in_the_queue() {
    for kernel in [Kernel::Uring, Kernel::TinyUring] {
        let mut bench = Bench::new(kernel);
        bench.arm_listener(Arming::Accepts);
        let early = TcpStream::connect(bench.address).unwrap();
        assert!(matches!(bench.event(), Event::Accepted(_)));
        drop(early);
        for _ in 0..2 {
            bench.poller.disarm_listener();
        }
        let event = bench.event();
        assert!(
            matches!(event, Event::AcceptFailed(Errno::CANCELED)),
            "{event:?}"
        );
        let _late = TcpStream::connect(bench.address).unwrap();
        bench.expect_silence();
        bench.accept_waiting().unwrap();
    }
}

#[test]
fn bytes_are_reported_once_for_each_watch() {
    both(|bench| {
        let (mut client, handle) = bench.connect();
        bench.watch(handle, Watch::Readable);
        bench.watch(handle, Watch::Readable);
        bench.expect_silence();
        client.write_all(b"one").unwrap();
        bench.expect_ready(handle, Watch::Readable);
        client.write_all(b" two").unwrap();
        bench.expect_silence();
        let mut scratch = [0; 64];
        let socket = bench.connections.socket(handle);
        assert_eq!(socket::receive(socket, &mut scratch), Received::Bytes(7));
        assert_eq!(socket::receive(socket, &mut scratch), Received::Nothing);
        drop(client);
        bench.watch(handle, Watch::Readable);
        bench.expect_ready(handle, Watch::Readable);
        let socket = bench.connections.socket(handle);
        assert_eq!(socket::receive(socket, &mut scratch), Received::Bytes(0));
    });
}

#[test]
fn a_hangup_is_told_from_bytes() {
    both(|bench| {
        let (mut client, handle) = bench.connect();
        bench.watch(handle, Watch::Hangup);
        client.write_all(b"chatter").unwrap();
        bench.expect_silence();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        bench.expect_ready(handle, Watch::Hangup);
        assert_eq!(bench.connections.bits(handle) & WATCHES, 0);
    });
}

#[test]
fn a_full_socket_is_writable_when_the_client_reads() {
    both(|bench| {
        let (mut client, handle) = bench.connect();
        bench.watch(handle, Watch::Hangup);
        let sent = bench.fill(handle);
        bench.watch(handle, Watch::Writable);
        bench.expect_silence();
        let mut received = vec![0; sent];
        client.read_exact(&mut received).unwrap();
        bench.expect_ready(handle, Watch::Writable);
        assert!(matches!(bench.send(handle, b"more"), Outcome::Taken(4)));
        drop(client);
        bench.expect_ready(handle, Watch::Hangup);
    });
}

#[test]
fn a_group_goes_to_all_and_says_who_took_what() {
    both(|bench| {
        let mut pairs: Vec<_> = (0..256).map(|_| bench.connect()).collect();
        let texts: Vec<String> = (0..256).map(|index| format!("for {index};")).collect();
        let handles: Vec<_> = pairs.iter().map(|(_, handle)| *handle).collect();
        let mut group: Vec<_> = handles
            .into_iter()
            .zip(&texts)
            .map(|(connection, text)| {
                let bytes = text.as_bytes();
                Transmit {
                    connection,
                    bytes,
                    outcome: Outcome::Pending,
                }
            })
            .collect();
        let full_slot = 9;
        bench.fill(group[full_slot].connection);
        let gone_slot = 7;
        let (gone, handle) = pairs.swap_remove(gone_slot);
        socket2::SockRef::from(&gone)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(gone);
        bench.watch(handle, Watch::Hangup);
        bench.expect_ready(handle, Watch::Hangup);
        // A poll in the same submission that completes at once is not lost among the sends.
        let (watched_client, watched) = pairs.pop().unwrap();
        bench
            .poller
            .arm(&mut bench.connections, watched, Watch::Writable);
        bench.poller.send(&bench.connections, &mut group);
        for (slot, transmit) in group.iter().enumerate() {
            match transmit.outcome {
                Outcome::Taken(0) => assert_eq!(slot, full_slot),
                Outcome::Taken(count) => assert_eq!(count, transmit.bytes.len()),
                Outcome::Broken => assert_eq!(slot, gone_slot),
                Outcome::Pending => panic!("slot {slot} was forgotten"),
            }
        }
        assert_eq!(group[gone_slot].outcome, Outcome::Broken);
        assert_eq!(group[full_slot].outcome, Outcome::Taken(0));
        bench.expect_ready(watched, Watch::Writable);
        pairs.push((watched_client, watched));
        pairs.retain(|(_, handle)| handle.slot as usize != full_slot);
        for (client, handle) in &mut pairs {
            let mut text = vec![0; texts[handle.slot as usize].len()];
            client.read_exact(&mut text).unwrap();
            assert_eq!(text, texts[handle.slot as usize].as_bytes());
        }
    });
}

#[test]
fn of_more_events_at_once_than_a_ring_holds_none_is_lost() {
    both(|bench| {
        let mut pairs: Vec<_> = (0..100).map(|_| bench.connect()).collect();
        for round in 0..3 {
            for (_, handle) in &pairs {
                bench.watch(*handle, Watch::Readable);
            }
            for (client, _) in &mut pairs {
                client.write_all(b"x").unwrap();
            }
            let mut slots: Vec<u32> = (0..pairs.len())
                .map(|_| match bench.event() {
                    Event::Ready(handle, Watch::Readable) => handle.slot,
                    other => panic!("round {round}: {other:?}"),
                })
                .collect();
            slots.sort_unstable();
            assert!(slots.into_iter().eq(0..100), "round {round}");
            for (_, handle) in &pairs {
                let socket = bench.connections.socket(*handle);
                let received = socket::receive(socket, &mut [0; 8]);
                assert_eq!(received, Received::Bytes(1));
            }
        }
    });
}

#[test]
fn a_group_of_sends_allocates_nothing() {
    both(|bench| {
        let pairs: Vec<_> = (0..64).map(|_| bench.connect()).collect();
        let text = [b'x'; 300];
        let transmit = |(_, handle): &(TcpStream, Handle)| Transmit {
            connection: *handle,
            bytes: &text,
            outcome: Outcome::Pending,
        };
        for _ in 0..4 {
            let mut group: Vec<_> = pairs.iter().map(transmit).collect();
            let send = || bench.poller.send(&bench.connections, &mut group);
            let counted = allocation_counter::measure(send);
            assert_eq!(counted.count_total, 0, "{counted:?}");
            let is_taken = |send: &Transmit<'_>| send.outcome == Outcome::Taken(text.len());
            assert!(group.iter().all(is_taken));
        }
    });
}

#[test]
fn a_watch_allocates_nothing_when_it_was_armed_before() {
    both(|bench| {
        let mut pairs: Vec<_> = (0..16).map(|_| bench.connect()).collect();
        for round in 0..3 {
            for (client, handle) in &mut pairs {
                let counted = allocation_counter::measure(|| bench.watch(*handle, Watch::Readable));
                assert!(round == 0 || counted.count_total == 0, "{counted:?}");
                client.write_all(b"x").unwrap();
                bench.expect_ready(*handle, Watch::Readable);
                let socket = bench.connections.socket(*handle);
                assert_eq!(socket::receive(socket, &mut [0; 8]), Received::Bytes(1));
            }
        }
    });
}

#[test]
fn an_orderly_close_delivers_what_was_sent() {
    both(|bench| {
        for is_watched in [false, true] {
            let (mut client, handle) = bench.connect();
            if is_watched {
                bench.watch(handle, Watch::Hangup);
            }
            bench.send(handle, b"last words");
            bench.close(handle, Close::Orderly);
            bench.expect_released(handle);
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "last words");
        }
    });
}

#[test]
fn a_reset_is_seen_as_one() {
    both(|bench| {
        for watches in [
            &[][..],
            &[Watch::Hangup],
            &[Watch::Readable, Watch::Writable],
        ] {
            let (mut client, handle) = bench.connect();
            bench.fill(handle);
            for watch in watches {
                bench.watch(handle, *watch);
            }
            bench.poller.wait(Duration::ZERO);
            bench.close(handle, Close::Reset);
            bench.expect_released(handle);
            let error = std::io::copy(&mut client, &mut std::io::sink()).unwrap_err();
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "{watches:?}"
            );
        }
    });
}

#[test]
fn an_event_of_a_closed_connection_is_not_reported() {
    both(|bench| {
        let (client, handle) = bench.connect();
        bench.watch(handle, Watch::Hangup);
        bench.poller.wait(Duration::ZERO);
        drop(client);
        // The hang-up is on its way when the engine closes for a reason of its own.
        bench.poller.wait(Duration::from_millis(100));
        bench.close(handle, Close::Orderly);
        bench.expect_released(handle);
        assert_eq!(bench.connections.bits(handle), 0);
    });
}

#[test]
fn a_slot_is_used_again_under_the_next_generation() {
    both(|bench| {
        let (_client, handle) = bench.connect();
        bench.watch(handle, Watch::Readable);
        bench.close(handle, Close::Orderly);
        bench.expect_released(handle);
        let mut client = TcpStream::connect(bench.address).unwrap();
        let socket = bench.accept();
        let descriptor = bench.connections.begin_accept(socket);
        let next = Handle {
            descriptor,
            slot: handle.slot,
            generation: 1,
        };
        bench.connections.adopt(next);
        bench.watch(next, Watch::Readable);
        client.write_all(b"hello").unwrap();
        match bench.event() {
            Event::Ready(ready, Watch::Readable) => assert_eq!(ready.generation, 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            bench.connections.bits(handle),
            0,
            "the earlier one is not there"
        );
    });
}

#[test]
fn a_wake_up_ends_a_wait_again_and_again() {
    both(|bench| {
        for _ in 0..3 {
            bench.shared.waker.announce_sleep();
            bench.shared.waker.wake();
            assert!(matches!(bench.event(), Event::Woken));
            bench.expect_silence();
        }
    });
}
