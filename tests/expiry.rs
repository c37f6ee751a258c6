//! A stream lives as long as its session: it is told before the end, ends with it, and goes on in place
//! where the session does. On two nodes, whose streams all hear of a row that changes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::config::{ALLOWED_ORIGIN, SECRET};
use crate::support::http::Response;
use crate::support::sql::Sql;
use crate::support::{Config, Database, End, Node, Pair, Request, Stream, session};

/// How long a stream may outlive a short session by here: its own time and a look at the clock once a
/// second, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A token of this user that ends in so many seconds.
fn short(user: &str, seconds: u64) -> String {
    let now = session::seconds_since_1970();
    let claims = json!({ "sub": user, "iat": now, "exp": now + seconds });
    format!("session={}", session::signed(&claims, SECRET))
}

fn open(node: &Node, cookie: &str) -> Stream {
    node.stream(&Request::stream("organizationId=acme").field("cookie", cookie))
}

fn renew(node: &Node, stream: &Stream, cookie: &str) -> Response {
    let id = json!({ "connectionId": stream.connected["connectionId"] });
    let request = Request::new("POST", "/api/realtime/renew").field("cookie", cookie);
    request.with_json(&id).send(node.address())
}

/// The end that the `auth` event names.
fn told_end(stream: &mut Stream) -> u64 {
    let told = stream.control("auth").json();
    let ms = told["expiresAt"].as_u64();
    ms.unwrap_or_else(|| panic!("auth says when: {told}"))
}

/// Says that the stream stays, and receives what comes.
fn assert_alive(stream: &mut Stream, sql: &Sql) {
    sql.run(r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P')"#);
    assert_eq!(stream.event()["type"], "property.insert");
}

fn assert_bye(stream: &mut Stream, reason: &str) {
    let bye = stream.control("bye").json();
    assert_eq!(bye["reason"], reason, "{bye}");
    assert_eq!(stream.try_next(LIMIT), Err(End::Closed));
}

#[test]
fn a_stream_ends_with_its_session_and_is_told_before() {
    let pair = Pair::new();
    let now_ms = || session::seconds_since_1970() * 1_000;
    let before_ms = now_ms();
    // All are opened before anything is written: a node that lags would show it to who comes later.
    let short_and_lasting = |node| (open(node, &short("alice", 4)), node.open("acme", "carol"));
    let mut streams: Vec<_> = pair.nodes.iter().map(short_and_lasting).collect();
    // Four seconds after their tokens were made, by seconds.
    let ends_ms = before_ms + 4_000..=now_ms() + 5_000;
    for (stream, _) in &mut streams {
        let end_ms = told_end(stream);
        assert!(ends_ms.contains(&end_ms), "{end_ms}");
        assert_bye(stream, "session_expired");
        assert!(now_ms() + 1_000 >= end_ms);
    }
    for (_, lasting) in &mut streams {
        assert_alive(lasting, &pair.database.connect());
    }
}

#[test]
fn a_session_that_is_renewed_keeps_its_stream() {
    let pair = Pair::new();
    let sql = pair.database.connect();
    let [node, elsewhere] = &pair.nodes;
    let mut stream = open(node, &short("alice", 5));
    let first_ms = told_end(&mut stream);

    // Nobody else's session does it, nor an old one of one's own, nor none.
    let foreign = renew(node, &stream, &short("carol", 600));
    assert_eq!(foreign.head.status, 403, "{foreign:?}");
    let nobody = renew(node, &stream, "theme=dark");
    assert_eq!(nobody.head.status, 401, "{nobody:?}");
    let forged = renew(
        node,
        &stream,
        &format!(
            "session={}",
            session::signed(
                &json!({ "sub": "alice", "exp": session::seconds_since_1970() + 600 }),
                "another secret of 32 bytes and some more",
            )
        ),
    );
    assert_eq!(forged.head.status, 401, "{forged:?}");
    // Not on the other node, and not for a stream that is no more.
    let other = renew(elsewhere, &stream, &short("alice", 600));
    assert_eq!(
        (other.head.status, other.refusal().0.as_str()),
        (409, "elsewhere")
    );
    let gone = open(node, &short("alice", 600));
    let gone_id = renew_gone(node, gone);
    assert_eq!(gone_id.head.status, 404, "{gone_id:?}");
    // Not for a page from somewhere else.
    let id = json!({ "connectionId": stream.connected["connectionId"] });
    let page = Request::new("POST", "/api/realtime/renew").field("cookie", &short("alice", 600));
    let page = page.field("origin", "https://evil.example").with_json(&id);
    assert_eq!(page.send(node.address()).head.status, 403);

    let renewed = renew(node, &stream, &short("alice", 600));
    assert_eq!(renewed.head.status, 200, "{renewed:?}");
    let until_ms = renewed.json()["expiresAt"]
        .as_u64()
        .expect("it says until when");
    assert!(until_ms > first_ms + 500_000, "{until_ms}");
    let past_the_first = first_ms.saturating_sub(session::seconds_since_1970() * 1_000) + 2_000;
    std::thread::sleep(Duration::from_millis(past_the_first));
    assert_alive(&mut stream, &sql);

    // A page of an origin that is allowed reads the answer, and may renew to an end that is near.
    let id = json!({ "connectionId": stream.connected["connectionId"] });
    let page = Request::new("POST", "/api/realtime/renew").field("cookie", &short("alice", 4));
    let page = page.field("origin", ALLOWED_ORIGIN).with_json(&id);
    let answer = page.send(node.address());
    assert_eq!(answer.head.status, 200, "{answer:?}");
    let allowed = answer.head.value("access-control-allow-origin");
    assert_eq!(allowed, Some(ALLOWED_ORIGIN));
    told_end(&mut stream);
    assert_bye(&mut stream, "session_expired");
}

/// Who was removed since keeps no stream alive by tokens that no longer say that they belong to it.
#[test]
fn a_claim_that_is_gone_renews_nothing() {
    let pair = Pair::on(Database::new(), |config| {
        let config = config.without("membership.table");
        config
            .text("membership.claim", "org")
            .text("membership.role_claim", "role")
    });
    let claiming = |seconds: u64, organization: &str, role: &str| {
        let now = session::seconds_since_1970();
        let claims = json!({
            "sub": "alice", "iat": now, "exp": now + seconds, "org": organization, "role": role
        });
        format!("session={}", session::signed(&claims, SECRET))
    };
    let [node, _] = &pair.nodes;
    let mut stream = open(node, &claiming(8, "acme", "owner"));
    for fresh in [
        claiming(600, "globex", "owner"),
        claiming(600, "acme", "guest"),
        short("alice", 600),
    ] {
        let refused = renew(node, &stream, &fresh);
        assert_eq!(
            (refused.head.status, refused.refusal().0.as_str()),
            (403, "not_a_member")
        );
    }
    told_end(&mut stream);
    let same = renew(node, &stream, &claiming(9, "acme", "owner"));
    assert_eq!(same.head.status, 200, "{same:?}");
    told_end(&mut stream);
    assert_alive(&mut stream, &pair.database.connect());
    assert_bye(&mut stream, "session_expired");
}

/// The answer to a renewal of a stream that has ended.
fn renew_gone(node: &Node, mut stream: Stream) -> Response {
    let id = stream.connected["connectionId"].take();
    drop(stream);
    let mut answer = None;
    crate::support::wait_until("the node knows that it has gone", LIMIT, || {
        let request = Request::new("POST", "/api/realtime/renew");
        let request = request.field("cookie", &short("alice", 600));
        let response = request
            .with_json(&json!({ "connectionId": id }))
            .send(node.address());
        let is_gone = response.head.status != 200;
        answer = Some(response);
        is_gone
    });
    answer.expect("it was asked")
}

/// A pair on the tables of Auth.js' database strategy.
fn with_rows() -> Pair {
    let database = Database::new();
    database.connect().run(
        r#"CREATE TABLE "Session" (
               id text PRIMARY KEY,
               "sessionToken" text NOT NULL UNIQUE,
               "userId" text NOT NULL,
               expires timestamp(3) NOT NULL
           );
           ALTER PUBLICATION tailrace ADD TABLE "Session";
           GRANT SELECT ON "Session" TO tailrace;"#,
    );
    Pair::on(database, |config: Config| {
        config
            .set("auth.mode", "[\"jwt\", \"session\"]")
            .text("session.table", "Session")
    })
}

