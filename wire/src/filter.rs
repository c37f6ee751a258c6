//! What of its topics a connection wants, and in which shape.

use std::sync::Arc;

use crate::name::USER_CHANNEL;
use crate::{Frame, Name};

/// The part of its topics that a connection receives: channels, types, and the roles it has.
///
/// Connections of a topic with equal filters and formats form a class. Cloning one costs a reference
/// count; one that names nothing is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Option<Arc<Names>>);

/// What a filter names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Names {
    channels: Vec<Name>,
    types: Vec<TypePattern>,
    roles: Vec<Name>,
    every_role: bool,
}

impl Filter {
    /// A filter for the named channels and types, where none named means all, held by somebody with
    /// these roles. The order in which they are named makes no difference.
    pub fn new(mut channels: Vec<Name>, mut types: Vec<TypePattern>, mut roles: Vec<Name>) -> Self {
        channels.sort_unstable();
        channels.dedup();
        types.sort_unstable();
        types.dedup();
        roles.sort_unstable();
        roles.dedup();
        Self::of(Names {
            channels,
            types,
            roles,
            every_role: false,
        })
    }

    /// The same filter for a service key, which sees what any role sees.
    pub fn with_every_role(self) -> Self {
        let names = self.0.map(Arc::unwrap_or_clone).unwrap_or_default();
        Self::of(Names {
            every_role: true,
            roles: Vec::new(),
            ..names
        })
    }

    /// The same rights, with other channels and types.
    pub fn with_subscription(&self, channels: Vec<Name>, types: Vec<TypePattern>) -> Self {
        let same = Self::new(channels, types, self.roles().to_vec());
        match self.has_every_role() {
            true => same.with_every_role(),
            false => same,
        }
    }

    /// The same filter that admits these channels and types too. Where all are admitted already, all
    /// stay; where none is named, none is added.
    pub fn with_added(&self, channels: Vec<Name>, types: Vec<TypePattern>) -> Self {
        fn join<T: Clone>(old: &[T], new: Vec<T>) -> Vec<T> {
            if old.is_empty() || new.is_empty() {
                old.to_vec()
            } else {
                old.iter().cloned().chain(new).collect()
            }
        }
        self.with_subscription(join(self.channels(), channels), join(self.types(), types))
    }

    /// Whether it is held by somebody with just these roles, in whatever order.
    pub fn is_of_roles(&self, roles: &[Name]) -> bool {
        let same = Self::new(Vec::new(), Vec::new(), roles.to_vec());
        !self.has_every_role() && self.roles() == same.roles()
    }

    /// The channels, sorted; none means all.
    pub fn channels(&self) -> &[Name] {
        self.0.as_ref().map_or(&[], |names| &names.channels)
    }

    /// The patterns for types, sorted; none means all.
    pub fn types(&self) -> &[TypePattern] {
        self.0.as_ref().map_or(&[], |names| &names.types)
    }

    /// Whether the frame passes.
    pub fn admits(&self, frame: &Frame) -> bool {
        let roles = frame.audience().roles.as_deref();
        let Some(names) = &self.0 else {
            return roles.is_none();
        };
        let types = &names.types;
        (names.channels.is_empty() || self.has_channel(frame.channel()))
            && (types.is_empty() || types.iter().any(|ty| ty.admits(frame.event_type())))
            && self.has_role(roles)
    }

    /// Whether a channel is one of those that are named. `user` stands for every `user:<id>`: whose
    /// they are is for the topic to say.
    pub fn has_channel(&self, channel: &str) -> bool {
        let of_user = channel
            .split_once(':')
            .is_some_and(|(kind, _)| kind == USER_CHANNEL);
        let mut names = self.channels().iter().map(Name::as_str);
        names.any(|name| name == channel || (of_user && name == USER_CHANNEL))
    }

    /// Equal filters are equal values, so that a filter that names nothing is always the same.
    fn of(names: Names) -> Self {
        Self((names != Names::default()).then(|| Arc::new(names)))
    }

