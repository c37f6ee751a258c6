//! Who asks, by what others say: the application (introspection), an issuer's published keys, and the
//! rows of sessions and users. And what becomes of the streams where they do not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::application::Application;
use crate::support::config::SECRET;
use crate::support::{
    Config, Database, Driver, Node, Request, World, on_both_drivers, session as sessions,
    wait_until,
};

on_both_drivers!(
    the_application_says_whose_cookies_these_are,
    one_question_serves_all_who_present_the_same,
    without_the_application_nobody_comes_in_and_later_nobody_stays,
    a_token_is_verified_by_the_keys_that_its_issuer_publishes,
    a_row_of_a_session_is_a_user,
    what_the_database_does_not_know_the_application_may,
    a_token_counts_only_while_its_session_has_a_row,
    who_is_banned_or_gone_does_not_come_in,
    a_storm_of_sessions_costs_few_statements,
    a_session_may_say_itself_where_its_user_belongs,
    a_reload_gets_the_place_of_the_page_before_it,
);

/// Sessions by introspection, and no organisations.
fn asking(config: Config, application: &Application) -> Config {
    config
        .without("auth.secret")
        .without("membership.table")
        .set("membership.none", "true")
        .text(
            "auth.introspection.url",
            &application.url("/api/auth/session"),
        )
}

/// A request for a stream with this cookie.
fn with_cookie(cookie: &str) -> Request {
    Request::stream("").field("cookie", cookie)
}

/// An answer in the manner of Auth.js: whoever has a cookie `session=NAME` is NAME.
fn session_of(head: &str) -> (u16, String) {
    let name = head.split("session=").nth(1).unwrap_or_default();
    let name: String = name
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    match name.as_str() {
        "" | "nobody" => (200, "null".to_owned()),
        "broken" => (500, "{}".to_owned()),
        name => (200, json!({ "user": { "id": name } }).to_string()),
    }
}

fn status_of(world: &World, request: &Request) -> (u16, Value) {
    let request = request.clone().field("x-tailrace-client", "1");
    let response = request.send(world.node.address());
    (response.head.status, response.json())
}

fn the_application_says_whose_cookies_these_are(driver: Driver) {
    let application = Application::start(session_of);
    let world = World::with(driver, |config| asking(config, &application));
    let stream = world.node.stream(&with_cookie("theme=dark; session=ada"));
    assert_eq!(stream.connected["userId"], "ada");
    assert_eq!(stream.connected["organizationId"], Value::Null);
    let asked = application.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let head = asked[0].to_ascii_lowercase();
    assert!(
        head.starts_with("get /api/auth/session http/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\ncookie: theme=dark; session=ada\r\n"),
        "{head}"
    );
    for field in ["\r\nx-", "\r\norigin", "\r\nreferer", "\r\nlast-event-id"] {
        assert!(!head.contains(field), "{head}");
    }
    // What was just said is not asked again.
    let again = world.node.stream(&with_cookie("theme=dark; session=ada"));
    assert_eq!(again.connected["userId"], "ada");
    assert_eq!(application.asked().len(), 1);

    let (status, body) = status_of(&world, &with_cookie("session=nobody"));
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("unauthenticated"))
    );
    let (status, body) = status_of(&world, &with_cookie("session=broken"));
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("unavailable"))
    );
    let (status, _) = status_of(&world, &Request::stream(""));
    assert_eq!(status, 401, "nothing to ask with");
    assert!(
        !world.node.log().contains("session=ada"),
        "no cookie is logged"
    );
}

fn one_question_serves_all_who_present_the_same(driver: Driver) {
    let application = Application::start(|head| {
        thread::sleep(Duration::from_millis(500));
        session_of(head)
    });
    let world = World::with(driver, |config| asking(config, &application));
    let together = Arc::new(Barrier::new(20));
    let address = world.node.address();
    let opening = (0..20).map(|_| {
        let together = Arc::clone(&together);
        thread::spawn(move || {
            together.wait();
            crate::support::Stream::open(address, &with_cookie("session=ada"))
        })
    });
    let opening: Vec<_> = opening.collect();
    for thread in opening {
        let stream = thread.join().expect("it is opened");
        assert_eq!(stream.connected["userId"], "ada");
    }
    assert_eq!(application.asked().len(), 1);
}

