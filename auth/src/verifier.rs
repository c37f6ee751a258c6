//! From what a request presents to a verdict, without asking anybody: either who it is, or the one
//! question that has to be asked first.
//!
//! Each method looks at cookies of its own, or at the bearer token. The first that accepts decides;
//! where none does, the one that came closest to it says why.

mod better_auth;
mod sealed;
mod signed;

use crate::cookie::{CookieNames, Cookies};
use crate::identity::{ClaimRules, Identity};
use crate::introspection::{AnswerError, AnswerRules};
use crate::jwks::Jwks;
use crate::limits::{ROW_TOKEN_BYTES_MAX, ROW_TOKEN_BYTES_MIN};
use crate::{Fingerprint, IdentityError, Method, Secret, Settings, TokenError, jwe};

use better_auth::BetterAuth;
use sealed::Sealed;
use signed::{Issuer, Signed};

/// What a request presents.
#[derive(Clone, Default)]
pub struct Presented<'a> {
    /// Its cookies.
    pub cookies: Cookies<'a>,
    /// The token of `Authorization: Bearer` (RFC 6750, 2.1).
    pub bearer: Option<&'a str>,
}

/// What comes of it.
pub enum Verdict {
    /// It is they.
    Identity(Identity),
    /// The credential is the key of a session's row: [`crate::SessionRow::identity`] has the rest.
    Row(RowQuestion),
    /// The application has to say: [`Verifier::read_answer`] has the rest.
    Introspect(Introspect),
    /// The token is in order as far as can be seen, and names a key that the set of this issuer does
    /// not have: [`crate::jwks::Refresh`] knows whether to fetch it. Where it was never fetched, the
    /// node cannot tell, and nobody may be told that their session is no good.
    KeysNeeded(usize),
}

/// Which row has to be read.
#[derive(Clone)]
pub struct RowQuestion {
    /// Whose row it is.
    pub source: RowSource,
    /// The value of its column `token`.
    pub token: Secret,
}

/// Whose row a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowSource {
    /// Auth.js, or NextAuth.js.
    AuthJs,
    /// Better Auth.
    BetterAuth,
}

/// What the application is asked with.
#[derive(Clone)]
pub struct Introspect {
    /// The field `Cookie`, where there are cookies.
    pub cookie: Option<Secret>,
    /// The token of the field `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// Stands for both: who presents the same shares one question.
    pub credential: Fingerprint,
}

/// The settings, made ready: every key is derived.
pub struct Verifier {
    methods: Vec<Ready>,
    claims: ClaimRules,
    answer: Option<AnswerRules>,
    takes_bearers: bool,
}

/// A method with its keys.
enum Ready {
    Sealed(Sealed),
    BetterAuth(BetterAuth),
    SessionRow(CookieNames),
    Signed(Signed),
    Issuer(Issuer),
    Introspection(Option<CookieNames>),
}

