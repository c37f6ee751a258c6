//! What is shown to which server, and which server is believed.

use super::*;

const URL: &str = "postgres://app:hunter2@db/x?sslmode=require";

fn tls(hash: Option<&[u8]>) -> Protection {
    Protection::Tls {
        server_end_point: hash.map(<[u8]>::to_vec),
    }
}

fn authenticator(url: &str, protection: Protection) -> Authenticator {
    Authenticator::new(&url.parse().unwrap(), protection)
}

fn sasl(mechanisms: &[&str]) -> Authentication {
    let mechanisms = mechanisms.iter().map(|name| (*name).to_owned()).collect();
    Authentication::Sasl { mechanisms }
}

/// What is sent in answer to one wish.
fn answer(url: &str, protection: Protection, wanted: Authentication) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let done = authenticator(url, protection).handle(wanted, &mut out)?;
    assert_eq!(done, out.is_empty());
    Ok(out)
}

/// The nonce of a SASLInitialResponse: all that follows `,r=`. It may hold every character but a comma.
fn nonce(out: &[u8]) -> &[u8] {
    let before = out.windows(3).position(|bytes| bytes == b",r=");
    &out[before.unwrap() + 3..]
}

#[test]
fn a_password_goes_in_clear_text_only_where_nobody_listens() {
    let wanted = || Authentication::CleartextPassword;
    let said = b"p\0\0\0\x0chunter2\0".to_vec();
    let local = "postgres://app:hunter2@localhost/x";
    assert_eq!(answer(local, Protection::None, wanted()), Ok(said.clone()));
    assert_eq!(answer(URL, tls(None), wanted()), Ok(said));
    let open = [
        "postgres://app:hunter2@db.example/x?sslmode=disable",
        "postgres://app:hunter2@localhost/x?hostaddr=10.0.0.5&sslmode=disable",
    ];
    for open in open {
        let error = answer(open, Protection::None, wanted()).unwrap_err();
        assert_eq!(error, Failure::ClearText, "{open}");
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
fn md5_is_salted_with_what_the_server_says() {
    let wanted = Authentication::Md5Password { salt: [1, 2, 3, 4] };
    let out = answer(URL, tls(None), wanted).unwrap();
    let hash = md5_hash(b"app", b"hunter2", [1, 2, 3, 4]);
    assert_eq!(&out[5..], [hash.as_bytes(), b"\0"].concat());
}

#[test]
fn the_mechanism_and_what_is_said_of_the_others_follow_from_the_offer() {
    let both = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    let plain = ["SCRAM-SHA-256"];
    let disabled = format!("{URL}&channel_binding=disable");
    let cases = [
        (
            URL,
            tls(Some(b"hash")),
            &both[..],
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,",
        ),
        (URL, tls(Some(b"hash")), &plain[..], "SCRAM-SHA-256", "y,,"),
        // A certificate whose signature has no hash: we cannot, and must not claim that we could.
        (URL, tls(None), &both[..], "SCRAM-SHA-256", "n,,"),
        (
            &disabled,
            tls(Some(b"hash")),
            &both[..],
            "SCRAM-SHA-256",
            "n,,",
        ),
        (URL, Protection::None, &plain[..], "SCRAM-SHA-256", "n,,"),
    ];
    for (url, protection, offer, mechanism, header) in cases {
        let out = answer(url, protection, sasl(offer)).unwrap();
        let text = String::from_utf8_lossy(&out[5..]).into_owned();
        let (chosen, rest) = text.split_once('\0').unwrap();
        assert_eq!(chosen, mechanism);
        assert!(rest[4..].starts_with(header), "{rest:?}");
    }
    let lie = answer(URL, Protection::None, sasl(&both));
    assert_eq!(lie, Err(Failure::NoTlsToBindTo));
    assert_eq!(
        answer(URL, tls(None), sasl(&["OTHER"])),
        Err(Failure::NoMechanism)
    );
}

#[test]
fn where_binding_is_required_nothing_is_shown_without_it() {
    let url = format!("{URL}&channel_binding=require");
    let wishes = [
        Authentication::Ok,
        Authentication::CleartextPassword,
        Authentication::Md5Password { salt: [0; 4] },
        sasl(&["SCRAM-SHA-256"]),
    ];
    for wanted in wishes {
        let refused = answer(&url, tls(Some(b"hash")), wanted);
        assert_eq!(refused, Err(Failure::Unbound));
    }
    let both = || sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    assert_eq!(answer(&url, tls(None), both()), Err(Failure::Unbound));
    assert_eq!(
        answer(&url, Protection::None, both()),
        Err(Failure::Unbound)
    );
    assert!(answer(&url, tls(Some(b"hash")), both()).is_ok());
}

// Case: 2
#[test]
fn a_server_that_proves_nothing_is_not_believed() {
    for last in [
        Authentication::Ok,
        Authentication::SaslFinal(b"v=AAAA"[..].into()),
    ] {
        let mut client = authenticator(URL, tls(None));
        let mut out = Vec::new();
        assert_eq!(client.handle(sasl(&["SCRAM-SHA-256"]), &mut out), Ok(false));
        let challenge = [b"r=", nonce(&out), b"x,s=c2FsdA==,i=4096"].concat();
        let challenge = Authentication::SaslContinue(challenge.into());
        assert_eq!(client.handle(challenge, &mut out), Ok(false));
        assert_eq!(client.handle(last, &mut out), Err(Failure::Unproven));
    }
    let mut client = authenticator(URL, tls(None));
    assert_eq!(
        client.handle(sasl(&["SCRAM-SHA-256"]), &mut Vec::new()),
        Ok(false)
    );
    assert_eq!(
        client.handle(Authentication::Ok, &mut Vec::new()),
        Err(Failure::Unproven)
    );
}

// Case: 3
#[test]
fn a_costly_or_foreign_challenge_is_refused() {
    for (foreign, iterations) in [(false, "10000000"), (false, "100001"), (true, "4096")] {
        let mut client = authenticator(URL, tls(None));
        let mut out = Vec::new();
        assert_eq!(client.handle(sasl(&["SCRAM-SHA-256"]), &mut out), Ok(false));
        let nonce: &[u8] = if foreign { b"other" } else { nonce(&out) };
        let rest = format!("x,s=c2FsdA==,i={iterations}");
        let challenge = [b"r=", nonce, rest.as_bytes()].concat();
        let sent = out.len();
        let refused = client.handle(Authentication::SaslContinue(challenge.into()), &mut out);
        assert_eq!(refused, Err(Failure::Challenge));
        assert_eq!(out.len(), sent, "nothing is answered to it");
    }
}

#[test]
fn what_cannot_be_shown_is_said() {
    let nobody = "postgres://app@db/x?sslmode=require";
    let md5 = || Authentication::Md5Password { salt: [0; 4] };
    assert_eq!(answer(nobody, tls(None), md5()), Err(Failure::NoPassword));
    let scram = || sasl(&["SCRAM-SHA-256"]);
    assert_eq!(answer(nobody, tls(None), scram()), Err(Failure::NoPassword));
    assert_eq!(
        answer(URL, tls(None), Authentication::Other(7)),
        Err(Failure::Method)
    );
    for early in [
        Authentication::SaslContinue(b"r=x"[..].into()),
        Authentication::SaslFinal(b"v=x"[..].into()),
    ] {
        let refused = answer(URL, tls(None), early).unwrap_err();
        assert!(matches!(refused, Failure::Malformed(_)), "{refused}");
    }
}
