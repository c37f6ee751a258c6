//! Changes of open streams: by whom, with which answer, and at an exact place among the events.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::sql::Sql;
use crate::support::{Driver, End, Pair, Request, Stream, World, on_both_drivers};

on_both_drivers!(
    a_stream_is_widened_replaced_and_closed_by_its_user,
    nobody_changes_the_stream_of_another,
    what_is_no_change_is_refused_with_its_status,
    a_service_changes_its_own_streams_alone,
);

const PATH: &str = "/api/realtime/stream";
const CHANNELS: [&str; 3] = ["property", "client", "activity"];

fn change(method: &str, stream: &Stream, rest: &Value) -> Request {
    let mut body = json!({ "connectionId": stream.connected["connectionId"] });
    for (name, value) in rest.as_object().expect("members") {
        body[name] = value.clone();
    }
    Request::new(method, PATH).with_json(&body)
}

fn done(response: &Response) {
    assert_eq!(response.head.status, 200, "{}", response.body);
    assert!(response.json()["connectionId"].is_string());
}

fn refused(response: &Response) -> (u16, String) {
    (response.head.status, response.refusal().0)
}

fn insert_into_all(sql: &Sql, id: &str) {
    sql.run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P');
           INSERT INTO "Client" (id, "organizationId", name) VALUES ('{id}', 'acme', 'C');
           INSERT INTO "Activity" (id, "organizationId", verb) VALUES ('{id}', 'acme', 'A');"#
    ));
}

fn channels_of(stream: &mut Stream, count: usize) -> Vec<String> {
    let events = stream.events(count).into_iter();
    events
        .map(|event| event["channel"].as_str().expect("a channel").to_owned())
        .collect()
}

fn a_stream_is_widened_replaced_and_closed_by_its_user(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let query = "organizationId=acme&channel=client";
    let mut stream = world.node.stream(&Request::stream(query).user("alice"));
    let send = |request: Request| request.user("alice").send(address);
    insert_into_all(&sql, "1");
    assert_eq!(channels_of(&mut stream, 1), ["client"]);

    done(&send(change(
        "POST",
        &stream,
        &json!({ "channels": ["property"] }),
    )));
    let told = stream.control("subscription").json();
    let expected = json!({ "channels": ["client", "property"], "types": [] });
    assert_eq!(told, expected);
    insert_into_all(&sql, "2");
    assert_eq!(channels_of(&mut stream, 2), ["property", "client"]);

    done(&send(change(
        "PUT",
        &stream,
        &json!({ "types": ["activity.*"] }),
    )));
    let told = stream.control("subscription").json();
    assert_eq!(told, json!({ "channels": [], "types": ["activity.*"] }));
    insert_into_all(&sql, "3");
    assert_eq!(channels_of(&mut stream, 1), ["activity"]);

    // The same by the query, as a page without a library would.
    let name = stream.connected["connectionId"].as_str();
    let name = name.expect("a name").to_owned();
    let target = format!("{PATH}?connectionId={name}&type=client.insert");
    done(&send(Request::new("POST", &target).body("")));
    let told = stream.control("subscription").json();
    assert_eq!(told["types"], json!(["activity.*", "client.insert"]));

    let target = format!("{PATH}?connectionId={name}");
    done(&send(Request::new("DELETE", &target)));
    let bye = stream.control("bye").json();
    assert_eq!(bye["reason"], "done");
    assert_eq!(stream.try_next(Duration::from_secs(5)), Err(End::Closed));
    let gone = send(Request::new("DELETE", &target));
    assert_eq!(refused(&gone), (404, "not_found".to_owned()));
}

fn nobody_changes_the_stream_of_another(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let query = "organizationId=acme&channel=client";
    let mut stream = world.node.stream(&Request::stream(query).user("alice"));
    let all = json!({ "channels": ["property"] });
    for method in ["POST", "PUT", "DELETE"] {
        let of = |request: Request| refused(&request.send(address));
        let request = change(method, &stream, &all);
        let foreign = (403, "forbidden".to_owned());
        assert_eq!(of(request.clone().user("carol")), foreign, "{method}");
        assert_eq!(of(request.clone().service()), foreign, "{method}");
        assert_eq!(of(request.clone()).0, 401, "{method}");
        let evil = request
            .user("alice")
            .field("origin", "https://evil.example");
        let elsewhere = (403, "origin_not_allowed".to_owned());
        assert_eq!(of(evil), elsewhere, "{method}");
    }
    insert_into_all(&sql, "1");
    insert_into_all(&sql, "2");
    assert_eq!(channels_of(&mut stream, 2), ["client", "client"]);
}