fn without_the_application_nobody_comes_in_and_later_nobody_stays(driver: Driver) {
    let application = Application::start(session_of);
    let world = World::with(driver, |config| {
        // Longer than an idle log may be silent, so that only the application is missed.
        asking(config, &application).text("auth.grace", "8s")
    });
    let mut stream = world.node.stream(&with_cookie("session=ada"));
    application.be_away(true);
    let (status, body) = status_of(&world, &with_cookie("session=bob"));
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("unavailable"))
    );
    let native = with_cookie("session=bob").send(world.node.address());
    assert_eq!(native.head.status, 200);
    assert!(native.body.contains("event: refused\n"), "{}", native.body);
    wait_until(
        "the node says that it is not ready",
        Duration::from_secs(5),
        || world.node.readiness()["ready"] == false,
    );
    let reason = world.node.readiness()["reason"].to_string();
    assert!(
        reason.contains("the application cannot be asked"),
        "{reason}"
    );
    let bye = stream.control("bye").json();
    assert_eq!(
        (&bye["reason"], &bye["retry"]),
        (&json!("feed_stale"), &json!(true))
    );
    application.be_away(false);
    wait_until("the node is ready again", Duration::from_secs(10), || {
        world.node.readiness()["ready"] == true
    });
    world.node.stream(&with_cookie("session=bob"));
}

fn a_token_is_verified_by_the_keys_that_its_issuer_publishes(driver: Driver) {
    let vectors: Value = serde_json::from_str(include_str!("../auth/tests/vectors/jwt.json"))
        .expect("the vectors are JSON");
    let keys = vectors["jwks"].to_string();
    let fetches = Arc::new(AtomicUsize::new(0));
    let of_server = Arc::clone(&fetches);
    let issuer = Application::start(move |_| {
        of_server.fetch_add(1, Ordering::SeqCst);
        (200, keys.clone())
    });
    let world = World::with(driver, |config| {
        config
            .without("auth.secret")
            .without("membership.table")
            .set("membership.none", "true")
            .text("auth.jwks.url", &issuer.url("/jwks"))
    });
    let tokens = vectors["vectors"].as_array().expect("a list");
    let token = |name: &str| {
        let vector = tokens.iter().find(|vector| vector["name"] == name);
        let token = vector.and_then(|vector| vector["token"].as_str());
        let token = token.unwrap_or_else(|| panic!("no vector {name:?}"));
        let authorization = format!("Bearer {token}");
        Request::stream("").field("authorization", &authorization)
    };
    for name in ["rs256", "es256", "eddsa"] {
        let stream = world.node.stream(&token(name));
        assert_eq!(stream.connected["userId"], "user_1", "{name}");
    }
    let (status, _) = status_of(&world, &token("hs256 valid"));
    assert_eq!(status, 401);
    assert_eq!(
        fetches.load(Ordering::SeqCst),
        1,
        "the keys were fetched once"
    );
}

/// The tables of Auth.js' database strategy, and of a user that can be banned.
const TABLES: &str = r#"
    CREATE TABLE "Session" (
        id text PRIMARY KEY, "sessionToken" text UNIQUE NOT NULL, "userId" text NOT NULL,
        expires timestamp(3) NOT NULL
    );
    ALTER TABLE "User" ADD COLUMN banned boolean, ADD COLUMN "banExpires" timestamptz;
    GRANT SELECT ON "Session", "User" TO tailrace;
    ALTER PUBLICATION tailrace ADD TABLE "Session";
"#;

fn rows(driver: Driver, change: impl FnOnce(Config) -> Config) -> World {
    let database = Database::new();
    database.connect().run(TABLES);
    let config = Config::new(&database, driver)
        .without("auth.secret")
        .without("membership.table")
        .set("membership.none", "true")
        .set("auth.mode", "[\"session\"]")
        .text("session.table", "Session");
    let node = Node::start(&change(config));
    World { node, database }
}

fn token(name: &str) -> String {
    format!("00000000-0000-4000-8000-{name:0>12}")
}

