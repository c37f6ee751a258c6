//! Better Auth with its own tables, its organisations and its administration: a stream lives exactly as
//! long as the library's own session, membership and account do.

use serde_json::{Value, json};

use super::application::SECRET;
use super::{
    Application, Browser, TASKS, all_end, all_live, bare, empty_database, is_refused_by_both,
    logs_are_free_of, open_on_both, publish, text, with_cookie, with_token,
};
use crate::support::commands::tailrace;
use crate::support::directory::Directory;
use crate::support::{Config, Database, Pair, Request};

/// An application, an organisation in it, and two nodes beside it.
struct World {
    // Dropped in this order: the nodes before the application, that before its database.
    pair: Pair,
    application: Application,
}

impl World {
    fn new() -> Self {
        Self::with(|config, _| better_auth(config))
    }

    fn with(change: impl FnOnce(Config, &Application) -> Config) -> Self {
        let database = empty_database();
        let application = Application::start("better-auth.mjs", Some(&database), []);
        let tables = ["user", "session", "organization", "member", "Task"];
        database.connect().run(TASKS);
        publish(&database, &tables);
        let pair = Pair::on(database, |config| change(bare(config), &application));
        Self { pair, application }
    }

    /// Somebody who has just registered.
    fn sign_up(&self, name: &str) -> Person<'_> {
        let mut browser = self.application.browser();
        let answer = browser.post("/api/auth/sign-up/email", &credentials(name));
        let id = text(&answer, "/user/id").to_owned();
        Person { browser, id }
    }

    /// The same person at another browser.
    fn sign_in(&self, name: &str) -> Browser<'_> {
        let mut browser = self.application.browser();
        browser.post("/api/auth/sign-in/email", &credentials(name));
        browser
    }

    /// Alice, and the organisation that she makes.
    fn owner(&self) -> (Person<'_>, String) {
        let mut alice = self.sign_up("alice");
        let body = json!({ "name": "Acme", "slug": "acme" });
        let made = alice.browser.post("/api/auth/organization/create", &body);
        let organization = text(&made, "/id").to_owned();
        (alice, organization)
    }

    fn database(&self) -> &Database {
        &self.pair.database
    }
}

struct Person<'a> {
    browser: Browser<'a>,
    id: String,
}

impl Person<'_> {
    /// Asks somebody into the organisation, who accepts.
    fn invite(&mut self, organization: &str, name: &str, guest: &mut Person<'_>) {
        let body = json!({
            "email": format!("{name}@app.example"), "role": "member", "organizationId": organization
        });
        let invited = self
            .browser
            .post("/api/auth/organization/invite-member", &body);
        let body = json!({ "invitationId": text(&invited, "/id") });
        guest
            .browser
            .post("/api/auth/organization/accept-invitation", &body);
    }
}

fn credentials(name: &str) -> Value {
    json!({
        "name": name, "email": format!("{name}@app.example"), "password": format!("password-of-{name}")
    })
}

fn better_auth(config: Config) -> Config {
    config
        .text("auth.mode", "better-auth")
        .set("auth.better_auth.secret", &format!("[\"{SECRET}\"]"))
        .text("membership.table", "member")
        .text("user.table", "user")
        .text("user.banned", "banned")
        .text("organization.table", "organization")
}

#[test]
fn a_stream_ends_with_the_session_at_sign_out() {
    let world = World::new();
    let (mut alice, acme) = world.owner();
    let request = with_cookie(&acme, &alice.browser.cookie());
    let mut streams = open_on_both(&world.pair, &request);
    for stream in &streams {
        assert_eq!(stream.connected["userId"], alice.id.as_str());
        assert_eq!(stream.connected["organization"]["role"], "owner");
    }
    // The library writes to the session's row for reasons of its own.
    let body = json!({ "organizationId": acme });
    alice
        .browser
        .post("/api/auth/organization/set-active", &body);
    alice.browser.get("/api/auth/get-session");
    all_live(&world.pair, &mut streams, &acme, "before");
    // Another session of hers is another session.
    let other = with_cookie(&acme, &world.sign_in("alice").cookie());
    let mut others = open_on_both(&world.pair, &other);
    let (_, session) = alice.browser.cookie_named("session_token");
    let session = session.to_owned();
    alice.browser.post("/api/auth/sign-out", &json!({}));
    all_end(streams, "session_revoked");
    is_refused_by_both(&world.pair, &request, 401);
    all_live(&world.pair, &mut others, &acme, "after");
    let token = session.split_once('.').expect("a signature follows").0;
    logs_are_free_of(&world.pair, &[token, SECRET]);
}

#[test]
fn a_stream_ends_with_every_session_when_all_are_revoked() {
    let world = World::new();
    let (alice, acme) = world.owner();
    let request = with_cookie(&acme, &alice.browser.cookie());
    let streams = open_on_both(&world.pair, &request);
    let mut elsewhere = world.sign_in("alice");
    elsewhere.post("/api/auth/revoke-other-sessions", &json!({}));
    all_end(streams, "session_revoked");
    is_refused_by_both(&world.pair, &request, 401);
    open_on_both(&world.pair, &with_cookie(&acme, &elsewhere.cookie()));
}

