//! `POST /api/realtime/publish`: whom an event reaches, what its answer says and when, and that nothing
//! is told that did not happen. Two nodes of two engines each wherever streams look on.

mod command;
mod failures;

use std::thread;

use serde_json::{Value, json};

use crate::support::config::{ADMIN_KEY, SERVICE_KEY};
use crate::support::http::Response;
use crate::support::pair::Pair;
use crate::support::postgres::Database;
use crate::support::{Node, Request, Stream};

const PATH: &str = "/api/realtime/publish";

fn request() -> Request {
    Request::new("POST", PATH).service()
}

fn publish(node: &Node, body: &Value) -> Response {
    request().with_json(body).send(node.address())
}

fn publish_again(node: &Node, key: &str, body: &Value) -> Response {
    let request = request().field("idempotency-key", key);
    request.with_json(body).send(node.address())
}

/// The ids of an answer that says that the stream has shown the events.
fn ids(response: &Response) -> Vec<String> {
    assert_eq!(response.head.status, 202, "{response:?}");
    let answer = response.json();
    assert_eq!(answer.get("pending"), None, "{answer}");
    let ids = answer["ids"].as_array().expect("an answer has ids");
    let text = |id: &Value| id.as_str().expect("an id is a text").to_owned();
    ids.iter().map(text).collect()
}

/// A stream on each of the nodes.
fn open(pair: &Pair, organization: &str, user: &str) -> [Stream; 2] {
    [0, 1].map(|at| pair.nodes[at].open(organization, user))
}

#[test]
fn an_event_reaches_its_audience_and_nobody_else() {
    let pair = Pair::new();
    let mut alice = open(&pair, "acme", "alice");
    let mut carol = open(&pair, "acme", "carol");
    let mut carol_at_globex = open(&pair, "globex", "carol");
    let mut bob = open(&pair, "globex", "bob");
    let said = |body: Value, node: usize| ids(&publish(&pair.nodes[node], &body)).remove(0);
    let all = [
        said(
            json!({"type": "property.viewed", "organizationId": "acme", "data": {"marker": "acme"}}),
            0,
        ),
        said(
            json!({"type": "horses:shared", "tenantId": "acme", "userId": "carol", "payload": 1}),
            1,
        ),
        said(
            json!({"type": "report", "userId": "carol", "data": "marker-carol"}),
            0,
        ),
        said(
            json!({"type": "system.alert", "global": true, "data": [1.50, 1e2]}),
            1,
        ),
        said(
            json!({"type": "sync", "organizationId": "globex", "channel": "system"}),
            0,
        ),
    ];
    let check = |event: &Value, at: usize, channel: &str, payload: Value| {
        assert_eq!(event["id"], all[at], "the id that the publisher was told");
        let told = [&event["source"], &event["channel"], &event["payload"]];
        assert_eq!(told, [&json!("application"), &json!(channel), &payload]);
    };
    let viewed = json!({"organizationId": "acme", "data": {"marker": "acme"}});
    let shared = json!({"organizationId": "acme", "userId": "carol", "data": 1});
    let report = json!({"userId": "carol", "data": "marker-carol"});
    let alert = json!({"data": [1.50, 1e2]});
    let sync = json!({"organizationId": "globex", "data": null});
    for stream in &mut alice {
        check(&stream.event(), 0, "property", viewed.clone());
        check(&stream.event(), 3, "global", alert.clone());
        assert!(!stream.has_received("marker-carol"));
    }
    for stream in &mut carol {
        check(&stream.event(), 0, "property", viewed.clone());
        check(&stream.event(), 1, "user:carol", shared.clone());
        check(&stream.event(), 2, "user:carol", report.clone());
        check(&stream.event(), 3, "global", alert.clone());
    }
    for stream in &mut carol_at_globex {
        // What is hers within another organisation is not shown in this one.
        check(&stream.event(), 2, "user:carol", report.clone());
        check(&stream.event(), 3, "global", alert.clone());
        check(&stream.event(), 4, "system", sync.clone());
    }
    for stream in &mut bob {
        check(&stream.event(), 3, "global", alert.clone());
        check(&stream.event(), 4, "system", sync.clone());
        assert!(!stream.has_received("\"marker\"") && !stream.has_received("marker-carol"));
    }
}

