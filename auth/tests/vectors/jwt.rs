//! JSON web tokens: made with jose, with a shared secret and with the keys of an issuer.

use auth::{Method, OrganisationClaim, TokenRules, Verifier};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("jwt.json")).expect("the vectors are JSON")
}

fn keys(file: &Value, set: &str) -> [Jwks; 1] {
    [Jwks::parse(file[set].to_string().as_bytes()).expect("it is a set of keys")]
}

/// The method with the keys of the issuer, and what this vector says about it.
fn issued(vector: &Value) -> Method {
    let text_of = |name: &str| vector[name].as_str().map(str::to_owned);
    let is_clerk = text(vector, "name").starts_with("clerk");
    let parties = is_clerk.then(|| "https://app.example.com".to_owned());
    let rules = TokenRules {
        issuer: text_of("iss"),
        audiences: text_of("aud").into_iter().collect(),
        authorized_parties: parties.into_iter().collect(),
    };
    Method::Jwks {
        issuer: 0,
        cookies: None,
        rules,
    }
}

fn shared(file: &Value) -> Method {
    Method::Jwt {
        secrets: secrets([text(file, "hs256_secret")]),
        cookies: None,
        rules: TokenRules::default(),
    }
}

/// Each token to a verifier of HS256 alone.
#[test]
fn every_vector_gets_its_verdict_from_the_secret() {
    let file = vectors();
    let verifier = verifier(shared(&file));
    let algorithm = || refused(TokenError::Algorithm);
    let verdicts = [
        ("hs256 valid", user("user_1")),
        ("hs256 typ JWT", user("user_1")),
        ("hs256 expired", EXPIRED),
        // jose says "ok": an endless session is one that nobody can end.
        ("hs256 no exp", refused(TokenError::NoExpiry)),
        ("hs256 nbf future", refused(TokenError::NotYet)),
        ("hs256 other secret", SIGNATURE),
        // jose says "ok:42": `sub` is text by its definition.
        ("hs256 sub is a number", NO_USER),
        ("hs256 userId claim", NO_USER),
        ("hs256 exp as float", user("user_1")),
        ("hs256 exp as string", EXPIRED),
        ("rs256", algorithm()),
        ("es256", algorithm()),
        ("eddsa", algorithm()),
        ("rs256 kid not in the JWKS (rotated in later)", algorithm()),
        ("rs256 without kid", algorithm()),
        ("clerk-like session token v2", algorithm()),
        ("clerk-like, sts pending", algorithm()),
        ("clerk-like, azp of another origin", algorithm()),
        ("supabase-like", algorithm()),
        ("auth0-like access token, aud array", algorithm()),
        ("wrong audience", algorithm()),
        ("issuer without trailing slash", algorithm()),
        (
            "alg confusion: HS256 keyed with the RSA public PEM",
            SIGNATURE,
        ),
        ("alg none", algorithm()),
        ("alg NonE", algorithm()),
        ("embedded jwk header", algorithm()),
        ("jku header points elsewhere", algorithm()),
        ("unknown crit", refused(TokenError::Critical)),
        ("ES256 key, alg says RS256 (kid ec-1)", algorithm()),
        ("padding in base64url", MALFORMED),
        ("4 parts", MALFORMED),
        // jose says "ok": a second spelling of the same token.
        (
            "non-canonical last base64url char (trailing bits set)",
            MALFORMED,
        ),
        (
            "ES256 all-zero signature (CVE-2022-21449 shape)",
            algorithm(),
        ),
    ];
    check(list(&file, "vectors"), &verdicts, |vector| {
        of_bearer(&verifier, text(vector, "token"), &[])
    });
}