fn what_is_no_change_is_refused_with_its_status(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let stream = world.node.open("acme", "alice");
    let name = stream.connected["connectionId"].as_str().expect("a name");
    let (boot, rest) = name.split_once('-').expect("a name has fields");
    let other_boot = if boot == "00000001" {
        "00000002"
    } else {
        "00000001"
    };
    let of = |request: Request| refused(&request.user("alice").send(address));
    let post = |body: &Value| of(Request::new("POST", PATH).with_json(body));
    let invalid = (400, "invalid_parameter".to_owned());
    assert_eq!(post(&json!({ "channels": ["a"] })), invalid);
    assert_eq!(
        post(&json!({ "connectionId": "7", "channels": ["a"] })),
        invalid
    );
    assert_eq!(post(&json!({ "connectionId": name })), invalid);
    assert_eq!(
        post(&json!({ "connectionId": name, "channels": ["a,b"] })),
        invalid
    );
    assert_eq!(post(&json!([1])), invalid);
    let elsewhere = json!({ "connectionId": format!("{other_boot}-{rest}"), "channels": ["a"] });
    assert_eq!(post(&elsewhere), (409, "elsewhere".to_owned()));
    let gone = json!({ "connectionId": format!("{boot}-0-ffff-0"), "channels": ["a"] });
    assert_eq!(post(&gone), (404, "not_found".to_owned()));
    let text = Request::new("POST", PATH)
        .field("content-type", "text/plain")
        .body("connectionId");
    assert_eq!(of(text), (415, "unsupported_media_type".to_owned()));
    let patch = Request::new("PATCH", PATH).body("");
    let response = patch.user("alice").send(address);
    assert_eq!(response.head.status, 405);
    let allowed = response.head.value("allow");
    assert_eq!(allowed, Some("GET, POST, PUT, DELETE, OPTIONS"));
}

fn a_service_changes_its_own_streams_alone(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let query = "organizationId=acme&channel=client";
    let mut stream = world.node.stream(&Request::stream(query).service());
    let request = change("PUT", &stream, &json!({ "channels": ["property"] }));
    let foreign = refused(&request.clone().user("alice").send(address));
    assert_eq!(foreign, (403, "forbidden".to_owned()));
    done(&request.service().send(address));
    stream.control("subscription");
    insert_into_all(&world.database.connect(), "1");
    assert_eq!(channels_of(&mut stream, 1), ["property"]);
}

/// How many changes there are in all.
const CHANGES: usize = 1_000;

/// Streams whose subscription changes all the time, on each node.
const STREAMS: usize = 4;

/// What one stream was told: events by their place in the order of all, and changes.
enum Told {
    Event(usize),
    Filter(Vec<String>),
}

#[test]
fn a_thousand_changes_under_load_lose_nothing_and_let_nothing_through() {
    let pair = Pair::new();
    let reference = pair.nodes[0].open("acme", "alice");
    // Read all the while: whoever takes nothing for half a minute is closed.
    let reference = std::thread::spawn(move || read_all(reference));
    let streams: Vec<(SocketAddr, Stream)> = pair
        .nodes
        .iter()
        .flat_map(|node| (0..STREAMS).map(move |_| (node.address(), node.open("acme", "alice"))))
        .collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let begin = Arc::new(Barrier::new(streams.len() + 1));
    let writer = {
        let (is_over, begin) = (Arc::clone(&is_over), Arc::clone(&begin));
        let sql = pair.database.connect();
        std::thread::spawn(move || {
            begin.wait();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                insert_into_all(&sql, &count.to_string());
                count += 1;
                // A load that leaves the readers their half of the machine.
                std::thread::sleep(Duration::from_millis(10));
            }
            insert_into_all(&sql, "last");
            count
        })
    };
    let changes = CHANGES / streams.len();
    let readers: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(index, (address, stream))| {
            let begin = Arc::clone(&begin);
            std::thread::spawn(move || {
                begin.wait();
                change_and_read(address, stream, index, changes)
            })
        })
        .collect();
    // Each reads on until it has the last event, which comes when nobody changes anything any more.
    let changed: Vec<_> = readers
        .into_iter()
        .map(|reader| reader.join().expect("it changed"))
        .collect();
    is_over.store(true, Ordering::Relaxed);
    let count = writer.join().expect("it wrote");

    let (order, channels) = reference.join().expect("it read all");
    let mut told_of_changes = 0;
    for (mut stream, mut blocks) in changed {
        blocks.extend(read_to_the_last(&mut stream));
        let told: Vec<Told> = blocks
            .iter()
            .map(|(event, value)| match event {
                true => Told::Event(order[value["id"].as_str().expect("an id")]),
                false => Told::Filter(names(&value["channels"])),
            })
            .collect();
        told_of_changes += told
            .iter()
            .filter(|told| matches!(told, Told::Filter(_)))
            .count();
        check(&told, &channels);
    }
    println!(
        "{CHANGES} changes in {told_of_changes} events among {} events",
        3 * count
    );
    assert!(told_of_changes > CHANGES / 2, "{told_of_changes} were told");
}

