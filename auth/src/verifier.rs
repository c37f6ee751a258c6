//! From what a request presents to a verdict, without asking anybody: either who it is, or the one
//! question that has to be asked first.
//!
//! Each method looks at cookies of its own, or at the bearer token. The first that accepts decides; else
//! there may be a question; else the method that came closest says why it is nobody.

mod better_auth;
mod method;
mod sealed;
mod signed;

use crate::cookie::Cookies;
use crate::identity::{ClaimRules, Identity};
use crate::introspection::{AnswerError, AnswerRules};
use crate::jwks::Jwks;
use crate::limits::{ROW_TOKEN_BYTES_MAX, ROW_TOKEN_BYTES_MIN};
use crate::{Fingerprint, IdentityError, Method, Secret, Settings, TokenError};

use method::Ready;

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

impl Verdict {
    /// By what it is chosen among several: a row, a set of keys, the application.
    fn cost(&self) -> u8 {
        match self {
            Self::Identity(_) => 0,
            Self::Row(_) => 1,
            Self::KeysNeeded(_) => 2,
            Self::Introspect(_) => 3,
        }
    }
}

/// Which questions about a request were answered, and it was nobody's session: what is asked next is
/// dearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// There is no such row.
    pub rows: bool,
    /// The newest set of the issuer does not have the key.
    pub keys: bool,
}

impl Answered {
    /// What was answered to this question, if it was.
    fn to(self, question: &Verdict) -> Option<IdentityError> {
        match question {
            Verdict::Row(_) if self.rows => Some(IdentityError::NoSession),
            Verdict::KeysNeeded(_) if self.keys => Some(TokenError::UnknownKey.into()),
            _ => None,
        }
    }
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
        self.verify_beyond(presented, keys, now_ms, Answered::default())
    }

    /// The same, for a request about which some questions were asked in vain: the other methods may
    /// still know it.
    ///
    /// # Errors
    ///
    /// Where none does.
    pub fn verify_beyond(
        &self,
        presented: &Presented<'_>,
        keys: &[Jwks],
        now_ms: u64,
        answered: Answered,
    ) -> Result<Verdict, IdentityError> {
        let circumstances = Circumstances {
            claims: &self.claims,
            keys,
            now_ms,
        };
        // A token that is sent on purpose is what counts; a cookie comes along by itself.
        let bearer = presented.bearer.filter(|_| self.takes_bearers);
        let mut question: Option<Verdict> = None;
        let mut refused = None;
        for method in &self.methods {
            let verdict = match bearer {
                Some(bearer) => method.verify_bearer(bearer, &circumstances),
                None => method.verify_cookies(&presented.cookies, &circumstances),
            };
            match verdict {
                Ok(Some(Verdict::Identity(identity))) => return Ok(Verdict::Identity(identity)),
                // Of several questions the cheapest is asked, whatever the order of the methods: one
                // answer is enough, and what nobody needs to be asked is known by now.
                Ok(Some(other)) => match answered.to(&other) {
                    Some(error) => refused = refused.max(Some(error)),
                    None => {
                        question = question
                            .into_iter()
                            .chain([other])
                            .min_by_key(Verdict::cost);
                    }
                },
                Ok(None) => {}
                Err(error) => refused = refused.max(Some(error)),
            }
        }
        question.ok_or(refused.unwrap_or(IdentityError::Missing))
    }

    /// What stands for everything in this request that any method looks at; `None` where there is
    /// nothing of the kind. What has the same fingerprint gets the same verdict.
    pub fn fingerprint(&self, presented: &Presented<'_>) -> Option<Fingerprint> {
        if let Some(bearer) = presented.bearer.filter(|_| self.takes_bearers) {
            return Some(Fingerprint::of_parts(["bearer", bearer]));
        }
        let is_looked_at = |name: &str| self.methods.iter().any(|method| method.covers(name));
        let mut cookies = presented.cookies.written();
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

/// The text, if it can be the key of a session's row.
fn row_token(text: &str) -> Option<&str> {
    let is_long = (ROW_TOKEN_BYTES_MIN..=ROW_TOKEN_BYTES_MAX).contains(&text.len());
    (is_long && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}
