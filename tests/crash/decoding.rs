//! The text that PostgreSQL's own output plugin `test_decoding` writes
//! (contrib/test_decoding/test_decoding.c), read back.

use std::iter::Peekable;
use std::str::Chars;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Begin,
    /// With the time of the commit, as it stands there.
    Commit {
        at: String,
    },
    Row(Row),
    /// A transactional message.
    Message {
        prefix: String,
        content: String,
    },
}

/// A change of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Without its schema.
    pub(crate) table: String,
    /// INSERT, UPDATE or DELETE.
    pub(crate) action: String,
    /// The identity as it was, where an update changed it; of a delete, all that is known.
    pub(crate) old: Option<Vec<Column>>,
    pub(crate) new: Option<Vec<Column>>,
}

/// A column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: String,
    pub(crate) value: Datum,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datum {
    Null,
    /// Out of line, and not changed.
    Unchanged,
    Text(String),
}

impl Line {
    /// Reads a line; a panic where it is none, since then this reader is wrong.
    pub(crate) fn parse(line: &str) -> Self {
        Self::read(line).unwrap_or_else(|| panic!("test_decoding writes no such line: {line:?}"))
    }

    fn read(line: &str) -> Option<Self> {
        if line.starts_with("BEGIN") {
            return Some(Self::Begin);
        }
        if let Some(rest) = line.strip_prefix("COMMIT") {
            let at = rest.split_once("(at ")?.1.strip_suffix(')')?.to_owned();
            return Some(Self::Commit { at });
        }
        if let Some(rest) = line.strip_prefix("message: transactional: 1 prefix: ") {
            let (prefix, rest) = rest.split_once(", sz: ")?;
            let (_, content) = rest.split_once(" content:")?;
            return Some(Self::Message {
                prefix: prefix.to_owned(),
                content: content.to_owned(),
            });
        }
        let mut text = line.strip_prefix("table ")?.chars().peekable();
        let _schema = name(&mut text)?;
        expect(&mut text, ".")?;
        let table = name(&mut text)?;
        expect(&mut text, ": ")?;
        let action: String = take_until(&mut text, ':')?;
        let rest: String = text.collect();
        let (old, new) = match action.as_str() {
            "INSERT" => (None, Some(columns(&rest)?)),
            "DELETE" => (Some(columns(&rest)?), None),
            "UPDATE" => match rest.strip_prefix(" old-key:") {
                None => (None, Some(columns(&rest)?)),
                Some(rest) => {
                    // No column of ours has a value with these words.
                    let (old, new) = rest.split_once(" new-tuple:")?;
                    (Some(columns(old)?), Some(columns(new)?))
                }
            },
            _ => return None,
        };
        Some(Self::Row(Row {
            table,
            action,
            old,
            new,
        }))
    }
}

/// Columns: ` name[type]:value` each.
fn columns(text: &str) -> Option<Vec<Column>> {
    let mut text = text.chars().peekable();
    let mut columns = Vec::new();
    while text.peek().is_some() {
        expect(&mut text, " ")?;
        let name = name(&mut text)?;
        expect(&mut text, "[")?;
        let data_type = take_until(&mut text, ']')?;
        expect(&mut text, ":")?;
        let value = if text.next_if_eq(&'\'').is_some() {
            Datum::Text(quoted(&mut text, '\'')?)
        } else {
            match bare(&mut text).as_str() {
                "null" => Datum::Null,
                "unchanged-toast-datum" => Datum::Unchanged,
                value => Datum::Text(value.to_owned()),
            }
        };
        columns.push(Column {
            name,
            data_type,
            value,
        });
    }
    Some(columns)
}

/// An identifier, quoted where it has to be.
fn name(text: &mut Peekable<Chars<'_>>) -> Option<String> {
    if text.next_if_eq(&'"').is_some() {
        return quoted(text, '"');
    }
    let mut name = String::new();
    while let Some(letter) = text.next_if(|c| c.is_alphanumeric() || *c == '_') {
        name.push(letter);
    }
    (!name.is_empty()).then_some(name)
}

/// The rest of something in quotes, in which the quote itself is doubled.
fn quoted(text: &mut Peekable<Chars<'_>>, quote: char) -> Option<String> {
    let mut inside = String::new();
    loop {
        let next = text.next()?;
        if next == quote && text.next_if_eq(&quote).is_none() {
            return Some(inside);
        }
        inside.push(next);
    }
}

fn bare(text: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(letter) = text.next_if(|c| *c != ' ') {
        value.push(letter);
    }
    value
}

fn take_until(text: &mut Peekable<Chars<'_>>, end: char) -> Option<String> {
    let mut taken = String::new();
    loop {
        match text.next()? {
            next if next == end => return Some(taken),
            next => taken.push(next),
        }
    }
}

fn expect(text: &mut Peekable<Chars<'_>>, word: &str) -> Option<()> {
    word.chars()
        .all(|letter| text.next_if_eq(&letter).is_some())
        .then_some(())
}

#[test]
fn lines_of_test_decoding_are_read() {
    let column = |name: &str, data_type: &str, value: Datum| Column {
        name: name.into(),
        data_type: data_type.into(),
        value,
    };
    let text = |text: &str| Datum::Text(text.into());
    let moved = r#"table public."P q": UPDATE: old-key: "oId"[text]:'a' new-tuple: "oId"[text]:'b''s: x' at[timestamp without time zone]:null n[integer]:-3 t[text]:unchanged-toast-datum"#;
    let expected = Row {
        table: "P q".into(),
        action: "UPDATE".into(),
        old: Some(vec![column("oId", "text", text("a"))]),
        new: Some(vec![
            column("oId", "text", text("b's: x")),
            column("at", "timestamp without time zone", Datum::Null),
            column("n", "integer", text("-3")),
            column("t", "text", Datum::Unchanged),
        ]),
    };
    assert_eq!(Line::parse(moved), Line::Row(expected));
    let message = "message: transactional: 1 prefix: p, sz: 9 content:{\"a\": 1}";
    let (prefix, content) = ("p".into(), "{\"a\": 1}".into());
    assert_eq!(Line::parse(message), Line::Message { prefix, content });
    let commit = Line::parse("COMMIT 735 (at 2026-01-05 12:34:56.123456+00)");
    let at = "2026-01-05 12:34:56.123456+00".into();
    assert_eq!(commit, Line::Commit { at });
    assert_eq!(Line::parse("BEGIN 735"), Line::Begin);
}