/// A session of alice's that ends in so many seconds, and its cookie.
fn row(sql: &Sql, id: &str, seconds: u32) -> String {
    sql.run(&format!(
        r#"INSERT INTO "Session" VALUES
           ('{id}', 'token-of-session-{id}', 'alice', now() AT TIME ZONE 'UTC' + interval '{seconds} seconds')"#
    ));
    format!("authjs.session-token=token-of-session-{id}")
}

fn set_end(sql: &Sql, id: &str, interval: &str) {
    sql.run(&format!(
        r#"UPDATE "Session" SET expires = now() AT TIME ZONE 'UTC' + interval '{interval}'
           WHERE id = '{id}'"#
    ));
}

#[test]
fn a_row_that_is_extended_extends_its_streams_silently() {
    let pair = with_rows();
    let sql = pair.database.connect();
    let cookie = row(&sql, "s", 70);
    let mut streams: Vec<Stream> = pair.nodes.iter().map(|node| open(node, &cookie)).collect();
    // Nearer, so that they are warned; then much farther: no word of it, and no end.
    set_end(&sql, "s", "5 seconds");
    for stream in &mut streams {
        told_end(stream);
    }
    set_end(&sql, "s", "1 hour");
    std::thread::sleep(Duration::from_secs(7));
    for stream in &mut streams {
        assert_alive(stream, &sql);
    }
    // To the past: it has ended.
    set_end(&sql, "s", "-1 minute");
    for stream in &mut streams {
        let bye = past_events(stream, "bye");
        let reason = bye["reason"].as_str().unwrap_or_default();
        assert!(
            matches!(reason, "session_revoked" | "session_expired"),
            "{bye}"
        );
    }
    for node in &pair.nodes {
        let request = Request::stream("organizationId=acme").field("cookie", &cookie);
        assert_eq!(request.send(node.address()).head.status, 401);
    }
}

#[test]
fn a_row_that_is_not_extended_ends_its_streams() {
    let pair = with_rows();
    let sql = pair.database.connect();
    let cookie = row(&sql, "s", 4);
    let mut streams: Vec<Stream> = pair.nodes.iter().map(|node| open(node, &cookie)).collect();
    for stream in &mut streams {
        told_end(stream);
    }
    for stream in &mut streams {
        assert_bye(stream, "session_expired");
    }
}

/// The data of the next control event of this name, whatever the application says before.
fn past_events(stream: &mut Stream, name: &str) -> Value {
    loop {
        let block = stream.next();
        if block.event.as_deref() == Some(name) {
            return block.json();
        }
    }
}
