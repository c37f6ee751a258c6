//! Sessions of the application's users, as its own login would make them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::config::SECRET;

/// A session of this user, valid for an hour.
pub(crate) fn token(user: &str) -> String {
    let now = seconds_since_1970();
    signed(
        &json!({ "sub": user, "iat": now, "exp": now + 3_600 }),
        SECRET,
    )
}

/// A token with these claims, signed with this secret (HS256).
pub(crate) fn signed(claims: &serde_json::Value, secret: &str) -> String {
    let claims = claims.as_object().expect("claims are a JSON object");
    auth::jwt::sign_hs256(claims, &auth::Secret::new(secret))
}

pub(crate) fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970").as_secs()
}
