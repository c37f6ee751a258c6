//! NextAuth 4: the session that its own `encode` makes. The library with Next.js around it is in
//! `tests/nextjs`.

use serde_json::json;

use super::application::{SECRET, next_auth_session};
use super::{
    all_live, bare, database_of_members, is_refused_by_both, logs_are_free_of, open_on_both,
    with_cookie,
};
use crate::support::{Config, Pair};

fn next_auth(config: Config) -> Config {
    bare(config)
        .text("auth.mode", "nextauth")
        .text("auth.nextauth.secret", SECRET)
        .text("membership.table", "OrganizationMember")
}

#[test]
fn a_session_opens_a_stream() {
    let pair = Pair::on(database_of_members(), next_auth);
    let claims = json!({ "sub": "alice", "name": "Alice", "email": "alice@app.example" });
    let session = next_auth_session(SECRET, &claims);
    // The key is the same under both of the library's names.
    for name in [
        "next-auth.session-token",
        "__Secure-next-auth.session-token",
    ] {
        let cookie = format!("theme=dark; {name}={session}");
        let mut streams = open_on_both(&pair, &with_cookie("acme", &cookie));
        for stream in &streams {
            assert_eq!(stream.connected["userId"], "alice");
        }
        all_live(&pair, &mut streams, "acme", name);
        is_refused_by_both(&pair, &with_cookie("globex", &cookie), 403);
    }
    for name in [
        "session",
        "next-auth.session-token-x",
        "authjs.session-token",
    ] {
        let cookie = format!("{name}={session}");
        is_refused_by_both(&pair, &with_cookie("acme", &cookie), 401);
    }
    logs_are_free_of(&pair, &[&session, SECRET]);
}

#[test]
fn a_session_in_pieces_opens_a_stream() {
    let pair = Pair::on(database_of_members(), next_auth);
    let claims = json!({ "sub": "alice", "picture": "x".repeat(9_000) });
    let session = next_auth_session(SECRET, &claims);
    // Where the library cuts it. Browsers send the pieces in any order.
    let pieces = session.as_bytes().chunks(3_933).enumerate();
    let mut pieces: Vec<_> = pieces
        .map(|(index, piece)| {
            let piece = str::from_utf8(piece).expect("sessions are ASCII");
            format!("next-auth.session-token.{index}={piece}")
        })
        .collect();
    assert!(pieces.len() > 2, "it is long");
    pieces.reverse();
    open_on_both(&pair, &with_cookie("acme", &pieces.join("; ")));
    pieces.pop();
    is_refused_by_both(&pair, &with_cookie("acme", &pieces.join("; ")), 401);
}

#[test]
fn what_is_no_session_of_the_application_is_401() {
    let pair = Pair::on(database_of_members(), next_auth);
    let alice = json!({ "sub": "alice" });
    let another = "another secret of 32 bytes and some more";
    for session in [
        next_auth_session(another, &alice),
        // A token of the library that names nobody: that of a sign-in that is under way, for example.
        next_auth_session(SECRET, &json!({ "state": "x" })),
        next_auth_session(SECRET, &json!({ "sub": 7 })),
        next_auth_session(SECRET, &alice)[1..].to_owned(),
    ] {
        let cookie = format!("next-auth.session-token={session}");
        is_refused_by_both(&pair, &with_cookie("acme", &cookie), 401);
    }
}
