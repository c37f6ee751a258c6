//! The methods as `auth` takes them: secrets that cannot be shown, and the names of cookies.

use ::auth::cookie::CookieNames;
use ::auth::introspection::AnswerRules;
use ::auth::{ClaimRules, Method, Secret, Settings, TokenRules};

use super::super::raw::{self, Raw};
use super::super::{ConfigError, Mode};

/// The shortest secret that is taken: whoever has seen one token can try all that are shorter.
const SECRET_BYTES_MIN: usize = 16;

/// The shortest secret for HS256 that is as strong as its hash (RFC 7518, 3.2).
const SECRET_BYTES_STRONG: usize = 32;

/// The methods, in the order in which they are tried. `auth` is `[auth]` with the secrets that the
/// application's own variables name.
pub(super) fn settings(
    raw: &Raw,
    auth: &raw::Auth,
    modes: &[Mode],
) -> Result<Settings, ConfigError> {
    check_cookies(auth)?;
    let claims = &auth.user_claim;
    if claims.is_empty() || claims.iter().any(String::is_empty) {
        let mend = "write the claim that names the user, usually \"sub\"";
        return Err(ConfigError::new("auth.user_claim", claims.join(", "), mend));
    }
    Ok(Settings {
        methods: modes.iter().map(|mode| method(*mode, auth)).collect(),
        claims: ClaimRules {
            users: claims.clone(),
            require_exp: auth.require_exp,
            organisations: said(&raw.membership.claim),
            role: said(&raw.membership.role_claim),
        },
    })
}

fn method(mode: Mode, auth: &raw::Auth) -> Method {
    match mode {
        Mode::NextAuth => Method::NextAuth {
            secrets: secrets(&auth.nextauth.secret),
            cookies: named(&auth.nextauth.cookie, ::auth::NEXT_AUTH_COOKIE),
        },
        Mode::AuthJs => Method::AuthJs {
            secrets: secrets(&auth.authjs.secret),
            cookies: named(&auth.authjs.cookie, ::auth::AUTH_JS_COOKIE),
        },
        Mode::Auth0 => Method::Auth0 {
            secrets: secrets(&auth.auth0.secret),
            cookies: named(&auth.auth0.cookie, ::auth::AUTH0_COOKIE).with_underscores(),
        },
        Mode::BetterAuth => Method::BetterAuth {
            secrets: secrets(&auth.better_auth.secret),
            cookies: named(&auth.better_auth.cookie, ::auth::BETTER_AUTH_COOKIE),
            accept_previous_secrets: auth.better_auth.accept_previous_secrets,
        },
        Mode::Session => Method::SessionRow {
            cookies: names([
                said(&auth.authjs.cookie)
                    .as_deref()
                    .unwrap_or(::auth::AUTH_JS_COOKIE),
                said(&auth.nextauth.cookie)
                    .as_deref()
                    .unwrap_or(::auth::NEXT_AUTH_COOKIE),
            ]),
        },
        Mode::Jwt => Method::Jwt {
            secrets: secrets(&auth.secret),
            cookies: Some(names([auth.cookie.as_str()])),
            rules: TokenRules {
                issuer: said(&auth.issuer),
                audiences: auth.audience.clone(),
                authorized_parties: Vec::new(),
            },
        },
        Mode::Jwks => Method::Jwks {
            issuer: 0,
            cookies: said(&auth.jwks.cookie).map(|cookie| names([cookie.as_str()])),
            rules: TokenRules {
                issuer: said(&auth.jwks.issuer),
                audiences: auth.jwks.audience.clone(),
                authorized_parties: auth.jwks.authorized_parties.clone(),
            },
        },
        Mode::Introspection => {
            let asked = &auth.introspection;
            let cookies = asked.cookies.iter().map(String::as_str);
            Method::Introspection {
                cookies: (!asked.cookies.is_empty()).then(|| names(cookies)),
                answer: AnswerRules {
                    users: asked.user.clone(),
                    sessions: asked.session.clone(),
                    expires: asked.expires.clone(),
                    organisation: said(&asked.organization),
                },
            }
        }
    }
}

fn secrets(texts: &[String]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new(text)).collect()
}

fn named(text: &str, default: &str) -> CookieNames {
    names([if text.is_empty() { default } else { text }])
}

fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> CookieNames {
    CookieNames::several(texts).expect("the names of cookies were checked, and there is one")
}

fn said(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Looks at the length of every secret, whether its method is meant or not.
pub(super) fn check_secrets(
    auth: &raw::Auth,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let lists = [
        ("auth.secret", &auth.secret),
        ("auth.nextauth.secret", &auth.nextauth.secret),
        ("auth.authjs.secret", &auth.authjs.secret),
        ("auth.auth0.secret", &auth.auth0.secret),
        ("auth.better_auth.secret", &auth.better_auth.secret),
    ];
    for (key, secrets) in lists {
        let Some(shortest) = secrets.iter().map(String::len).min() else {
            continue;
        };
        if shortest < SECRET_BYTES_MIN {
            let mend = "too short: whoever has a token of theirs can guess it. Write the \
                        application's own, of at least 16 characters (`openssl rand -hex 32` makes \
                        one), in both places";
            return Err(ConfigError::about(key, mend));
        }
        if shortest < SECRET_BYTES_STRONG {
            warnings.push(format!(
                "{key}: shorter than 32 bytes, so it is weaker than the cryptography itself"
            ));
        }
    }
    Ok(())
}

fn check_cookies(auth: &raw::Auth) -> Result<(), ConfigError> {
    // Only the first must be there: the others have the names of their libraries.
    let cookies = [
        ("auth.cookie", &auth.cookie, true),
        ("auth.nextauth.cookie", &auth.nextauth.cookie, false),
        ("auth.authjs.cookie", &auth.authjs.cookie, false),
        ("auth.auth0.cookie", &auth.auth0.cookie, false),
        ("auth.better_auth.cookie", &auth.better_auth.cookie, false),
        ("auth.jwks.cookie", &auth.jwks.cookie, false),
    ];
    let asked = auth.introspection.cookies.iter();
    let asked = asked.map(|cookie| ("auth.introspection.cookies", cookie, true));
    for (key, cookie, must_be) in cookies.into_iter().chain(asked) {
        if (must_be || !cookie.is_empty()) && !::auth::cookie::is_name(cookie) {
            let mend = "write the name of a cookie: letters, digits, '-', '_', '.'";
            return Err(ConfigError::new(key, cookie, mend));
        }
    }
    Ok(())
}
