//! The bodies of the fuzz targets: what must hold for every input. Compiled with the crate, so that
//! they cannot rot; run by `fuzz/`, and over its corpora by the tests.
//!
//! A finding is a panic. No product code calls anything here.

mod claims;

pub use claims::claims;

use crate::cookie::{CookieNames, Cookies, find};
use crate::introspection::AnswerRules;
use crate::jwks::Jwks;
use crate::limits::{
    COOKIES_BYTES_MAX, NAME_BYTES_MAX, ORGANISATIONS_MAX, ROW_TOKEN_BYTES_MAX, ROW_TOKEN_BYTES_MIN,
};
use crate::{
    AUTH_JS_COOKIE, AUTH0_COOKIE, BETTER_AUTH_COOKIE, ClaimRules, Fingerprint, Identity,
    IdentityError, Introspect, Method, NEXT_AUTH_COOKIE, Presented, Secret, Settings, TokenRules,
    Verdict, Verifier,
};

/// The time at which everything is presented.
const NOW_MS: u64 = 1_800_000_000_000;

/// The secrets of the seeds, so that a mutation starts from what is accepted.
const SECRETS: [&str; 4] = [
    "test-nextauth-secret-0123456789abcdef",
    "test-authjs-secret-0123456789abcdef",
    "test-better-auth-secret-0123456789abcdef",
    "test-hs256-secret-at-least-32-bytes-long!!",
];

/// What a request presents: lines, of which those that begin with `bearer ` are a token and all others
/// fields of cookies. It is the same request however its fields are divided.
pub fn session(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (bearers, fields): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("bearer "));
    let bearer = bearers
        .first()
        .and_then(|line| line.strip_prefix("bearer "));
    let presented = Presented {
        cookies: Cookies::new(fields.iter().copied()),
        bearer,
    };
    let verifier = verifier();
    let verdict = verifier.verify(&presented, &[], NOW_MS);
    let fingerprint = verifier.fingerprint(&presented);
    match &verdict {
        Ok(Verdict::Identity(identity)) => check_identity(identity),
        Ok(Verdict::Row(row)) => {
            let token = row.token.reveal();
            assert!((ROW_TOKEN_BYTES_MIN..=ROW_TOKEN_BYTES_MAX).contains(&token.len()));
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Ok(Verdict::Introspect(_)) => panic!("no application is configured"),
        Ok(Verdict::KeysNeeded(issuer)) => assert_eq!(*issuer, 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if fingerprint.is_none() {
        assert!(matches!(verdict, Err(IdentityError::Missing)));
    }
    let divided = Presented {
        cookies: Cookies::new(fields.iter().flat_map(|field| field.split(';'))),
        bearer,
    };
    if fields.iter().map(|field| field.len()).sum::<usize>() <= COOKIES_BYTES_MAX {
        assert_eq!(verifier.fingerprint(&divided), fingerprint);
        let again = verifier.verify(&divided, &[], NOW_MS);
        assert_eq!(again.is_ok(), verdict.is_ok());
    }
}

/// Cookies: a reader of another kind finds the same under every name.
pub fn cookie(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let fields: Vec<&str> = text.lines().collect();
    let cookies = Cookies::new(fields.iter().copied());
    if fields.iter().map(|field| field.len()).sum::<usize>() > COOKIES_BYTES_MAX {
        assert_eq!(cookies.iter().count(), 0);
        return;
    }
    let joined = fields.join("; ");
    for (name, value) in cookies.iter() {
        assert!(!name.contains(['=', ';']) && !value.contains(';'));
        let found = find(fields.iter().copied(), name).expect("it was just listed");
        assert_eq!(Some(found), find([joined.as_str()], name));
        if let Some(names) = CookieNames::new(name) {
            assert!(names.covers(name));
            let first = names.find(&cookies).next().expect("it was just listed");
            assert!(first.value.len() <= joined.len());
        }
    }
}

/// Sets of keys: a set that is accepted can be used, and verifies nothing that nobody signed.
pub fn jwks(input: &[u8]) {
    let keys = match Jwks::parse(input) {
        Ok(keys) => keys,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(!keys.is_empty());
    let keys = [keys];
    let verifier = verifier();
    // The header names no key, or the key `a`; the claims are those of a session, and the signature,
    // of each length that there is, is zeros.
    let headers = [
        "eyJhbGciOiJFUzI1NiJ9",
        "eyJhbGciOiJSUzI1NiJ9",
        "eyJhbGciOiJFZERTQSJ9",
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ",
    ];
    for header in headers {
        for bytes in [64, 256, 512] {
            let zeros = "A".repeat((bytes * 8_usize).div_ceil(6));
            let token = format!("{header}.eyJzdWIiOiJhIiwiZXhwIjo0MTAyNDQ0ODAwfQ.{zeros}");
            let presented = Presented {
                cookies: Cookies::default(),
                bearer: Some(&token),
            };
            let verdict = verifier.verify(&presented, &keys, NOW_MS);
            assert!(!matches!(verdict, Ok(Verdict::Identity(_))));
        }
    }
}

/// Answers of an application: whoever they name is somebody, whose session has an end that is to come.
pub fn introspection(input: &[u8]) {
    let verifier = Verifier::new(Settings {
        methods: vec![Method::Introspection {
            cookies: None,
            answer: AnswerRules::default(),
        }],
        claims: claim_rules(),
    });
    let question = Introspect {
        cookie: None,
        bearer: None,
        credential: Fingerprint::of("the cookies of a browser"),
    };
    match verifier.read_answer(&question, input, NOW_MS) {
        Ok(identity) => {
            check_identity(&identity);
            assert!(
                identity
                    .expires_ms
                    .is_some_and(|expires_ms| expires_ms > NOW_MS)
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_identity(identity: &Identity) {
    let is_name = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    assert!(is_name(&identity.user) && is_name(&identity.session));
    assert!(identity.active_organisation.as_deref().is_none_or(is_name));
    let organisations = identity.organisations.as_deref().unwrap_or_default();
    assert!(organisations.len() <= ORGANISATIONS_MAX);
    assert!(
        organisations
            .iter()
            .all(|claim| is_name(&claim.organisation))
    );
}

fn claim_rules() -> ClaimRules {
    ClaimRules {
        users: vec!["sub".into(), "id".into(), "user.id".into()],
        organisations: Some("o".into()),
        ..ClaimRules::default()
    }
}

/// All methods at once.
fn verifier() -> Verifier {
    let secrets = || SECRETS.map(Secret::new).to_vec();
    let names = |name| CookieNames::new(name).expect("it is a cookie's name");
    let rules = TokenRules::default;
    let methods = vec![
        Method::NextAuth {
            secrets: secrets(),
            cookies: names(NEXT_AUTH_COOKIE),
        },
        Method::AuthJs {
            secrets: secrets(),
            cookies: names(AUTH_JS_COOKIE),
        },
        Method::Auth0 {
            secrets: secrets(),
            cookies: names(AUTH0_COOKIE),
        },
        Method::BetterAuth {
            secrets: secrets(),
            cookies: names(BETTER_AUTH_COOKIE),
            accept_previous_secrets: true,
        },
        Method::SessionRow {
            cookies: names(AUTH_JS_COOKIE),
        },
        Method::Jwt {
            secrets: secrets(),
            cookies: Some(names("session")),
            rules: rules(),
        },
        Method::Jwks {
            issuer: 0,
            cookies: Some(names("sb-proj-auth-token")),
            rules: rules(),
        },
    ];
    Verifier::new(Settings {
        methods,
        claims: claim_rules(),
    })
}