/// Each token to a verifier that has the issuer's keys alone.
#[test]
fn every_vector_gets_its_verdict_from_the_keys() {
    let file = vectors();
    let keys = keys(&file, "jwks");
    let algorithm = || refused(TokenError::Algorithm);
    let verdicts = [
        ("hs256 valid", algorithm()),
        ("hs256 typ JWT", algorithm()),
        ("hs256 expired", algorithm()),
        ("hs256 no exp", algorithm()),
        ("hs256 nbf future", algorithm()),
        ("hs256 other secret", algorithm()),
        ("hs256 sub is a number", algorithm()),
        ("hs256 userId claim", algorithm()),
        ("hs256 exp as float", algorithm()),
        ("hs256 exp as string", algorithm()),
        ("rs256", user("user_1")),
        ("es256", user("user_1")),
        ("eddsa", user("user_1")),
        (
            "rs256 kid not in the JWKS (rotated in later)",
            Outcome::KeysNeeded,
        ),
        // There is but one key of that kind in the set.
        ("rs256 without kid", user("user_1")),
        ("clerk-like session token v2", user("user_clerk")),
        // jose says "ok" to these two, since it does not know what they mean.
        ("clerk-like, sts pending", refused(TokenError::Pending)),
        (
            "clerk-like, azp of another origin",
            refused(TokenError::Party),
        ),
        (
            "supabase-like",
            user("6f1c7b1e-0000-4000-8000-000000000001"),
        ),
        ("auth0-like access token, aud array", user("auth0|123")),
        ("wrong audience", refused(TokenError::Audience)),
        ("issuer without trailing slash", refused(TokenError::Issuer)),
        (
            "alg confusion: HS256 keyed with the RSA public PEM",
            algorithm(),
        ),
        ("alg none", algorithm()),
        ("alg NonE", algorithm()),
        // It names no key, so the only one of its kind is tried; the one it brings is not.
        ("embedded jwk header", SIGNATURE),
        ("jku header points elsewhere", Outcome::KeysNeeded),
        ("unknown crit", refused(TokenError::Critical)),
        ("ES256 key, alg says RS256 (kid ec-1)", algorithm()),
        ("padding in base64url", MALFORMED),
        ("4 parts", MALFORMED),
        (
            "non-canonical last base64url char (trailing bits set)",
            MALFORMED,
        ),
        ("ES256 all-zero signature (CVE-2022-21449 shape)", SIGNATURE),
    ];
    check(list(&file, "vectors"), &verdicts, |vector| {
        of_bearer(&verifier(issued(vector)), text(vector, "token"), &keys)
    });
}

#[test]
fn both_kinds_may_stand_side_by_side() {
    let file = vectors();
    let keys = keys(&file, "jwks");
    let all = list(&file, "vectors");
    let verifier = Verifier::new(Settings {
        methods: vec![shared(&file), issued(named(all, "rs256"))],
        claims: ClaimRules::default(),
    });
    let verdict = |name: &str| of_bearer(&verifier, text(named(all, name), "token"), &keys);
    for name in ["hs256 valid", "rs256", "es256", "eddsa"] {
        assert_eq!(verdict(name), user("user_1"), "{name}");
    }
    // Neither the public key as a secret nor the secret's algorithm for a public key.
    let confused = "alg confusion: HS256 keyed with the RSA public PEM";
    assert_eq!(verdict(confused), SIGNATURE);
    for name in [
        "alg none",
        "alg NonE",
        "ES256 key, alg says RS256 (kid ec-1)",
    ] {
        assert_eq!(verdict(name), refused(TokenError::Algorithm), "{name}");
    }
}

#[test]
fn a_key_that_is_rotated_in_is_asked_for_and_then_known() {
    let file = vectors();
    let vector = named(
        list(&file, "vectors"),
        "rs256 kid not in the JWKS (rotated in later)",
    );
    let (verifier, token) = (verifier(issued(vector)), text(vector, "token"));
    assert_eq!(of_bearer(&verifier, token, &[]), Outcome::KeysNeeded);
    let none = [Jwks::default()];
    assert_eq!(of_bearer(&verifier, token, &none), Outcome::KeysNeeded);
    let before = keys(&file, "jwks");
    assert_eq!(of_bearer(&verifier, token, &before), Outcome::KeysNeeded);
    let after = keys(&file, "jwks_rotated");
    assert_eq!(of_bearer(&verifier, token, &after), user("user_1"));
    let old = text(named(list(&file, "vectors"), "rs256"), "token");
    assert_eq!(of_bearer(&verifier, old, &after), user("user_1"));
}

#[test]
fn a_token_that_names_no_key_is_refused_where_there_is_a_choice() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "rs256 without kid");
    let (verifier, token) = (verifier(issued(vector)), text(vector, "token"));
    let two = keys(&file, "jwks_rotated");
    assert_eq!(of_bearer(&verifier, token, &two), Outcome::KeysNeeded);
}

