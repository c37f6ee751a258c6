//! Tokens made with the packages of the field (`vectors/jwt.json`), and what this crate says to each.

use auth::TokenError;
use auth::{IdentityError, Policy, Secret};
use serde_json::Value;

/// After every `iat` of the vectors, before every far `exp` and `nbf`.
const NOW_MS: u64 = 1_800_000_000_000;

/// The verdict on each vector. The other algorithms are refused: their keys are not configured here.
const VERDICTS: [(&str, Result<&str, IdentityError>); 33] = [
    ("hs256 valid", Ok("user_1")),
    ("hs256 typ JWT", Ok("user_1")),
    (
        "hs256 expired",
        Err(IdentityError::Token(TokenError::Expired)),
    ),
    (
        "hs256 no exp",
        Err(IdentityError::Token(TokenError::NoExpiry)),
    ),
    (
        "hs256 nbf future",
        Err(IdentityError::Token(TokenError::NotYet)),
    ),
    (
        "hs256 other secret",
        Err(IdentityError::Token(TokenError::Signature)),
    ),
    ("hs256 sub is a number", Err(IdentityError::NoUser)),
    ("hs256 userId claim", Err(IdentityError::NoUser)),
    ("hs256 exp as float", Ok("user_1")),
    (
        "hs256 exp as string",
        Err(IdentityError::Token(TokenError::Expired)),
    ),
    ("rs256", Err(IdentityError::Token(TokenError::Algorithm))),
    ("es256", Err(IdentityError::Token(TokenError::Algorithm))),
    ("eddsa", Err(IdentityError::Token(TokenError::Algorithm))),
    (
        "rs256 kid not in the JWKS (rotated in later)",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "rs256 without kid",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "clerk-like session token v2",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "clerk-like, sts pending",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "clerk-like, azp of another origin",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "supabase-like",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "auth0-like access token, aud array",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "wrong audience",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "issuer without trailing slash",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "alg confusion: HS256 keyed with the RSA public PEM",
        Err(IdentityError::Token(TokenError::Signature)),
    ),
    ("alg none", Err(IdentityError::Token(TokenError::Algorithm))),
    ("alg NonE", Err(IdentityError::Token(TokenError::Algorithm))),
    (
        "embedded jwk header",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "jku header points elsewhere",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "unknown crit",
        Err(IdentityError::Token(TokenError::Critical)),
    ),
    (
        "ES256 key, alg says RS256 (kid ec-1)",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
    (
        "padding in base64url",
        Err(IdentityError::Token(TokenError::Malformed)),
    ),
    ("4 parts", Err(IdentityError::Token(TokenError::Malformed))),
    (
        "non-canonical last base64url char (trailing bits set)",
        Err(IdentityError::Token(TokenError::Malformed)),
    ),
    (
        "ES256 all-zero signature (CVE-2022-21449 shape)",
        Err(IdentityError::Token(TokenError::Algorithm)),
    ),
];

#[test]
fn every_vector_gets_its_verdict() {
    let file = vectors();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), VERDICTS.len());
    let policy = policy(&file, "sub");
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let (_, verdict) = VERDICTS.iter().find(|(listed, _)| *listed == name).unwrap();
        let identity = policy.identify(vector["token"].as_str().unwrap(), NOW_MS);
        let user = identity.map(|identity| identity.user);
        assert_eq!(user, verdict.map(str::to_owned), "{name}");
    }
}

#[test]
fn the_user_may_stand_in_another_claim() {
    let file = vectors();
    let vectors = file["vectors"].as_array().unwrap();
    let vector = vectors
        .iter()
        .find(|vector| vector["name"] == "hs256 userId claim")
        .unwrap();
    let identity = policy(&file, "userId").identify(vector["token"].as_str().unwrap(), NOW_MS);
    assert_eq!(identity.unwrap().user, "user_7");
}

#[test]
fn an_endless_session_is_accepted_where_the_operator_says_so() {
    let file = vectors();
    let vectors = file["vectors"].as_array().unwrap();
    let vector = vectors
        .iter()
        .find(|vector| vector["name"] == "hs256 no exp")
        .unwrap();
    let policy = Policy {
        require_exp: false,
        ..policy(&file, "sub")
    };
    let identity = policy
        .identify(vector["token"].as_str().unwrap(), NOW_MS)
        .unwrap();
    assert_eq!(
        (identity.user.as_str(), identity.expires_ms),
        ("user_1", None)
    );
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/jwt.json")).expect("the vectors are JSON")
}

fn policy(file: &Value, user_claim: &str) -> Policy {
    Policy {
        secrets: vec![Secret::new(
            file["hs256_secret"].as_str().expect("the vectors name it"),
        )],
        user_claim: user_claim.to_owned(),
        require_exp: true,
    }
}
