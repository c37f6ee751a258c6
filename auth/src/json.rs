//! JSON objects from outside, strictly: a name that is there twice means two things, so it is refused.
//! And the places in an object that a configuration names.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// An object each of whose own names is there once.
struct Strict(Map<String, Value>);

/// Reads an object, and nothing after it.
pub(crate) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Strict>(json)
        .ok()
        .map(|Strict(object)| object)
}

/// What stands at `path`: the member of that name, else the way of names between dots.
///
/// The whole name comes first, since the names of claims may be addresses with dots in them. `null`
/// is nothing.
pub(crate) fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let value = object.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        at(object.get(first)?.as_object()?, rest)
    });
    value.filter(|value| !value.is_null())
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut object = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if object.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name is there twice"));
                    }
                }
                Ok(Strict(object))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_each_name_once() {
        assert_eq!(
            object(br#"{"a":1,"b":{"a":2}}"#).map(|map| map.len()),
            Some(2)
        );
        for json in [
            r#"{"a":1,"a":1}"#,
            "null",
            "[]",
            "1",
            "",
            "{}x",
            "{} {}",
            "{",
        ] {
            assert!(object(json.as_bytes()).is_none(), "{json}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(object(deep.as_bytes()).is_none());
    }

    #[test]
    fn a_place_is_a_name_or_a_way() {
        let json = br#"{"a":{"b":{"c":1},"b.c":2},"a.b":3,"https://x.y/z":4,"n":null}"#;
        let object = object(json).unwrap();
        let number = |path| at(&object, path).and_then(Value::as_u64);
        assert_eq!(number("a.b"), Some(3));
        assert_eq!(number("a.b.c"), Some(2));
        assert_eq!(number("https://x.y/z"), Some(4));
        for path in ["", ".", "n", "a.x", "a.b.c.d", "n.x"] {
            assert_eq!(number(path), None, "{path:?}");
        }
    }
}