#[test]
fn new_keys_are_asked_for_only_by_tokens_that_would_be_accepted() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "wrong audience");
    let outcome = of_bearer(&verifier(issued(vector)), text(vector, "token"), &[]);
    assert_eq!(outcome, refused(TokenError::Audience));
}

#[test]
fn the_user_may_stand_in_another_claim() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "hs256 userId claim");
    let verifier = reading(shared(&file), claim("userId"));
    assert_eq!(
        of_bearer(&verifier, text(vector, "token"), &[]),
        user("user_7")
    );
}

#[test]
fn an_endless_session_is_accepted_where_the_operator_says_so() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "hs256 no exp");
    let rules = ClaimRules {
        require_exp: false,
        ..ClaimRules::default()
    };
    let verdict = verify_bearer(&reading(shared(&file), rules), text(vector, "token"), &[]);
    let identity = identity(verdict);
    assert_eq!(identity.user, "user_1");
    assert_eq!(identity.expires_ms, None);
}

#[test]
fn clerks_organisation_is_a_claim_of_the_session() {
    let file = vectors();
    let vector = named(list(&file, "vectors"), "clerk-like session token v2");
    let rules = ClaimRules {
        organisations: Some("o".into()),
        ..ClaimRules::default()
    };
    let verifier = reading(issued(vector), rules);
    let verdict = verify_bearer(&verifier, text(vector, "token"), &keys(&file, "jwks"));
    let identity = identity(verdict);
    let claimed = OrganisationClaim {
        organisation: "org_1".into(),
        role: Some("admin".into()),
    };
    assert_eq!(identity.organisations, Some(vec![claimed]));
    assert_eq!(identity.session, "sess_1");
    assert_eq!(identity.issued_ms, Some(1_700_000_000_000));
    // Whoever has chosen no organisation is in none.
    let auth0 = named(list(&file, "vectors"), "auth0-like access token, aud array");
    let rules = ClaimRules {
        organisations: Some("o".into()),
        ..ClaimRules::default()
    };
    let verdict = verify_bearer(
        &reading(issued(auth0), rules),
        text(auth0, "token"),
        &keys(&file, "jwks"),
    );
    assert_eq!(super::identity(verdict).organisations, Some(Vec::new()));
}

#[test]
fn supabases_cookie_carries_the_token_in_pieces() {
    let file = vectors();
    let session = &file["supabase_ssr"];
    let cookies = Some(names(text(session, "name")));
    let verifier = verifier(Method::Jwks {
        issuer: 0,
        cookies,
        rules: TokenRules::default(),
    });
    let chunks = list(session, "chunks").iter().rev();
    let pieces: Vec<String> = chunks
        .map(|chunk| format!("{}={}", text(chunk, "name"), text(chunk, "value")))
        .collect();
    let presented = Presented {
        cookies: Cookies::new(pieces.iter().map(String::as_str)),
        bearer: None,
    };
    let verdict = verifier.verify(&presented, &keys(&file, "jwks"), NOW_MS);
    let identity = identity(verdict);
    assert_eq!(identity.user, "6f1c7b1e-0000-4000-8000-000000000001");
    assert_eq!(identity.session, "s-1");
    let first_alone = of_cookies(&verifier, &[&pieces[1]]);
    assert_eq!(first_alone, MALFORMED);
}

#[test]
fn a_session_of_express_is_nobody_elses() {
    let file = vectors();
    let cookie = text(&file["express_session"], "cookie");
    let (name, _) = cookie.split_once('=').unwrap();
    let secret = text(&file["express_session"], "secret");
    let better_auth = verifier(Method::BetterAuth {
        secrets: secrets([secret]),
        cookies: names(name),
        accept_previous_secrets: false,
    });
    assert!(matches!(
        of_cookies(&better_auth, &[cookie]),
        Outcome::Refused(_)
    ));
    // Its application can be asked.
    let introspection = verifier(Method::Introspection {
        cookies: Some(names(name)),
        answer: auth::introspection::AnswerRules::default(),
    });
    assert_eq!(of_cookies(&introspection, &[cookie]), Outcome::Asked);
}
