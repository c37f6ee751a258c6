//! Introspection: what applications answer about a session, and what is made of it.

use auth::cookie::{CookieNames, Cookies};
use auth::introspection::{AnswerError, AnswerRules};
use auth::limits::{ANSWER_BYTES_MAX, ANSWER_LASTS_MS};
use auth::{
    ClaimRules, Identity, IdentityError, Introspect, Method, Presented, Secret, Settings, Verdict,
    Verifier,
};

const NOW_MS: u64 = 1_800_000_000_000;

fn verifier(cookies: Option<CookieNames>, answer: AnswerRules) -> Verifier {
    Verifier::new(Settings {
        methods: vec![Method::Introspection { cookies, answer }],
        claims: ClaimRules {
            organisations: Some("user.orgs".into()),
            ..ClaimRules::default()
        },
    })
}

fn question(verifier: &Verifier, field: &str, bearer: Option<&str>) -> Option<Introspect> {
    let presented = Presented {
        cookies: Cookies::new([field]),
        bearer,
    };
    match verifier.verify(&presented, &[], NOW_MS) {
        Ok(Verdict::Introspect(question)) => Some(question),
        Err(IdentityError::Missing) => None,
        _ => panic!("only the application can say"),
    }
}

fn of_answer(answer: &str) -> Result<Identity, AnswerError> {
    let verifier = verifier(None, AnswerRules::default());
    let question = question(&verifier, "session=1", None).expect("there is a cookie");
    verifier.read_answer(&question, answer.as_bytes(), NOW_MS)
}

fn shown(verifier: &Verifier, field: &str) -> Option<String> {
    let question = question(verifier, field, None)?;
    question.cookie.map(|cookie| cookie.reveal().to_owned())
}

#[test]
fn the_answer_of_auth_js_names_the_user() {
    let answer = r#"{"user":{"name":"Ada","email":"ada@example.com","id":"ada"},
                     "expires":"2027-06-01T00:00:00.000Z"}"#;
    let identity = of_answer(answer).unwrap();
    assert_eq!(identity.user, "ada");
    assert_eq!(identity.expires_ms, Some(1_811_808_000_000));
    assert!(
        identity.session.starts_with("sha256:"),
        "{}",
        identity.session
    );
    assert_eq!(identity.organisations, Some(Vec::new()));
}

#[test]
fn an_answer_may_name_the_session_and_the_organisations() {
    let answer = r#"{"session":{"id":"s1","expiresAt":"2027-06-01T02:00:00+02:00",
                      "activeOrganizationId":"acme"},"user":{"id":42,"orgs":["acme","b"]}}"#;
    let identity = of_answer(answer).unwrap();
    assert_eq!(
        (identity.user.as_str(), identity.session.as_str()),
        ("42", "s1")
    );
    assert_eq!(identity.expires_ms, Some(1_811_808_000_000));
    assert_eq!(identity.active_organisation.as_deref(), Some("acme"));
    assert_eq!(identity.organisations.map(|all| all.len()), Some(2));
}

#[test]
fn nobody_is_nobody_in_every_spelling() {
    let no_session = Err(AnswerError::Nobody(IdentityError::NoSession));
    for answer in [
        "",
        " \n",
        "null",
        " null ",
        "{}",
        r#"{"user":null}"#,
        r#"{"expires":null}"#,
    ] {
        assert_eq!(of_answer(answer), no_session, "{answer:?}");
    }
    let ended = r#"{"user":{"id":"ada"},"expires":"2020-01-01T00:00:00Z"}"#;
    assert_eq!(of_answer(ended), no_session);
}

