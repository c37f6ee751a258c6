//! Attacks of a tenant on the others: an organisation's name in every way that might be read differently
//! by two readers, and what is the operators' alone. The `e` and a number in a test's name are those of
//! the list of attacks that the tests go by.

use std::time::Duration;

use serde_json::json;

use crate::browser;
use crate::support::config::ADMIN_KEY;
use crate::support::http::Response;
use crate::support::ports::free_port;
use crate::support::{Database, Node, Pair, Request, session, wait_until};

/// How a name may be written so that some reader takes it for another.
const DISGUISES: [&str; 16] = [
    "{}",
    "{}.",
    "{}%20",
    "%20{}",
    "{}%2F",
    "..%2F{}",
    "%2e%2e%2F{}",
    "acme%2F..%2F{}",
    "acme/../{}",
    "acme,{}",
    "acme%00{}",
    "acme;{}",
    "acme%0d%0a{}",
    "{}%E2%80%8B",
    "[\"{}\"]",
    "*{}",
];

#[test]
fn e5_a_foreign_organisation_and_none_are_told_apart_by_nobody() {
    let pair = Pair::new();
    for node in &pair.nodes {
        for disguise in DISGUISES {
            let [foreign, absent] = ["globex", "nobody"].map(|name| {
                asked(
                    node,
                    &format!("organizationId={}", disguise.replace("{}", name)),
                )
            });
            assert_ne!(foreign.head.status, 200, "{disguise}");
            assert_eq!(told(&foreign), told(&absent), "{disguise}");
        }
        // Written in capitals, and with the first letter as its full-width twin.
        for (foreign, absent) in [("GLOBEX", "NOBODY"), ("%EF%BD%87lobex", "%EF%BD%8Eobody")] {
            let [foreign, absent] =
                [foreign, absent].map(|name| asked(node, &format!("organizationId={name}")));
            assert_eq!(foreign.head.status, 403);
            assert_eq!(told(&foreign), told(&absent));
        }
        // Named twice, in two ways, or as a list: one reader would take the first, another the last.
        for query in [
            "organizationId=acme&organizationId={}",
            "organizationId={}&organizationId=acme",
            "organizationId=acme&tenantId={}",
            "tenantId=acme&organizationId={}",
        ] {
            let [foreign, absent] =
                ["globex", "nobody"].map(|name| asked(node, &query.replace("{}", name)));
            assert_eq!(foreign.head.status, 400, "{query}");
            assert_eq!(told(&foreign), told(&absent), "{query}");
        }
    }
}

#[test]
fn e5_nothing_but_the_parameter_names_the_organisation() {
    let pair = Pair::new();
    for node in &pair.nodes {
        let fields = ["x-organization-id", "x-tenant-id", "organizationid"];
        let request = Request::stream("organizationId=acme&organizationId[]=globex&org=globex");
        let request = fields
            .iter()
            .fold(request, |request, name| request.field(name, "globex"));
        let stream = node.stream(&request.user("alice"));
        assert_eq!(stream.connected["organizationId"], "acme");
        for path in [
            "/api/realtime/stream/globex?organizationId=acme",
            "/api/realtime/stream/../globex?organizationId=acme",
            "/globex/api/realtime/stream?organizationId=acme",
            "/api/realtime/%2e%2e/realtime/stream?organizationId=acme",
        ] {
            let response = Request::get(path).user("alice").send(node.address());
            assert_eq!(response.head.status, 404, "{path}");
        }
    }
}

#[test]
fn e5_twins_of_unicode_are_two_organisations() {
    let pair = Pair::new();
    // One letter with an accent; then the letter, and the accent after it.
    let (composed, decomposed) = ("caf%C3%A9", "cafe%CC%81");
    pair.database.connect().run(
        "INSERT INTO \"Organization\" VALUES ('caf\u{e9}', 'C'), ('cafe\u{301}', 'D');
         INSERT INTO \"OrganizationMember\" (\"organizationId\", \"userId\")
         VALUES ('caf\u{e9}', 'alice'), ('cafe\u{301}', 'bob');",
    );
    for node in &pair.nodes {
        let request = Request::stream(&format!("organizationId={composed}")).user("alice");
        let limit = Duration::from_secs(10);
        wait_until("the membership is known", limit, || {
            status(node, &request) == 200
        });
        let stream = node.stream(&request);
        assert_eq!(stream.connected["organizationId"], "caf\u{e9}");
        let twin = asked(node, &format!("organizationId={decomposed}"));
        assert_eq!(told(&twin), told(&asked(node, "organizationId=cafe")));
    }
}

