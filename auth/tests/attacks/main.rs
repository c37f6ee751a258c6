//! Attacks on sessions, each against a verifier that accepts every honest token of this file's own
//! making: what the issuers' libraries have fallen for, one by one.

mod algorithms;
mod claims;
mod keys;
mod mint;
mod secrets;

use auth::cookie::{CookieNames, Cookies};
use auth::jwks::Jwks;
use auth::{
    ClaimRules, IdentityError, Method, Presented, Secret, Settings, TokenError, TokenRules,
    Verdict, Verifier,
};

/// The time at which everything is presented.
const NOW_MS: u64 = 1_800_000_000_000;

/// The same in seconds, as claims have it.
const NOW: u64 = NOW_MS / 1_000;

/// What the node and the application share.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The claims of an honest session.
const HONEST: &str = r#"{"sub":"ada","exp":4102444800}"#;

/// Takes tokens by HS256 and by the keys of an issuer, as bearers.
fn verifier() -> Verifier {
    with_rules(TokenRules::default())
}

fn with_rules(rules: TokenRules) -> Verifier {
    let jwt = Method::Jwt {
        secrets: vec![Secret::new(SECRET)],
        cookies: CookieNames::new("session"),
        rules: rules.clone(),
    };
    let jwks = Method::Jwks {
        issuer: 0,
        cookies: None,
        rules,
    };
    Verifier::new(Settings {
        methods: vec![jwt, jwks],
        claims: ClaimRules::default(),
    })
}

/// The user, or why there is none.
fn present(verifier: &Verifier, token: &str, keys: &[Jwks]) -> Result<String, IdentityError> {
    let presented = Presented {
        cookies: Cookies::default(),
        bearer: Some(token),
    };
    match verifier.verify(&presented, keys, NOW_MS)? {
        Verdict::Identity(identity) => Ok(identity.user),
        // The attacker's key is not in the set, and asking for the set again will not change that.
        Verdict::KeysNeeded(_) => Err(TokenError::UnknownKey.into()),
        Verdict::Row(_) | Verdict::Introspect(_) => panic!("no such method is configured"),
    }
}

fn refused(error: TokenError) -> Result<String, IdentityError> {
    Err(error.into())
}
