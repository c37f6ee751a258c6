//! Why a credential names nobody. Nothing of the credential is in an error, nor of any secret.

use std::fmt;

/// Why a token is not accepted, in the order in which it is found out: of several reasons, the last
/// is the one that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenError {
    /// Not the parts of canonical base64url and the JSON objects that it must be, or too long.
    Malformed,
    /// Another algorithm than that of the key.
    Algorithm,
    /// The header demands an extension that is not known here (RFC 7515, 4.1.11).
    Critical,
    /// None of the keys made this signature, or closed this token.
    Signature,
    /// The token names a key that the issuer does not publish.
    UnknownKey,
    /// The token has ended, or its end is no time.
    Expired,
    /// The token has no end, and one is required.
    NoExpiry,
    /// The token is not valid yet, or its beginning is no time.
    NotYet,
    /// The token was issued in the future, or at what is no time.
    Issued,
    /// The token is of another issuer.
    Issuer,
    /// The token is for somebody else.
    Audience,
    /// The token was made for a page that is not allowed.
    Party,
    /// The user has not completed the sign-in.
    Pending,
}

/// Why a credential names nobody; of several reasons, the last is the one that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityError {
    /// The request has no credential that any method could look at.
    Missing,
    /// The token is not accepted.
    Token(TokenError),
    /// The session names no user, or not by a name: the existence of a session alone proves nothing.
    NoUser,
    /// There is no such session, or it has ended; says whoever keeps the sessions.
    NoSession,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the session is no token as this server reads it",
            Self::Algorithm => "the session's token uses another algorithm than its key",
            Self::Critical => "the session's token demands an extension that is not known",
            Self::Signature => "the session's token was not made with a key of this server",
            Self::UnknownKey => "the session's token names a key that its issuer does not publish",
            Self::Expired => "the session has ended",
            Self::NoExpiry => "the session's token has no end (exp)",
            Self::NotYet => "the session is not valid yet",
            Self::Issued => "the session's token was issued in the future",
            Self::Issuer => "the session's token is of another issuer (iss)",
            Self::Audience => "the session's token is for another audience (aud)",
            Self::Party => "the session's token was made for another page (azp)",
            Self::Pending => "the sign-in is not complete (sts)",
        })
    }
}

impl std::error::Error for TokenError {}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no session came with the request"),
            Self::Token(error) => error.fmt(f),
            Self::NoUser => f.write_str("the session names no user"),
            Self::NoSession => f.write_str("there is no such session, or it has ended"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl From<TokenError> for IdentityError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}
