//! Sessions that the application has encrypted for itself: NextAuth.js 4, Auth.js 5, Auth0's library
//! for Next.js.

use crate::cookie::CookieNames;
use crate::identity::ClaimRules;
use crate::jwe::{self, ContentKey, Encryption};
use crate::{Fingerprint, IdentityError, Secret};

use super::{Circumstances, Verdict};

/// A cookie whose value is an encrypted token.
pub(super) struct Sealed {
    /// Where it is looked for.
    pub(super) cookies: CookieNames,
    /// For each name of the cookie the keys that may have closed it.
    keys: Vec<Vec<ContentKey>>,
    /// Where this library keeps the user, if that is not for the configuration to say.
    user: Option<&'static str>,
}

impl Sealed {
    /// NextAuth.js 4: one key, whatever the cookie is called.
    pub(super) fn next_auth(secrets: Vec<Secret>, cookies: CookieNames) -> Self {
        Self::new(secrets, cookies, None, |secret, _| {
            let info = "NextAuth.js Generated Encryption Key";
            vec![ContentKey::derive(secret, "", info, Encryption::A256Gcm)]
        })
    }

    /// Auth.js 5: the name of the cookie is part of the key, so that one cookie cannot be sent as
    /// another.
    pub(super) fn auth_js(secrets: Vec<Secret>, cookies: CookieNames) -> Self {
        Self::new(secrets, cookies, None, |secret, name| {
            let info = format!("Auth.js Generated Encryption Key ({name})");
            [Encryption::A256CbcHs512, Encryption::A256Gcm]
                .map(|encryption| ContentKey::derive(secret, name, &info, encryption))
                .into()
        })
    }

    /// Auth0's library for Next.js, version 4. The claims of its ID token are a member of the session.
    pub(super) fn auth0(secrets: Vec<Secret>, cookies: CookieNames) -> Self {
        let cookies = cookies.with_underscores();
        Self::new(secrets, cookies, Some("user.sub"), |secret, _| {
            vec![ContentKey::derive(
                secret,
                "",
                "JWE CEK",
                Encryption::A256Gcm,
            )]
        })
    }

    fn new(
        secrets: Vec<Secret>,
        cookies: CookieNames,
        user: Option<&'static str>,
        derive: impl Fn(&Secret, &str) -> Vec<ContentKey>,
    ) -> Self {
        let keys_for = |name| {
            secrets
                .iter()
                .flat_map(|secret| derive(secret, name))
                .collect()
        };
        Self {
            keys: cookies.iter().map(keys_for).collect(),
            cookies,
            user,
        }
    }

    /// Verifies the value of the cookie that has the name of this number.
    pub(super) fn verify(
        &self,
        name: usize,
        value: &str,
        circumstances: &Circumstances<'_>,
    ) -> Result<Verdict, IdentityError> {
        let claims = jwe::open(value, &self.keys[name])?;
        let credential = || Fingerprint::of(value);
        let now_ms = circumstances.now_ms;
        let identity = match self.user {
            None => circumstances.claims.identity(&claims, credential, now_ms),
            Some(place) => {
                let rules = ClaimRules {
                    users: vec![place.to_owned()],
                    ..circumstances.claims.clone()
                };
                rules.identity(&claims, credential, now_ms)
            }
        };
        identity.map(Verdict::Identity)
    }
}
