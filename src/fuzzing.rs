//! The bodies of the fuzz targets for configurations and for requests: what must hold for every input.
//! Compiled with the crate, so that they cannot rot; run by `fuzz/`, and over their corpora by tests. That
//! for requests is with the rooms that judge them.
//!
//! A finding is a panic. No product code calls anything here.

use std::time::Duration;

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
    let said = read(text);
    let (file, variables) = divided(text);
    let mut secrets = secrets_of_file(file);
    secrets.extend(variables.filter_map(|(name, value)| secret_of_variable(name, value)));
    for secret in secrets {
        // One that stands in another place as well may be told as what stands there.
        let is_only_there = text.matches(secret.as_str()).count() == 1;
        if !is_only_there || secret.len() < SECRET_BYTES_MIN {
            continue;
        }
        // And one may be a word of ours: it is told whatever the secret is.
        let tells = |said: &[String]| said.iter().any(|line| line.contains(&secret));
        let with_another = || read(&text.replace(&secret, &"x".repeat(secret.len())));
        let is_told = tells(&said) && !tells(&with_another());
        assert!(!is_told, "{said:?} tells {secret:?}");
    }
}

/// What is said of a configuration: its warnings, or why it is none.
fn read(text: &str) -> Vec<String> {
    let (file, variables) = divided(text);
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let environment: Environment = variables.map(owned).collect();
    match Config::from_text(file, &environment) {
        Ok(config) => {
            check(&config);
            config.warnings
        }
        Err(error) => {
            assert!(!error.key.is_empty() && !error.mend.is_empty());
            vec![error.to_string()]
        }
    }
}

/// The file, and the variables with their values.
fn divided(text: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let (file, variables) = text.split_once(ENVIRONMENT).unwrap_or((text, ""));
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    (file, pairs)
}

/// What the node counts on without looking again.
fn check(config: &Config) {
    assert!(config.engine_threads <= 1024);
    let heartbeat = Duration::from_millis(100)..=Duration::from_secs(3600);
    assert!(heartbeat.contains(&config.http.heartbeat));
    assert!(!config.streams.is_empty() && config.streams.iter().all(|it| it.path.starts_with('/')));
    assert!(config.history.max_bytes > 0);
    // It stands in queries, whose end a NUL would be.
    assert!(!config.database.publication.contains('\0'));
    let is_open_to_sessions = !config.auth.modes.is_empty();
    assert!(is_open_to_sessions || config.keys.reader().is_some());
    assert!(!is_open_to_sessions || config.identity.membership.is_some());
}

/// What stands in a file under a name that is one of a secret's, and the passwords of its URLs. Read as
/// text, without the product's list of keys: a secret is one also where the file is no TOML, or where it is
/// of another type.
fn secrets_of_file(file: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for (at, _) in file.match_indices('=') {
        let before = file[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
        let name = before.rsplit(|it| !is_of_name(it)).next();
        let values = values(&file[at + 1..]);
        match name {
            Some("secret" | "service" | "admin") => secrets.extend(values),
            Some("url") => secrets.extend(values.iter().filter_map(|url| password(url))),
            _ => {}
        }
    }
    secrets
}

/// The value that a text begins with, or those of a list, as they are written. One that is not ended ends
/// with its line.
fn values(text: &str) -> Vec<String> {
    const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];
    let mut rest = text.trim_start_matches([' ', '\t']);
    let is_list = rest.starts_with('[');
    let mut values = Vec::new();
    loop {
        if is_list {
            rest = rest.trim_start_matches(|it: char| it.is_whitespace() || "[,".contains(it));
        }
        let (value, after) = match QUOTES.into_iter().find(|quote| rest.starts_with(quote)) {
            Some(quote) => {
                let inside = &rest[quote.len()..];
                let line = inside.split('\n').next().unwrap_or_default();
                let within = if quote.len() > 1 { inside } else { line };
                let value = within.split_once(quote).map_or(line, |(value, _)| value);
                (value, inside.get(value.len() + quote.len()..).unwrap_or(""))
            }
            None => {
                let ends = |it: char| it.is_whitespace() || ",]}#=".contains(it);
                rest.split_at(rest.find(ends).unwrap_or(rest.len()))
            }
        };
        // What is escaped is told as what it means.
        values.extend(value.split(['\\', '\n']).map(str::to_owned));
        rest = after;
        if !is_list || value.is_empty() {
            return values;
        }
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
        let file = "[auth]\nsecret = [\"one-secret\", 'two',\n 3]\n\
                    [database]\nurl = \"a://b:c-password@d/e\"\n\
                    a = { secret = \"another-secret\", b = 1 }\n\
                    service = 12345 # a number\nadmin = '''a\nb'''\n\
                    unsecret = \"no\"\nauth.\"secret\" = \"cut";
        let mut found = secrets_of_file(file);
        found.retain(|secret| !secret.is_empty());
        let expected = "one-secret two 3 c-password another-secret 12345 a b cut";
        assert_eq!(found.join(" "), expected);
    }
}