fn sign_in(world: &World, user: &str, name: &str, expires: &str) {
    world.database.connect().run(&format!(
        r#"INSERT INTO "Session" VALUES ('row-{name}', '{}', '{user}',
           now() AT TIME ZONE 'utc' + interval '{expires}')"#,
        token(name)
    ));
}

fn session(name: &str) -> Request {
    with_cookie(&format!("authjs.session-token={}", token(name)))
}

fn a_row_of_a_session_is_a_user(driver: Driver) {
    let world = rows(driver, |config| config);
    sign_in(&world, "alice", "1", "1 hour");
    sign_in(&world, "alice", "2", "-1 minute");
    let stream = world.node.stream(&session("1"));
    assert_eq!(stream.connected["userId"], "alice");
    for name in ["2", "3"] {
        let (status, body) = status_of(&world, &session(name));
        assert_eq!(
            (status, &body["error"]["code"]),
            (401, &json!("unauthenticated"))
        );
    }
    assert!(
        !world.node.log().contains(&token("1")),
        "no token is logged"
    );
}

fn what_the_database_does_not_know_the_application_may(driver: Driver) {
    let application = Application::start(session_of);
    let world = rows(driver, |config| {
        config
            .set("auth.mode", "[\"session\", \"introspection\"]")
            .text("auth.introspection.url", &application.url("/session"))
    });
    sign_in(&world, "alice", "1", "1 hour");
    let of_both = |name: &str, user: &str| {
        let token = token(name);
        with_cookie(&format!("authjs.session-token={token}; session={user}"))
    };
    let stream = world.node.stream(&of_both("1", "bob"));
    assert_eq!(stream.connected["userId"], "alice");
    assert_eq!(application.asked().len(), 0, "a row says enough");
    let stream = world.node.stream(&of_both("2", "bob"));
    assert_eq!(stream.connected["userId"], "bob");
    let (status, _) = status_of(&world, &of_both("2", "nobody"));
    assert_eq!(status, 401);
}

/// A token of the application's own for the session with this row.
fn naming(row: &str) -> Request {
    let now = sessions::seconds_since_1970();
    let claims = json!({ "sub": "alice", "exp": now + 600, "jti": row });
    with_cookie(&format!("session={}", sessions::signed(&claims, SECRET)))
}

fn a_token_counts_only_while_its_session_has_a_row(driver: Driver) {
    let database = Database::new();
    database.connect().run(TABLES);
    // A table of this kind has no tokens, and nobody but the application may read who they belong to.
    database.connect().run(
        r#"REVOKE SELECT ON "Session" FROM tailrace;
           GRANT SELECT (id, expires) ON "Session" TO tailrace"#,
    );
    let config = Config::new(&database, driver)
        .without("membership.table")
        .set("membership.none", "true")
        .set("auth.mode", "[\"jwt\"]")
        .text("session.table", "Session");
    let node = Node::start(&config);
    let world = World { node, database };
    sign_in(&world, "alice", "1", "1 hour");
    sign_in(&world, "alice", "2", "-1 minute");
    let mut stream = world.node.stream(&naming("row-1"));
    assert_eq!(stream.connected["userId"], "alice");
    for row in ["row-2", "row-3"] {
        let (status, _) = status_of(&world, &naming(row));
        assert_eq!(status, 401, "{row}");
    }
    world.database.connect().run("DELETE FROM \"Session\"");
    let bye = stream.control("bye").json();
    assert_eq!(bye["reason"], "session_revoked");
    let (status, body) = status_of(&world, &naming("row-1"));
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("unauthenticated"))
    );
    assert_eq!(world.node.readiness()["ready"], true);
}

fn who_is_banned_or_gone_does_not_come_in(driver: Driver) {
    let world = rows(driver, |config| {
        config
            .text("user.table", "User")
            .text("user.banned", "banned")
            .text("user.banned_until", "banExpires")
    });
    let sql = world.database.connect();
    for (name, user) in [
        ("1", "alice"),
        ("2", "bob"),
        ("3", "carol"),
        ("4", "nobody"),
    ] {
        sign_in(&world, user, name, "1 hour");
    }
    sql.run(
        r#"UPDATE "User" SET banned = true WHERE id IN ('bob', 'carol');
           UPDATE "User" SET "banExpires" = now() - interval '1 minute' WHERE id = 'carol';"#,
    );
    for (name, user) in [("1", "alice"), ("3", "carol")] {
        assert_eq!(world.node.stream(&session(name)).connected["userId"], user);
    }
    for name in ["2", "4"] {
        let (status, _) = status_of(&world, &session(name));
        assert_eq!(status, 401, "{name}");
    }
}

