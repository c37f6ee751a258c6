//! Auth.js 5, with the strategy `jwt`.

use auth::{AUTH_JS_COOKIE, Method, Verifier};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("authjs-v5.json")).expect("the vectors are JSON")
}

fn auth_js<const N: usize>(texts: [&str; N], cookie: &str) -> Verifier {
    verifier(Method::AuthJs {
        secrets: secrets(texts),
        cookies: names(cookie),
    })
}

#[test]
fn every_vector_gets_its_verdict() {
    let file = vectors();
    let secret = text(&file, "secret");
    let verdicts = [
        ("valid", user("user_1")),
        (
            "valid __Secure- (salt is the full cookie name with prefix)",
            user("user_1"),
        ),
        ("custom cookie name", user("user_1")),
        (
            "cookie renamed in transit: minted for authjs., presented as __Secure-authjs.",
            SIGNATURE,
        ),
        ("old secret", SIGNATURE),
        (
            "rotated: encode with [SECRET,OLD] uses the first",
            user("user_1"),
        ),
        ("expired", EXPIRED),
        // The package says "ok": that a token can be read proves nobody (GHSA-8fpg-xm3f-6cx3).
        ("no subject", NO_USER),
        (
            "A256GCM variant without kid (accepted by @auth/core decode)",
            user("user_1"),
        ),
        ("tampered tag", SIGNATURE),
        ("tampered iv", SIGNATURE),
        ("chunked", user("user_1")),
        (
            "chunked 12 pieces, lexicographic header order (.1,.10,.11,.2 …): sort numerically",
            user("user_1"),
        ),
    ];
    check(list(&file, "vectors"), &verdicts, |vector| {
        let cookie = match vector["name"] == "custom cookie name" {
            true => "next-auth.session-token",
            false => AUTH_JS_COOKIE,
        };
        of_cookies(&auth_js([secret], cookie), &[&field(vector)])
    });
}

#[test]
fn an_old_secret_is_good_while_it_is_listed() {
    let file = vectors();
    let vector = field(named(list(&file, "vectors"), "old secret"));
    let (secret, old) = (text(&file, "secret"), text(&file, "old_secret"));
    for order in [[secret, old], [old, secret]] {
        let verifier = auth_js(order, AUTH_JS_COOKIE);
        assert_eq!(of_cookies(&verifier, &[&vector]), user("user_1"));
    }
}

#[test]
fn the_pieces_of_another_cookie_are_not_mixed_in() {
    let file = vectors();
    let chunked = field(named(list(&file, "vectors"), "chunked"));
    let verifier = auth_js([text(&file, "secret")], AUTH_JS_COOKIE);
    let mixed = format!("authjs.session-token.00=x; authjs.session-token.1a=y; {chunked}");
    assert_eq!(of_cookies(&verifier, &[&mixed]), user("user_1"));
    let more = format!("{chunked}; authjs.session-token.4=AAAA");
    assert_eq!(of_cookies(&verifier, &[&more]), SIGNATURE);
}

#[test]
fn both_libraries_may_stand_side_by_side() {
    let file = vectors();
    let older: Value = serde_json::from_str(include_str!("nextauth-v4.json")).unwrap();
    let verifier = Verifier::new(Settings {
        methods: vec![
            Method::NextAuth {
                secrets: secrets([text(&older, "secret")]),
                cookies: names(auth::NEXT_AUTH_COOKIE),
            },
            Method::AuthJs {
                secrets: secrets([text(&file, "secret")]),
                cookies: names(AUTH_JS_COOKIE),
            },
        ],
        claims: ClaimRules::default(),
    });
    let new = field(named(list(&file, "vectors"), "valid"));
    assert_eq!(of_cookies(&verifier, &[&new]), user("user_1"));
    let old = field(named(list(&older, "vectors"), "valid-extra-claims"));
    assert_eq!(of_cookies(&verifier, &[&old]), user("user_2"));
    assert_eq!(of_cookies(&verifier, &[&old, &new]), user("user_2"));
    // The expired session of the library that the application has left does not hide the new one.
    let expired = field(named(list(&older, "vectors"), "expired-1970"));
    assert_eq!(of_cookies(&verifier, &[&expired]), EXPIRED);
    assert_eq!(of_cookies(&verifier, &[&expired, &new]), user("user_1"));
}
