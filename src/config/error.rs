//! What is wrong with a configuration: the key, its value, and the mend. A secret's value is never
//! part of it.

use std::fmt;

/// A configuration that cannot be used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The key as it is written, `http.heartbeat`, or the file.
    pub(crate) key: String,
    /// Its value, where it is no secret.
    pub(crate) value: Option<String>,
    /// What is wrong, and what to write instead.
    pub(crate) mend: String,
}

impl ConfigError {
    pub(crate) fn new(
        key: impl Into<String>,
        value: impl fmt::Display,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            value: Some(value.to_string()),
            mend: mend.into(),
        }
    }

    /// Without a value: it is a secret, or there is none.
    pub(crate) fn about(key: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: None,
            mend: mend.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?}: {}", self.key, self.mend),
            None => write!(f, "{}: {}", self.key, self.mend),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}