fn a_storm_of_sessions_costs_few_statements(driver: Driver) {
    const SESSIONS: usize = 1_000;
    let world = rows(driver, |config| config);
    world.database.connect().run(&format!(
        r#"INSERT INTO "Session" SELECT 'row-' || n, '00000000-0000-4000-8000-' || lpad(n::text, 12, '0'),
           'user-' || n, now() AT TIME ZONE 'utc' + interval '1 hour'
           FROM generate_series(1, {SESSIONS}) AS n"#
    ));
    let address = world.node.address();
    let opening = (0..8).map(|part| {
        thread::spawn(move || {
            let mine = (1..=SESSIONS).filter(|n| n % 8 == part);
            let sockets: Vec<_> = mine
                .map(|n| {
                    let mut socket =
                        crate::support::http::Connection::open(address).expect("taken");
                    let request = session(&n.to_string());
                    socket.send(&request.bytes()).expect("taken");
                    socket
                })
                .collect();
            for mut socket in sockets {
                let head = socket.read_head().expect("it is answered");
                assert_eq!(head.status, 200);
            }
        })
    });
    let opening: Vec<_> = opening.collect();
    opening
        .into_iter()
        .for_each(|thread| thread.join().expect("all are opened"));
    let statements = world
        .node
        .metrics()
        .value("tailrace_identity_statements_total");
    let most = (1 + SESSIONS / 500) as f64;
    assert!(statements <= most, "{statements} statements");
}

/// A session of the application's own that names these organisations.
fn claiming(organizations: &Value, query: &str) -> Request {
    let now = sessions::seconds_since_1970();
    let claims = json!({ "sub": "ada", "exp": now + 600, "orgs": organizations });
    let cookie = format!("session={}", sessions::signed(&claims, SECRET));
    Request::stream(query).field("cookie", &cookie)
}

fn a_session_may_say_itself_where_its_user_belongs(driver: Driver) {
    let world = World::with(driver, |config| {
        config
            .without("membership.table")
            .text("membership.claim", "orgs")
    });
    let one = json!([{ "id": "acme", "role": "owner" }]);
    let two = json!(["acme", "globex"]);
    for (organizations, query, role) in [
        (&one, "", json!("owner")),
        (&one, "organizationId=acme", json!("owner")),
        (&two, "organizationId=acme", Value::Null),
    ] {
        let stream = world.node.stream(&claiming(organizations, query));
        let organization = json!({ "id": "acme", "role": role });
        assert_eq!(stream.connected["organization"], organization);
    }
    let refused = |organizations, query| status_of(&world, &claiming(organizations, query));
    let (status, body) = refused(&two, "");
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("organization_required"))
    );
    // Another's and nobody's cannot be told apart, with organisations or without.
    let answers = [
        refused(&one, "organizationId=globex"),
        refused(&one, "organizationId=no-such"),
        refused(&json!([]), ""),
    ];
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(
        (answers[0].0, &answers[0].1["error"]["code"]),
        (403, &json!("not_a_member"))
    );
}

fn a_reload_gets_the_place_of_the_page_before_it(driver: Driver) {
    let world = World::with(driver, |config| {
        config
            .without("membership.table")
            .set("membership.none", "true")
            .set("limits.connections_per_user", "1")
    });
    let request = Request::stream("").user("ada");
    let first = world.node.stream(&request);
    let address = world.node.address();
    let second = {
        let request = request.clone();
        let opening = thread::spawn(move || crate::support::Stream::open(address, &request));
        thread::sleep(Duration::from_millis(300));
        drop(first);
        opening.join().expect("it gets the place")
    };
    let (status, body) = status_of(&world, &request);
    assert_eq!(
        (status, &body["error"]["code"]),
        (429, &json!("too_many_connections"))
    );
    // Somebody else has places of their own.
    world.node.stream(&Request::stream("").user("bob"));
    drop(second);
}
