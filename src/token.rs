//! `tailrace token`: a session of any user, for development and tests. It is what the application's
//! own sign-in would make: an HS256 JWT with the node's secret (RFC 7519).

use crate::clock::unix_ms;
use crate::config::{OwnTokens, units};
use crate::dev::Source;
use auth::jwt::{Claims, sign_hs256};
use std::io::Write as _;
use std::time::Duration;

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
    let config = arguments.source.read();
    let own = config.map_err(|error| error.to_string())?.auth.own.ok_or(
        "auth.secret is not set, so the node takes no tokens of your application's own: set it to what \
         your application signs them with",
    )?;
    let token = sign(&own, &arguments.user, arguments.expires);
    writeln!(std::io::stdout(), "{token}").map_err(|error| error.to_string())
}

/// Makes a session of `user`, from now on for so long.
pub(crate) fn sign(own: &OwnTokens, user: &str, lasts: Duration) -> String {
    let now = unix_ms() / 1_000;
    let mut claims = Claims::new();
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(lasts.as_secs()).into());
    claims.insert(own.user_claim.clone(), user.into());
    sign_hs256(&claims, &own.secret)
}

#[cfg(test)]
mod tests {
    use auth::{ClaimRules, Method, Presented, Secret, Settings, TokenRules, Verdict, Verifier};

    use super::*;

    #[test]
    fn a_token_is_a_session_that_the_node_accepts_until_it_ends() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let verifier = Verifier::new(Settings {
            methods: vec![Method::Jwt {
                secrets: vec![secret.clone()],
                cookies: None,
                rules: TokenRules::default(),
            }],
            claims: ClaimRules {
                users: vec!["uid".to_owned()],
                ..ClaimRules::default()
            },
        });
        let own = OwnTokens {
            secret,
            user_claim: "uid".to_owned(),
            cookie: "session".to_owned(),
        };
        let token = sign(&own, "alice", Duration::from_secs(60));
        let now = unix_ms();
        let presented = Presented {
            bearer: Some(&token),
            ..Presented::default()
        };
        let verdict = verifier.verify(&presented, &[], now).ok();
        let Some(Verdict::Identity(identity)) = verdict else {
            panic!("it is a session")
        };
        assert_eq!(identity.user, "alice");
        assert!(verifier.verify(&presented, &[], now + 120_000).is_err());
    }
}
