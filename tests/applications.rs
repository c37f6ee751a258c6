//! The applications that the node was made for, with the code of their own documentation in Chromium:
//! members in a table, a tenant in a column of the user's, and users who belong to nothing.

use serde_json::json;

use crate::browser::{script, show};
use crate::libraries::{Application, application};
use crate::support::config::SERVICE_KEY;
use crate::support::postgres::Cluster;
use crate::support::{Database, Node, Pair};

#[test]
fn members_in_a_table() {
    let pair = Pair::on(Database::new(), |config| {
        config
            .without("auth.secret")
            .text("auth.mode", "nextauth")
            .text("auth.nextauth.secret", application::SECRET)
            // Soon enough for somebody who waits for one.
            .text("http.heartbeat", "2s")
    });
    let claims = json!({ "sub": "alice", "name": "Alice" });
    let session = application::next_auth_session(application::SECRET, &claims);
    for (index, node) in pair.nodes.iter().enumerate() {
        let said = script("organizations.mjs")
            .env("DATABASE_URL", pair.database.owner_url())
            .env("NODE_URL", url(node))
            .env("NODE_NAME", index.to_string())
            .env("SESSION", &session)
            .run();
        show(&said);
    }
}

#[test]
fn a_tenant_in_a_column_of_the_user() {
    let database = Cluster::shared().create_empty_database();
    let application = Application::start(
        "better-auth.mjs",
        Some(&database),
        [("TENANT_COLUMN", "tenantId")],
    );
    // What a mutation writes does not stream by itself here: it would be shown twice.
    database.connect().run(
        r#"CREATE TABLE clients (
               id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
               "tenantId" text NOT NULL,
               name text NOT NULL
           );
           CREATE PUBLICATION tailrace FOR TABLE "user", session;
           GRANT SELECT ON "user", session TO tailrace;"#,
    );
    let pair = Pair::on(database, |config| {
        config
            .without("auth.secret")
            .text("auth.mode", "better-auth")
            .text("auth.better_auth.secret", application::SECRET)
            .text("membership.table", "user")
            .text("membership.user", "id")
            .text("membership.organization", "tenantId")
            .text("membership.role", "")
    });
    let mut browser = application.browser();
    let registration = json!({
        "name": "Alice", "email": "alice@app.example", "password": "password-of-alice",
        "tenantId": "acme"
    });
    browser.post("/api/auth/sign-up/email", &registration);
    let (cookie, session) = browser.cookie_named("session_token");
    let emit = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages/emit.mjs");
    for node in &pair.nodes {
        let said = script("tenants.mjs")
            .env("DATABASE_URL", pair.database.owner_url())
            .env("NODE_URL", url(node))
            .env("COOKIE", cookie)
            .env("SESSION", session)
            .env("EMIT", emit)
            .env("TENANT", "acme")
            .env("OTHER_TENANT", "globex")
            .run();
        show(&said);
    }
}

#[test]
fn users_who_belong_to_nothing() {
    let database = Cluster::shared().create_empty_database();
    database.connect().run(
        r#"CREATE TABLE horses (id serial PRIMARY KEY, "userId" integer NOT NULL, name text NOT NULL);
           CREATE UNIQUE INDEX horses_owner ON horses ("userId", id);
           ALTER TABLE horses REPLICA IDENTITY USING INDEX horses_owner;
           CREATE PUBLICATION tailrace FOR TABLE horses;"#,
    );
    let pair = Pair::on(database, |config| {
        config
            .without("membership.table")
            .env("TAILRACE_MEMBERSHIP", "none")
            .without("auth.secret")
            .text("auth.mode", "jwt")
            .text("auth.secret", application::SECRET)
            .text("auth.user_claim", "userId")
            .with(
                "
[[route]]
table = \"horses\"
type = \"{channel}:{created|updated|deleted}\"
user = \"userId\"
",
            )
    });
    let issuer = Application::start("jose.mjs", None, []);
    let session = application::issued_token(&issuer, "HS256", &json!({ "userId": 7 }));
    for node in &pair.nodes {
        let said = script("horses.mjs")
            .env("DATABASE_URL", pair.database.owner_url())
            .env("NODE_URL", url(node))
            .env("SESSION", &session)
            .env("SERVICE_KEY", SERVICE_KEY)
            .run();
        show(&said);
    }
}

fn url(node: &Node) -> String {
    format!("http://{}", node.address())
}
