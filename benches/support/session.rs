//! The sessions of the readers' users, as an application's own login would have made them.

/// When the sessions end, in seconds since 1970: in the year 2100.
const EXPIRY: u64 = 4_102_444_800;

/// What kind of session the users of a server have.
pub(crate) enum Session {
    /// A token signed with this secret (HS256), as a bearer.
    Jwt(String),
    /// A row of a table, whose token is in a cookie of this name: `session-` and the user's number.
    Row(String),
}

impl Session {
    /// What [`Self::read`] reads: one word for the kind, and the rest.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Jwt(secret) => format!("jwt {secret}"),
            Self::Row(cookie) => format!("row {cookie}"),
        }
    }

    pub(super) fn read(words: &str) -> Self {
        match words.split_once(' ') {
            Some(("jwt", secret)) => Self::Jwt(secret.to_owned()),
            Some(("row", cookie)) => Self::Row(cookie.to_owned()),
            _ => panic!("no such session: {words:?}"),
        }
    }

    /// The field of a request of the user with this number.
    pub(super) fn field(&self, number: usize) -> String {
        match self {
            Self::Jwt(secret) => {
                let claims = serde_json::json!({"sub": format!("u{number}"), "exp": EXPIRY});
                let claims = claims.as_object().expect("it is one");
                let token = auth::jwt::sign_hs256(claims, &auth::Secret::new(secret));
                format!("authorization: Bearer {token}\r\n")
            }
            Self::Row(cookie) => format!("cookie: {cookie}=session-{number}\r\n"),
        }
    }
}
