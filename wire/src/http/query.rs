//! Queries: the parameters of a URL, decoded and checked once.
//!
//! Which parameters a path knows is not decided here. Unknown ones are left alone: applications add
//! their own against caches.

use std::fmt;

use super::{Refusal, RefusalCode};
use crate::{Name, NameError, TypePattern};

/// The most parameters of a query.
pub const QUERY_PAIRS_MAX: usize = 64;

/// The most names in a list such as `channel`, repeated and with commas.
pub const QUERY_NAMES_MAX: usize = 100;

/// The parameters of a URL, in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query without its question mark, as browsers write it (WHATWG URL,
    /// `application/x-www-form-urlencoded`): `+` is a space.
    ///
    /// # Errors
    ///
    /// Where a percent sign is not followed by two hexadecimal digits, where what is decoded is not
    /// UTF-8 or has a control character, and where there are too many parameters.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == QUERY_PAIRS_MAX {
                return Err(QueryError::TooManyPairs);
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter. Keys are compared exactly.
    ///
    /// # Errors
    ///
    /// Where it was sent twice: nobody can tell which is meant.
    pub fn text(&self, key: &'static str) -> Result<Option<&str>, QueryError> {
        let mut values = self.values(key);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(QueryError::Repeated { key }),
            (value, None) => Ok(value),
        }
    }

    /// The value of a parameter that has two names.
    ///
    /// # Errors
    ///
    /// Where both were sent and differ, or one was sent twice.
    pub fn text_or_alias(
        &self,
        key: &'static str,
        alias: &'static str,
    ) -> Result<Option<&str>, QueryError> {
        match (self.text(key)?, self.text(alias)?) {
            (Some(one), Some(other)) if one != other => Err(QueryError::Differ { key, alias }),
            (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
            (None, None) => Ok(None),
        }
    }

    /// The value of a parameter that is a whole number, at most `max`.
    ///
    /// # Errors
    ///
    /// Where it is not one, or was sent twice.
    pub fn number(&self, key: &'static str, max: u64) -> Result<Option<u64>, QueryError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        match number.filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => Err(QueryError::NotANumber { key, max }),
        }
    }

    /// The names of a list: `channel=a,b`, `channel=a&channel=b`, or both. An empty value names
    /// nothing.
    ///
    /// # Errors
    ///
    /// Where one of them is no [`Name`], or there are more than [`QUERY_NAMES_MAX`].
    pub fn names(&self, key: &'static str) -> Result<Vec<Name>, QueryError> {
        let mut names = Vec::new();
        for text in self.values(key).filter(|value| !value.is_empty()) {
            for name in text.split(',') {
                if names.len() == QUERY_NAMES_MAX {
                    return Err(QueryError::TooManyNames { key });
                }
                names.push(Name::new(name).map_err(|why| QueryError::NotAName { key, why })?);
            }
        }
        Ok(names)
    }

    /// The type patterns of a list, written like [`Self::names`].
    ///
    /// # Errors
    ///
    /// As [`Self::names`].
    pub fn patterns(&self, key: &'static str) -> Result<Vec<TypePattern>, QueryError> {
        Ok(self.names(key)?.into_iter().map(TypePattern::new).collect())
    }

    /// Whether a parameter was sent, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(sent, _)| sent == key)
    }

    /// Every parameter and its value, decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn values<'a>(&'a self, key: &'static str) -> impl Iterator<Item = &'a str> {
        let pairs = self.pairs.iter().filter(move |(sent, _)| sent == key);
        pairs.map(|(_, value)| value.as_str())
    }
}

/// What is wrong with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// More than [`QUERY_PAIRS_MAX`] parameters.
    TooManyPairs,
    /// A percent sign without two hexadecimal digits.
    Percent,
    /// What was decoded is not UTF-8.
    NotUtf8,
    /// What was decoded has a control character.
    ControlCharacter,
    /// A parameter that has one value was sent twice.
    Repeated {
        /// The parameter.
        key: &'static str,
    },
    /// A parameter and its alias have different values.
    Differ {
        /// The parameter.
        key: &'static str,
        /// Its alias.
        alias: &'static str,
    },
    /// The value is not a whole number, or too great a one.
    NotANumber {
        /// The parameter.
        key: &'static str,
        /// The greatest value.
        max: u64,
    },
    /// One of a list is no name.
    NotAName {
        /// The parameter.
        key: &'static str,
        /// Why it is none.
        why: NameError,
    },
    /// More than [`QUERY_NAMES_MAX`] names in a list.
    TooManyNames {
        /// The parameter.
        key: &'static str,
    },
}

impl QueryError {
    /// The refusal it is answered with.
    pub fn refusal(self) -> Refusal {
        let code = match self {
            Self::TooManyPairs | Self::Percent | Self::NotUtf8 | Self::ControlCharacter => {
                RefusalCode::MalformedRequest
            }
            _ => RefusalCode::InvalidParameter,
        };
        Refusal::new(code, self.to_string())
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyPairs => write!(f, "the query has more than {QUERY_PAIRS_MAX} parameters"),
            Self::Percent => f.write_str(
                "a percent sign in the query must be followed by two hexadecimal digits",
            ),
            Self::NotUtf8 => f.write_str("the query must be UTF-8, percent-encoded"),
            Self::ControlCharacter => f.write_str("the query must not have control characters"),
            Self::Repeated { key } => write!(f, "`{key}` was given twice: give it once"),
            Self::Differ { key, alias } => {
                write!(
                    f,
                    "`{key}` and `{alias}` mean the same and differ: give one of them"
                )
            }
            Self::NotANumber { key, max } => {
                write!(f, "`{key}` must be a whole number from 0 to {max}")
            }
            Self::NotAName { key, why } => write!(f, "`{key}`: {why}"),
            Self::TooManyNames { key } => {
                write!(f, "`{key}` has more than {QUERY_NAMES_MAX} names")
            }
        }
    }
}

