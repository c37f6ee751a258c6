//! E13: keys are compared whole, and nothing that proves something can be printed.

use std::fmt::{Debug, Display};

use auth::introspection::AnswerRules;
use auth::{Answered, Introspect, RowQuestion};

use super::*;

/// Compiles only while the type has none of these traits: otherwise `_` has two answers.
macro_rules! assert_has_not {
    ($type:ty: $($trait:ident),+) => {
        const _: fn() = || {
            trait AmbiguousIf<T> {
                fn check() {}
            }
            impl<T: ?Sized> AmbiguousIf<()> for T {}
            $({
                struct Has;
                impl<T: ?Sized + $trait> AmbiguousIf<Has> for T {}
                let _ = <$type as AmbiguousIf<_>>::check;
            })+
        };
    };
}

// Without equality there is no comparing of secrets but `matches`, which takes the same time always.
assert_has_not!(Secret: Debug, Display, PartialEq, PartialOrd);
assert_has_not!(Settings: Debug, Display);
assert_has_not!(Method: Debug, Display);
assert_has_not!(Verifier: Debug, Display);
assert_has_not!(Verdict: Debug, Display);
assert_has_not!(RowQuestion: Debug, Display);
assert_has_not!(Introspect: Debug, Display);

#[test]
fn e13_a_key_matches_itself_and_nothing_near_it() {
    let key = Secret::new(SECRET);
    assert!(key.matches(SECRET));
    for end in 0..SECRET.len() {
        assert!(!key.matches(&SECRET[..end]), "{end}");
        let mut near = SECRET.to_owned().into_bytes();
        near[end] ^= 1;
        assert!(!key.matches(std::str::from_utf8(&near).unwrap()), "{end}");
    }
    assert!(!key.matches(&format!("{SECRET}0")));
    assert!(!key.matches(&format!("{SECRET}\0")));
}

