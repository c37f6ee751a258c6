//! `docs/auth.md`: each block of configuration is cut out of the page and run, with nothing beside it but the
//! secret, against a session that the library itself made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use toml::Table;

use super::application::{SECRET, issued_token, next_auth_session};
use super::authjs::{PRISMA, sign_in, sign_in_by_mail};
use super::{
    Application, MEMBERS, TASKS, bare, database_of_members, empty_database, open_on_both, publish,
    text, with_cookie, with_token,
};
use crate::documents::{marked, marks};
use crate::support::{Database, Pair, Request};

const PAGE: &str = "docs/auth.md";

/// The blocks of the page, each with a test here.
const BLOCKS: [&str; 11] = [
    "authjs",
    "authjs-database",
    "better-auth",
    "introspection-authjs",
    "introspection-better-auth",
    "jwks",
    "jwks-auth0",
    "jwks-clerk",
    "jwks-supabase",
    "jwt",
    "nextauth",
];

/// Two nodes with this configuration, and these variables in their environment.
fn nodes<const N: usize>(database: Database, block: &str, variables: [(&str, &str); N]) -> Pair {
    Pair::on(database, |config| {
        let config = bare(config).with(block);
        variables
            .iter()
            .fold(config, |config, (name, value)| config.env(name, value))
    })
}

/// The request is answered with `connected`, by both nodes.
fn connects(pair: &Pair, request: &Request, user: &str, organization: &str) {
    for stream in open_on_both(pair, request) {
        assert_eq!(stream.connected["userId"], user);
        assert_eq!(stream.connected["organizationId"], organization);
    }
}

#[test]
fn every_block_that_is_marked_is_run() {
    let mut marks = marks(PAGE);
    marks.sort();
    assert_eq!(marks, BLOCKS);
}

#[test]
fn nextauth() {
    let variables = [("NEXTAUTH_SECRET", SECRET)];
    let pair = nodes(database_of_members(), &marked(PAGE, "nextauth"), variables);
    let session = next_auth_session(SECRET, &json!({ "sub": "alice" }));
    let cookie = format!("next-auth.session-token={session}");
    connects(&pair, &with_cookie("acme", &cookie), "alice", "acme");
}

#[test]
fn authjs() {
    let application = Application::start("authjs.mjs", None, [("SESSIONS", "jwt")]);
    let variables = [("AUTH_SECRET", SECRET)];
    let pair = nodes(database_of_members(), &marked(PAGE, "authjs"), variables);
    let cookie = sign_in(&application, "alice").cookie();
    connects(&pair, &with_cookie("acme", &cookie), "alice", "acme");
}

#[test]
fn authjs_database() {
    let database = empty_database();
    database.connect().run(&format!("{PRISMA}{TASKS}{MEMBERS}"));
    publish(&database, &["Session", "Task", "OrganizationMember"]);
    let application = Application::start("authjs.mjs", Some(&database), [("SESSIONS", "prisma")]);
    let pair = nodes(database, &marked(PAGE, "authjs-database"), []);
    let cookie = sign_in_by_mail(&application, "alice").cookie();
    let sql = pair.database.connect();
    sql.run(
        r#"INSERT INTO "OrganizationMember" ("organizationId", "userId")
           SELECT 'acme', id FROM "User""#,
    );
    let user = sql.value(r#"SELECT id FROM "User""#);
    connects(&pair, &with_cookie("acme", &cookie), &user, "acme");
}

#[test]
fn better_auth() {
    let (database, application) = with_better_auth();
    let variables = [("BETTER_AUTH_SECRET", SECRET)];
    let pair = nodes(database, &marked(PAGE, "better-auth"), variables);
    connects_to_better_auth(&pair, &application);
}

#[test]
fn introspection_better_auth() {
    let (database, application) = with_better_auth();
    let block = asking(&application, "introspection-better-auth");
    let pair = nodes(database, &block, []);
    connects_to_better_auth(&pair, &application);
}

#[test]
fn introspection_authjs() {
    let application = Application::start("authjs.mjs", None, [("SESSIONS", "jwt")]);
    let block = asking(&application, "introspection-authjs");
    let pair = nodes(database_of_members(), &block, []);
    let cookie = sign_in(&application, "alice").cookie();
    connects(&pair, &with_cookie("acme", &cookie), "alice", "acme");
}

#[test]
fn jwt() {
    let issuer = Application::start("jose.mjs", None, []);
    let variables = [("TAILRACE_AUTH_SECRET", SECRET)];
    let pair = nodes(database_of_members(), &marked(PAGE, "jwt"), variables);
    let token = issued_token(&issuer, "HS256", &json!({ "sub": "alice" }));
    let cookie = format!("session={token}");
    connects(&pair, &with_cookie("acme", &cookie), "alice", "acme");
    connects(&pair, &with_token("acme", &token), "alice", "acme");
}

#[test]
fn jwks() {
    let provider = Provider::of("jwks", "alice", "acme");
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = provider.token(algorithm, json!({ "sub": "alice" }));
        provider.connects(&with_token("acme", &token));
        provider.connects(&with_cookie("acme", &format!("session={token}")));
    }
}

