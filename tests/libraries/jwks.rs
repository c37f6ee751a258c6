//! Tokens of an issuer that publishes its keys, signed with each algorithm by `jose`.

use std::time::Duration;

use serde_json::json;

use super::application::issued_token;
use super::{
    Application, all_live, bare, database_of_members, is_refused_by_both, logs_are_free_of,
    open_on_both, status, with_cookie, with_token,
};
use crate::support::{Config, Pair, wait_until};

/// The tokens are for this node.
const AUDIENCE: &str = "https://app.example";

fn jwks(config: Config, issuer: &Application) -> Config {
    let origin = issuer.origin();
    bare(config)
        .text("auth.mode", "jwks")
        .text("auth.jwks.url", &format!("{origin}/.well-known/jwks.json"))
        .text("auth.jwks.issuer", &origin)
        .set("auth.jwks.audience", &format!("[\"{AUDIENCE}\"]"))
        .text("auth.jwks.cookie", "__session")
        .text("membership.table", "OrganizationMember")
}

#[test]
fn a_token_of_each_algorithm_opens_a_stream() {
    let issuer = Application::start("jose.mjs", None, []);
    let pair = Pair::on(database_of_members(), |config| jwks(config, &issuer));
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = issued_token(
            &issuer,
            algorithm,
            &json!({ "sub": "alice", "aud": AUDIENCE }),
        );
        let mut streams = open_on_both(&pair, &with_token("acme", &token));
        for stream in &streams {
            assert_eq!(stream.connected["userId"], "alice");
        }
        all_live(&pair, &mut streams, "acme", algorithm);
        open_on_both(&pair, &with_cookie("acme", &format!("__session={token}")));
        logs_are_free_of(&pair, &[&token]);
    }
}

#[test]
fn a_token_for_somebody_else_is_401() {
    let issuer = Application::start("jose.mjs", None, []);
    let pair = Pair::on(database_of_members(), |config| jwks(config, &issuer));
    let refused = [
        json!({ "sub": "alice" }),
        json!({ "sub": "alice", "aud": "https://other.example" }),
        json!({ "sub": "alice", "aud": AUDIENCE, "iss": format!("{}/", issuer.origin()) }),
        json!({ "aud": AUDIENCE }),
    ];
    for claims in refused {
        let token = issued_token(&issuer, "ES256", &claims);
        is_refused_by_both(&pair, &with_token("acme", &token), 401);
    }
    // Somebody else's keys under the same ids.
    let stranger = Application::start("jose.mjs", None, []);
    let claims = json!({ "sub": "alice", "aud": AUDIENCE, "iss": issuer.origin() });
    let token = issued_token(&stranger, "ES256", &claims);
    is_refused_by_both(&pair, &with_token("acme", &token), 401);
}

#[test]
fn keys_that_are_replaced_are_fetched_once_a_token_names_them() {
    let issuer = Application::start("jose.mjs", None, []);
    let pair = Pair::on(database_of_members(), |config| jwks(config, &issuer));
    let claims = json!({ "sub": "alice", "aud": AUDIENCE });
    let old = issued_token(&issuer, "RS256", &claims);
    open_on_both(&pair, &with_token("acme", &old));
    issuer.browser().submit("/rotate", []);
    let new = with_token("acme", &issued_token(&issuer, "RS256", &claims));
    // A key that is not known is looked for at most every 30 s, and the first look was at the start.
    for node in &pair.nodes {
        wait_until("the new key is fetched", Duration::from_secs(45), || {
            status(node.address(), &new) == 200
        });
    }
}