/// Every event up to the last: the place of each id, and the channel at each place.
fn read_all(mut stream: Stream) -> (HashMap<String, usize>, Vec<String>) {
    let (mut order, mut channels) = (HashMap::new(), Vec::new());
    loop {
        let event = stream.event();
        let id = event["id"].as_str().expect("an id").to_owned();
        let channel = event["channel"].as_str().expect("a channel").to_owned();
        order.insert(id, channels.len());
        channels.push(channel);
        if event["payload"]["record"]["id"] == "last" && channels.len() % 3 == 0 {
            return (order, channels);
        }
    }
}

/// An event of the application's (true) or a `subscription` event, and its data.
type Block = (bool, Value);

fn change_and_read(
    address: SocketAddr,
    mut stream: Stream,
    index: usize,
    changes: usize,
) -> (Stream, Vec<Block>) {
    let mut blocks = Vec::new();
    for round in 0..changes {
        // One channel, two, or with the last change all.
        let first = (round + index) % CHANNELS.len();
        let wanted = match (round + 1 == changes, round % 4) {
            (true, _) => json!({ "channels": [] }),
            (_, 0) => json!({ "channels": [CHANNELS[first], CHANNELS[(first + 1) % 3]] }),
            _ => json!({ "channels": [CHANNELS[first]] }),
        };
        let method = if round % 5 == 4 && round + 1 < changes {
            "POST"
        } else {
            "PUT"
        };
        done(&change(method, &stream, &wanted).user("alice").send(address));
        while let Ok(block) = stream.try_next(Duration::from_millis(1)) {
            blocks.extend(kept(&block));
        }
    }
    (stream, blocks)
}

/// Reads until the last event of the last channel has come, or nothing more does.
fn read_to_the_last(stream: &mut Stream) -> Vec<Block> {
    let mut blocks = Vec::new();
    loop {
        let block = stream.next();
        blocks.extend(kept(&block));
        let is_last = |value: &Value| {
            value["payload"]["record"]["id"] == "last" && value["channel"] == "activity"
        };
        if block.is_data() && is_last(&block.json()) {
            return blocks;
        }
    }
}

fn kept(block: &crate::support::sse::Block) -> Option<Block> {
    match block.event.as_deref() {
        None if block.is_data() => Some((true, block.json())),
        Some("subscription") => Some((false, block.json())),
        Some("heartbeat") => None,
        _ => panic!("{block:?}"),
    }
}

fn names(value: &Value) -> Vec<String> {
    let names = value.as_array().expect("a list").iter();
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// What a stream was told, in order, must be what each filter admits from the place on where the one
/// before it ended, for some place of each change.
fn check(told: &[Told], channels: &[String]) {
    let mut filter: Vec<String> = Vec::new();
    let next_admitted = |filter: &[String], from: usize| {
        let admits = |channel: &String| filter.is_empty() || filter.contains(channel);
        let later = channels.iter().enumerate().skip(from);
        later
            .filter(|(_, channel)| admits(channel))
            .map(|(at, _)| at)
            .next()
            .unwrap_or(channels.len())
    };
    // The places at which the stream may stand, from the first to the last.
    let first = told.iter().find_map(|told| match told {
        Told::Event(at) => Some(*at),
        Told::Filter(_) => None,
    });
    let (mut least, mut most) = (0, first.expect("events came"));
    for told in told {
        match told {
            Told::Event(at) => {
                let from = most.min(*at);
                assert!(*at >= least, "event {at} came after {least}");
                assert_eq!(
                    next_admitted(&filter, from),
                    *at,
                    "{filter:?} from {least}..={most}"
                );
                (least, most) = (at + 1, at + 1);
                most = next_admitted(&filter, most);
            }
            Told::Filter(new) => {
                most = next_admitted(&filter, most);
                filter.clone_from(new);
            }
        }
    }
    assert_eq!(
        next_admitted(&filter, least),
        channels.len(),
        "the last has come"
    );
}
