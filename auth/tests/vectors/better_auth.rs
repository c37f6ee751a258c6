//! Better Auth: the signed cookie, and the tokens of its plugin.

use auth::introspection::{AnswerError, AnswerRules};
use auth::{BETTER_AUTH_COOKIE, Method, RowSource, SessionRow, TokenRules, Verifier};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("better-auth.json")).expect("the vectors are JSON")
}

fn better_auth<const N: usize>(texts: [&str; N], cookie: &str, previous: bool) -> Verifier {
    verifier(Method::BetterAuth {
        secrets: secrets(texts),
        cookies: names(cookie),
        accept_previous_secrets: previous,
    })
}

fn row(case: &Value) -> Outcome {
    Outcome::Row(text(case, "token").to_owned())
}

#[test]
fn every_cookie_asks_for_its_row() {
    let file = vectors();
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 11);
    for case in cases {
        let secret = case["secret_used"]
            .as_str()
            .unwrap_or(text(&file, "secret"));
        let cookie = match case["name"] == "custom prefix" {
            true => "myapp.session_token",
            false => BETTER_AUTH_COOKIE,
        };
        let verifier = better_auth([secret], cookie, false);
        let outcome = of_cookies(&verifier, &[text(case, "cookie_header")]);
        assert_eq!(outcome, row(case), "{}", case["name"]);
    }
}

#[test]
fn the_row_names_the_user() {
    let file = vectors();
    for case in list(&file, "cases") {
        let row = &case["session_row"];
        let row = SessionRow {
            id: text(row, "id").to_owned(),
            user: text(row, "userId").to_owned(),
            expires_ms: Some(NOW_MS + 1),
            active_organisation: None,
        };
        let identity = row.clone().identity(NOW_MS).unwrap();
        assert_eq!(identity.user, text(case, "user_id"));
        assert_eq!(identity.session, row.id);
        let ended = row.identity(NOW_MS + 1);
        assert_eq!(ended, Err(IdentityError::NoSession));
    }
}

#[test]
fn a_row_that_names_nobody_is_nobody() {
    let row = |user: &str| SessionRow {
        id: "s1".into(),
        user: user.into(),
        expires_ms: None,
        active_organisation: Some("acme".into()),
    };
    assert_eq!(row("").identity(NOW_MS), Err(IdentityError::NoUser));
    let long = row(&"a".repeat(513)).identity(NOW_MS);
    assert_eq!(long, Err(IdentityError::NoUser));
    let active = row("ada").identity(NOW_MS).unwrap().active_organisation;
    assert_eq!(active.as_deref(), Some("acme"));
}

#[test]
fn only_the_newest_secret_signs_unless_the_operator_says_otherwise() {
    let file = vectors();
    let case = named(list(&file, "cases"), "signed with old secret");
    let cookie = text(case, "cookie_header");
    let both = [text(&file, "secret"), text(&file, "old_secret")];
    assert!(case["get_session_after_rotation_to_secrets_array"].is_null());
    let as_the_library = better_auth(both, BETTER_AUTH_COOKIE, false);
    assert_eq!(of_cookies(&as_the_library, &[cookie]), SIGNATURE);
    let both_accepted = better_auth(both, BETTER_AUTH_COOKIE, true);
    assert_eq!(of_cookies(&both_accepted, &[cookie]), row(case));
}

#[test]
fn every_quirk_of_a_signature_gets_the_librarys_verdict() {
    let file = vectors();
    let case = named(list(&file, "cases"), "signature quirks");
    let verifier = better_auth([text(&file, "secret")], BETTER_AUTH_COOKIE, false);
    let cookie = text(case, "cookie_header");
    let raw = cookie
        .replace("%2B", "+")
        .replace("%2F", "/")
        .replace("%3D", "=");
    let (name, value) = raw.split_once('=').unwrap();
    let (token, signature) = value.rsplit_once('.').unwrap();
    let variants = [
        ("percent-encoded (as set)", cookie.to_owned()),
        ("raw, not percent-encoded", raw.clone()),
        ("quoted", format!("{name}=\"{value}\"")),
        (
            "base64url signature",
            format!(
                "{name}={token}.{}",
                signature.replace('+', "-").replace('/', "_")
            ),
        ),
        ("no padding", raw.trim_end_matches('=').to_owned()),
        ("unsigned token", format!("{name}={token}")),
        (
            "bad signature",
            format!("{name}={token}.{}=", "A".repeat(43)),
        ),
        (
            "duplicate cookie, first bad",
            format!("{name}={token}.{}=; {raw}", "A".repeat(43)),
        ),
    ];
    let quirks = case["quirks"].as_object().unwrap();
    assert_eq!(quirks.len(), variants.len());
    for (quirk, cookie) in variants {
        let outcome = of_cookies(&verifier, &[&cookie]);
        match quirks[quirk].is_null() {
            true => assert!(matches!(outcome, Outcome::Refused(_)), "{quirk}"),
            false => assert_eq!(outcome, row(case), "{quirk}"),
        }
    }
    // Decoding as a form would make a space of the plus sign.
    assert!(signature.contains('+'), "the vector tests what it should");
}