#[test]
fn e13_no_error_repeats_what_was_presented() {
    let canary = "canary-7f3a";
    let tokens = [
        canary.to_owned(),
        format!("{canary}.{canary}.{canary}"),
        format!(
            "{}.{}.{}",
            mint::encode(r#"{"alg":"none"}"#),
            canary,
            canary
        ),
        mint::with_hmac(
            r#"{"alg":"HS256"}"#,
            &format!(r#"{{"sub":{{"{canary}":1}},"exp":4102444800}}"#),
            SECRET.as_bytes(),
        ),
    ];
    for token in tokens {
        let error = present(&verifier(), &token, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    let asking = Verifier::new(Settings {
        methods: vec![Method::Introspection {
            cookies: None,
            answer: AnswerRules::default(),
        }],
        claims: ClaimRules::default(),
    });
    let presented = Presented {
        cookies: Cookies::new(["a=canary-7f3a"]),
        bearer: None,
    };
    let Ok(Verdict::Introspect(question)) = asking.verify(&presented, &[], NOW_MS) else {
        panic!("the application is asked");
    };
    for answer in [canary, r#"{"user":{"name":"canary-7f3a"}}"#, "null"] {
        let error = asking
            .read_answer(&question, answer.as_bytes(), NOW_MS)
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    let fingerprint = asking.fingerprint(&presented).unwrap();
    assert!(!format!("{fingerprint} {fingerprint:?}").contains("canary"));
}

#[test]
fn a_request_without_a_session_is_told_what_is_missing() {
    let verifier = verifier();
    let nothing = verifier.verify(&Presented::default(), &[], NOW_MS);
    assert!(matches!(nothing, Err(IdentityError::Missing)));
    assert!(verifier.fingerprint(&Presented::default()).is_none());
    let text = verifier.missing();
    assert!(
        text.contains("neither a cookie \"session\" nor an Authorization"),
        "{text}"
    );
}

#[test]
fn what_is_sent_on_purpose_counts_and_the_cookie_does_not() {
    let token = mint::with_hmac(r#"{"alg":"HS256"}"#, HONEST, SECRET.as_bytes());
    let field = format!("session={token}");
    let with_cookie = |bearer| Presented {
        cookies: Cookies::new([field.as_str()]),
        bearer,
    };
    let verifier = verifier();
    let by_cookie = verifier.verify(&with_cookie(None), &[], NOW_MS);
    assert!(matches!(by_cookie, Ok(Verdict::Identity(_))));
    let forged = verifier.verify(&with_cookie(Some("forged")), &[], NOW_MS);
    assert!(matches!(
        forged,
        Err(IdentityError::Token(TokenError::Malformed))
    ));
}

#[test]
fn a_fingerprint_stands_for_all_that_is_looked_at_and_nothing_else() {
    let verifier = verifier();
    let of = |field: &str, bearer| {
        let presented = Presented {
            cookies: Cookies::new([field]),
            bearer,
        };
        verifier.fingerprint(&presented)
    };
    assert_eq!(of("theme=dark", None), None);
    assert_eq!(
        of("theme=dark; session=a", None),
        of("session=a; x=y", None)
    );
    assert_ne!(of("session=a", None), of("session=b", None));
    assert_ne!(of("session=a", None), of("__Secure-session=a", None));
    assert_ne!(of("session=a", None), of("session.0=a", None));
    assert_ne!(of("session=ab", None), of("session=a; session.0=b", None));
    assert_eq!(of("session=a", Some("t")), of("session=b", Some("t")));
    assert_ne!(of("", Some("t")), of("", Some("u")));
}

#[test]
fn whoever_can_be_told_at_once_is_and_of_several_questions_the_cheapest_is_asked() {
    let names = |name| CookieNames::new(name).unwrap();
    let asking = Method::Introspection {
        cookies: None,
        answer: AnswerRules::default(),
    };
    let row = Method::SessionRow {
        cookies: names("row"),
    };
    let issued = Method::Jwks {
        issuer: 0,
        cookies: Some(names("issued")),
        rules: TokenRules::default(),
    };
    let jwt = Method::Jwt {
        secrets: vec![Secret::new(SECRET)],
        cookies: Some(names("session")),
        rules: TokenRules::default(),
    };
    let verifier = Verifier::new(Settings {
        methods: vec![asking, issued, row, jwt],
        claims: ClaimRules::default(),
    });
    let honest = mint::with_hmac(r#"{"alg":"HS256"}"#, HONEST, SECRET.as_bytes());
    let unknown = mint::Issuer::new().sign(r#"{"alg":"ES256","kid":"k1"}"#, HONEST);
    let beyond = |fields: &[&str], rows, keys| {
        let presented = Presented {
            cookies: Cookies::new(fields.iter().copied()),
            bearer: None,
        };
        let answered = Answered { rows, keys };
        match verifier.verify_beyond(&presented, &[], NOW_MS, answered) {
            Ok(Verdict::Identity(_)) => "identity",
            Ok(Verdict::Row(_)) => "row",
            Ok(Verdict::KeysNeeded(_)) => "keys",
            Ok(Verdict::Introspect(_)) => "application",
            Err(_) => "nobody",
        }
    };
    let verdict = |fields: &[&str]| beyond(fields, false, false);
    let session = format!("session={honest}");
    let issued = format!("issued={unknown}");
    let row = "row=3b1f7c1e-4f7a-4a7e-9a39-0c9e3f1f6a55";
    assert_eq!(verdict(&[&issued, row, &session]), "identity");
    assert_eq!(verdict(&[&issued, row, "session=forged"]), "row");
    assert_eq!(verdict(&[&issued, "row=short"]), "keys");
    assert_eq!(verdict(&["row=short", "x=y"]), "application");
    assert_eq!(verdict(&[]), "nobody");
    // What was asked in vain is not the end, while somebody else may know.
    assert_eq!(beyond(&[&issued, row], true, false), "keys");
    assert_eq!(beyond(&[&issued, row], true, true), "application");
    assert_eq!(beyond(&[row, &session], true, true), "identity");
}

#[test]
fn what_was_asked_in_vain_is_not_asked_again() {
    let verifier = Verifier::new(Settings {
        methods: vec![Method::SessionRow {
            cookies: CookieNames::new("row").unwrap(),
        }],
        claims: ClaimRules::default(),
    });
    let presented = Presented {
        cookies: Cookies::new(["row=3b1f7c1e-4f7a-4a7e-9a39-0c9e3f1f6a55"]),
        bearer: None,
    };
    let answered = Answered {
        rows: true,
        keys: false,
    };
    let verdict = verifier.verify_beyond(&presented, &[], NOW_MS, answered);
    assert!(matches!(verdict, Err(IdentityError::NoSession)));
}

#[test]
fn the_key_of_a_row_is_written_as_a_cookie_is() {
    let verifier = Verifier::new(Settings {
        methods: vec![Method::SessionRow {
            cookies: CookieNames::new("row").unwrap(),
        }],
        claims: ClaimRules::default(),
    });
    let key = |value: &str| {
        let field = format!("row={value}");
        let presented = Presented {
            cookies: Cookies::new([field.as_str()]),
            bearer: None,
        };
        match verifier.verify(&presented, &[], NOW_MS) {
            Ok(Verdict::Row(row)) => Some(row.token.reveal().to_owned()),
            _ => None,
        }
    };
    assert_eq!(
        key("abcdefghijklmn%2B%2F").as_deref(),
        Some("abcdefghijklmn+/")
    );
    assert_eq!(
        key("abcdefghijklmnop%").as_deref(),
        Some("abcdefghijklmnop%")
    );
    for value in [
        "short",
        "abcdefghijklmno%20p",
        "abcdefghijklmnop%00",
        &"a".repeat(513),
        "",
    ] {
        assert_eq!(key(value), None, "{value}");
    }
    // An encrypted session is not looked up as if it were the key of a row.
    assert_eq!(key("eyJhbGciOiJkaXIifQ..aaaa.bbbb.cccc"), None);
}