#[test]
fn e8_who_was_removed_while_away_is_refused_and_sees_nothing_of_the_gap() {
    let pair = Pair::new();
    let sql = pair.database.connect();
    let add = |id: &str| {
        sql.run(&format!(
            r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
        ));
    };
    let ids: Vec<String> = pair
        .nodes
        .iter()
        .map(|node| {
            let mut stream = node.open("acme", "alice");
            add(&format!("seen on {}", node.address()));
            stream.event();
            stream.last_event_id.clone()
        })
        .collect();
    sql.run(r#"DELETE FROM "OrganizationMember" WHERE "userId" = 'alice'"#);
    add("marker-of-the-gap");
    let limit = Duration::from_secs(10);
    let resumed = |id: &str| {
        let request = Request::stream("organizationId=acme").user("alice");
        request.last_event_id(id)
    };
    for node in &pair.nodes {
        // With the id of either node, which is the same position to both.
        for id in &ids {
            let request = resumed(id);
            wait_until("the removal is known", limit, || {
                status(node, &request) == 403
            });
            let response = request.send(node.address());
            assert!(!response.body.contains("marker-of-the-gap"));
        }
    }
    // Back in, she is told that something is missing, and is not shown what was meant for others.
    sql.run(
        r#"INSERT INTO "OrganizationMember" ("organizationId", "userId") VALUES ('acme', 'alice')"#,
    );
    for (node, id) in pair.nodes.iter().zip(&ids) {
        let request = resumed(id);
        wait_until("the return is known", limit, || {
            status(node, &request) == 200
        });
        let mut stream = node.stream(&request);
        assert_eq!(stream.verdict(), "reset");
        stream.control("reset");
        add(&format!("after on {}", node.address()));
        let own = format!("after on {}", node.address());
        // What was written for the other node's stream may come here as well: she was back by then.
        while stream.event()["payload"]["record"]["id"] != own {}
        assert!(!stream.has_received("marker-of-the-gap"));
    }
}

#[test]
fn e11_a_page_of_another_origin_gets_no_stream_with_the_users_cookie() {
    let port = free_port();
    let allowed = format!("[\"http://127.0.0.1:{port}\"]");
    let pair = Pair::on(Database::new(), |config| {
        config.set("http.allowed_origins", &allowed)
    });
    for node in &pair.nodes {
        let said = browser::script("origins.mjs")
            .env("NODE_URL", format!("http://{}", node.address()))
            .env("ALLOWED_PORT", port.to_string())
            .env("SESSION", session::token("alice"))
            .run();
        browser::show(&said);
    }
}

#[test]
fn e12_what_is_for_operators_is_closed_to_a_tenant() {
    let pair = Pair::new();
    for node in &pair.nodes {
        let _stream = node.open("acme", "alice");
        let event =
            json!({ "type": "x.y", "organizationId": "acme", "data": "marker-of-a-tenant" });
        let revocation = json!({ "user": "carol", "until": "2100-01-01T00:00:00Z" });
        let post = |path| Request::new("POST", path);
        let operations = [
            (Request::get("/api/realtime/stats"), 401),
            // The dashboard is a page of `tailrace dev` alone.
            (Request::get("/dashboard"), 404),
            (post("/api/realtime/publish").with_json(&event), 401),
            (post("/api/realtime/revoke").with_json(&revocation), 401),
        ];
        for (request, expected) in operations {
            let cookie = request.clone().user("alice");
            let token = session::token("alice");
            let bearer = request
                .clone()
                .field("authorization", &format!("Bearer {token}"));
            for request in [request, cookie, bearer] {
                let response = request.send(node.address());
                assert_eq!(response.head.status, expected, "{response:?}");
                assert!(!response.body.contains("acme"), "{response:?}");
            }
        }
        // A key of the application's servers is not one of its operators'.
        let figures = Request::get("/api/realtime/stats");
        let response = figures.clone().service().send(node.address());
        assert_eq!(response.head.status, 403, "{response:?}");
        let key = format!("Bearer {ADMIN_KEY}");
        let response = figures.field("authorization", &key).send(node.address());
        assert_eq!(response.json()["connectedClients"], 1, "{response:?}");
        // What anybody may read says nothing of who streams.
        for page in ["/metrics", "/livez", "/readyz"] {
            let body = node.get(page).body;
            for name in ["acme", "globex", "alice", "bob"] {
                assert!(!body.contains(name), "{name} in {page}");
            }
        }
        assert!(
            !node.log().contains("marker-of-a-tenant"),
            "payloads are not logged"
        );
    }
}

/// What alice, a member of acme alone, is answered.
fn asked(node: &Node, query: &str) -> Response {
    let request = Request::stream(query).user("alice");
    request.send(node.address())
}

/// Everything of a response but the time at which it was written.
fn told(response: &Response) -> (u16, Vec<(String, String)>, &str) {
    let fields = response.head.fields.iter();
    let fields = fields.filter(|(name, _)| name != "date").cloned();
    (response.head.status, fields.collect(), &response.body)
}

fn status(node: &Node, request: &Request) -> u16 {
    let mut connection =
        crate::support::http::Connection::open(node.address()).expect("the node takes connections");
    connection
        .send(&request.bytes())
        .expect("a fresh connection takes a request");
    connection
        .read_head()
        .expect("a request is answered")
        .status
}