#[test]
fn a_filter_for_users_admits_ones_own_events_alone() {
    let pair = Pair::new();
    let open = |query: &str| {
        let query = format!("organizationId=acme&{query}");
        pair.nodes[0].stream(&Request::stream(&query).user("alice"))
    };
    let (mut of_users, mut own) = (open("channel=user"), open("channel=user:alice"));
    let mut others = open("channel=user:carol,property");
    let events = json!([
        {"type": "property.viewed", "organizationId": "acme", "data": 1},
        {"type": "note", "userId": "alice", "data": 2},
        {"type": "note", "userId": "carol", "data": 3},
        {"type": "note", "userId": "alice", "channel": "property", "data": 4},
        {"type": "note", "userId": "alice", "organizationId": "acme", "data": 5},
        {"type": "last", "organizationId": "acme", "channel": "property", "data": 6},
        {"type": "last", "organizationId": "acme", "channel": "user", "data": 7},
        {"type": "last", "userId": "alice", "data": 8},
    ]);
    publish(&pair.nodes[1], &events);
    let data = |stream: &mut Stream, count: usize| -> Vec<Value> {
        let events = stream.events(count).into_iter();
        events
            .map(|mut event| event["payload"]["data"].take())
            .collect()
    };
    assert_eq!(data(&mut of_users, 4), [2, 5, 7, 8]);
    assert_eq!(data(&mut own, 3), [2, 5, 8]);
    assert_eq!(data(&mut others, 3), [1, 4, 6]);
}

#[test]
fn a_call_that_is_made_again_is_shown_once_on_every_node() {
    let mut pair = Pair::new();
    let mut alice = open(&pair, "acme", "alice");
    let body = json!({"type": "a", "organizationId": "acme", "data": "first"});
    let first = ids(&publish_again(&pair.nodes[0], "k-1", &body));
    assert_eq!(ids(&publish_again(&pair.nodes[0], "k-1", &body)), first);
    let other = json!({"type": "b", "organizationId": "acme", "data": "another body"});
    assert_eq!(ids(&publish_again(&pair.nodes[1], "k-1", &other)), first);
    // In the body it is the same id; another organisation's is another.
    let mut in_body = body.clone();
    in_body["id"] = json!("k-1");
    assert_eq!(ids(&publish(&pair.nodes[1], &in_body)), first);
    let of_globex = json!({"type": "a", "organizationId": "globex"});
    assert_ne!(
        ids(&publish_again(&pair.nodes[0], "k-1", &of_globex)),
        first
    );
    // So is one that the application emits itself.
    let sql = pair.database.connect();
    sql.run(&format!(
        "SELECT pg_logical_emit_message(true, 'tailrace', '{in_body}')"
    ));

    // Of many at once, at two nodes, one is shown, and all are told of that one.
    let body = json!({"type": "race", "organizationId": "acme"});
    let addresses = [0, 1].map(|at| pair.nodes[at].address());
    let calls: Vec<_> = (0..16)
        .map(|at| {
            let request = request().field("idempotency-key", "k-2").with_json(&body);
            thread::spawn(move || request.send(addresses[at % 2]))
        })
        .collect();
    let mut told: Vec<_> = calls
        .into_iter()
        .map(|call| ids(&call.join().expect("a call does not panic")))
        .collect();
    told.dedup();
    assert_eq!(told.len(), 1, "one event: {told:?}");

    // A node that starts anew has read the window, and knows as well.
    pair.nodes[0].kill_and_launch();
    pair.nodes[0].wait_ready();
    let again = json!({"type": "a", "organizationId": "acme", "data": "again"});
    assert_eq!(ids(&publish_again(&pair.nodes[0], "k-1", &again)), first);
    let last = ids(&publish(
        &pair.nodes[0],
        &json!({"type": "last", "organizationId": "acme"}),
    ));
    let [_, on_the_other] = &mut alice;
    let mut fresh = pair.nodes[0].resume("acme", "alice", &alice_start(on_the_other));
    for stream in [on_the_other, &mut fresh] {
        let events = stream.events(3);
        let shown: Vec<_> = events.iter().map(|event| event["id"].clone()).collect();
        assert_eq!(
            shown,
            [&first[0], &told[0][0], &last[0]].map(|id| json!(id))
        );
        assert!(!stream.has_received("another body") && !stream.has_received("again"));
    }
}

/// The position at which a stream was opened.
fn alice_start(stream: &Stream) -> String {
    let position = stream.connected["position"].as_str();
    position.expect("connected says its position").to_owned()
}

