//! Names of channels, event types and roles: text that is safe wherever it is written.
//!
//! A [`Name`] can stand in JSON, in an SSE field and in a metric label without escaping. Names of
//! users and organisations are not `Name`s: they are the application's, and are escaped.

use std::fmt;
use std::sync::Arc;

/// The name of a channel, an event type or a role: 1 to 128 bytes of UTF-8 without control
/// characters, quotation marks, backslashes or commas.
///
/// Commas separate names in a query and in a list of roles, so none may hold one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Reads a name.
    ///
    /// # Errors
    ///
    /// Where the text is empty, too long, or has a character a name must not have.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let forbidden = |c: char| c.is_control() || matches!(c, '"' | '\\' | ',');
        match text.chars().find(|c| forbidden(*c)) {
            Some(character) => Err(NameError::Character(character)),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The channel of an event for one user, where nobody names another: `user:<id>`. An id that cannot
    /// be part of a name leaves it at `user`.
    pub fn channel_of_user(user: &str) -> Self {
        match Self::new(&format!("{USER_CHANNEL}:{user}")) {
            Ok(channel) if !user.is_empty() => channel,
            _ => Self(Arc::from(USER_CHANNEL)),
        }
    }

    /// Whose channel it is, where it has the form `user:<id>`.
    pub fn user_of_channel(&self) -> Option<&str> {
        let (kind, user) = self.0.split_once(':')?;
        (kind == USER_CHANNEL).then_some(user)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The channel that every `user:<id>` is part of.
pub(crate) const USER_CHANNEL: &str = "user";

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is no text.
    Empty,
    /// More than [`Name::BYTES_MAX`] bytes.
    TooLong,
    /// A control character, a quotation mark, a backslash or a comma.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name must not be empty"),
            Self::TooLong => write!(f, "a name has at most {} bytes", Name::BYTES_MAX),
            Self::Character(character) => {
                write!(f, "a name must not contain {:?}", character.to_string())
            }
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_needs_no_escaping() {
        for text in [
            "property",
            "horses:created",
            "property.*",
            "Żółw",
            "a b",
            &"x".repeat(128),
        ] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_channel_of_a_user_is_a_name_whatever_the_user_is_called() {
        assert_eq!(Name::channel_of_user("42").as_str(), "user:42");
        for user in ["", "a,b", "a\"b", "a\nb", &"x".repeat(124)] {
            assert_eq!(Name::channel_of_user(user).as_str(), "user");
        }
    }

    #[test]
    fn refuses_what_could_break_a_line_a_string_or_a_list() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(129)), Err(NameError::TooLong));
        for character in ['"', '\\', ',', '\n', '\r', '\0', '\u{85}', '\u{7f}'] {
            let text = format!("a{character}b");
            assert_eq!(Name::new(&text), Err(NameError::Character(character)));
        }
    }
}
