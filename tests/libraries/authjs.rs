//! Auth.js 5 (`@auth/core`): a session in the cookie, and sessions in the tables of its adapters.

use super::application::SECRET;
use super::{
    Application, Browser, MEMBERS, TASKS, all_end, all_live, bare, database_of_members,
    empty_database, is_refused_by_both, logs_are_free_of, open_on_both, publish, with_cookie,
};
use crate::support::{Config, Database, Pair};

/// The tables of `@auth/pg-adapter`, as its documentation has them.
const PG_ADAPTER: &str = r#"
CREATE TABLE verification_token (
    identifier TEXT NOT NULL,
    expires TIMESTAMPTZ NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (identifier, token)
);
CREATE TABLE accounts (
    id SERIAL,
    "userId" INTEGER NOT NULL,
    type VARCHAR(255) NOT NULL,
    provider VARCHAR(255) NOT NULL,
    "providerAccountId" VARCHAR(255) NOT NULL,
    refresh_token TEXT,
    access_token TEXT,
    expires_at BIGINT,
    id_token TEXT,
    scope TEXT,
    session_state TEXT,
    token_type TEXT,
    PRIMARY KEY (id)
);
CREATE TABLE sessions (
    id SERIAL,
    "userId" INTEGER NOT NULL,
    expires TIMESTAMPTZ NOT NULL,
    "sessionToken" VARCHAR(255) NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE users (
    id SERIAL,
    name VARCHAR(255),
    email VARCHAR(255),
    "emailVerified" TIMESTAMPTZ,
    image TEXT,
    PRIMARY KEY (id)
);
"#;

/// The tables that Prisma makes of the schema in Auth.js' documentation. There the client makes the ids;
/// here PostgreSQL does, since another adapter writes the rows.
pub(super) const PRISMA: &str = r#"
CREATE TABLE "User" (
    "id" TEXT NOT NULL DEFAULT gen_random_uuid()::text,
    "name" TEXT,
    "email" TEXT NOT NULL,
    "emailVerified" TIMESTAMP(3),
    "image" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Account" (
    "userId" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "provider" TEXT NOT NULL,
    "providerAccountId" TEXT NOT NULL,
    CONSTRAINT "Account_pkey" PRIMARY KEY ("provider", "providerAccountId")
);
CREATE TABLE "Session" (
    "id" TEXT NOT NULL DEFAULT gen_random_uuid()::text,
    "sessionToken" TEXT NOT NULL,
    "userId" TEXT NOT NULL,
    "expires" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "Session_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "VerificationToken" (
    "identifier" TEXT NOT NULL,
    "token" TEXT NOT NULL,
    "expires" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "VerificationToken_pkey" PRIMARY KEY ("identifier", "token")
);
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE UNIQUE INDEX "Session_sessionToken_key" ON "Session"("sessionToken");
ALTER TABLE "Session" ADD CONSTRAINT "Session_userId_fkey"
    FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
"#;

/// Signs a person in with the library, who then has its cookie.
pub(super) fn sign_in<'a>(application: &'a Application, name: &str) -> Browser<'a> {
    let mut browser = application.browser();
    let token = csrf_token(&mut browser);
    browser.submit(
        "/api/auth/callback/credentials",
        [("csrfToken", &token), ("name", name)],
    );
    browser
}

/// The same by a link in a mail.
pub(super) fn sign_in_by_mail<'a>(application: &'a Application, name: &str) -> Browser<'a> {
    let mut browser = application.browser();
    let token = csrf_token(&mut browser);
    let address = format!("{name}@app.example");
    browser.submit(
        "/api/auth/signin/mail",
        [("csrfToken", &token), ("email", &address)],
    );
    let link = browser.get("/mail");
    let path = link.strip_prefix(&application.origin());
    browser.get(path.unwrap_or_else(|| panic!("not a link to the application: {link}")));
    browser
}

fn sign_out(browser: &mut Browser<'_>) {
    let token = csrf_token(browser);
    browser.submit("/api/auth/signout", [("csrfToken", &token)]);
}

/// What the library wants to see again in a form.
fn csrf_token(browser: &mut Browser<'_>) -> String {
    let answer: serde_json::Value =
        serde_json::from_str(&browser.get("/api/auth/csrf")).expect("it is JSON");
    super::text(&answer, "/csrfToken").to_owned()
}

fn authjs(config: Config, secrets: &[&str]) -> Config {
    bare(config)
        .text("auth.mode", "authjs")
        .set("auth.authjs.secret", &format!("{secrets:?}"))
        .text("membership.table", "OrganizationMember")
}