#[test]
fn jwks_clerk() {
    let provider = Provider::of("jwks-clerk", "user_2abc", "org_2abc");
    let organization = json!({ "id": "org_2abc", "slg": "acme", "rol": "admin" });
    let claims = json!({ "sub": "user_2abc", "v": 2, "sid": "sess_2abc", "o": organization });
    let token = provider.token("RS256", claims);
    // Its library sets both, the second for pages of an older version.
    let cookie = format!("__session_Qw3rTy12={token}; __session={token}");
    let request = with_cookie("org_2abc", &cookie);
    provider.connects(&request);
    for stream in open_on_both(&provider.pair, &request) {
        assert_eq!(stream.connected["organization"]["role"], "admin");
    }
}

#[test]
fn jwks_auth0() {
    let provider = Provider::of("jwks-auth0", "auth0|5f7c", "acme");
    let token = provider.token("RS256", json!({ "sub": "auth0|5f7c" }));
    provider.connects(&with_token("acme", &token));
}

#[test]
fn jwks_supabase() {
    let provider = Provider::of("jwks-supabase", "d0c1", "acme");
    let claims = json!({ "sub": "d0c1", "role": "authenticated", "session_id": "1" });
    let token = provider.token("ES256", claims);
    let session = json!({ "access_token": token, "token_type": "bearer", "refresh_token": "r" });
    let value = format!("base64-{}", URL_SAFE_NO_PAD.encode(session.to_string()));
    // In pieces, as its library cuts a session that is long.
    let (first, second) = value.split_at(value.len() / 2);
    let name = "sb-abcdefgh-auth-token";
    let cookie = format!("{name}.0={first}; {name}.1={second}");
    provider.connects(&with_cookie("acme", &cookie));
}

/// An issuer in the place of a provider, and nodes with the provider's block.
struct Provider {
    // Dropped in this order: the nodes before whom they ask.
    pair: Pair,
    issuer: Application,
    block: Table,
    user: &'static str,
    organization: &'static str,
}

impl Provider {
    fn of(mark: &str, user: &'static str, organization: &'static str) -> Self {
        let issuer = Application::start("jose.mjs", None, []);
        let block = marked(PAGE, mark);
        let documented: Table = block.parse().expect("the page has TOML");
        let url = format!("{}/.well-known/jwks.json", issuer.origin());
        let named = |key: &str| documented["auth"]["jwks"][key].as_str();
        let block = [("url", url), ("issuer", issuer.origin())]
            .into_iter()
            .fold(block.clone(), |block, (key, ours)| {
                let theirs = named(key).unwrap_or_else(|| panic!("no {key} in {mark}"));
                block.replace(
                    &format!("{key} = \"{theirs}\""),
                    &format!("{key} = \"{ours}\""),
                )
            });
        let database = database_of_members();
        database.connect().run(&format!(
            r#"INSERT INTO "OrganizationMember" ("organizationId", "userId")
               SELECT '{organization}', '{user}' WHERE '{user}' <> 'alice'"#
        ));
        Self {
            pair: nodes(database, &block, []),
            issuer,
            block: documented,
            user,
            organization,
        }
    }

    /// A token for whom the block says that its tokens are.
    fn token(&self, algorithm: &str, mut claims: serde_json::Value) -> String {
        let first = |key: &str| {
            let list = self.block["auth"]["jwks"].get(key)?.as_array()?;
            list.first()?.as_str().map(str::to_owned)
        };
        for (key, claim) in [("audience", "aud"), ("authorized_parties", "azp")] {
            if let Some(value) = first(key) {
                claims[claim] = value.into();
            }
        }
        issued_token(&self.issuer, algorithm, &claims)
    }

    fn connects(&self, request: &Request) {
        connects(&self.pair, request, self.user, self.organization);
    }
}

/// An application with Better Auth, and its tables.
fn with_better_auth() -> (Database, Application) {
    let database = empty_database();
    let application = Application::start("better-auth.mjs", Some(&database), []);
    database.connect().run(TASKS);
    publish(
        &database,
        &["user", "session", "organization", "member", "Task"],
    );
    (database, application)
}

fn connects_to_better_auth(pair: &Pair, application: &Application) {
    let mut browser = application.browser();
    let credentials = json!({
        "name": "Alice", "email": "alice@app.example", "password": "password-of-alice"
    });
    let registered = browser.post("/api/auth/sign-up/email", &credentials);
    let body = json!({ "name": "Acme", "slug": "acme" });
    let made = browser.post("/api/auth/organization/create", &body);
    let (user, organization) = (text(&registered, "/user/id"), text(&made, "/id"));
    let request = with_cookie(organization, &browser.cookie());
    connects(pair, &request, user, organization);
    // The organisation that is active in the session, where the page names none.
    let request = Request::get("/api/realtime/stream").field("cookie", &browser.cookie());
    connects(pair, &request, user, organization);
}

/// The block with the application's address in the place of the documented one.
fn asking(application: &Application, mark: &str) -> String {
    let block = marked(PAGE, mark);
    let documented = "http://127.0.0.1:3000";
    assert!(block.contains(documented), "{block}");
    block.replace(documented, &application.origin())
}
