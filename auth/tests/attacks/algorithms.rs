//! E1: whoever lets the token choose how it is verified has no verification.

use auth::NEXT_AUTH_COOKIE;

use super::mint::{Issuer, ed25519, encode, next_auth, set, unsigned, with_hmac};
use super::*;

const ES256: &str = r#"{"alg":"ES256","kid":"k1"}"#;

/// What the rest of this file would be worth nothing without.
#[test]
fn honest_tokens_are_accepted() {
    let issuer = Issuer::new();
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#)]);
    let by_issuer = issuer.sign(ES256, HONEST);
    assert_eq!(present(&verifier(), &by_issuer, &keys), Ok("ada".into()));
    let by_secret = with_hmac(r#"{"alg":"HS256"}"#, HONEST, SECRET.as_bytes());
    assert_eq!(present(&verifier(), &by_secret, &keys), Ok("ada".into()));
}

#[test]
fn e1_no_algorithm_is_none_in_any_spelling() {
    let spellings = [
        r#""none""#,
        r#""None""#,
        r#""NONE""#,
        r#""nOnE""#,
        r#""""#,
        "null",
        "0",
        "[]",
        r#"["HS256"]"#,
        r#""hs256""#,
        r#""HS256 ""#,
        r#""HS384""#,
        r#""HS512""#,
        r#""RS256""#,
        r#""dir""#,
    ];
    for spelling in spellings {
        let header = format!(r#"{{"alg":{spelling}}}"#);
        let signed = with_hmac(&header, HONEST, SECRET.as_bytes());
        for token in [&signed, &format!("{}.", unsigned(&header, HONEST))] {
            assert!(present(&verifier(), token, &[]).is_err(), "{spelling}");
        }
    }
    let unnamed = with_hmac(r#"{"typ":"JWT"}"#, HONEST, SECRET.as_bytes());
    assert!(present(&verifier(), &unnamed, &[]).is_err());
    let twice = with_hmac(r#"{"alg":"none","alg":"HS256"}"#, HONEST, SECRET.as_bytes());
    assert_eq!(
        present(&verifier(), &twice, &[]),
        refused(TokenError::Malformed)
    );
}

#[test]
fn e1_a_public_key_is_no_shared_secret() {
    let issuer = Issuer::new();
    let jwk = issuer.jwk(r#","kid":"k1","alg":"ES256""#);
    let keys = set(&[&jwk]);
    let point = issuer.point();
    for key in [
        jwk.as_bytes(),
        point,
        &point[1..],
        encode(point).as_bytes(),
        b"",
    ] {
        for header in [r#"{"alg":"HS256","kid":"k1"}"#, ES256] {
            let forged = with_hmac(header, HONEST, key);
            assert_eq!(
                present(&verifier(), &forged, &keys),
                refused(TokenError::Signature)
            );
        }
    }
}

#[test]
fn e1_a_symmetric_key_in_a_published_set_is_nobodys_secret() {
    let issuer = Issuer::new();
    let published = format!(
        r#"{{"kty":"oct","kid":"k2","alg":"HS256","k":"{}"}}"#,
        encode("known")
    );
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#), &published]);
    let forged = with_hmac(r#"{"alg":"HS256","kid":"k2"}"#, HONEST, b"known");
    assert!(present(&verifier(), &forged, &keys).is_err());
    assert_eq!(keys[0].len(), 1);
}

#[test]
fn e1_keys_that_a_token_brings_are_not_looked_at() {
    let (issuer, attacker) = (Issuer::new(), Issuer::new());
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#)]);
    let members = [
        format!(r#""jwk":{}"#, attacker.jwk("")),
        r#""jku":"https://evil.example/jwks.json""#.to_owned(),
        r#""x5u":"https://evil.example/chain.pem""#.to_owned(),
        format!(r#""x5c":["{}"]"#, encode(attacker.point())),
        format!(r#""x5t#S256":"{}""#, encode([0; 32])),
    ];
    for member in members {
        let named = format!(r#"{{"alg":"ES256","kid":"k1",{member}}}"#);
        let forged = attacker.sign(&named, HONEST);
        assert_eq!(
            present(&verifier(), &forged, &keys),
            refused(TokenError::Signature)
        );
        let unnamed = attacker.sign(&format!(r#"{{"alg":"ES256",{member}}}"#), HONEST);
        assert_eq!(
            present(&verifier(), &unnamed, &keys),
            refused(TokenError::Signature)
        );
        // They do not harm an honest token either.
        let honest = issuer.sign(&named, HONEST);
        assert_eq!(present(&verifier(), &honest, &keys), Ok("ada".into()));
    }
}

#[test]
fn e1_the_name_of_a_key_is_a_name_and_nothing_else() {
    let issuer = Issuer::new();
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#)]);
    let long = format!(r#""{}""#, "k".repeat(10_000));
    let names = [
        r#""../../dev/null""#,
        r#""/proc/self/environ""#,
        r#""' UNION SELECT 'known' --""#,
        r#""k1\u0000""#,
        r#""K1""#,
        r#""""#,
        "1",
        "null",
        r#"["k1"]"#,
        r#"{"k1":1}"#,
        &long,
    ];
    for name in names {
        for key in [b"".as_slice(), b"known", &[0; 32]] {
            let header = format!(r#"{{"alg":"HS256","kid":{name}}}"#);
            assert!(present(&verifier(), &with_hmac(&header, HONEST, key), &keys).is_err());
        }
        let header = format!(r#"{{"alg":"ES256","kid":{name}}}"#);
        let outcome = present(&verifier(), &issuer.sign(&header, HONEST), &keys);
        assert!(outcome.is_err(), "{name}: the key is called k1");
    }
}

#[test]
fn e1_a_signature_of_zeros_signs_nothing() {
    let issuer = Issuer::new();
    let (_, ed) = ed25519(r#","kid":"e1""#);
    let keys = set(&[&issuer.jwk(r#","kid":"k1""#), &ed]);
    let mut order = [0; 64];
    // The order of the curve P-256, as r and as s.
    let n = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    order[..32].copy_from_slice(&n);
    order[32..].copy_from_slice(&n);
    let signatures: [&[u8]; 6] = [&[0; 64], &order, &[], &[0; 32], &[0; 65], &[0xff; 64]];
    for header in [ES256, r#"{"alg":"EdDSA","kid":"e1"}"#] {
        for signature in signatures {
            let token = format!("{}.{}", unsigned(header, HONEST), encode(signature));
            assert_eq!(
                present(&verifier(), &token, &keys),
                refused(TokenError::Signature)
            );
        }
    }
}

#[test]
fn e1_the_algorithm_is_the_keys() {
    let issuer = Issuer::new();
    let (ed, ed_jwk) = ed25519(r#","kid":"e1","alg":"EdDSA""#);
    let keys = set(&[&issuer.jwk(r#","kid":"k1","alg":"ES256""#), &ed_jwk]);
    let crossed = issuer.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, HONEST);
    assert_eq!(
        present(&verifier(), &crossed, &keys),
        refused(TokenError::Algorithm)
    );
    let header = r#"{"alg":"ES256","kid":"e1"}"#;
    let signed = unsigned(header, HONEST);
    let crossed = format!("{signed}.{}", encode(ed.sign(signed.as_bytes())));
    assert_eq!(
        present(&verifier(), &crossed, &keys),
        refused(TokenError::Algorithm)
    );
    let signed = unsigned(r#"{"alg":"EdDSA","kid":"e1"}"#, HONEST);
    let honest = format!("{signed}.{}", encode(ed.sign(signed.as_bytes())));
    assert_eq!(present(&verifier(), &honest, &keys), Ok("ada".into()));
}

#[test]
fn e1_keys_for_other_purposes_sign_nothing() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    for members in [
        r#","kid":"k1","use":"enc""#,
        r#","kid":"k1","use":null"#,
        r#","kid":"k1","key_ops":["encrypt"]"#,
        r#","kid":"k1","key_ops":"verify""#,
        r#","kid":"k1","alg":"ES384""#,
        r#","kid":"k1","alg":"ECDH-ES""#,
        r#","kid":1"#,
    ] {
        let keys = set(&[&other.jwk(r#","kid":"k0""#), &issuer.jwk(members)]);
        let token = issuer.sign(ES256, HONEST);
        assert_eq!(
            present(&verifier(), &token, &keys),
            refused(TokenError::UnknownKey)
        );
        assert_eq!(keys[0].len(), 1, "{members}");
    }
    let fit = r#","kid":"k1","use":"sig","key_ops":["verify"],"alg":"ES256""#;
    let keys = set(&[&issuer.jwk(fit)]);
    assert_eq!(
        present(&verifier(), &issuer.sign(ES256, HONEST), &keys),
        Ok("ada".into())
    );
}

/// Encrypted sessions: the header may not choose anything there either.
#[test]
fn e1_an_encrypted_session_has_one_form() {
    let verifier = Verifier::new(Settings {
        methods: vec![Method::NextAuth {
            secrets: vec![Secret::new(SECRET)],
            cookies: CookieNames::new(NEXT_AUTH_COOKIE).unwrap(),
        }],
        claims: ClaimRules::default(),
    });
    let outcome = |token: &str| {
        let field = format!("{NEXT_AUTH_COOKIE}={token}");
        let presented = Presented {
            cookies: Cookies::new([field.as_str()]),
            bearer: None,
        };
        match verifier.verify(&presented, &[], NOW_MS)? {
            Verdict::Identity(identity) => Ok(identity.user),
            _ => panic!("a session names its user, or nobody"),
        }
    };
    let dir = r#"{"alg":"dir","enc":"A256GCM"}"#;
    assert_eq!(outcome(&next_auth(dir, HONEST, SECRET)), Ok("ada".into()));
    for (header, error) in [
        (r#"{"alg":"none","enc":"A256GCM"}"#, TokenError::Algorithm),
        (r#"{"alg":"A256KW","enc":"A256GCM"}"#, TokenError::Algorithm),
        (
            r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":2147483647,"p2s":"AA"}"#,
            TokenError::Algorithm,
        ),
        (
            r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
            TokenError::Algorithm,
        ),
        (r#"{"alg":"dir","enc":"A128GCM"}"#, TokenError::Algorithm),
        (r#"{"alg":"dir","enc":"none"}"#, TokenError::Algorithm),
        (r#"{"alg":"dir"}"#, TokenError::Algorithm),
        (r#"{"enc":"A256GCM"}"#, TokenError::Algorithm),
        (
            r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#,
            TokenError::Algorithm,
        ),
        (
            r#"{"alg":"dir","enc":"A256GCM","crit":[]}"#,
            TokenError::Critical,
        ),
        (
            r#"{"alg":"dir","enc":"A256CBC-HS512"}"#,
            TokenError::Signature,
        ),
        (
            r#"{"alg":"dir","enc":"A256GCM","kid":"another"}"#,
            TokenError::Signature,
        ),
        (
            r#"{"alg":"dir","alg":"dir","enc":"A256GCM"}"#,
            TokenError::Malformed,
        ),
    ] {
        assert_eq!(
            outcome(&next_auth(header, HONEST, SECRET)),
            refused(error),
            "{header}"
        );
    }
    // A token within a token, signed by nobody (CVE-2026-29000), and what else is no set of claims.
    let nested = format!("{}.", unsigned(r#"{"alg":"none"}"#, HONEST));
    for content in [nested.as_str(), "null", "[]", "\"ada\"", "", "{"] {
        let token = next_auth(dir, content, SECRET);
        assert_eq!(outcome(&token), refused(TokenError::Malformed), "{content}");
    }
    // One byte fewer of the tag is one guess in 256 tags.
    let whole = next_auth(dir, HONEST, SECRET);
    let (rest, _) = whole.rsplit_once('.').unwrap();
    for bytes in [0, 4, 12, 15, 17] {
        let token = format!("{rest}.{}", encode(vec![0; bytes]));
        assert_eq!(
            outcome(&token),
            refused(TokenError::Signature),
            "{bytes} bytes"
        );
    }
}