impl Verifier {
    /// Derives the keys.
    pub fn new(settings: Settings) -> Self {
        let takes_bearers = settings.methods.iter().any(Method::takes_bearers);
        let mut answers = settings.methods.iter().filter_map(|method| match method {
            Method::Introspection { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        Self {
            answer: answers.next(),
            methods: settings.methods.into_iter().map(Ready::new).collect(),
            claims: settings.claims,
            takes_bearers,
        }
    }

    /// Who presents this; `keys` are the sets of the issuers, by their numbers.
    ///
    /// # Errors
    ///
    /// Where no method accepts what is presented.
    pub fn verify(
        &self,
        presented: &Presented<'_>,
        keys: &[Jwks],
        now_ms: u64,
    ) -> Result<Verdict, IdentityError> {
        let circumstances = Circumstances {
            claims: &self.claims,
            keys,
            now_ms,
        };
        // A token that is sent on purpose is what counts; a cookie comes along by itself.
        let bearer = presented.bearer.filter(|_| self.takes_bearers);
        let mut keys_needed = None;
        let mut refused = None;
        for method in &self.methods {
            let verdict = match bearer {
                Some(bearer) => method.verify_bearer(bearer, &circumstances),
                None => method.verify_cookies(&presented.cookies, &circumstances),
            };
            match verdict {
                Ok(Some(Verdict::KeysNeeded(issuer))) => {
                    keys_needed.get_or_insert(issuer);
                }
                Ok(Some(verdict)) => return Ok(verdict),
                Ok(None) => {}
                Err(error) => refused = refused.max(Some(error)),
            }
        }
        match keys_needed {
            Some(issuer) => Ok(Verdict::KeysNeeded(issuer)),
            None => Err(refused.unwrap_or(IdentityError::Missing)),
        }
    }

    /// What stands for everything in this request that any method looks at; `None` where there is
    /// nothing of the kind. What has the same fingerprint gets the same verdict.
    pub fn fingerprint(&self, presented: &Presented<'_>) -> Option<Fingerprint> {
        if let Some(bearer) = presented.bearer.filter(|_| self.takes_bearers) {
            return Some(Fingerprint::of_parts(["bearer", bearer]));
        }
        let is_looked_at = |name: &str| self.methods.iter().any(|method| method.covers(name));
        let mut cookies = presented.cookies.iter();
        let mut cookies = cookies
            .by_ref()
            .filter(|(name, _)| is_looked_at(name))
            .peekable();
        cookies.peek()?;
        Some(Fingerprint::of_parts(
            cookies.flat_map(|(name, value)| [name, value]),
        ))
    }

    /// Reads what the application answered to [`Verdict::Introspect`]. An answer with any other
    /// status than 200 has no business here.
    ///
    /// # Errors
    ///
    /// Where it names nobody, or is no answer.
    pub fn read_answer(
        &self,
        question: &Introspect,
        answer: &[u8],
        now_ms: u64,
    ) -> Result<Identity, AnswerError> {
        let rules = self.answer.as_ref().ok_or(AnswerError::Malformed)?;
        rules.identity(answer, &self.claims, &question.credential, now_ms)
    }

    /// What a request without a credential lacks, for people.
    pub fn missing(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.methods.iter().filter_map(Ready::plain_name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let cookies = match names.as_slice() {
            [] => "a cookie".to_owned(),
            [name] => format!("a cookie {name:?}"),
            names => format!("one of the cookies {names:?}"),
        };
        match self.takes_bearers {
            true => format!(
                "no session: neither {cookies} nor an Authorization header came with the request"
            ),
            false => format!("no session: {cookies} did not come with the request"),
        }
    }
}

impl Method {
    fn takes_bearers(&self) -> bool {
        matches!(
            self,
            Self::Jwt { .. } | Self::Jwks { .. } | Self::Introspection { .. }
        )
    }
}

/// What verdicts depend on, beside what is presented.
struct Circumstances<'a> {
    claims: &'a ClaimRules,
    keys: &'a [Jwks],
    now_ms: u64,
}

/// Nothing to look at, a verdict, or why what was there is not accepted.
type Looked = Result<Option<Verdict>, IdentityError>;

impl Ready {
    fn new(method: Method) -> Self {
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
                secrets,
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

    fn verify_bearer(&self, bearer: &str, circumstances: &Circumstances<'_>) -> Looked {
        match self {
            Self::Signed(signed) => signed.verify(bearer, circumstances).map(Some),
            Self::Issuer(issuer) => issuer.verify(bearer, circumstances).map(Some),
            Self::Introspection(_) => Ok(Some(Verdict::Introspect(Introspect {
                cookie: None,
                bearer: Some(Secret::new(bearer)),
                credential: Fingerprint::of(bearer),
            }))),
            Self::Sealed(_) | Self::BetterAuth(_) | Self::SessionRow(_) => Ok(None),
        }
    }

    fn verify_cookies(&self, cookies: &Cookies<'_>, circumstances: &Circumstances<'_>) -> Looked {
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
    fn covers(&self, name: &str) -> bool {
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
    fn plain_name(&self) -> Option<&str> {
        self.names()?.iter().last()
    }
}

/// The first of the cookies that is accepted, else why none of them is.
fn first(
    names: Option<&CookieNames>,
    cookies: &Cookies<'_>,
    mut verify: impl FnMut(usize, &str) -> Result<Verdict, IdentityError>,
) -> Looked {
    let mut refused = None;
    let mut keys_needed = None;
    for found in names.into_iter().flat_map(|names| names.find(cookies)) {
        match verify(found.index, &found.value) {
            Ok(Verdict::KeysNeeded(issuer)) => keys_needed = Some(Verdict::KeysNeeded(issuer)),
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
    // Where both strategies are tried, an encrypted session that was refused is not looked up.
    let token = row_token(value).filter(|token| !jwe::is_sealed(token));
    let token = token.ok_or(IdentityError::Token(TokenError::Malformed))?;
    Ok(Verdict::Row(RowQuestion {
        source: RowSource::AuthJs,
        token: Secret::new(token),
    }))
}

/// The text, if it can be the key of a session's row.
fn row_token(text: &str) -> Option<&str> {
    let is_long = (ROW_TOKEN_BYTES_MIN..=ROW_TOKEN_BYTES_MAX).contains(&text.len());
    (is_long && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

/// The cookies that the application is shown, as one field.
fn introspect(names: Option<&CookieNames>, cookies: &Cookies<'_>) -> Option<Verdict> {
    let is_shown = |name: &str| names.is_none_or(|names| names.covers(name));
    let is_clean = |text: &str| !text.contains(char::is_control);
    let shown = cookies
        .iter()
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
