//! Who receives a stream or a page, and which frames are for them: by the rules of `docs/protocol.md`, and
//! without the filters that the engine uses.

use std::collections::BTreeSet;

use wire::{Filter, Frame, Key, Name, Scope, Topic, TypePattern};

/// Who receives a stream or a page.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) scope: Scope,
    /// The user; `None` for a service key.
    pub(super) user: Option<Key>,
    /// The roles; `None` is a service key's, which sees what any role sees.
    pub(super) roles: Option<Vec<&'static str>>,
    pub(super) wants: Wants,
    /// How many frames were committed when it lost its right to more.
    pub(super) revoked_at: Option<usize>,
}

/// What was subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// The channels; none is all.
    pub(super) channels: BTreeSet<String>,
    /// The patterns for types; none is all.
    pub(super) types: BTreeSet<String>,
}

impl Reader {
    /// Whether it reads a topic, whatever of that it is shown.
    pub(super) fn reads(&self, topic: Topic) -> bool {
        match (topic, self.scope) {
            (Topic::Global, _) | (Topic::Organisation(_), Scope::Everything) => true,
            (Topic::Organisation(organisation), Scope::Organisation(own)) => organisation == own,
            (Topic::Organisation(_), Scope::Nothing) => false,
            (Topic::User(user), _) => self.user == Some(user),
        }
    }

    /// Whether a frame is for it.
    pub(super) fn is_for(&self, frame: &Frame) -> bool {
        let audience = frame.audience();
        // What is within an organisation is for whoever looks at that one.
        let is_within = match (audience.within, self.scope) {
            (None, _) | (Some(_), Scope::Everything) => true,
            (Some(within), Scope::Organisation(own)) => within == own,
            (Some(_), Scope::Nothing) => false,
        };
        let has_role = match (audience.roles.as_deref(), &self.roles) {
            (None, _) | (Some(_), None) => true,
            (Some(of), Some(own)) => of.iter().any(|role| own.contains(&role.as_str())),
        };
        self.reads(audience.topic) && is_within && has_role && self.wants.has(frame)
    }

    /// The place of the first frame for it from a place on; the number of frames where there is none.
    pub(super) fn next_for(&self, committed: &[Frame], from: usize) -> usize {
        let rest = committed.get(from..).unwrap_or_default();
        let found = rest.iter().position(|frame| self.is_for(frame));
        found.map_or(committed.len().max(from), |offset| from + offset)
    }

    /// The same as the filter of a grant.
    pub(super) fn filter(&self) -> Filter {
        let roles = self.roles.iter().flatten();
        let roles = roles.map(|role| name(role)).collect();
        let filter = Filter::new(self.wants.names(), self.wants.patterns(), roles);
        match self.roles {
            Some(_) => filter,
            None => filter.with_every_role(),
        }
    }
}

impl Wants {
    /// These channels and types.
    pub(super) fn of(channels: &[&str], types: &[&str]) -> Self {
        let all = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        Self {
            channels: all(channels),
            types: all(types),
        }
    }

    /// As its `subscription` event says it.
    pub(super) fn told(data: &str) -> Option<Self> {
        let rest = data.strip_prefix("{\"channels\":[")?.strip_suffix("]}")?;
        let (channels, types) = rest.split_once("],\"types\":[")?;
        let all = |list: &str| {
            let names = list.split(',').filter(|name| !name.is_empty());
            names
                .map(|name| name.trim_matches('"').to_owned())
                .collect()
        };
        Some(Self {
            channels: all(channels),
            types: all(types),
        })
    }

    /// What is wanted when this is added: where all is wanted, all goes on to be.
    pub(super) fn with(&self, more: &Self) -> Self {
        let join = |old: &BTreeSet<String>, new: &BTreeSet<String>| match old.is_empty() {
            true => BTreeSet::new(),
            false => old | new,
        };
        Self {
            channels: join(&self.channels, &more.channels),
            types: join(&self.types, &more.types),
        }
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.channels.iter().map(|it| name(it)).collect()
    }

    pub(super) fn patterns(&self) -> Vec<TypePattern> {
        let types = self.types.iter();
        types.map(|it| TypePattern::new(name(it))).collect()
    }

    fn has(&self, frame: &Frame) -> bool {
        // `user` stands for the channels of all users.
        let is_named = |named: &String| {
            named == frame.channel() || (named == "user" && frame.channel().starts_with("user:"))
        };
        // What names a type means its batches too, and a star at the end whatever follows.
        let has_type = |pattern: &String| match pattern.split_once('*') {
            Some((beginning, _)) => frame.event_type().starts_with(beginning),
            None => [pattern.clone(), format!("{pattern}.batch")]
                .iter()
                .any(|it| it == frame.event_type()),
        };
        (self.channels.is_empty() || self.channels.iter().any(is_named))
            && (self.types.is_empty() || self.types.iter().any(has_type))
    }
}

/// A name that is one.
pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a plain word")
}
