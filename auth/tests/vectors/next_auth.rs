//! NextAuth.js 4, with the strategy `jwt`.

use auth::{ClaimRules, IdentityError, Method, NEXT_AUTH_COOKIE, Presented, Verifier};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("nextauth-v4.json")).expect("the vectors are JSON")
}

fn next_auth<const N: usize>(texts: [&str; N], claims: ClaimRules) -> Verifier {
    let method = Method::NextAuth {
        secrets: secrets(texts),
        cookies: names(NEXT_AUTH_COOKIE),
    };
    reading(method, claims)
}

#[test]
fn every_vector_gets_its_verdict() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let verdicts = [
        ("valid", user("user_1")),
        (
            "valid-secure-prefix (same key: v4 does not salt with the cookie name)",
            user("user_1"),
        ),
        ("valid-extra-claims", user("user_2")),
        // The package says "ok" to these two: that a token can be read proves nobody.
        ("user id only in custom claim \"id\" (no sub)", NO_USER),
        ("no-user-claims (CVE-2023-48309 shape)", NO_USER),
        ("expired-1970", EXPIRED),
        ("old-secret", SIGNATURE),
        (
            "salted like the state cookie (encode salt=next-auth.state)",
            SIGNATURE,
        ),
        ("tampered-tag", SIGNATURE),
        ("tampered-ciphertext", SIGNATURE),
        ("truncated-tag (must require 16 bytes)", MALFORMED),
        ("non-empty encrypted_key with alg dir", MALFORMED),
        ("chunked", user("user_1")),
        ("chunked, header order reversed", user("user_1")),
        ("chunked, middle chunk missing", MALFORMED),
    ];
    check(list(&file, "vectors"), &verdicts, |vector| {
        of_cookies(&verifier, &[&field(vector)])
    });
}

#[test]
fn the_user_may_stand_in_another_claim() {
    let file = vectors();
    let vector = named(
        list(&file, "vectors"),
        "user id only in custom claim \"id\" (no sub)",
    );
    let places = ClaimRules {
        users: vec!["sub".into(), "id".into()],
        ..ClaimRules::default()
    };
    let verifier = next_auth([text(&file, "secret")], places);
    assert_eq!(of_cookies(&verifier, &[&field(vector)]), user("user_3"));
}

#[test]
fn an_old_secret_is_good_while_it_is_listed() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "old-secret");
    let both = [text(&file, "secret"), text(&file, "old_secret")];
    let verifier = next_auth(both, ClaimRules::default());
    assert_eq!(of_cookies(&verifier, &[&field(vector)]), user("user_1"));
}

#[test]
fn pieces_may_come_in_fields_of_their_own() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let vector = field(named(list(&file, "vectors"), "chunked"));
    let fields: Vec<&str> = vector.split("; ").collect();
    assert_eq!(fields.len(), 4);
    assert_eq!(of_cookies(&verifier, &fields), user("user_1"));
}

#[test]
fn the_whole_cookie_is_tried_before_its_pieces_and_the_protected_name_before_the_plain() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let all = list(&file, "vectors");
    let pieces = field(named(all, "chunked"));
    let whole = field(named(all, "valid-extra-claims"));
    let both = format!("{pieces}; {whole}");
    assert_eq!(of_cookies(&verifier, &[&both]), user("user_2"));
    let stale = format!("{pieces}; next-auth.session-token=stale");
    assert_eq!(of_cookies(&verifier, &[&stale]), user("user_1"));
    let secure = field(named(
        all,
        "valid-secure-prefix (same key: v4 does not salt with the cookie name)",
    ));
    let both = format!("{whole}; {secure}");
    assert_eq!(of_cookies(&verifier, &[&both]), user("user_1"));
}

#[test]
fn the_first_cookie_of_a_name_counts() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let valid = field(named(list(&file, "vectors"), "valid"));
    let forged = format!("next-auth.session-token=a.b.c.d.e; {valid}");
    assert_eq!(of_cookies(&verifier, &[&forged]), MALFORMED);
}

#[test]
fn a_cookie_whose_name_only_begins_alike_is_another() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let valid = field(named(list(&file, "vectors"), "valid"));
    for name in [
        "next-auth.session-token_multi",
        "next-auth.session-token.x",
        "next-auth.session-token.00",
        "xnext-auth.session-token",
        "next-auth.state",
    ] {
        let renamed = valid.replacen("next-auth.session-token", name, 1);
        let missing = Outcome::Refused(IdentityError::Missing);
        assert_eq!(of_cookies(&verifier, &[&renamed]), missing, "{name}");
        let presented = Presented {
            cookies: Cookies::new([renamed.as_str()]),
            bearer: None,
        };
        assert!(verifier.fingerprint(&presented).is_none(), "{name}");
    }
}

#[test]
fn the_claims_give_the_session_and_its_times() {
    let file = vectors();
    let verifier = next_auth([text(&file, "secret")], ClaimRules::default());
    let valid = field(named(list(&file, "vectors"), "valid"));
    let presented = Presented {
        cookies: Cookies::new([valid.as_str()]),
        bearer: None,
    };
    let identity = identity(verifier.verify(&presented, &[], NOW_MS));
    assert_eq!(identity.expires_ms, Some(4_102_444_800_000));
    assert!(
        identity
            .issued_ms
            .is_some_and(|issued_ms| issued_ms < NOW_MS)
    );
    // The package gives every token an id of its own.
    assert!(
        !identity.session.starts_with("sha256:"),
        "{}",
        identity.session
    );
}
