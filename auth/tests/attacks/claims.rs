//! E2: what stands in a token that somebody really signed may still be nonsense; and the rules of
//! issuers, audiences and pages.

use super::mint::with_hmac;
use super::*;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn of_claims(claims: &str) -> Result<String, IdentityError> {
    let token = with_hmac(HEADER, claims, SECRET.as_bytes());
    present(&verifier(), &token, &[])
}

fn with_claim_rules(claims: &str, rules: ClaimRules) -> Result<Verdict, IdentityError> {
    let verifier = Verifier::new(Settings {
        methods: vec![Method::Jwt {
            secrets: vec![Secret::new(SECRET)],
            cookies: None,
            rules: TokenRules::default(),
        }],
        claims: rules,
    });
    let token = with_hmac(HEADER, claims, SECRET.as_bytes());
    let presented = Presented {
        cookies: Cookies::default(),
        bearer: Some(&token),
    };
    verifier.verify(&presented, &[], NOW_MS)
}

fn user_at(places: &[&str], claims: &str) -> Result<String, IdentityError> {
    let rules = ClaimRules {
        users: places.iter().map(|place| (*place).to_owned()).collect(),
        require_exp: false,
        ..ClaimRules::default()
    };
    match with_claim_rules(claims, rules)? {
        Verdict::Identity(identity) => Ok(identity.user),
        _ => panic!("a token is an identity or nothing"),
    }
}