#[test]
fn a_hundred_events_are_one_transaction_in_their_order() {
    let pair = Pair::on(Database::new(), |config| {
        config.set("limits.publish_per_minute", "1000")
    });
    let mut alice = open(&pair, "acme", "alice");
    let event = |at: usize| json!({"type": "n", "organizationId": "acme", "data": at});
    let events = |count: usize| Value::from((0..count).map(event).collect::<Vec<_>>());
    let told = ids(&publish(&pair.nodes[0], &events(100)));
    for stream in &mut alice {
        let shown = stream.events(100);
        let shown_ids: Vec<_> = shown
            .iter()
            .filter_map(|event| event["id"].as_str())
            .collect();
        assert_eq!(shown_ids, told);
        let data: Vec<_> = shown
            .iter()
            .map(|event| &event["payload"]["data"])
            .collect();
        assert_eq!(data, (0..100).collect::<Vec<_>>());
    }
    let commit = |id: &String| {
        id.rsplit_once('.')
            .expect("an id has an index")
            .0
            .to_owned()
    };
    assert!(
        told.iter().all(|id| commit(id) == commit(&told[0])),
        "one transaction"
    );
    // One that is not as it must be, and nothing is published.
    let mut broken = events(100);
    broken[57]["type"] = json!("bye");
    let response = publish(&pair.nodes[0], &broken);
    assert_eq!(response.head.status, 400, "{response:?}");
    let (code, message) = response.refusal();
    assert_eq!(code, "invalid_parameter");
    assert!(message.starts_with("event 58 of the array: "), "{message}");
    assert_eq!(publish(&pair.nodes[0], &events(101)).head.status, 400);
    assert_eq!(publish(&pair.nodes[0], &json!([])).head.status, 400);
    publish(
        &pair.nodes[0],
        &json!({"type": "last", "organizationId": "acme"}),
    );
    alice
        .iter_mut()
        .for_each(|stream| assert_eq!(stream.event()["type"], "last"));
}

#[test]
fn one_organisations_flood_is_refused_and_another_notices_nothing() {
    let pair = Pair::on(Database::new(), |config| {
        config.set("limits.publish_per_minute", "5")
    });
    let mut alice = pair.nodes[1].open("acme", "alice");
    let mut bob = pair.nodes[1].open("globex", "bob");
    let of = |organization: &str, ty: &str| json!({"type": ty, "organizationId": organization});
    let status = |body: &Value| publish(&pair.nodes[0], body).head.status;
    let statuses: Vec<u16> = (0..7).map(|_| status(&of("acme", "flood"))).collect();
    assert_eq!(statuses, [202, 202, 202, 202, 202, 429, 429]);
    let refused = publish(&pair.nodes[0], &of("acme", "flood"));
    assert_eq!(refused.refusal().0, "rate_limited");
    let retry = refused
        .head
        .value("retry-after")
        .and_then(|it| it.parse().ok());
    assert!(
        retry.is_some_and(|seconds: u32| (1..=12).contains(&seconds)),
        "{refused:?}"
    );
    // Another channel, another organisation, a user and everybody are not concerned.
    assert_eq!(status(&of("acme", "other.type")), 202);
    (0..5).for_each(|_| assert_eq!(status(&of("globex", "flood")), 202));
    assert_eq!(status(&json!({"type": "flood", "userId": "alice"})), 202);
    assert_eq!(status(&json!({"type": "flood", "global": true})), 202);
    // An array that has too many of one channel is refused whole, and takes nothing.
    let mixed = json!([of("acme", "other.type"), of("acme", "flood")]);
    assert_eq!(status(&mixed), 429);
    (0..4).for_each(|_| assert_eq!(status(&of("acme", "other.type")), 202));
    let many = Value::from(vec![of("acme", "many"); 6]);
    let (_, message) = publish(&pair.nodes[0], &many).refusal();
    assert!(
        message.contains("limits.publish_per_minute is 5"),
        "{message}"
    );
    // What was committed is never limited.
    pair.database.connect().run(
        r#"SELECT pg_logical_emit_message(true, 'tailrace',
             '{"type": "flood", "organizationId": "acme", "data": ' || n || '}')
           FROM generate_series(1, 50) AS n;
           INSERT INTO "Property" (id, "organizationId", name)
           SELECT n::text, 'acme', 'P' FROM generate_series(1, 50) AS n;"#,
    );
    let shown = alice.events(5 + 5 + 2 + 100);
    assert_eq!(shown[111]["payload"]["record"]["id"], "50");
    assert_eq!(bob.events(6)[5]["channel"], "global");
}

