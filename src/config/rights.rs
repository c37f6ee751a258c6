//! `[keys]` and `[[key]]`: the keys of servers and operators, and what each may do.

use auth::Secret;

use super::ConfigError;
use super::raw::Raw;

/// The shortest key for a server: anything shorter can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// The most keys: each is compared with whatever is presented.
const KEYS_MAX: usize = 64;

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Open streams and pages of any organisation.
    pub(crate) read: bool,
    /// Publish events, and revoke.
    pub(crate) publish: bool,
    /// See the figures.
    pub(crate) admin: bool,
}

impl Rights {
    /// The service key's.
    const SERVICE: Self = Self {
        read: true,
        publish: true,
        admin: false,
    };

    /// The admin key's.
    const ADMIN: Self = Self {
        read: false,
        publish: false,
        admin: true,
    };
}

/// A key.
#[derive(Clone)]
pub(crate) struct Key {
    /// What its bearer presents.
    pub(crate) secret: Secret,
    /// What its bearer may do.
    pub(crate) rights: Rights,
}

/// All keys.
#[derive(Clone)]
pub(crate) struct Keys {
    /// All of them, `keys.service` and `keys.admin` first.
    all: Vec<Key>,
}

impl Keys {
    /// What the bearer of this may do, if it is one of the keys. Every key is looked at, whether one
    /// before it fits or not.
    pub(crate) fn rights_of(&self, presented: &str) -> Option<Rights> {
        let mut found = None;
        for key in &self.all {
            if key.secret.matches(presented) {
                found = Some(key.rights);
            }
        }
        found
    }

    /// A key that opens streams, for the commands that do.
    pub(crate) fn reader(&self) -> Option<&Secret> {
        let reader = self.all.iter().find(|key| key.rights.read);
        reader.map(|key| &key.secret)
    }

    /// Whether there is a key with this right.
    pub(crate) fn any(&self, has: impl Fn(&Rights) -> bool) -> bool {
        self.all.iter().any(|key| has(&key.rights))
    }
}

/// Checks the keys.
pub(super) fn keys(raw: &Raw) -> Result<Keys, ConfigError> {
    let mut all: Vec<(String, &str, Rights)> = Vec::new();
    for (name, text, rights) in [
        ("keys.service", &raw.keys.service, Rights::SERVICE),
        ("keys.admin", &raw.keys.admin, Rights::ADMIN),
    ] {
        if !text.is_empty() {
            all.push((name.to_owned(), text, rights));
        }
    }
    for (at, key) in raw.key.iter().enumerate() {
        let name = format!("[[key]] {}", at + 1);
        let rights = rights(&name, &key.rights)?;
        all.push((name, &key.secret, rights));
    }
    if all.len() > KEYS_MAX {
        let mend = format!("write at most {KEYS_MAX} keys");
        return Err(ConfigError::new("[[key]]", all.len(), mend));
    }
    for (at, (name, text, _)) in all.iter().enumerate() {
        if text.len() < KEY_BYTES_MIN {
            let mend =
                "too short to be safe: write at least 16 characters (`openssl rand -hex 32`)";
            return Err(ConfigError::about(name, mend));
        }
        if let Some((other, ..)) = all[..at].iter().find(|(_, other, _)| other == text) {
            let mend = format!("the same as {other}: whoever has one has the rights of both");
            return Err(ConfigError::about(name, mend));
        }
    }
    let key = |(_, text, rights): &(String, &str, Rights)| Key {
        secret: Secret::new(text),
        rights: *rights,
    };
    Ok(Keys {
        all: all.iter().map(key).collect(),
    })
}

fn rights(name: &str, words: &[String]) -> Result<Rights, ConfigError> {
    let mut rights = Rights::default();
    for word in words {
        match word.as_str() {
            "read" => rights.read = true,
            "publish" => rights.publish = true,
            "admin" => rights.admin = true,
            other => {
                let mend = "write \"read\", \"publish\" or \"admin\"";
                return Err(ConfigError::new(format!("{name} rights"), other, mend));
            }
        }
    }
    match rights == Rights::default() {
        true => {
            let mend =
                "a key without rights opens nothing: write \"read\", \"publish\" or \"admin\"";
            Err(ConfigError::about(format!("{name} rights"), mend))
        }
        false => Ok(rights),
    }
}