#[test]
fn a_stream_ends_with_the_membership() {
    let world = World::new();
    let (mut alice, acme) = world.owner();
    let mut bob = world.sign_up("bob");
    let request = with_cookie(&acme, &bob.browser.cookie());
    is_refused_by_both(&world.pair, &request, 403);
    alice.invite(&acme, "bob", &mut bob);
    let streams = open_on_both(&world.pair, &request);
    let own = with_cookie(&acme, &alice.browser.cookie());
    let mut others = open_on_both(&world.pair, &own);
    let body = json!({ "memberIdOrEmail": "bob@app.example", "organizationId": acme });
    alice
        .browser
        .post("/api/auth/organization/remove-member", &body);
    all_end(streams, "membership_revoked");
    is_refused_by_both(&world.pair, &request, 403);
    all_live(&world.pair, &mut others, &acme, "after");
}

#[test]
fn a_stream_ends_when_the_role_changes_and_returns_with_the_new_one() {
    let world = World::new();
    let (mut alice, acme) = world.owner();
    let mut bob = world.sign_up("bob");
    alice.invite(&acme, "bob", &mut bob);
    let request = with_cookie(&acme, &bob.browser.cookie());
    let streams = open_on_both(&world.pair, &request);
    let path = format!("/api/auth/organization/list-members?organizationId={acme}");
    let members: Value = serde_json::from_str(&alice.browser.get(&path)).expect("it is JSON");
    let members = members["members"].as_array().expect("a list");
    let member = members
        .iter()
        .find(|member| member["userId"] == bob.id.as_str())
        .expect("he is a member");
    let body = json!({
        "memberId": member["id"], "role": ["admin", "member"], "organizationId": acme
    });
    alice
        .browser
        .post("/api/auth/organization/update-member-role", &body);
    all_end(streams, "role_changed");
    for stream in open_on_both(&world.pair, &request) {
        assert_eq!(stream.connected["organization"]["role"], "admin,member");
    }
}

#[test]
fn a_stream_ends_when_the_user_is_banned() {
    let world = World::new();
    let (mut alice, acme) = world.owner();
    let mut bob = world.sign_up("bob");
    alice.invite(&acme, "bob", &mut bob);
    let sql = world.database().connect();
    sql.run(&format!(
        r#"UPDATE "user" SET role = 'admin' WHERE id = '{}'"#,
        alice.id
    ));
    // By the library, which takes his sessions away as well ...
    let streams = open_on_both(&world.pair, &with_cookie(&acme, &bob.browser.cookie()));
    let banned = json!({ "userId": bob.id });
    alice.browser.post("/api/auth/admin/ban-user", &banned);
    all_end(streams, "session_revoked");
    alice.browser.post("/api/auth/admin/unban-user", &banned);
    // ... and by nothing but the column.
    let request = with_cookie(&acme, &world.sign_in("bob").cookie());
    let streams = open_on_both(&world.pair, &request);
    sql.run(&format!(
        r#"UPDATE "user" SET banned = true WHERE id = '{}'"#,
        bob.id
    ));
    all_end(streams, "session_revoked");
    is_refused_by_both(&world.pair, &request, 401);
}

#[test]
fn a_stream_ends_with_the_organization() {
    let world = World::new();
    let (mut alice, acme) = world.owner();
    let request = with_cookie(&acme, &alice.browser.cookie());
    let mut streams = open_on_both(&world.pair, &request);
    let body = json!({ "organizationId": acme });
    alice.browser.post("/api/auth/organization/delete", &body);
    for stream in &mut streams {
        let bye = stream.control("bye").json();
        // The library deletes the members first, in statements of their own.
        let reason = text(&bye, "/reason");
        assert!(
            ["membership_revoked", "organization_deleted"].contains(&reason),
            "{bye}"
        );
    }
    is_refused_by_both(&world.pair, &request, 403);
}

#[test]
fn what_the_library_did_not_sign_is_no_session() {
    let world = World::new();
    let (alice, acme) = world.owner();
    open_on_both(&world.pair, &with_cookie(&acme, &alice.browser.cookie()));
    let (name, value) = alice.browser.cookie_named("session_token");
    let (token, signature) = value.split_once('.').expect("a signature follows");
    let row = world.database().connect().value(&format!(
        r#"SELECT token FROM session WHERE "userId" = '{}'"#,
        alice.id
    ));
    assert_eq!(row, token, "the row has what the cookie has");
    let other = token.chars().rev().collect::<String>();
    for cookie in [
        // Under a name that is not the library's, or nearly is.
        format!("session={value}"),
        format!("better-auth.session={value}"),
        format!("{name}_multi-{token}={value}"),
        // Without its signature, with another's, with one that is cut short.
        format!("{name}={token}"),
        format!("{name}={token}."),
        format!("{name}={other}.{signature}"),
        format!("{name}={token}.{}", &signature[4..]),
        // The first of two counts, as in the library.
        format!("{name}={other}.{signature}; {name}={value}"),
    ] {
        is_refused_by_both(&world.pair, &with_cookie(&acme, &cookie), 401);
    }
    let pair = with_another_secret();
    is_refused_by_both(&pair, &with_cookie(&acme, &alice.browser.cookie()), 401);
}

