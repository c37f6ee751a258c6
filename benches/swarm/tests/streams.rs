//! The swarm's own loop against a small server of event streams, over real sockets.

mod server;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use swarm::{Answer, Layout, Opened, Order, Reconnected, Report, Resume, Target, sources};

use server::{Framing, Server};

/// How long an answer may take: only a mistake takes longer.
const WITHIN: Duration = Duration::from_secs(60);

/// A swarm in a thread of its own.
struct Swarm {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

impl Swarm {
    fn start(target: Target) -> Self {
        let (orders, taken) = channel();
        let (given, answers) = channel();
        let thread = std::thread::spawn(move || {
            let answer = |answer| {
                given.send(answer).expect("the test listens");
                Ok(())
            };
            swarm::run(target, &taken, answer).expect("the swarm runs");
        });
        Self {
            orders,
            answers,
            thread,
        }
    }

    fn tell(&self, order: Order) -> Answer {
        self.orders.send(order).expect("the swarm runs");
        self.answers.recv_timeout(WITHIN).expect("it answers")
    }

    fn open(&self, first: u32, streams: u32, stalled: bool) -> Opened {
        let order = Order::Open {
            first,
            streams,
            per_second: 0,
            stalled,
        };
        match self.tell(order) {
            Answer::Opened(opened) => opened,
            answer => panic!("{answer:?}"),
        }
    }

    fn reconnect(&self, streams: u32, until: BTreeMap<u32, u64>) -> Reconnected {
        let order = Order::Reconnect {
            first: 0,
            streams,
            resume: true,
            until,
            timeout_seconds: 30,
        };
        match self.tell(order) {
            Answer::Reconnected(reconnected) => reconnected,
            answer => panic!("{answer:?}"),
        }
    }

    fn report(&self) -> Report {
        match self.tell(Order::Report) {
            Answer::Report(report) => *report,
            answer => panic!("{answer:?}"),
        }
    }

    /// The report once it has so many events and repetitions, which are on their way.
    fn report_of(&self, events: u64) -> Report {
        for _ in 0..WITHIN.as_millis() / 10 {
            let report = self.report();
            if report.events + report.duplicates + report.foreign >= events {
                return report;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}, where {events} events were expected", self.report());
    }

    /// Ends it; it must have nothing left to do.
    fn close(self) {
        assert_eq!(self.tell(Order::Close), Answer::Done);
        drop(self.orders);
        self.thread.join().expect("it ends with its orders");
    }
}

/// What the streams of these tests ask for: ten to an organisation.
fn target(server: &Server, tick_microseconds: u64) -> Target {
    let path = "/stream?organization={organization}&user={user}";
    Target {
        layout: Layout::Equal {
            streams_per_organisation: 10,
        },
        sources: sources(3),
        resume: Resume::LastEventId,
        unanswered_max: 8,
        tick_microseconds,
        ..Target::new(server.address(), path)
    }
}

fn assert_all_arrive(framing: Framing, tick_microseconds: u64) {
    let server = Server::start(framing);
    let swarm = Swarm::start(target(&server, tick_microseconds));
    let opened = swarm.open(0, 50, false);
    assert_eq!((opened.opened, opened.connect.count()), (50, 50));
    assert_eq!(swarm.tell(Order::Record), Answer::Done);
    for sequence in 0..20 {
        for organisation in 0..5 {
            server.publish(organisation, sequence);
        }
    }
    let report = swarm.report_of(1000);
    assert_eq!((report.events, report.streams_open), (1000, 50));
    assert_eq!((report.gaps, report.duplicates, report.foreign), (0, 0, 0));
    assert_eq!((report.behind, report.ended), (0, 0));
    assert_eq!(report.latency().count(), 1000);
    assert!(report.bytes >= 1000 * server::EVENT_BYTES as u64);
    swarm.close();
}

#[test]
fn every_event_arrives_once_with_a_tick() {
    assert_all_arrive(Framing::Plain, 1000);
}

#[test]
fn every_event_arrives_once_when_the_kernel_wakes_the_reader() {
    assert_all_arrive(Framing::Plain, 0);
}

#[test]
fn every_event_arrives_once_in_chunks() {
    assert_all_arrive(Framing::Chunked, 1000);
}

fn assert_orders_are_heard_under_load(tick_microseconds: u64) {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, tick_microseconds));
    swarm.open(0, 20, false);
    let flood = server.flood(2);
    let first = swarm.report_of(10_000);
    let second = swarm.report_of(first.events + 10_000);
    assert_eq!((second.gaps, second.duplicates, second.foreign), (0, 0, 0));
    swarm.close();
    flood.end();
}

#[test]
fn orders_are_heard_under_load_with_a_tick() {
    assert_orders_are_heard_under_load(1000);
}

