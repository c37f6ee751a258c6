//! Which credentials are accepted, as the configuration says it: values that cannot be wrong in
//! themselves. `verifier.rs` makes keys of them.

use crate::Secret;
use crate::cookie::CookieNames;
use crate::identity::ClaimRules;
use crate::introspection::AnswerRules;
use crate::token_rules::TokenRules;

/// Everything that decides who somebody is.
#[derive(Clone)]
pub struct Settings {
    /// The methods, in the order in which they are tried: each looks at cookies of its own.
    pub methods: Vec<Method>,
    /// What is read from the claims of tokens.
    pub claims: ClaimRules,
}

/// One way to prove who one is.
#[derive(Clone)]
pub enum Method {
    /// NextAuth.js 4 with the strategy `jwt`.
    NextAuth {
        /// The secrets; the library itself knows but one.
        secrets: Vec<Secret>,
        /// The session's cookie, usually [`NEXT_AUTH_COOKIE`].
        cookies: CookieNames,
    },
    /// Auth.js 5 with the strategy `jwt`.
    AuthJs {
        /// The secrets, the newest first.
        secrets: Vec<Secret>,
        /// The session's cookie, usually [`AUTH_JS_COOKIE`].
        cookies: CookieNames,
    },
    /// The Next.js library of Auth0, version 4.
    Auth0 {
        /// The secrets.
        secrets: Vec<Secret>,
        /// The session's cookie, usually [`AUTH0_COOKIE`].
        cookies: CookieNames,
    },
    /// Better Auth: a signed cookie that names a session's row.
    BetterAuth {
        /// The secrets, the newest first.
        secrets: Vec<Secret>,
        /// The session's cookie, usually [`BETTER_AUTH_COOKIE`].
        cookies: CookieNames,
        /// Whether cookies that were signed with an older secret are accepted; the library does not.
        accept_previous_secrets: bool,
    },
    /// Auth.js with the strategy `database`: a cookie that is the key of a session's row.
    SessionRow {
        /// The session's cookies.
        cookies: CookieNames,
    },
    /// JSON web tokens that the application signs with HS256.
    Jwt {
        /// The secrets.
        secrets: Vec<Secret>,
        /// The cookie of the token, where it does not come as a bearer.
        cookies: Option<CookieNames>,
        /// What else is demanded of a token.
        rules: TokenRules,
    },
    /// JSON web tokens that an issuer signs with keys that it publishes.
    Jwks {
        /// Which of the sets of keys that are given to the verifier is this issuer's.
        issuer: usize,
        /// The cookie of the token, where it does not come as a bearer.
        cookies: Option<CookieNames>,
        /// What else is demanded of a token.
        rules: TokenRules,
    },
    /// The application is asked, with the cookies of the browser.
    Introspection {
        /// The cookies that it is shown; `None` for all.
        cookies: Option<CookieNames>,
        /// How its answer is read.
        answer: AnswerRules,
    },
}

/// The session cookie of NextAuth.js 4.
pub const NEXT_AUTH_COOKIE: &str = "next-auth.session-token";
/// The session cookie of Auth.js 5.
pub const AUTH_JS_COOKIE: &str = "authjs.session-token";
/// The session cookie of Better Auth.
pub const BETTER_AUTH_COOKIE: &str = "better-auth.session_token";
/// The session cookie of Auth0's library for Next.js.
pub const AUTH0_COOKIE: &str = "__session";