#[test]
fn somebody_without_an_id_is_the_applications_mistake() {
    let answer = r#"{"user":{"name":"Ada","email":"ada@example.com"}}"#;
    let error = of_answer(answer).unwrap_err();
    assert_eq!(error, AnswerError::Nobody(IdentityError::NoUser));
    assert!(error.to_string().contains("session callback"), "{error}");
    for id in ["true", "[]", "{}", "1.5", "\"\""] {
        let answer = format!(r#"{{"user":{{"id":{id}}}}}"#);
        assert_eq!(
            of_answer(&answer),
            Err(AnswerError::Nobody(IdentityError::NoUser)),
            "{id}"
        );
    }
}

#[test]
fn what_is_no_answer_lets_nobody_in_and_calls_nobody_an_impostor() {
    let long = format!(
        r#"{{"user":{{"id":"ada"}},"x":"{}"}}"#,
        "x".repeat(ANSWER_BYTES_MAX)
    );
    for answer in [
        "<!doctype html><title>Sign in</title>",
        "[]",
        "\"ada\"",
        "true",
        "{",
        r#"{"user":{"id":"ada"},"user":{"id":"eve"}}"#,
        r#"{"user":{"id":"ada"},"expires":"tomorrow"}"#,
        r#"{"user":{"id":"ada"},"expires":-1}"#,
        r#"{"user":{"id":"ada"},"expires":[]}"#,
        &long,
    ] {
        assert_eq!(
            of_answer(answer),
            Err(AnswerError::Malformed),
            "{:.60}",
            answer
        );
    }
}

#[test]
fn the_end_may_be_in_seconds_or_milliseconds() {
    for expires in ["1811808000", "1811808000000"] {
        let answer = format!(r#"{{"user":{{"id":"ada"}},"expires":{expires}}}"#);
        assert_eq!(
            of_answer(&answer).unwrap().expires_ms,
            Some(1_811_808_000_000)
        );
    }
}

#[test]
fn an_answer_without_an_end_does_not_count_for_ever() {
    let answer = r#"{"user":{"id":"ada"},"expires":null}"#;
    let identity = of_answer(answer).unwrap();
    assert_eq!(identity.expires_ms, Some(NOW_MS + ANSWER_LASTS_MS));
    // Unless the configuration says that sessions may have none.
    let endless = Verifier::new(Settings {
        methods: vec![Method::Introspection {
            cookies: None,
            answer: AnswerRules::default(),
        }],
        claims: ClaimRules {
            require_exp: false,
            ..ClaimRules::default()
        },
    });
    let question = question(&endless, "session=1", None).unwrap();
    let identity = endless.read_answer(&question, answer.as_bytes(), NOW_MS);
    assert_eq!(identity.unwrap().expires_ms, None);
}

#[test]
fn the_places_are_configured() {
    let rules = AnswerRules {
        users: vec!["account".into(), "data.me.uid".into()],
        sessions: Vec::new(),
        expires: vec!["until".into()],
        organisation: None,
    };
    let verifier = verifier(None, rules);
    let question = question(&verifier, "a=1", None).unwrap();
    let read = |answer: &str| verifier.read_answer(&question, answer.as_bytes(), NOW_MS);
    let identity = read(r#"{"data":{"me":{"uid":"ada"}},"until":1811808000}"#).unwrap();
    assert_eq!(identity.user, "ada");
    assert_eq!(identity.session, question.credential.to_string());
    let nobody = Err(AnswerError::Nobody(IdentityError::NoSession));
    assert_eq!(read(r#"{"user":{"id":"ada"}}"#), nobody);
}

#[test]
fn the_application_is_shown_the_cookies_it_may_see() {
    let all = verifier(None, AnswerRules::default());
    assert_eq!(
        shown(&all, "a=1; b=2;c = 3").as_deref(),
        Some("a=1; b=2; c=3")
    );
    assert_eq!(shown(&all, ""), None);
    assert_eq!(
        shown(&all, "a=1\r\nX-Admin: 1; b=2").as_deref(),
        Some("b=2")
    );
    // As the browser wrote them: Python, for one, reads a value in quotation marks in another way.
    assert_eq!(
        shown(&all, r#"a="1\0542"; b=2"#).as_deref(),
        Some(r#"a="1\0542"; b=2"#)
    );
    let one = verifier(CookieNames::new("sid"), AnswerRules::default());
    let field = "theme=dark; sid.1=b; sid.0=a; __Secure-sid=c; sid2=d";
    assert_eq!(
        shown(&one, field).as_deref(),
        Some("sid.1=b; sid.0=a; __Secure-sid=c")
    );
    assert_eq!(shown(&one, "theme=dark"), None);
}

#[test]
fn a_bearer_is_shown_alone() {
    let verifier = verifier(None, AnswerRules::default());
    let question = question(&verifier, "a=1", Some("token")).unwrap();
    assert!(question.cookie.is_none());
    assert_eq!(question.bearer.as_ref().map(Secret::reveal), Some("token"));
}

#[test]
fn a_bearer_and_cookies_of_the_same_text_are_two_questions() {
    let verifier = verifier(None, AnswerRules::default());
    let bearer = question(&verifier, "", Some("sid=a")).unwrap();
    let cookie = question(&verifier, "sid=a", None).unwrap();
    assert_ne!(bearer.credential, cookie.credential);
}

#[test]
fn who_shows_the_same_shares_one_question() {
    let verifier = verifier(CookieNames::new("sid"), AnswerRules::default());
    let credential = |field| question(&verifier, field, None).unwrap().credential;
    assert_eq!(
        credential("sid=a; theme=dark"),
        credential("theme=light; sid=a")
    );
    assert_ne!(credential("sid=a"), credential("sid=b"));
}
