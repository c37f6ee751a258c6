//! `tailrace token`: a session of any user, for development and tests. It is what the application's
//! own sign-in would make: an HS256 JWT with the node's secret (RFC 7519).

use crate::config::units;
use crate::dev::Source;
use auth::Secret;
use auth::jwt::{Claims, sign_hs256};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The command line of `tailrace token`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The user's id, as the membership table has it.
    #[arg(long)]
    user: String,
    /// How long the session lasts, such as 15m, 8h or 30d.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = units::duration)]
    expires: Duration,
    #[command(flatten)]
    source: Source,
}

/// Prints the token and nothing else.
///
/// # Errors
///
/// Where the node takes no sessions, or its configuration cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let policy = arguments
        .source
        .read()
        .map_err(|error| error.to_string())?
        .auth
        .policy;
    let secret = policy.secrets.first().ok_or(
        "auth.secret is not set, so the node takes no sessions: set it to what your application \
         signs its sessions with",
    )?;
    let token = sign(
        secret,
        &policy.user_claim,
        &arguments.user,
        arguments.expires,
    );
    writeln!(std::io::stdout(), "{token}").map_err(|error| error.to_string())
}

/// Makes a session of `user`, from now on for so long.
pub(crate) fn sign(secret: &Secret, user_claim: &str, user: &str, lasts: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now
        .expect("the clock of this machine stands after 1970")
        .as_secs();
    let mut claims = Claims::new();
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(lasts.as_secs()).into());
    claims.insert(user_claim.to_owned(), user.into());
    sign_hs256(&claims, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_session_that_the_node_accepts_until_it_ends() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let policy = auth::Policy {
            secrets: vec![secret.clone()],
            user_claim: "uid".to_owned(),
            require_exp: true,
        };
        let token = sign(&secret, "uid", "alice", Duration::from_secs(60));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let now = u64::try_from(now).unwrap();
        assert_eq!(policy.identify(&token, now).unwrap().user, "alice");
        assert!(policy.identify(&token, now + 120_000).is_err());
    }
}
