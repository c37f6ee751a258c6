//! The bodies of the fuzz targets for configurations and for requests: what must hold for every input.
//! Compiled with the crate, so that they cannot rot; run by `fuzz/`, and over their corpora by tests. That
//! for requests is with the rooms that judge them.
//!
//! A finding is a panic. No product code calls anything here.

use std::time::Duration;

use toml::{Table, Value};

use crate::config::{Config, Environment};

/// What stands between the text of a file and the environment, a variable to a line.
const ENVIRONMENT: &str = "\n---\n";

/// Shorter secrets are found in words that have nothing to do with them.
const SECRET_BYTES_MIN: usize = 10;

/// Whole requests, as far as they are judged before anybody is asked.
pub fn request(input: &[u8]) {
    crate::control::fuzzing::judge(input);
}

/// A configuration and an environment: what is refused is refused with the key and the mend, what is
/// accepted is within the bounds that the node counts on, and no secret is ever told.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (file, variables) = text.split_once(ENVIRONMENT).unwrap_or((text, ""));
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let environment: Environment = pairs.clone().map(owned).collect();
    let said = match Config::from_text(file, &environment) {
        Ok(config) => {
            check(&config);
            config.warnings
        }
        Err(error) => {
            assert!(!error.key.is_empty() && !error.mend.is_empty());
            vec![error.to_string()]
        }
    };
    let mut secrets = secrets_of_file(file);
    secrets.extend(pairs.filter_map(|(name, value)| secret_of_variable(name, value)));
    for secret in secrets {
        // One that stands in another place as well may be told as what stands there.
        let is_only_there = text.matches(secret.as_str()).count() == 1;
        if is_only_there && secret.len() >= SECRET_BYTES_MIN {
            let is_told = said.iter().any(|line| line.contains(&secret));
            assert!(!is_told, "{said:?} tells {secret:?}");
        }
    }
}

/// What the node counts on without looking again.
fn check(config: &Config) {
    assert!(config.engine_threads <= 1024);
    let heartbeat = Duration::from_millis(100)..=Duration::from_secs(3600);
    assert!(heartbeat.contains(&config.http.heartbeat));
    assert!(!config.streams.is_empty() && config.streams.iter().all(|it| it.path.starts_with('/')));
    assert!(config.history.max_bytes > 0);
    let is_open_to_sessions = !config.auth.modes.is_empty();
    assert!(is_open_to_sessions || config.keys.reader().is_some());
    assert!(!is_open_to_sessions || config.identity.membership.is_some());
}

/// Every text of a file under a name that is one of a secret's, and the passwords of its URLs. Read
/// without the product's list of keys.
fn secrets_of_file(file: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    if let Ok(root) = file.parse::<Table>() {
        gather("", &Value::Table(root), &mut secrets);
    }
    secrets
}

fn gather(name: &str, value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Table(inside) => inside
            .iter()
            .for_each(|(name, value)| gather(name, value, secrets)),
        Value::Array(items) => items.iter().for_each(|item| gather(name, item, secrets)),
        Value::String(text) if ["secret", "service", "admin"].contains(&name) => {
            secrets.push(text.clone());
        }
        Value::String(text) if name == "url" => secrets.extend(password(text)),
        _ => {}
    }
}

fn secret_of_variable(name: &str, value: &str) -> Option<String> {
    if name.ends_with("_SECRET") || name.starts_with("TAILRACE_KEYS_") {
        Some(value.to_owned())
    } else if name.ends_with("DATABASE_URL") {
        password(value)
    } else {
        None
    }
}

/// The password of `scheme://user:password@…`.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (credentials, _) = rest.split_once('@')?;
    let (_, password) = credentials.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_finds_nothing() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/configuration");
        let mut accepted = 0;
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            configuration(&input);
            count += 1;
            accepted += usize::from(is_accepted(&input));
        }
        // Seeds that are all refused lead a fuzzer nowhere.
        assert!(count >= 8 && accepted >= 3, "{accepted} of {count}");
    }

    fn is_accepted(input: &[u8]) -> bool {
        let text = std::str::from_utf8(input).unwrap();
        let (file, variables) = text.split_once(ENVIRONMENT).unwrap_or((text, ""));
        let pairs = variables.lines().filter_map(|line| line.split_once('='));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Config::from_text(file, &pairs.map(owned).collect()).is_ok()
    }

    #[test]
    fn what_is_secret_is_found_wherever_it_stands() {
        let file = "[auth]\nsecret = [\"one-secret\"]\n[database]\nurl = \"a://b:c-password@d/e\"\n\
                    [[key]]\nsecret = \"another-secret\"";
        let mut found = secrets_of_file(file);
        found.sort();
        assert_eq!(found, ["another-secret", "c-password", "one-secret"]);
    }
}
