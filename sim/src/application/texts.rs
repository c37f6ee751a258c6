//! The texts that are written: each says whose it is and is like no other, and some try to be something else.

use crate::postgres::Meaning;
use crate::postgres::schema::{Value, text};
use crate::random::Random;

/// What texts are filled with: what ends a line, a block, a string or a number of bytes, and what does not.
const FILLERS: [&str; 8] = [
    "x",
    "\n\nevent: reset\ndata: {}\n\n",
    "\r\r",
    "\"},\\\"",
    "häuser ",
    "\u{2028}",
    "\u{1}\t",
    "id: 1.1.1.1\n",
];

/// From here on a value lies out of line, and is not sent again where it did not change.
const LONG_BYTES: u64 = 2_000;

/// Makes texts.
#[derive(Debug)]
pub(super) struct Texts {
    random: Random,
    bytes_max: u64,
    next: u64,
}

impl Texts {
    pub(super) fn new(random: Random, bytes_max: u64) -> Self {
        Self {
            random,
            bytes_max: bytes_max.max(1),
            next: 0,
        }
    }

    /// A text of an organisation.
    pub(super) fn of(&mut self, organisation: &str) -> String {
        let bytes = self.random.log_uniform(1..=self.bytes_max);
        self.filled(organisation, bytes)
    }

    /// A value that may be NULL, or so long that it lies out of line.
    pub(super) fn long(&mut self, organisation: &str) -> Value {
        if self.bytes_max < LONG_BYTES || !self.random.chance(100) {
            return None;
        }
        let bytes = self.random.between(LONG_BYTES..=self.bytes_max);
        text(&self.filled(organisation, bytes))
    }

    fn filled(&mut self, organisation: &str, bytes: u64) -> String {
        self.next += 1;
        let mut text = format!("@{organisation},{}@", self.next);
        let filler = match self.random.chance(200) {
            true => *self.random.pick(&FILLERS),
            false => FILLERS[0],
        };
        while (text.len() as u64) < bytes {
            text.push_str(filler);
        }
        text
    }

    /// A message of the application's, and what is meant by it.
    pub(super) fn message(&mut self, organisation: &str, user: &str) -> (String, Meaning) {
        let mut meaning = Meaning {
            kind: (*self.random.pick(&["note.added", "call:ended", "note"])).to_owned(),
            ..Meaning::default()
        };
        match self.random.below(10) {
            0..5 => meaning.organisation = Some(organisation.to_owned()),
            5..8 => meaning.user = Some(user.to_owned()),
            8 => {
                meaning.organisation = Some(organisation.to_owned());
                meaning.user = Some(user.to_owned());
            }
            _ => {}
        }
        // What is for a user wherever they are is no organisation's.
        let whose = meaning.organisation.as_deref().unwrap_or("*").to_owned();
        let words = self.of(&whose);
        let data = format!("{{\"text\":{}}}", quoted(&words));
        let mut members = vec![format!("\"type\":{}", quoted(&meaning.kind))];
        if let Some(organisation) = &meaning.organisation {
            let alias = *self.random.pick(&["organizationId", "tenantId"]);
            members.push(format!("\"{alias}\":{}", quoted(organisation)));
        }
        if let Some(user) = &meaning.user {
            members.push(format!("\"userId\":{}", quoted(user)));
        }
        if meaning.organisation.is_none() && meaning.user.is_none() {
            members.push("\"global\":true".to_owned());
        }
        let named = self.random.chance(300);
        meaning.channel = match (&meaning.user, named) {
            (_, true) => "notes".to_owned(),
            (Some(user), false) => format!("user:{user}"),
            (None, false) if meaning.organisation.is_none() => "global".to_owned(),
            (None, false) => {
                let first = meaning.kind.split(['.', ':']).next();
                first.unwrap_or_default().to_owned()
            }
        };
        if named {
            members.push("\"channel\":\"notes\"".to_owned());
        }
        if self.random.chance(400) {
            let id = format!("k{}", self.next);
            members.push(format!("\"id\":{}", quoted(&id)));
            meaning.id = Some(id);
        }
        members.push(format!("\"data\":{data}"));
        // A line end between tokens is a space when it arrives.
        let content = match self.random.chance(200) {
            true => format!("{{{}\n}}", members.join(",\n")),
            false => format!("{{{}}}", members.join(",")),
        };
        meaning.data = data;
        (content, meaning)
    }

    /// A message that nobody may be shown: its prefix and its content.
    pub(super) fn refused(&mut self, organisation: &str) -> (&'static str, String) {
        let words = quoted(&self.of(organisation));
        let of = format!("\"organizationId\":\"{organisation}\",\"data\":{words}");
        match self.random.below(6) {
            0 => ("another", format!("{{\"type\":\"note\",{of}}}")),
            1 => ("tailrace", format!("{{\"type\":\"reset\",{of}}}")),
            2 => (
                "tailrace",
                format!("{{\"type\":\"note\",\"global\":true,{of}}}"),
            ),
            3 => (
                "tailrace",
                format!("{{\"type\":\"note\",\"data\":{words}}}"),
            ),
            4 => (
                "tailrace",
                format!("{{\"type\":\"note\",\"whom\":\"me\",{of}}}"),
            ),
            _ => ("tailrace", format!("{{\"type\":\"note\",{of}")),
        }
    }
}

/// A text as a JSON string (RFC 8259, section 7).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' => {
                out.push_str("\\u00");
                out.extend([16, 1].map(|place| {
                    let digit = u32::from(letter) / place % 16;
                    char::from_digit(digit, 16).expect("a digit")
                }));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
