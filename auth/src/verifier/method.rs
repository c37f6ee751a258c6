//! The methods with their keys, and what each makes of the cookies or the bearer token of a request.

use std::borrow::Cow;

use crate::cookie::{CookieNames, Cookies, percent_decoded};
use crate::{Fingerprint, IdentityError, Method, Secret, TokenError, jwe};

use super::better_auth::BetterAuth;
use super::sealed::Sealed;
use super::signed::{Issuer, Signed};
use super::{Circumstances, Introspect, RowQuestion, RowSource, Verdict, row_token};

/// A method with its keys.
pub(super) enum Ready {
    Sealed(Sealed),
    BetterAuth(BetterAuth),
    SessionRow(CookieNames),
    Signed(Signed),
    Issuer(Issuer),
    Introspection(Option<CookieNames>),
}

/// Nothing to look at, a verdict, or why what was there is not accepted.
pub(super) type Looked = Result<Option<Verdict>, IdentityError>;

impl Ready {
    /// Derives the keys.
    pub(super) fn new(method: Method) -> Self {
        match method {
            Method::NextAuth { secrets, cookies } => {
                Self::Sealed(Sealed::next_auth(secrets, cookies))
            }
            Method::AuthJs { secrets, cookies } => Self::Sealed(Sealed::auth_js(secrets, cookies)),
            Method::Auth0 { secrets, cookies } => Self::Sealed(Sealed::auth0(secrets, cookies)),
            Method::BetterAuth {
                secrets,
                cookies,
                accept_previous_secrets,
            } => Self::BetterAuth(BetterAuth::new(secrets, cookies, accept_previous_secrets)),
            Method::SessionRow { cookies } => Self::SessionRow(cookies),
            Method::Jwt {
                secrets,
                cookies,
                rules,
            } => Self::Signed(Signed {
                keys: secrets.iter().map(Secret::hmac_key).collect(),
                cookies,
                rules,
            }),
            Method::Jwks {
                issuer,
                cookies,
                rules,
            } => Self::Issuer(Issuer {
                issuer,
                cookies,
                rules,
            }),
            Method::Introspection { cookies, .. } => Self::Introspection(cookies),
        }
    }

    /// Looks at a bearer token.
    pub(super) fn verify_bearer(&self, bearer: &str, circumstances: &Circumstances<'_>) -> Looked {
        match self {
            Self::Signed(signed) => signed.verify(bearer, circumstances).map(Some),
            Self::Issuer(issuer) => issuer.verify(bearer, circumstances).map(Some),
            Self::Introspection(_) => Ok(Some(Verdict::Introspect(Introspect {
                cookie: None,
                bearer: Some(Secret::new(bearer)),
                // Never that of cookies with the same text: the two are not the same question.
                credential: Fingerprint::of_parts(["bearer", bearer]),
            }))),
            Self::Sealed(_) | Self::BetterAuth(_) | Self::SessionRow(_) => Ok(None),
        }
    }

    /// Looks at cookies.
    pub(super) fn verify_cookies(
        &self,
        cookies: &Cookies<'_>,
        circumstances: &Circumstances<'_>,
    ) -> Looked {
        match self {
            Self::Sealed(sealed) => first(Some(&sealed.cookies), cookies, |index, value| {
                sealed.verify(index, value, circumstances)
            }),
            Self::BetterAuth(better_auth) => {
                first(Some(&better_auth.cookies), cookies, |_, value| {
                    better_auth.verify(value)
                })
            }
            Self::SessionRow(names) => first(Some(names), cookies, |_, value| session_row(value)),
            Self::Signed(signed) => first(signed.cookies.as_ref(), cookies, |_, value| {
                signed.verify(value, circumstances)
            }),
            Self::Issuer(issuer) => first(issuer.cookies.as_ref(), cookies, |_, value| {
                issuer.verify(value, circumstances)
            }),
            Self::Introspection(names) => Ok(introspect(names.as_ref(), cookies)),
        }
    }

    /// Whether it looks at the cookie of this name.
    pub(super) fn covers(&self, name: &str) -> bool {
        match self {
            Self::Introspection(None) => true,
            _ => self.names().is_some_and(|names| names.covers(name)),
        }
    }

    fn names(&self) -> Option<&CookieNames> {
        match self {
            Self::Sealed(sealed) => Some(&sealed.cookies),
            Self::BetterAuth(better_auth) => Some(&better_auth.cookies),
            Self::SessionRow(names) => Some(names),
            Self::Signed(signed) => signed.cookies.as_ref(),
            Self::Issuer(issuer) => issuer.cookies.as_ref(),
            Self::Introspection(names) => names.as_ref(),
        }
    }

    /// The name of its cookie as people know it: the last, without a prefix.
    pub(super) fn plain_name(&self) -> Option<&str> {
        self.names()?.iter().last()
    }
}

/// The first of the cookies that is accepted, else why none of them is. A token whose key is not known
/// is as good as refused while there is another cookie.
fn first(
    names: Option<&CookieNames>,
    cookies: &Cookies<'_>,
    mut verify: impl FnMut(usize, &str) -> Result<Verdict, IdentityError>,
) -> Looked {
    let mut refused = None;
    let mut keys_needed = None;
    for found in names.into_iter().flat_map(|names| names.find(cookies)) {
        match verify(found.index, &found.value) {
            Ok(verdict @ Verdict::KeysNeeded(_)) => keys_needed = Some(verdict),
            Ok(verdict) => return Ok(Some(verdict)),
            Err(error) => refused = refused.max(Some(error)),
        }
    }
    match (keys_needed, refused) {
        (None, Some(error)) => Err(error),
        (keys_needed, _) => Ok(keys_needed),
    }
}

/// The key of a row, as it stands in the cookie: the row alone proves it.
fn session_row(value: &str) -> Result<Verdict, IdentityError> {
    // Written with `encodeURIComponent`, like every cookie of these libraries.
    let value = percent_decoded(value).unwrap_or(Cow::Borrowed(value));
    // Where both strategies are tried, an encrypted session that was refused is not looked up.
    let token = row_token(&value).filter(|token| !jwe::is_sealed(token));
    let token = token.ok_or(IdentityError::Token(TokenError::Malformed))?;
    Ok(Verdict::Row(RowQuestion {
        source: RowSource::AuthJs,
        token: Secret::new(token),
    }))
}

/// The cookies that the application is shown, as one field.
fn introspect(names: Option<&CookieNames>, cookies: &Cookies<'_>) -> Option<Verdict> {
    let is_shown = |name: &str| names.is_none_or(|names| names.covers(name));
    let is_clean = |text: &str| !text.contains(char::is_control);
    let shown = cookies
        .written()
        .filter(|(name, value)| is_shown(name) && is_clean(name) && is_clean(value));
    let pairs: Vec<String> = shown
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let field = pairs.join("; ");
    Some(Verdict::Introspect(Introspect {
        credential: Fingerprint::of(&field),
        cookie: Some(Secret::new(&field)),
        bearer: None,
    }))
}
