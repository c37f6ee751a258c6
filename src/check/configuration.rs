//! The configuration itself: whether there is one, and whether anybody could open a stream with it.

use auth::jwks::Jwks;

use super::{Finding, Subject};
use crate::config::JwksSource;

/// What is odd about it.
pub(super) fn findings(subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![match &subject.path {
        Some(path) => Finding::ok("configuration", path.display().to_string()),
        None => Finding::note(
            "configuration",
            "no file; the environment and the defaults count",
        )
        .because("`tailrace init --output tailrace.toml` writes one for this database."),
    }];
    let warnings = subject.config.warnings.iter();
    findings.extend(warnings.map(|warning| Finding::warn("key", warning.clone())));
    findings.push(match &subject.locked_out {
        None => Finding::ok("sessions and keys", said(subject)),
        // Without a file this is only a look at a database.
        Some(error) if subject.path.is_none() => {
            Finding::note("sessions and keys", error.to_string())
        }
        Some(error) => Finding::fail("sessions and keys", error.to_string())
            .because("A node does not start with it."),
    });
    findings.extend(keys_of_issuer(subject));
    findings
}

/// The file of keys by which tokens are verified. A URL is asked by the node.
fn keys_of_issuer(subject: &Subject) -> Option<Finding> {
    let Some(JwksSource::File(path)) = &subject.config.auth.jwks else {
        return None;
    };
    let about = "auth.jwks.file";
    let place = path.display();
    let keys = match std::fs::read(path) {
        Ok(text) => Jwks::parse(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Some(match keys {
        Ok(_) => Finding::ok(about, format!("the keys in {place} can be used")),
        Err(error) => Finding::fail(about, format!("{place}: {error}"))
            .because("No token that these keys signed is accepted until the file is mended."),
    })
}

/// A configuration that cannot be read.
pub(super) fn unusable(error: &str) -> Finding {
    Finding::fail("configuration", error)
        .because("A node does not start with it. The rest was not looked at.")
}

fn said(subject: &Subject) -> String {
    let config = &subject.config;
    let modes: Vec<&str> = config.auth.modes.iter().map(|mode| mode.name()).collect();
    let modes = modes.join(", ");
    match (modes.is_empty(), config.keys.reader()) {
        (false, Some(_)) => format!("sessions open streams ({modes}), and so does a key"),
        (false, None) => format!("sessions open streams ({modes})"),
        (true, _) => "only a key opens streams: no method of [auth] is configured".to_owned(),
    }
}
