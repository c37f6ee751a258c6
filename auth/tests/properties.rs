//! For every input: nothing panics; and for every token: what is cut or changed is refused.

use auth::cookie::{CookieNames, Cookies};
use auth::{
    AUTH_JS_COOKIE, BETTER_AUTH_COOKIE, ClaimRules, Method, NEXT_AUTH_COOKIE, Presented, Secret,
    Settings, Verdict, Verifier, fuzzing,
};
use proptest::prelude::*;
use serde_json::Value;

const NOW_MS: u64 = 1_800_000_000_000;

/// Sessions made with the packages: a cookie, and the method that accepts it.
fn sessions() -> Vec<(String, String, Verifier)> {
    let v4: Value = serde_json::from_str(include_str!("vectors/nextauth-v4.json"))
        .expect("the vectors have it");
    let v5: Value =
        serde_json::from_str(include_str!("vectors/authjs-v5.json")).expect("the vectors have it");
    let better: Value = serde_json::from_str(include_str!("vectors/better-auth.json"))
        .expect("the vectors have it");
    let cookie = |vector: &Value, name: &str| {
        vector["cookies"][name]
            .as_str()
            .expect("the vector has it")
            .to_owned()
    };
    let secrets = |file: &Value| {
        vec![Secret::new(
            file["secret"].as_str().expect("the vectors have it"),
        )]
    };
    let names = |name: &str| CookieNames::new(name).expect("the vectors have it");
    let verifier = |method: Method| {
        Verifier::new(Settings {
            methods: vec![method],
            claims: ClaimRules::default(),
        })
    };
    let next_auth = || Method::NextAuth {
        secrets: secrets(&v4),
        cookies: names(NEXT_AUTH_COOKIE),
    };
    let auth_js = || Method::AuthJs {
        secrets: secrets(&v5),
        cookies: names(AUTH_JS_COOKIE),
    };
    let better_auth = Method::BetterAuth {
        secrets: secrets(&better),
        cookies: names(BETTER_AUTH_COOKIE),
        accept_previous_secrets: false,
    };
    let gcm = &v5["vectors"][8];
    let field = better["cases"][0]["cookie_header"]
        .as_str()
        .expect("the vectors have it");
    let (better_name, better_value) = field.split_once('=').expect("the vectors have it");
    vec![
        (
            NEXT_AUTH_COOKIE.into(),
            cookie(&v4["vectors"][0], NEXT_AUTH_COOKIE),
            verifier(next_auth()),
        ),
        (
            AUTH_JS_COOKIE.into(),
            cookie(&v5["vectors"][0], AUTH_JS_COOKIE),
            verifier(auth_js()),
        ),
        (
            AUTH_JS_COOKIE.into(),
            cookie(gcm, AUTH_JS_COOKIE),
            verifier(auth_js()),
        ),
        (
            better_name.into(),
            better_value.into(),
            verifier(better_auth),
        ),
    ]
}

/// Who it is, or whose row is read.
fn accepted(verifier: &Verifier, name: &str, value: &str) -> Option<String> {
    let field = format!("{name}={value}");
    let presented = Presented {
        cookies: Cookies::new([field.as_str()]),
        bearer: None,
    };
    match verifier.verify(&presented, &[], NOW_MS).ok()? {
        Verdict::Identity(identity) => Some(identity.user),
        Verdict::Row(row) => Some(row.token.reveal().to_owned()),
        Verdict::Introspect(_) | Verdict::KeysNeeded(_) => None,
    }
}

#[test]
fn a_session_that_is_cut_is_refused_wherever_it_is_cut() {
    for (name, value, verifier) in sessions() {
        assert!(accepted(&verifier, &name, &value).is_some(), "{name}");
        for end in 0..value.len() {
            assert_eq!(
                accepted(&verifier, &name, &value[..end]),
                None,
                "{name} to {end}"
            );
            assert_eq!(
                accepted(&verifier, &name, &value[end + 1..]),
                None,
                "{name} from {end}"
            );
        }
    }
}

#[test]
fn a_session_with_one_bit_changed_is_refused() {
    for (name, value, verifier) in sessions() {
        let whole = accepted(&verifier, &name, &value);
        for at in 0..value.len() {
            for bit in 0..7 {
                let mut changed = value.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let changed = String::from_utf8(changed).expect("seven bits are ASCII");
                // `%2b` is another spelling of `%2B`, and white space at the end is none of the value.
                let is_spelling =
                    changed.eq_ignore_ascii_case(&value) && value[..=at].contains('%');
                let outcome = accepted(&verifier, &name, &changed);
                match is_spelling {
                    true => assert!(outcome.is_none() || outcome == whole, "{name}: {changed}"),
                    false => assert_eq!(outcome, None, "{name}: {changed}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_any_session(input in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        fuzzing::session(&input);
        fuzzing::cookie(&input);
        fuzzing::jwks(&input);
        fuzzing::introspection(&input);
    }

    #[test]
    fn nothing_panics_on_what_looks_like_a_token(
        parts in proptest::collection::vec("[A-Za-z0-9_=+/%-]{0,40}", 1..7),
        name in "(__Secure-|__Host-|)(authjs.session-token|better-auth.session_token|session)(\\.[0-9]{1,3}|)",
    ) {
        fuzzing::session(format!("{name}={}", parts.join(".")).as_bytes());
        fuzzing::session(parts.join(".").as_bytes());
    }

    #[test]
    fn a_cookie_in_pieces_is_the_cookie(value in "[a-z0-9]{1,400}", size in 4_usize..50) {
        let pieces: Vec<String> = value
            .as_bytes()
            .chunks(size)
            .enumerate()
            .rev()
            .map(|(number, piece)| format!("session.{number}={}", String::from_utf8_lossy(piece)))
            .collect();
        let names = CookieNames::new("session").unwrap();
        let verifier = Verifier::new(Settings {
            methods: vec![Method::SessionRow { cookies: names }],
            claims: ClaimRules::default(),
        });
        let presented = Presented {
            cookies: Cookies::new(pieces.iter().map(String::as_str)),
            bearer: None,
        };
        let verdict = verifier.verify(&presented, &[], NOW_MS);
        let is_key = (16..=512).contains(&value.len());
        match verdict {
            Ok(Verdict::Row(row)) => prop_assert!(is_key && row.token.reveal() == value),
            _ => prop_assert!(!is_key),
        }
    }
}