#[test]
fn the_cookie_cache_alone_is_no_session() {
    let file = vectors();
    let verifier = better_auth([text(&file, "secret")], BETTER_AUTH_COOKIE, false);
    let mut seen = 0;
    for case in list(&file, "cases") {
        let cookies = text(case, "cookie_header").split("; ");
        let cache: Vec<&str> = cookies
            .filter(|cookie| cookie.contains("session_data"))
            .collect();
        if !cache.is_empty() {
            let outcome = of_cookies(&verifier, &cache);
            assert_eq!(outcome, Outcome::Refused(IdentityError::Missing));
            let renamed = cache[0].replacen("session_data", "session_token", 1);
            assert!(matches!(
                of_cookies(&verifier, &[&renamed]),
                Outcome::Refused(IdentityError::Token(_))
            ));
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn another_cookie_that_the_library_signs_is_no_session() {
    // `better-auth.dont_remember` is the word "true", signed with the same secret: the signature does
    // not cover the name.
    let secret = Secret::new("test-better-auth-secret-0123456789abcdef");
    let signature = "hLme3YlkjXCnyzSxU9q44gJPsG27PcOx/pihsT99xKo=";
    let verifier = verifier(Method::BetterAuth {
        secrets: vec![secret],
        cookies: names(BETTER_AUTH_COOKIE),
        accept_previous_secrets: false,
    });
    let cookie = format!("better-auth.session_token=true.{signature}");
    assert_eq!(of_cookies(&verifier, &[&cookie]), MALFORMED);
}

#[test]
fn the_source_of_a_row_is_told() {
    let file = vectors();
    let case = named(list(&file, "cases"), "plain http cookie");
    let verifier = better_auth([text(&file, "secret")], BETTER_AUTH_COOKIE, false);
    let presented = Presented {
        cookies: Cookies::new([text(case, "cookie_header")]),
        bearer: None,
    };
    let verdict = verifier.verify(&presented, &[], NOW_MS);
    assert!(matches!(verdict, Ok(Verdict::Row(row)) if row.source == RowSource::BetterAuth));
}

#[test]
fn the_token_of_the_plugin_is_verified_with_its_keys() {
    let file = vectors();
    let case = named(
        list(&file, "cases"),
        "jwt plugin + organization plugin + bearer",
    );
    let keys = [Jwks::parse(case["jwks"].to_string().as_bytes()).unwrap()];
    let rules = TokenRules {
        issuer: Some("http://localhost:3000".into()),
        audiences: vec!["http://localhost:3000".into()],
        ..TokenRules::default()
    };
    let verifier = verifier(Method::Jwks {
        issuer: 0,
        cookies: None,
        rules,
    });
    let outcome = of_bearer(&verifier, text(&case["jwt"], "token"), &keys);
    assert_eq!(outcome, user(text(case, "user_id")));
}

#[test]
fn the_librarys_own_answer_names_the_user() {
    let file = vectors();
    let verifier = verifier(Method::Introspection {
        cookies: None,
        answer: AnswerRules::default(),
    });
    for case in list(&file, "cases") {
        let presented = Presented {
            cookies: Cookies::new([text(case, "cookie_header")]),
            bearer: None,
        };
        let Ok(Verdict::Introspect(question)) = verifier.verify(&presented, &[], NOW_MS) else {
            panic!("the application is asked");
        };
        let shown = question.cookie.as_ref().map(Secret::reveal);
        assert_eq!(shown, Some(text(case, "cookie_header")));
        let answer = case["get_session"].to_string();
        let identity = verifier.read_answer(&question, answer.as_bytes(), NOW_MS);
        let identity = identity.unwrap();
        assert_eq!(identity.user, text(case, "user_id"));
        assert_eq!(identity.session, text(&case["session_row"], "id"));
        // 2027-11-20, to the millisecond.
        assert_eq!(
            identity.expires_ms.map(|ms| ms / 1_000_000),
            Some(1_826_752)
        );
    }
    let presented = Presented {
        cookies: Cookies::new(["a=b"]),
        bearer: None,
    };
    let Ok(Verdict::Introspect(question)) = verifier.verify(&presented, &[], NOW_MS) else {
        panic!("the application is asked");
    };
    let nobody = verifier.read_answer(&question, b"null", NOW_MS);
    assert_eq!(nobody, Err(AnswerError::Nobody(IdentityError::NoSession)));
}
