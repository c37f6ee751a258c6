//! What other libraries call and close their cookies.

use auth::{AUTH0_COOKIE, Method, TokenRules};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("misc.json")).expect("the vectors are JSON")
}

#[test]
fn auth0s_library_keeps_the_user_in_a_member_of_the_session() {
    let file = vectors();
    let session = &file["auth0_nextjs_v4"];
    let verifier = verifier(Method::Auth0 {
        secrets: secrets([text(session, "secret")]),
        cookies: names(AUTH0_COOKIE),
    });
    let whole = text(&session["cookie"], "__session");
    let cookie = format!("__session={whole}");
    assert_eq!(of_cookies(&verifier, &[&cookie]), user("auth0|123"));
    let (first, second) = whole.split_at(100);
    let pieces = format!("__session__1={second}; __session__0={first}");
    assert_eq!(of_cookies(&verifier, &[&pieces]), user("auth0|123"));
    let dotted = format!("__session.1={second}; __session.0={first}");
    let missing = Outcome::Refused(IdentityError::Missing);
    assert_eq!(of_cookies(&verifier, &[&dotted]), missing);
}

#[test]
fn clerks_cookie_is_named_after_the_publishable_key() {
    let file = vectors();
    let clerk = &file["clerk"];
    let tokens: Value = serde_json::from_str(include_str!("jwt.json")).unwrap();
    let token = named(list(&tokens, "vectors"), "clerk-like session token v2");
    let keys = [Jwks::parse(tokens["jwks"].to_string().as_bytes()).unwrap()];
    let cookies = [text(clerk, "cookie"), text(clerk, "also")];
    let verifier = verifier(Method::Jwks {
        issuer: 0,
        cookies: CookieNames::several(cookies),
        rules: TokenRules::default(),
    });
    for cookie in cookies {
        let cookie = format!("{cookie}={}", text(token, "token"));
        let presented = Presented {
            cookies: Cookies::new([cookie.as_str()]),
            bearer: None,
        };
        let verdict = verifier.verify(&presented, &keys, NOW_MS);
        assert_eq!(identity(verdict).user, "user_clerk");
    }
    // The name as Clerk derives it.
    let key = text(clerk, "publishable_key").as_bytes();
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, key);
    let suffix = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, sha1);
    assert_eq!(format!("__session_{}", &suffix[..8]), cookies[0]);
}