#[test]
fn no_byte_of_a_body_ends_a_line_of_the_stream() {
    let pair = Pair::new();
    let mut alice = open(&pair, "acme", "alice");
    let evil = "\n\nevent: bye\ndata: {}\r\rid: 1\r\n\r\n\u{85}\u{2028}\u{2029}\0\u{1b}";
    let organization = format!("acme{evil}");
    let mut everywhere =
        [0, 1].map(|at| pair.nodes[at].stream(&Request::stream("organizationId=*").service()));
    let hostile = json!({
        "id": evil, "type": "a", "organizationId": organization, "userId": evil,
        "data": {(evil): [evil]},
    });
    let to_acme = json!({"type": "b", "organizationId": "acme", "data": {(evil): [evil]}});
    ids(&publish(&pair.nodes[0], &hostile));
    ids(&publish(&pair.nodes[0], &to_acme));
    // Raw line ends stand between the tokens of a pretty-printed body.
    let pretty =
        "{\r\n\"type\": \"c\",\n\r\"organizationId\"\r:\n\"acme\",\"data\": [\r1,\n\n2\r]\r\n}";
    let response = request().body(pretty).send(pair.nodes[1].address());
    ids(&response);
    for stream in &mut alice {
        let events = stream.events(2);
        assert_eq!(events[0]["payload"]["data"], json!({(evil): [evil]}));
        assert_eq!(events[1]["payload"]["data"], json!([1, 2]));
    }
    for stream in &mut everywhere {
        // It was for a user, whose topic no key has.
        assert_eq!(stream.events(2)[1]["type"], "c");
    }
    // What is a name has none of them, and is refused.
    for member in ["type", "channel"] {
        let mut body = json!({"type": "a", "organizationId": "acme"});
        body[member] = json!(format!("a{evil}"));
        let response = publish(&pair.nodes[0], &body);
        assert_eq!(response.head.status, 400, "{response:?}");
        assert!(response.refusal().1.contains(member), "{response:?}");
    }
}

#[test]
fn a_call_that_cannot_be_meant_is_refused_by_its_status() {
    let pair = Pair::new();
    let mut alice = pair.nodes[0].open("acme", "alice");
    let node = &pair.nodes[0];
    let good = json!({"type": "refused", "organizationId": "acme"});
    let key =
        |key: &str| Request::new("POST", PATH).field("authorization", &format!("Bearer {key}"));
    let status = |request: &Request| {
        let response = request.send(node.address());
        assert!(!response.refusal().0.is_empty());
        response.head.status
    };
    assert_eq!(status(&Request::new("POST", PATH).with_json(&good)), 401);
    assert_eq!(
        status(&Request::new("POST", PATH).user("alice").with_json(&good)),
        401
    );
    assert_eq!(
        status(&key("service-key-of-the-tests-0123456789abcdeg").with_json(&good)),
        401
    );
    assert_eq!(status(&key(ADMIN_KEY).with_json(&good)), 403);
    let twice = request().field("authorization", &format!("Bearer {SERVICE_KEY}"));
    assert_eq!(status(&twice.with_json(&good)), 400);
    let typed = |name: &str, value: &str| request().field(name, value).body(&good.to_string());
    assert_eq!(status(&typed("content-type", "text/plain")), 415);
    assert_eq!(
        status(&typed("content-type", "application/x-www-form-urlencoded")),
        415
    );
    assert_eq!(status(&typed("content-encoding", "gzip")), 415);
    assert_eq!(status(&typed("idempotency-key", &"x".repeat(201))), 400);
    assert_eq!(status(&Request::get(PATH).service()), 405);
    for body in [
        "",
        "not JSON",
        "7",
        "{\"type\":\"refused\",\"organizationId\":\"acme\"",
        "{\"type\":\"refused\"}",
        "{\"type\":\"refused\",\"organizationId\":\"\"}",
        "{\"type\":\"refused\",\"organizationId\":7}",
        "{\"type\":\"refused\",\"organizationId\":\"acme\",\"tenantId\":\"acme\"}",
        "{\"type\":\"refused\",\"organizationId\":\"acme\",\"global\":true}",
        "{\"type\":\"refused\",\"userId\":\"alice\",\"global\":true}",
        "{\"type\":\"refused\",\"organizationId\":\"acme\",\"role\":\"owner\"}",
        "{\"type\":\"connected\",\"organizationId\":\"acme\"}",
        "{\"type\":\"\",\"organizationId\":\"acme\"}",
        "{\"organizationId\":\"acme\"}",
    ] {
        assert_eq!(status(&request().body(body)), 400, "{body}");
    }
    let refusals = node.metrics();
    assert_eq!(
        refusals.value("tailrace_refusals_total{code=\"forbidden\"}"),
        1.0
    );
    assert_eq!(
        refusals.value("tailrace_refusals_total{code=\"unsupported_media_type\"}"),
        3.0
    );
    ids(&publish(
        node,
        &json!({"type": "last", "organizationId": "acme"}),
    ));
    assert_eq!(alice.event()["type"], "last", "none of these was published");
    let log = node.log();
    assert!(!log.contains(SERVICE_KEY) && !log.contains(ADMIN_KEY));
}
