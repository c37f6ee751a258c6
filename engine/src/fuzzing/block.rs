//! One block of an event stream, by its fields, and what is looked for in its data.

use wire::EventId;

/// One block of an event stream.
pub(super) struct Block<'a> {
    pub(super) text: &'a str,
    pub(super) event: Option<&'a str>,
    pub(super) id: Option<EventId>,
    pub(super) data: &'a str,
}

impl<'a> Block<'a> {
    /// Takes a block apart that ends with its blank line.
    pub(super) fn of(text: &'a str) -> Self {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        Self {
            text,
            event: field("event: "),
            id: field("id: ").map(|id| id.parse().expect("an id of ours")),
            data: field("data: ").unwrap_or_default(),
        }
    }

    /// A member of its data that is a plain word.
    pub(super) fn member(&self, name: &str) -> Option<&'a str> {
        let (_, rest) = self.data.split_once(&format!("\"{name}\":\""))?;
        rest.split_once('"').map(|(word, _)| word)
    }
}