/// Two nodes that were told another secret than the application has.
fn with_another_secret() -> Pair {
    let database = empty_database();
    let _application = Application::start("better-auth.mjs", Some(&database), []);
    database.connect().run(TASKS);
    publish(
        &database,
        &["user", "session", "organization", "member", "Task"],
    );
    Pair::on(database, |config| {
        let secret = "[\"another secret than the application's, long enough\"]";
        better_auth(bare(config)).set("auth.better_auth.secret", secret)
    })
}

#[test]
fn what_init_takes_of_the_tables_is_enough() {
    let database = empty_database();
    let application = Application::start("better-auth.mjs", Some(&database), []);
    database.connect().run(TASKS);
    let directory = Directory::new();
    let file = directory.join("tailrace.toml");
    let url = database.owner_url();
    let role = format!("node_{}", database.name());
    let said = tailrace([
        "init",
        "--apply",
        "--yes",
        "--database-url",
        &url,
        "--role",
        &role,
        "--output",
        &file,
    ]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.error);
    let written = std::fs::read_to_string(&file).expect("it was written");
    let written: toml::Table = written.parse().expect("it is TOML");
    // Its own, in the place of what tests have otherwise: the role with just its rights, above all.
    let pair = Pair::on(database, |config| {
        let tables = written
            .iter()
            .filter_map(|(name, table)| Some((name, table.as_table()?)));
        let keys = tables.flat_map(|(name, table)| {
            table
                .iter()
                .map(move |(key, value)| (format!("{name}.{key}"), value.to_string()))
        });
        keys.filter(|(key, _)| !key.starts_with("http.") && !key.starts_with("engine."))
            .fold(bare(config), |config, (key, value)| {
                config.set(&key, &value)
            })
            .env("BETTER_AUTH_SECRET", SECRET)
    });
    let world = World { pair, application };
    let (mut alice, acme) = world.owner();
    let mut bob = world.sign_up("bob");
    alice.invite(&acme, "bob", &mut bob);
    let request = with_cookie(&acme, &bob.browser.cookie());
    let mut removed = open_on_both(&world.pair, &request);
    all_live(&world.pair, &mut removed, &acme, "both");
    let mut signed_out = open_on_both(&world.pair, &with_cookie(&acme, &alice.browser.cookie()));
    let body = json!({ "memberIdOrEmail": "bob@app.example", "organizationId": acme });
    alice
        .browser
        .post("/api/auth/organization/remove-member", &body);
    all_end(removed, "membership_revoked");
    all_live(&world.pair, &mut signed_out, &acme, "one");
    alice.browser.post("/api/auth/sign-out", &json!({}));
    all_end(signed_out, "session_revoked");
    is_refused_by_both(&world.pair, &request, 403);
}

#[test]
fn a_token_of_the_jwt_plugin_opens_a_stream() {
    let world = World::with(|config, application| {
        // The library makes its key when it is first asked, one for each who asks at that moment: were
        // the nodes the first, one of them might look again only half a minute later.
        application.browser().get("/api/auth/jwks");
        let origin = application.origin();
        config
            .text("auth.mode", "jwks")
            .text("auth.jwks.url", &format!("{origin}/api/auth/jwks"))
            .text("auth.jwks.issuer", &origin)
            .set("auth.jwks.audience", &format!("[\"{origin}\"]"))
            .text("membership.table", "member")
    });
    let (mut alice, acme) = world.owner();
    let token = alice.browser.get("/api/auth/token");
    let token: Value = serde_json::from_str(&token).expect("it is JSON");
    let request = with_token(&acme, text(&token, "/token"));
    for stream in open_on_both(&world.pair, &request) {
        assert_eq!(stream.connected["userId"], alice.id.as_str());
    }
}

#[test]
fn the_application_can_be_asked_for_the_session() {
    let world = World::with(|config, application| {
        let url = "/api/auth/get-session?disableRefresh=true&disableCookieCache=true";
        config
            .text("auth.mode", "introspection")
            .text(
                "auth.introspection.url",
                &format!("{}{url}", application.origin()),
            )
            .text("auth.introspection.user", "user.id")
            .text("auth.introspection.expires", "session.expiresAt")
            .text("membership.table", "member")
    });
    let (mut alice, acme) = world.owner();
    let request = with_cookie(&acme, &alice.browser.cookie());
    for stream in open_on_both(&world.pair, &request) {
        assert_eq!(stream.connected["userId"], alice.id.as_str());
    }
    let stranger: Request = with_cookie(&acme, "better-auth.session_token=of.nobody");
    is_refused_by_both(&world.pair, &stranger, 401);
    alice.browser.post("/api/auth/sign-out", &json!({}));
}
