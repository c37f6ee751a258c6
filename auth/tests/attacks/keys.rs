//! E3: signatures that are missing, cut or of somebody else; and keys that come and go.

use auth::jwks::{JwksError, Refresh, UnknownKey};
use auth::limits::{
    JWKS_AGE_MS_MAX, JWKS_BYTES_MAX, JWKS_COOL_DOWN_MS, JWKS_KEYS_MAX, JWKS_RETRY_MS,
};

use super::mint::{Issuer, ed25519, set, with_hmac};
use super::*;

const ES256: &str = r#"{"alg":"ES256","kid":"k1"}"#;

#[test]
fn e3_a_token_without_its_whole_signature_is_refused() {
    let issuer = Issuer::new();
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#)]);
    let by_issuer = issuer.sign(ES256, HONEST);
    let by_secret = with_hmac(r#"{"alg":"HS256"}"#, HONEST, SECRET.as_bytes());
    for token in [by_issuer, by_secret] {
        let verifier = verifier();
        assert_eq!(present(&verifier, &token, &keys), Ok("ada".into()));
        for end in 0..token.len() {
            assert!(present(&verifier, &token[..end], &keys).is_err(), "{end}");
        }
    }
}

#[test]
fn e3_another_tenants_key_of_the_same_name_is_not_ours() {
    let (ours, theirs) = (Issuer::new(), Issuer::new());
    let name = r#","kid":"k1""#;
    let forged = theirs.sign(ES256, HONEST);
    let keys = set(&[&ours.jwk(name)]);
    assert_eq!(
        present(&verifier(), &forged, &keys),
        refused(TokenError::Signature)
    );
    let secret = with_hmac(
        r#"{"alg":"HS256"}"#,
        HONEST,
        b"another tenant's secret, as long",
    );
    assert_eq!(
        present(&verifier(), &secret, &keys),
        refused(TokenError::Signature)
    );
}

#[test]
fn e3_each_issuer_has_its_own_set() {
    let (first, second) = (Issuer::new(), Issuer::new());
    let name = r#","kid":"k1""#;
    let [first_set] = set(&[&first.jwk(name)]);
    let [second_set] = set(&[&second.jwk(name)]);
    let keys = [first_set, second_set];
    let method = |issuer: usize, iss: &str| Method::Jwks {
        issuer,
        cookies: None,
        rules: TokenRules {
            issuer: Some(iss.into()),
            ..TokenRules::default()
        },
    };
    let verifier = Verifier::new(Settings {
        methods: vec![method(0, "https://a/"), method(1, "https://b/")],
        claims: ClaimRules::default(),
    });
    let of = |issuer: &Issuer, iss: &str| {
        let claims = format!(r#"{{"sub":"ada","exp":4102444800,"iss":"{iss}"}}"#);
        present(&verifier, &issuer.sign(ES256, &claims), &keys)
    };
    assert_eq!(of(&first, "https://a/"), Ok("ada".into()));
    assert_eq!(of(&second, "https://b/"), Ok("ada".into()));
    assert!(
        of(&first, "https://b/").is_err(),
        "the second's name under the first's key"
    );
    assert!(of(&second, "https://a/").is_err());
}

#[test]
fn e3_an_old_key_verifies_until_it_is_removed() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let (old_jwk, new_jwk) = (old.jwk(r#","kid":"old""#), new.jwk(r#","kid":"new""#));
    let by_old = old.sign(r#"{"alg":"ES256","kid":"old"}"#, HONEST);
    let by_new = new.sign(r#"{"alg":"ES256","kid":"new"}"#, HONEST);
    let of = |token: &str, keys: &[Jwks]| present(&verifier(), token, keys);
    let before = set(&[&old_jwk]);
    assert_eq!(of(&by_old, &before), Ok("ada".into()));
    assert_eq!(of(&by_new, &before), refused(TokenError::UnknownKey));
    let between = set(&[&old_jwk, &new_jwk]);
    assert_eq!(of(&by_old, &between), Ok("ada".into()));
    assert_eq!(of(&by_new, &between), Ok("ada".into()));
    let after = set(&[&new_jwk]);
    assert_eq!(of(&by_old, &after), refused(TokenError::UnknownKey));
}

#[test]
fn e3_while_the_issuer_is_away_the_set_stays_and_nobody_new_is_believed() {
    let issuer = Issuer::new();
    let mut refresh = Refresh::default();
    // Never fetched: nobody is let in, and nobody is called an impostor.
    let token = issuer.sign(ES256, HONEST);
    let presented = Presented {
        cookies: Cookies::default(),
        bearer: Some(&token),
    };
    let verdict = verifier().verify(&presented, &[Jwks::default()], NOW_MS);
    assert!(matches!(verdict, Ok(Verdict::KeysNeeded(0))));
    // Fetched once, then away for an hour: asked for now and then, and in force all the time.
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#)]);
    refresh.begin(0);
    refresh.end(10, true);
    let mut attempts = 0;
    for now_ms in (10..3_600_000).step_by(1_000) {
        assert_eq!(present(&verifier(), &token, &keys), Ok("ada".into()));
        if refresh.is_due(now_ms) || refresh.for_unknown_key(now_ms) == UnknownKey::Fetch {
            refresh.begin(now_ms);
            refresh.end(now_ms, false);
            attempts += 1;
        }
    }
    assert_eq!(
        attempts,
        (3_600_000 - 10 - JWKS_COOL_DOWN_MS) / JWKS_RETRY_MS + 1
    );
    assert!(refresh.is_due(3_600_000 + JWKS_AGE_MS_MAX));
}

#[test]
fn what_cannot_be_used_in_a_set_is_passed_over_and_a_set_of_nothing_else_is_none() {
    let issuer = Issuer::new();
    let (_, ed) = ed25519("");
    let good = issuer.jwk("");
    let off_the_curve = good
        .replace("\"x\":\"", "\"x\":\"AAAA")
        .replace("AAAAA", "AAAA");
    let odd = [
        "null",
        "[]",
        "{}",
        r#"{"kty":"EC"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
        r#"{"kty":"EC","crv":"P-256","x":1,"y":[]}"#,
        r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":"RSA","n":"","e":""}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
        r#"{"kty":"new","x":"AA"}"#,
        off_the_curve.as_str(),
    ];
    let set = |keys: &[&str]| Jwks::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes());
    for key in odd {
        assert_eq!(set(&[key]).err(), Some(JwksError::NoKey), "{key}");
        assert_eq!(
            set(&[key, &good, &ed]).map(|set| set.len()).ok(),
            Some(2),
            "{key}"
        );
    }
    assert_eq!(set(&[]).err(), Some(JwksError::NoKey));
}

#[test]
fn a_set_is_bounded_and_has_its_form() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        "<html>",
    ] {
        assert_eq!(
            Jwks::parse(text.as_bytes()).err(),
            Some(JwksError::Malformed),
            "{text}"
        );
    }
    let many = format!(r#"{{"keys":[{}{{}}]}}"#, "{},".repeat(JWKS_KEYS_MAX));
    assert_eq!(Jwks::parse(many.as_bytes()).err(), Some(JwksError::TooMany));
    let long = vec![b' '; JWKS_BYTES_MAX + 1];
    assert_eq!(Jwks::parse(&long).err(), Some(JwksError::TooLong));
    for error in [
        JwksError::TooLong,
        JwksError::TooMany,
        JwksError::Malformed,
        JwksError::NoKey,
    ] {
        assert!(error.to_string().contains("set"), "{error}");
    }
}