#[test]
fn a_session_in_the_cookie_opens_a_stream() {
    let application = Application::start("authjs.mjs", None, [("SESSIONS", "jwt")]);
    let pair = Pair::on(database_of_members(), |config| authjs(config, &[SECRET]));
    let browser = sign_in(&application, "alice");
    let mut streams = open_on_both(&pair, &with_cookie("acme", &browser.cookie()));
    for stream in &streams {
        assert_eq!(stream.connected["userId"], "alice");
        assert_eq!(stream.connected["organization"]["role"], "owner");
    }
    all_live(&pair, &mut streams, "acme", "task");
    is_refused_by_both(&pair, &with_cookie("globex", &browser.cookie()), 403);
    // The key is made of the name as well: under another, even the library's own, it opens nothing.
    let (name, session) = browser.cookie_named("session-token");
    assert_eq!(name, "authjs.session-token");
    for other in [
        "__Secure-authjs.session-token",
        "next-auth.session-token",
        "session",
        "authjs.session-token.x",
    ] {
        let cookie = format!("{other}={session}");
        is_refused_by_both(&pair, &with_cookie("acme", &cookie), 401);
    }
    logs_are_free_of(&pair, &[session, SECRET]);
}

#[test]
fn a_secret_that_was_replaced_opens_streams_until_it_is_taken_away() {
    const NEW: &str = "the new secret of the application of 32 bytes and more";
    let before = Application::start("authjs.mjs", None, [("SESSIONS", "jwt")]);
    let old = sign_in(&before, "alice").cookie();
    let secrets = format!("{NEW},{SECRET}");
    let after = Application::start(
        "authjs.mjs",
        None,
        [("SESSIONS", "jwt"), ("SECRET", &secrets)],
    );
    let new = sign_in(&after, "alice").cookie();
    let pair = Pair::on(database_of_members(), |config| {
        authjs(config, &[NEW, SECRET])
    });
    open_on_both(&pair, &with_cookie("acme", &old));
    open_on_both(&pair, &with_cookie("acme", &new));
    let pair = Pair::on(database_of_members(), |config| authjs(config, &[NEW]));
    is_refused_by_both(&pair, &with_cookie("acme", &old), 401);
    open_on_both(&pair, &with_cookie("acme", &new));
}

#[test]
fn a_session_in_the_tables_of_prisma_ends_with_its_row() {
    ends_with_its_row(PRISMA, "prisma", ["User", "Session"], |config| {
        config.text("auth.mode", "session")
    });
}

#[test]
fn a_session_in_the_tables_of_the_pg_adapter_ends_with_its_row() {
    ends_with_its_row(PG_ADAPTER, "pg", ["users", "sessions"], |config| {
        config
            .text("auth.mode", "session")
            .text("session.table", "sessions")
            .text("session.token", "sessionToken")
            .text("session.user", "userId")
            .text("session.expires", "expires")
    });
}

/// Signs in by a link, streams, signs out.
fn ends_with_its_row(
    tables: &str,
    adapter: &str,
    [users, sessions]: [&str; 2],
    change: impl FnOnce(Config) -> Config,
) {
    let database: Database = empty_database();
    database.connect().run(&format!("{tables}{TASKS}{MEMBERS}"));
    publish(&database, &[users, sessions, "Task", "OrganizationMember"]);
    let application = Application::start("authjs.mjs", Some(&database), [("SESSIONS", adapter)]);
    let pair = Pair::on(database, |config| {
        let config = bare(config).text("membership.table", "OrganizationMember");
        change(config)
    });
    let mut browser = sign_in_by_mail(&application, "alice");
    pair.database.connect().run(&format!(
        r#"INSERT INTO "OrganizationMember" ("organizationId", "userId", role)
           SELECT 'acme', id, 'owner' FROM "{users}""#
    ));
    let request = with_cookie("acme", &browser.cookie());
    let mut streams = open_on_both(&pair, &request);
    let user = pair
        .database
        .connect()
        .value(&format!(r#"SELECT id FROM "{users}""#));
    for stream in &streams {
        assert_eq!(stream.connected["userId"], user);
    }
    all_live(&pair, &mut streams, "acme", "task");
    let (_, token) = browser.cookie_named("session-token");
    let token = token.to_owned();
    sign_out(&mut browser);
    all_end(streams, "session_revoked");
    is_refused_by_both(&pair, &request, 401);
    logs_are_free_of(&pair, &[&token]);
}
