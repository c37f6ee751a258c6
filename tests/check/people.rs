//! The tables of sessions, users and organisations, set up wrongly: it is found, and mended by the very
//! statements that were printed.

use std::fs;

use super::{Subject, look};
use crate::support::directory::Directory;

/// A subject whose application has sessions as rows, and bans its users.
fn subject() -> Subject {
    let subject = Subject::new();
    subject.run(
        r#"ALTER TABLE "User" ADD banned boolean NOT NULL DEFAULT false;
           CREATE TABLE "Session" (
               id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL,
               expires timestamp(3) NOT NULL);
           GRANT SELECT ON "Session" TO tailrace;
           ALTER PUBLICATION tailrace ADD TABLE "Session""#,
    );
    subject.with(|config| {
        config
            .text("session.table", "Session")
            .text("user.table", "User")
            .text("user.banned", "banned")
            .text("organization.table", "Organization")
    })
}

#[test]
fn tables_of_people_that_are_well() {
    let subject = subject();
    let looked = subject.look();
    looked.is_content();
    looked.says(
        0,
        "session Session it can be read, and the log says who goes",
    );
    looked.says(0, "user User it can be read, and the log says who goes");
    looked.says(
        0,
        "organization Organization it can be read, and the log says who goes",
    );
}

#[test]
fn tables_of_people_that_are_not_published() {
    for (table, loss) in [
        ("Session", "a session that is signed out has its streams"),
        (
            "User",
            "a user who is deleted or banned keeps their streams",
        ),
        ("Organization", "a deleted organisation keeps its streams"),
    ] {
        let subject = subject();
        subject.run(&format!(
            "ALTER PUBLICATION tailrace DROP TABLE \"{table}\""
        ));
        subject.is_mended(1, loss);
    }
}

#[test]
fn columns_of_people_that_are_not_readable() {
    let subject = subject();
    subject.run(r#"REVOKE SELECT ON "Session", "User" FROM tailrace"#);
    subject.run(r#"GRANT SELECT (id, "sessionToken") ON "Session" TO tailrace"#);
    let looked = subject.look();
    looked.says(2, "tailrace may not read userId, expires");
    // What is granted is what is read: no hash of a password.
    let statements = looked.statements();
    assert!(
        statements.contains(r#"GRANT SELECT ("id", "banned") ON "public"."User" TO "tailrace";"#),
        "{statements}"
    );
    subject.is_mended(2, "A node does not start. As its owner:");
}

#[test]
fn columns_of_people_that_are_not_sent() {
    let subject = subject();
    let version = subject.database.connect().value("SHOW server_version_num");
    if version.as_str() < "150000" {
        // Publications have no lists of columns there.
        return;
    }
    subject.run(
        r#"ALTER PUBLICATION tailrace DROP TABLE "User";
           ALTER PUBLICATION tailrace ADD TABLE "User" (id)"#,
    );
    subject.is_mended(1, "the publication leaves out banned");
}

#[test]
fn memberships_of_which_only_some_changes_are_sent() {
    let subject = subject();
    subject.run("ALTER PUBLICATION tailrace SET (publish = 'insert, update')");
    subject.is_mended(2, "not every kind of change to it is published");
    if subject
        .database
        .connect()
        .value("SHOW server_version_num")
        .as_str()
        < "150000"
    {
        return;
    }
    subject.run(
        r#"ALTER PUBLICATION tailrace DROP TABLE "OrganizationMember";
           ALTER PUBLICATION tailrace ADD TABLE "OrganizationMember" WHERE ("userId" <> 'root')"#,
    );
    subject.is_mended(2, "only some of its rows are published");
}

#[test]
fn a_deleted_row_that_does_not_say_whom_it_concerned() {
    let subject = subject();
    subject.run(r#"ALTER TABLE "Session" REPLICA IDENTITY USING INDEX "Session_sessionToken_key""#);
    subject.is_mended(1, "so that every stream closes");
}

#[test]
fn tables_of_people_that_are_elsewhere() {
    let subject = subject();
    let named = |name: &str, value: &str| look(&subject.config.clone().text(name, value));
    named("session.table", "Sessions").says(2, "session.table has the name as PostgreSQL holds it");
    named("session.token", "token").says(2, "it has no column token");
    named("user.banned_until", "until").says(2, "it has no column until");
    // The default of a role may be missing; another name is meant.
    subject.run(r#"ALTER TABLE "OrganizationMember" DROP role"#);
    subject.look().is_content();
    named("membership.role", "rank").says(2, "it has no column rank");
}

#[test]
fn a_file_of_keys_that_cannot_be_used() {
    let subject = Subject::new();
    let directory = Directory::new();
    let file = directory.join("keys.json");
    let config = subject.config.clone().text("auth.jwks.file", &file);
    let config = config.text("auth.jwks.issuer", "https://issuer.example.com");
    look(&config).says(2, "No token that these keys signed is accepted");
    fs::write(&file, r#"{"keys":[]}"#).expect("it can be written");
    look(&config).says(2, "No token that these keys signed is accepted");
    // The key of RFC 8037, A.2.
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    fs::write(&file, key).expect("it can be written");
    look(&config).is_content();
}
