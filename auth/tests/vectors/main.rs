//! Sessions made with the packages of the field (the JSON files beside this), and what this crate says
//! to each. Where a package is laxer than we are, the table says so.

mod auth_js;
mod better_auth;
mod jwt;
mod misc;
mod next_auth;

use auth::cookie::{CookieNames, Cookies};
use auth::jwks::Jwks;
use auth::{
    ClaimRules, Identity, IdentityError, Method, Presented, Secret, Settings, TokenError, Verdict,
    Verifier,
};
use serde_json::Value;

/// After every `iat` of the vectors, before every far `exp` and `nbf`.
const NOW_MS: u64 = 1_800_000_000_000;

/// What was made of a credential, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Outcome {
    User(String),
    Row(String),
    KeysNeeded,
    Asked,
    Refused(IdentityError),
}

const MALFORMED: Outcome = refused(TokenError::Malformed);
const SIGNATURE: Outcome = refused(TokenError::Signature);
const EXPIRED: Outcome = refused(TokenError::Expired);
const NO_USER: Outcome = Outcome::Refused(IdentityError::NoUser);

const fn refused(error: TokenError) -> Outcome {
    Outcome::Refused(IdentityError::Token(error))
}

fn user(id: &str) -> Outcome {
    Outcome::User(id.to_owned())
}

fn verifier(method: Method) -> Verifier {
    reading(method, ClaimRules::default())
}

fn reading(method: Method, claims: ClaimRules) -> Verifier {
    Verifier::new(Settings {
        methods: vec![method],
        claims,
    })
}

fn claim(place: &str) -> ClaimRules {
    ClaimRules {
        users: vec![place.to_owned()],
        ..ClaimRules::default()
    }
}

fn secrets<const N: usize>(texts: [&str; N]) -> Vec<Secret> {
    texts.into_iter().map(Secret::new).collect()
}

fn names(name: &str) -> CookieNames {
    CookieNames::new(name).expect("it is a cookie's name")
}

/// The verdict on a request with these `Cookie` fields.
fn of_cookies(verifier: &Verifier, fields: &[&str]) -> Outcome {
    let presented = Presented {
        cookies: Cookies::new(fields.iter().copied()),
        bearer: None,
    };
    outcome(verifier.verify(&presented, &[], NOW_MS))
}

/// The verdict on a bearer token.
fn of_bearer(verifier: &Verifier, token: &str, keys: &[Jwks]) -> Outcome {
    outcome(verify_bearer(verifier, token, keys))
}

fn verify_bearer(
    verifier: &Verifier,
    token: &str,
    keys: &[Jwks],
) -> Result<Verdict, IdentityError> {
    let presented = Presented {
        bearer: Some(token),
        ..Presented::default()
    };
    verifier.verify(&presented, keys, NOW_MS)
}

fn identity(verdict: Result<Verdict, IdentityError>) -> Identity {
    match verdict {
        Ok(Verdict::Identity(identity)) => identity,
        other => panic!("{:?}", outcome(other)),
    }
}

fn outcome(verdict: Result<Verdict, IdentityError>) -> Outcome {
    match verdict {
        Ok(Verdict::Identity(identity)) => Outcome::User(identity.user),
        Ok(Verdict::Row(row)) => Outcome::Row(row.token.reveal().to_owned()),
        Ok(Verdict::KeysNeeded(_)) => Outcome::KeysNeeded,
        Ok(Verdict::Introspect(_)) => Outcome::Asked,
        Err(error) => Outcome::Refused(error),
    }
}

/// The field `Cookie` of a vector whose cookies are an object, in their order.
fn field(vector: &Value) -> String {
    let cookies = vector["cookies"].as_object().expect("it has cookies");
    let pairs = cookies.iter().map(|(name, value)| {
        let value = value.as_str().expect("a cookie is text");
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("; ")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("the vectors have {name:?}"))
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().expect("the vectors are a list")
}

fn named<'a>(vectors: &'a [Value], name: &str) -> &'a Value {
    let found = vectors.iter().find(|vector| vector["name"] == name);
    found.unwrap_or_else(|| panic!("there is a vector {name:?}"))
}

/// Every vector has its line in the table, and gets the verdict of that line.
fn check(vectors: &[Value], verdicts: &[(&str, Outcome)], verify: impl Fn(&Value) -> Outcome) {
    assert_eq!(vectors.len(), verdicts.len(), "each vector has a verdict");
    for (name, verdict) in verdicts {
        assert_eq!(verify(named(vectors, name)), *verdict, "{name}");
    }
}