impl std::error::Error for QueryError {}

fn decode(text: &str) -> Result<String, QueryError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk().ok_or(QueryError::Percent)?;
                rest = after;
                decode_hex(*digits).ok_or(QueryError::Percent)?
            }
            _ => *byte,
        });
    }
    let decoded = String::from_utf8(decoded).map_err(|_| QueryError::NotUtf8)?;
    match decoded.chars().any(char::is_control) {
        true => Err(QueryError::ControlCharacter),
        false => Ok(decoded),
    }
}

fn decode_hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(high)? << 4 | digit(low)?;
    Some(u8::try_from(value).expect("two hexadecimal digits are one byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    fn names(text: &str) -> Result<Vec<String>, QueryError> {
        let names = query(text).names("channel")?;
        Ok(names.iter().map(|name| name.as_str().to_owned()).collect())
    }

    #[test]
    fn decodes_what_browsers_encode() {
        let query = query("&organizationId=a%20b+c%2B%C3%BC&&empty=&bare&x=a=b&");
        assert_eq!(query.text("organizationId"), Ok(Some("a b c+ü")));
        assert_eq!(query.text("empty"), Ok(Some("")));
        assert_eq!(query.text("bare"), Ok(Some("")));
        assert_eq!(query.text("x"), Ok(Some("a=b")));
        assert_eq!(query.text("organizationid"), Ok(None));
        assert!(query.has("bare") && !query.has("other"));
        assert_eq!(Query::parse("%6bey=1").unwrap().text("key"), Ok(Some("1")));
    }

    #[test]
    fn refuses_what_cannot_be_decoded() {
        for text in ["a=%", "a=%4", "a=%4g", "a=%+4", "%=1", "a=%é0"] {
            assert_eq!(Query::parse(text), Err(QueryError::Percent), "{text:?}");
        }
        for text in ["a=%ff", "a=%c0%af", "a=%ed%a0%80", "%c3=1"] {
            assert_eq!(Query::parse(text), Err(QueryError::NotUtf8), "{text:?}");
        }
        for text in ["a=%00", "a=%0d%0a", "a=%7f", "a=%c2%85"] {
            assert_eq!(
                Query::parse(text),
                Err(QueryError::ControlCharacter),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_parameter_of_one_value_is_given_once() {
        assert_eq!(
            query("a=1&a=1").text("a"),
            Err(QueryError::Repeated { key: "a" })
        );
        let organisation = |text| {
            query(text)
                .text_or_alias("organizationId", "tenantId")
                .map(|v| v.map(str::to_owned))
        };
        assert_eq!(organisation("x=1"), Ok(None));
        assert_eq!(organisation("tenantId=1"), Ok(Some("1".into())));
        assert_eq!(
            organisation("tenantId=1&organizationId=1"),
            Ok(Some("1".into()))
        );
        let differ = QueryError::Differ {
            key: "organizationId",
            alias: "tenantId",
        };
        assert_eq!(organisation("tenantId=1&organizationId=2"), Err(differ));
    }

    #[test]
    fn reads_lists_of_names() {
        assert_eq!(names("").unwrap(), [""; 0]);
        assert_eq!(names("channel=").unwrap(), [""; 0]);
        assert_eq!(
            names("channel=a,b&x=1&channel=c%2Cd").unwrap(),
            ["a", "b", "c", "d"]
        );
        let empty = QueryError::NotAName {
            key: "channel",
            why: NameError::Empty,
        };
        assert_eq!(names("channel=a,,b"), Err(empty));
        assert_eq!(names("channel=,"), Err(empty));
        let quoted = QueryError::NotAName {
            key: "channel",
            why: NameError::Character('"'),
        };
        assert_eq!(names("channel=%22"), Err(quoted));
    }

    #[test]
    fn reads_whole_numbers() {
        let number = |text: &str| query(text).number("limit", 100);
        assert_eq!(number("limit=0100"), Ok(Some(100)));
        assert_eq!(number(""), Ok(None));
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "101",
            "99999999999999999999",
            "0x1",
            "١",
        ] {
            let error = QueryError::NotANumber {
                key: "limit",
                max: 100,
            };
            assert_eq!(
                number(&format!("limit={}", text.replace('+', "%2B"))),
                Err(error)
            );
        }
    }

    #[test]
    fn every_bound_holds() {
        let pairs = |count| vec!["a=1"; count].join("&");
        assert!(Query::parse(&pairs(QUERY_PAIRS_MAX)).is_ok());
        assert_eq!(
            Query::parse(&pairs(QUERY_PAIRS_MAX + 1)),
            Err(QueryError::TooManyPairs)
        );
        let list = |count| format!("channel={}", vec!["a"; count].join(","));
        assert_eq!(
            names(&list(QUERY_NAMES_MAX)).unwrap().len(),
            QUERY_NAMES_MAX
        );
        let too_many = QueryError::TooManyNames { key: "channel" };
        assert_eq!(names(&list(QUERY_NAMES_MAX + 1)), Err(too_many));
    }

    #[test]
    fn an_error_names_the_parameter() {
        let refusal = query("a=1&a=2").text("a").unwrap_err().refusal();
        assert_eq!(refusal.code, RefusalCode::InvalidParameter);
        assert_eq!(refusal.message, "`a` was given twice: give it once");
        assert_eq!(
            QueryError::Percent.refusal().code,
            RefusalCode::MalformedRequest
        );
    }
}
