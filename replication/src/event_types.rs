//! The types of a table's events: words, and templates of words.

use std::str::FromStr;

use wire::Name;

use crate::RuleError;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new, or new to its organisation.
    Insert,
    /// It changed.
    Update,
    /// It is gone, or gone from its organisation.
    Delete,
    /// It is gone with all the others of its table.
    Truncate,
}

impl Action {
    /// All of them, in the order of a template's words.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Truncate];

    /// The word for it in an event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }
}

/// The types of a table's events, one for each action.
#[derive(Clone, Debug)]
pub struct EventTypes {
    /// Of a new row.
    pub insert: Template,
    /// Of a changed one.
    pub update: Template,
    /// Of one that is gone.
    pub delete: Template,
    /// Of a table that was emptied.
    pub truncate: Template,
}

impl EventTypes {
    /// One template, or one word, for all four.
    pub fn uniform(template: Template) -> Self {
        Self {
            insert: template.clone(),
            update: template.clone(),
            delete: template.clone(),
            truncate: template,
        }
    }

    pub(crate) fn of(&self, action: Action) -> &Template {
        match action {
            Action::Insert => &self.insert,
            Action::Update => &self.update,
            Action::Delete => &self.delete,
            Action::Truncate => &self.truncate,
        }
    }
}

impl Default for EventTypes {
    /// `{table}.{insert|update|delete|truncated}`.
    fn default() -> Self {
        Self::uniform(Template(vec![
            Segment::Table,
            Segment::Text(".".to_owned()),
            Segment::words(ACTION_WORDS),
        ]))
    }
}

/// A template of an event type: a word, in which `{channel}` and `{table}` stand for these names in
/// lower case and `{created|updated|deleted}` for the word of the action. That of a table that was
/// emptied is `truncated`, unless a fourth word says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    Channel,
    Table,
    Words([String; 4]),
}

/// The word of a table that was emptied, where no other is given.
const TRUNCATED: &str = "truncated";

/// What `{action}` stands for.
const ACTION_WORDS: [&str; 4] = ["insert", "update", "delete", TRUNCATED];

impl Segment {
    fn words(words: [&str; 4]) -> Self {
        Self::Words(words.map(str::to_owned))
    }
}

impl Template {
    /// The type of an event.
    ///
    /// # Errors
    ///
    /// Where the result is no name, or a word of the stream itself.
    pub(crate) fn render(
        &self,
        table: &str,
        channel: &str,
        action: Action,
    ) -> Result<Name, RuleError> {
        let mut text = String::new();
        for segment in &self.0 {
            text.push_str(match segment {
                Segment::Text(text) => text,
                Segment::Channel => channel,
                Segment::Table => table,
                Segment::Words(words) => &words[action as usize],
            });
        }
        let name = Name::new(&text).map_err(RuleError::Name)?;
        if is_reserved(name.as_str()) {
            Err(RuleError::Reserved(text))
        } else {
            Ok(name)
        }
    }
}

impl FromStr for Template {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once('{') {
            if !literal.is_empty() {
                segments.push(Segment::Text(literal.to_owned()));
            }
            let (inner, tail) = tail.split_once('}').ok_or(RuleError::Template)?;
            let words: Vec<&str> = inner.split('|').collect();
            segments.push(match words.as_slice() {
                ["channel"] => Segment::Channel,
                ["table"] => Segment::Table,
                ["action"] => Segment::words(ACTION_WORDS),
                [insert, update, delete] => Segment::words([insert, update, delete, TRUNCATED]),
                [insert, update, delete, truncate] => {
                    Segment::words([insert, update, delete, truncate])
                }
                _ => return Err(RuleError::Template),
            });
            rest = tail;
        }
        if rest.contains('}') {
            return Err(RuleError::Template);
        }
        if !rest.is_empty() {
            segments.push(Segment::Text(rest.to_owned()));
        }
        let template = Self(segments);
        // What cannot be a type for an innocent table cannot be one for any.
        for action in Action::ALL {
            template.render("table", "channel", action)?;
        }
        Ok(template)
    }
}

/// Whether a type is a word of the stream itself, or one that `EventSource` gives a meaning.
pub(crate) fn is_reserved(event_type: &str) -> bool {
    const RESERVED: [&str; 10] = [
        "connected",
        "reset",
        "heartbeat",
        "subscription",
        "auth",
        "refused",
        "bye",
        "open",
        "error",
        "message",
    ];
    RESERVED.contains(&event_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_the_action() {
        let render = |template: &str, action| {
            template
                .parse::<Template>()
                .unwrap()
                .render("horse", "horses", action)
                .unwrap()
        };
        let template = "{channel}:{created|updated|deleted}";
        assert_eq!(render(template, Action::Insert).as_str(), "horses:created");
        assert_eq!(render(template, Action::Delete).as_str(), "horses:deleted");
        assert_eq!(
            render("{table}.{action}", Action::Update).as_str(),
            "horse.update"
        );
        assert_eq!(render("task", Action::Update).as_str(), "task");
        let truncated = |template| render(template, Action::Truncate).as_str().to_owned();
        assert_eq!(truncated(template), "horses:truncated");
        assert_eq!(truncated("{table}.{action}"), "horse.truncated");
        assert_eq!(truncated("{a|b|c|emptied}"), "emptied");
        let default = EventTypes::default();
        assert_eq!(
            default
                .of(Action::Insert)
                .render("p", "c", Action::Insert)
                .unwrap()
                .as_str(),
            "p.insert"
        );
    }

    #[test]
    fn templates_that_cannot_be_meant_are_refused() {
        for text in ["{", "}", "{x}", "{a|b}", "{a|b|c|d|e}", "a}", "{channel"] {
            assert_eq!(text.parse::<Template>(), Err(RuleError::Template), "{text}");
        }
        assert!(matches!("".parse::<Template>(), Err(RuleError::Name(_))));
        assert!(matches!("a,b".parse::<Template>(), Err(RuleError::Name(_))));
        assert!(matches!(
            "reset".parse::<Template>(),
            Err(RuleError::Reserved(_))
        ));
        assert!(matches!(
            "{open|a|b}".parse::<Template>(),
            Err(RuleError::Reserved(_))
        ));
    }
}