    fn roles(&self) -> &[Name] {
        self.0.as_ref().map_or(&[], |names| &names.roles)
    }

    fn has_every_role(&self) -> bool {
        self.0.as_ref().is_some_and(|names| names.every_role)
    }

    fn has_role(&self, roles: Option<&[Name]>) -> bool {
        match roles {
            None => true,
            Some(_) if self.has_every_role() => true,
            Some(roles) => roles.iter().any(|role| self.roles().contains(role)),
        }
    }
}

/// A pattern for event types: a type, or a beginning followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypePattern(Name);

impl TypePattern {
    /// Reads `property.update`, `property.*` or `*`. A star anywhere but at the end is an ordinary
    /// character.
    pub fn new(pattern: Name) -> Self {
        Self(pattern)
    }

    /// Whether an event of this type passes. What admits a type admits its batches too
    /// (`<type>.batch`).
    pub fn admits(&self, event_type: &str) -> bool {
        match self.0.as_str().strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => {
                let single = event_type.strip_suffix(".batch").unwrap_or(event_type);
                self.0.as_str() == event_type || self.0.as_str() == single
            }
        }
    }
}

impl std::fmt::Display for TypePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The shape in which a stream's events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The whole event as JSON, without an `event:` field.
    #[default]
    Event,
    /// `{"id","type","channel","timestamp","data":D}`, without an `event:` field.
    Data,
    /// The type in the `event:` field, and the data alone.
    Named,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TypePattern {
        TypePattern::new(Name::new(text).unwrap())
    }

    #[test]
    fn a_pattern_admits_its_type_and_the_batches_of_it() {
        assert!(pattern("property.update").admits("property.update"));
        assert!(pattern("property.update").admits("property.update.batch"));
        assert!(!pattern("property.update").admits("property.updated"));
        assert!(pattern("property.*").admits("property.insert"));
        assert!(!pattern("property.*").admits("properties.insert"));
        assert!(pattern("*").admits("anything"));
        assert!(!pattern("a.*.b").admits("a.x.b"));
    }

    #[test]
    fn the_channel_user_stands_for_those_of_all_users() {
        let filter = |name| Filter::new(vec![Name::new(name).unwrap()], vec![], vec![]);
        assert!(filter("user").has_channel("user:42"));
        assert!(filter("user").has_channel("user"));
        assert!(filter("user:42").has_channel("user:42"));
        assert!(!filter("user:42").has_channel("user:421"));
        assert!(!filter("user").has_channel("users:42"));
        assert!(!filter("stable").has_channel("stable:42"));
    }

    #[test]
    fn the_order_of_names_makes_no_difference() {
        let names = |list: &[&str]| list.iter().map(|name| Name::new(name).unwrap()).collect();
        let one = Filter::new(names(&["b", "a"]), vec![], vec![]);
        let two = Filter::new(names(&["a", "b", "a"]), vec![], vec![]);
        assert_eq!(one, two);
    }

    #[test]
    fn what_is_added_widens_a_filter_and_never_narrows_it() {
        let names = |list: &[&str]| list.iter().map(|name| Name::new(name).unwrap()).collect();
        let types = |list: &[&str]| list.iter().map(|text| pattern(text)).collect();
        let filter = Filter::new(names(&["a"]), vec![], names(&["owner"]));
        let added = filter.with_added(names(&["b"]), types(&["x.*"]));
        assert_eq!(
            added,
            Filter::new(names(&["a", "b"]), vec![], names(&["owner"]))
        );
        assert_eq!(added.with_added(vec![], vec![]), added);
        let replaced = added.with_subscription(vec![], types(&["y"]));
        assert_eq!(
            replaced,
            Filter::new(vec![], types(&["y"]), names(&["owner"]))
        );
        let all = Filter::new(vec![], vec![], vec![]).with_every_role();
        assert_eq!(all.with_added(names(&["a"]), vec![]), all);
    }
}