#[test]
fn e2_a_session_has_an_end_that_is_a_time() {
    for (exp, error) in [
        (None, TokenError::NoExpiry),
        (Some("1000000000"), TokenError::Expired),
        (Some("0"), TokenError::Expired),
        (Some("-1"), TokenError::Expired),
        (Some("\"4102444800\""), TokenError::Expired),
        (Some("null"), TokenError::Expired),
        (Some("true"), TokenError::Expired),
        (Some("[4102444800]"), TokenError::Expired),
        (Some("1e300"), TokenError::Expired),
        (Some("9007199254740991"), TokenError::Expired),
        (Some("4102444800000"), TokenError::Expired),
        (Some("99999999999999999999999999"), TokenError::Expired),
    ] {
        let exp = exp.map_or(String::new(), |exp| format!(r#","exp":{exp}"#));
        let claims = format!(r#"{{"sub":"ada"{exp}}}"#);
        assert_eq!(of_claims(&claims), refused(error), "{claims}");
    }
    // A fraction is a time (RFC 7519, 2).
    assert_eq!(
        of_claims(r#"{"sub":"ada","exp":4102444800.5}"#),
        Ok("ada".into())
    );
}

#[test]
fn e2_the_clocks_may_differ_by_fifteen_seconds() {
    let exp = |exp: u64| of_claims(&format!(r#"{{"sub":"ada","exp":{exp}}}"#));
    assert_eq!(exp(NOW - 14), Ok("ada".into()));
    assert_eq!(exp(NOW - 15), refused(TokenError::Expired));
    let at = |name: &str, at: u64| {
        of_claims(&format!(
            r#"{{"sub":"ada","exp":4102444800,"{name}":{at}}}"#
        ))
    };
    assert_eq!(at("nbf", NOW + 15), Ok("ada".into()));
    assert_eq!(at("nbf", NOW + 16), refused(TokenError::NotYet));
    assert_eq!(at("iat", NOW + 15), Ok("ada".into()));
    assert_eq!(at("iat", NOW + 16), refused(TokenError::Issued));
}

#[test]
fn e2_a_beginning_that_is_no_time_is_refused() {
    for value in ["\"1\"", "null", "-1", "1e300", "[]"] {
        let claims = |name: &str| format!(r#"{{"sub":"ada","exp":4102444800,"{name}":{value}}}"#);
        assert_eq!(
            of_claims(&claims("nbf")),
            refused(TokenError::NotYet),
            "{value}"
        );
        assert_eq!(
            of_claims(&claims("iat")),
            refused(TokenError::Issued),
            "{value}"
        );
    }
}

#[test]
fn e2_a_claim_that_is_there_twice_says_nothing() {
    for claims in [
        r#"{"sub":"ada","sub":"eve","exp":4102444800}"#,
        r#"{"sub":"ada","exp":1,"exp":4102444800}"#,
        r#"{"sub":"ada","exp":4102444800,"s\u0075b":"eve"}"#,
    ] {
        assert_eq!(
            of_claims(claims),
            refused(TokenError::Malformed),
            "{claims}"
        );
    }
}

#[test]
fn e2_a_token_in_a_token_is_no_set_of_claims() {
    let inner = with_hmac(HEADER, HONEST, SECRET.as_bytes());
    for payload in [
        inner.as_str(),
        &format!("\"{inner}\""),
        "null",
        "[]",
        "1",
        "",
    ] {
        let header = r#"{"alg":"HS256","cty":"JWT"}"#;
        let token = with_hmac(header, payload, SECRET.as_bytes());
        assert_eq!(
            present(&verifier(), &token, &[]),
            refused(TokenError::Malformed)
        );
    }
}

#[test]
fn e2_a_megabyte_is_no_token() {
    let long = format!(
        r#"{{"sub":"ada","exp":4102444800,"x":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    assert_eq!(of_claims(&long), refused(TokenError::Malformed));
    let dots = ".".repeat(1 << 20);
    assert_eq!(
        present(&verifier(), &dots, &[]),
        refused(TokenError::Malformed)
    );
    let deep = format!(
        r#"{{"sub":"ada","x":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(of_claims(&deep), refused(TokenError::Malformed));
}

#[test]
fn e2_an_extension_that_must_be_understood_is_not() {
    for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", r#""exp""#] {
        let header = format!(r#"{{"alg":"HS256","b64":true,"crit":{crit}}}"#);
        let token = with_hmac(&header, HONEST, SECRET.as_bytes());
        assert_eq!(
            present(&verifier(), &token, &[]),
            refused(TokenError::Critical),
            "{crit}"
        );
    }
}

#[test]
fn a_user_is_named_by_text_or_an_integer_and_sub_by_text() {
    let nobody = Err(IdentityError::NoUser);
    for claims in [
        r#"{"sub":42}"#,
        r#"{"sub":""}"#,
        r#"{"sub":null}"#,
        r#"{"sub":["ada"]}"#,
        r#"{"sub":true}"#,
        "{}",
    ] {
        assert_eq!(user_at(&["sub"], claims), nobody, "{claims}");
    }
    for (claims, user) in [
        (r#"{"id":"ada"}"#, "ada"),
        (r#"{"id":42}"#, "42"),
        (r#"{"id":-7}"#, "-7"),
        (r#"{"id":18446744073709551615}"#, "18446744073709551615"),
    ] {
        assert_eq!(user_at(&["id"], claims).as_deref(), Ok(user), "{claims}");
    }
    for claims in [
        r#"{"id":4.5}"#,
        r#"{"id":1e3}"#,
        r#"{"id":18446744073709551616}"#,
        r#"{"id":true}"#,
        r#"{"id":{}}"#,
    ] {
        assert_eq!(user_at(&["id"], claims), nobody, "{claims}");
    }
    let long = format!(r#"{{"sub":"{}"}}"#, "a".repeat(513));
    assert_eq!(user_at(&["sub"], &long), nobody);
}

#[test]
fn the_first_place_that_is_there_names_the_user() {
    let places = ["https://app.example/id", "user.id", "sub"];
    let user = |claims| user_at(&places, claims);
    let all = r#"{"sub":"c","user":{"id":"b"},"https://app.example/id":"a"}"#;
    assert_eq!(user(all), Ok("a".into()));
    assert_eq!(user(r#"{"sub":"c","user":{"id":"b"}}"#), Ok("b".into()));
    assert_eq!(user(r#"{"sub":"c","user":{"id":null}}"#), Ok("c".into()));
    // What is there and names nobody is not passed over for somebody else.
    assert_eq!(
        user(r#"{"sub":"c","user":{"id":false}}"#),
        Err(IdentityError::NoUser)
    );
}

#[test]
fn the_session_is_named_by_its_own_id_else_by_a_hash() {
    let session = |claims: &str| {
        let rules = ClaimRules {
            require_exp: false,
            ..ClaimRules::default()
        };
        match with_claim_rules(claims, rules) {
            Ok(Verdict::Identity(identity)) => identity.session,
            _ => panic!("{claims} is a session"),
        }
    };
    assert_eq!(
        session(r#"{"sub":"a","jti":"j","sid":"s","session_id":"i"}"#),
        "s"
    );
    assert_eq!(session(r#"{"sub":"a","jti":"j","session_id":"i"}"#), "i");
    assert_eq!(session(r#"{"sub":"a","jti":"j"}"#), "j");
    assert_eq!(session(r#"{"sub":"a","jti":7}"#), "7");
    let hashed = session(r#"{"sub":"a","jti":""}"#);
    assert!(
        hashed.starts_with("sha256:") && hashed.len() == 7 + 64,
        "{hashed}"
    );
    assert_ne!(hashed, session(r#"{"sub":"b","jti":""}"#));
}

#[test]
fn organisations_are_read_in_every_shape_that_libraries_write() {
    let read = |claims: &str| {
        let rules = ClaimRules {
            require_exp: false,
            organisations: Some("orgs".into()),
            role: Some("org_role".into()),
            ..ClaimRules::default()
        };
        match with_claim_rules(claims, rules) {
            Ok(Verdict::Identity(identity)) => {
                let claimed = identity.organisations.unwrap().into_iter();
                claimed
                    .map(|claim| {
                        format!("{}/{}", claim.organisation, claim.role.unwrap_or_default())
                    })
                    .collect::<Vec<_>>()
            }
            _ => panic!("{claims} is a session"),
        }
    };
    let cases: [(&str, &[&str]); 7] = [
        (
            r#"{"sub":"a","orgs":"acme","org_role":"admin"}"#,
            &["acme/admin"],
        ),
        (r#"{"sub":"a","orgs":42}"#, &["42/"]),
        (r#"{"sub":"a","orgs":["acme",7]}"#, &["acme/", "7/"]),
        (
            r#"{"sub":"a","orgs":{"id":"acme","rol":"admin"}}"#,
            &["acme/admin"],
        ),
        (
            r#"{"sub":"a","orgs":[{"organizationId":"acme","role":"owner"},{"tenantId":"b"}]}"#,
            &["acme/owner", "b/"],
        ),
        (r#"{"sub":"a","orgs":[null,true,{},[],""]}"#, &[]),
        (r#"{"sub":"a"}"#, &[]),
    ];
    for (claims, organisations) in cases {
        assert_eq!(read(claims), organisations, "{claims}");
    }
    let many = format!(r#"{{"sub":"a","orgs":[{}1]}}"#, "1,".repeat(1_000));
    assert_eq!(read(&many).len(), auth::limits::ORGANISATIONS_MAX);
}

#[test]
fn the_issuer_is_compared_byte_for_byte() {
    let verifier = with_rules(TokenRules {
        issuer: Some("https://t.example/".into()),
        ..TokenRules::default()
    });
    let of = |iss: &str| {
        let claims = format!(r#"{{"sub":"ada","exp":4102444800{iss}}}"#);
        present(
            &verifier,
            &with_hmac(HEADER, &claims, SECRET.as_bytes()),
            &[],
        )
    };
    assert_eq!(of(r#","iss":"https://t.example/""#), Ok("ada".into()));
    for iss in [
        "",
        r#","iss":"https://t.example""#,
        r#","iss":"https://T.example/""#,
        r#","iss":"https://t.example//""#,
        r#","iss":["https://t.example/"]"#,
        r#","iss":null"#,
    ] {
        assert_eq!(of(iss), refused(TokenError::Issuer), "{iss}");
    }
}

#[test]
fn one_of_the_audiences_must_be_ours() {
    let verifier = with_rules(TokenRules {
        audiences: vec!["api".into(), "web".into()],
        ..TokenRules::default()
    });
    let of = |aud: &str| {
        let claims = format!(r#"{{"sub":"ada","exp":4102444800{aud}}}"#);
        present(
            &verifier,
            &with_hmac(HEADER, &claims, SECRET.as_bytes()),
            &[],
        )
    };
    for aud in [r#","aud":"api""#, r#","aud":["x","web"]"#] {
        assert_eq!(of(aud), Ok("ada".into()), "{aud}");
    }
    for aud in [
        "",
        r#","aud":"API""#,
        r#","aud":[]"#,
        r#","aud":["x"]"#,
        r#","aud":{"api":1}"#,
        r#","aud":[["api"]]"#,
        r#","aud":null"#,
    ] {
        assert_eq!(of(aud), refused(TokenError::Audience), "{aud}");
    }
}

#[test]
fn a_token_for_another_page_or_of_a_sign_in_that_is_not_complete_is_refused() {
    let verifier = with_rules(TokenRules {
        authorized_parties: vec!["https://app.example".into()],
        ..TokenRules::default()
    });
    let of = |members: &str| {
        let claims = format!(r#"{{"sub":"ada","exp":4102444800{members}}}"#);
        present(
            &verifier,
            &with_hmac(HEADER, &claims, SECRET.as_bytes()),
            &[],
        )
    };
    assert_eq!(of(r#","azp":"https://app.example""#), Ok("ada".into()));
    assert_eq!(
        of(r#","azp":"https://evil.example""#),
        refused(TokenError::Party)
    );
    assert_eq!(of(""), refused(TokenError::Party));
    let pending = r#","azp":"https://app.example","sts":"pending""#;
    assert_eq!(of(pending), refused(TokenError::Pending));
    let active = r#","azp":"https://app.example","sts":"active""#;
    assert_eq!(of(active), Ok("ada".into()));
}

#[test]
fn a_token_has_one_spelling() {
    let token = with_hmac(HEADER, HONEST, SECRET.as_bytes());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    // A signature of 32 bytes leaves two bits of its last character unused.
    let last = signature.chars().last().unwrap();
    let twin = char::from(u8::try_from(last).unwrap() + 1);
    let stray = format!("{}{twin}", &signature[..signature.len() - 1]);
    for other in [
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}={signature}"),
        format!("{header}.{claims}.{stray}"),
        format!(
            "{header}.{claims}.{}",
            signature.replace('_', "/").replace('-', "+") + "="
        ),
    ] {
        assert!(present(&verifier(), &other, &[]).is_err(), "{other}");
    }
    assert_eq!(present(&verifier(), &token, &[]), Ok("ada".into()));
}