#[test]
fn orders_are_heard_under_load_when_the_kernel_wakes_the_reader() {
    assert_orders_are_heard_under_load(0);
}

#[test]
fn what_goes_wrong_at_the_server_is_counted() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(0, 20, false);
    for sequence in [0, 1, 4, 4] {
        server.publish(0, sequence);
    }
    // An event of organisation 0 goes to the streams of organisation 1.
    server.misdirect(0, 5, 1);
    let report = swarm.report_of(50);
    assert_eq!((report.events, report.gaps), (30, 20));
    assert_eq!((report.duplicates, report.foreign), (10, 10));
    swarm.close();
}

#[test]
fn refusals_are_counted_by_their_status() {
    let server = Server::start(Framing::Plain);
    server.refuse(3);
    let swarm = Swarm::start(target(&server, 1000));
    let opened = swarm.open(0, 10, false);
    assert_eq!(opened.opened, 7);
    assert_eq!(opened.refused, [(503, 3)].into());
    assert_eq!(swarm.report().streams_open, 7);
    swarm.close();
}

#[test]
fn who_comes_back_catches_up() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(0, 30, false);
    for organisation in 0..3 {
        server.publish(organisation, 0);
    }
    swarm.report_of(30);
    let order = Order::Drop {
        first: 0,
        streams: 30,
    };
    assert_eq!(swarm.tell(order), Answer::Done);
    assert_eq!(swarm.report().streams_open, 0);
    for sequence in 1..=5 {
        for organisation in 0..3 {
            server.publish(organisation, sequence);
        }
    }
    server.refuse(4);
    let back = swarm.reconnect(30, (0..3).map(|organisation| (organisation, 5)).collect());
    assert_eq!((back.streams, back.opened, back.caught_up), (30, 30, 30));
    assert_eq!(back.refused, [(503, 4)].into());
    assert_eq!(back.caught_up_after.count(), 30);
    assert!(back.seconds_until_caught_up >= back.seconds_until_open);
    let report = swarm.report();
    assert_eq!((report.events, report.gaps, report.duplicates), (180, 0, 0));
    swarm.close();
}

#[test]
fn who_does_not_catch_up_is_not_waited_for_forever() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(0, 5, false);
    let order = Order::Reconnect {
        first: 0,
        streams: 5,
        resume: true,
        until: [(0, 99)].into(),
        timeout_seconds: 1,
    };
    let Answer::Reconnected(back) = swarm.tell(order) else {
        panic!("no answer to the order");
    };
    assert_eq!((back.opened, back.caught_up), (5, 0));
    swarm.close();
}

#[test]
fn a_stream_that_never_gets_anything_is_behind() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(0, 5, false);
    server.wait_for_streams(5);
    server.publish(0, 1);
    assert_eq!(swarm.report_of(5).behind, 0);
    // It comes too late for the event, and no other says that one is missing.
    swarm.open(5, 1, false);
    let report = swarm.report();
    assert_eq!((report.streams_open, report.gaps), (6, 0));
    assert_eq!(report.behind, 1);
    swarm.close();
}

#[test]
fn streams_that_do_not_read_get_nothing_and_stay() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(0, 10, false);
    assert_eq!(swarm.open(10, 10, true).opened, 10);
    server.wait_for_streams(20);
    let order = Order::Stall {
        first: 0,
        streams: 2,
    };
    assert_eq!(swarm.tell(order), Answer::Done);
    for organisation in 0..2 {
        server.publish(organisation, 0);
    }
    let report = swarm.report_of(8);
    assert_eq!((report.events, report.streams_stalled), (8, 12));
    assert_eq!((report.streams_open, report.behind), (20, 0));
    swarm.close();
}

#[test]
fn streams_that_the_server_ends_are_opened_again() {
    let server = Server::start(Framing::Chunked);
    let mut target = target(&server, 1000);
    target.reopens = true;
    let swarm = Swarm::start(target);
    swarm.open(0, 10, false);
    server.publish(0, 0);
    swarm.report_of(10);
    server.end_all();
    server.publish(0, 1);
    let report = swarm.report_of(20);
    assert_eq!((report.events, report.duplicates, report.gaps), (20, 0, 0));
    assert_eq!((report.ended, report.reopened), (10, 10));
    swarm.close();
}

#[test]
fn an_impossible_order_says_why() {
    let server = Server::start(Framing::Plain);
    let swarm = Swarm::start(target(&server, 1000));
    swarm.open(5, 5, false);
    let failed = |order| matches!(swarm.tell(order), Answer::Failed(_));
    let open = |first| Order::Open {
        first,
        streams: 1,
        per_second: 0,
        stalled: false,
    };
    assert!(failed(open(0)));
    assert!(failed(open(9)));
    assert!(failed(Order::Stall {
        first: 9,
        streams: 2
    }));
    swarm.close();
}
