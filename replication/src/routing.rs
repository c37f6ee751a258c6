//! Routing: what the rules mean for one table, and where one row goes.
//!
//! The rules are looked up by name once, when the server describes the table; a row costs no more
//! than reading its columns.

use std::borrow::Cow;
use std::sync::Arc;

use wire::{Audience, Keys, Name, Topic};

use crate::membership::{Concerns, REVOCATION_TABLE};
use crate::pgoutput::{Old, Relation, Tuple, Value};
use crate::values::Shape;
use crate::{Action, EventTypes, Organisation, Route, Rules};

/// What is withheld of a table of identity.
const EVERY_COLUMN: &str = "*";

/// A table as the rules see it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its name, without the schema.
    pub(crate) name: String,
    pub(crate) columns_count: usize,
    /// The columns that leave, in the order of the table's.
    pub(crate) outputs: Vec<Output>,
    /// The names of the columns that do not; of a table of identity [`EVERY_COLUMN`].
    pub(crate) withheld: Vec<String>,
    /// The same as a JSON array; `None` where it is empty.
    pub(crate) withheld_json: Option<Vec<u8>>,
    /// Whether the replica identity is the whole row.
    pub(crate) identity_full: bool,
    /// Whether the replica identity says to whom a row belonged.
    pub(crate) knows_home: bool,
    /// What its changes mean for rights.
    pub(crate) concerns: Option<Box<Concerns>>,
    /// Its place among the counters.
    pub(crate) counted: usize,
    /// Where its rows go.
    pub(crate) road: Road,
}

/// Where the rows of a table go.
#[derive(Clone, Debug)]
pub(crate) enum Road {
    /// Nowhere, and that is meant: identity is read from it.
    Withheld,
    /// Nowhere, because nothing says to whom they belong.
    Unroutable,
    /// To somebody.
    Open(Box<Plan>),
}

/// How the rows of a table become events.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    types: [Name; 4],
    channel: Channel,
    organisation: Home,
    user: Option<usize>,
    roles: Option<Arc<[Name]>>,
}

/// Which channel a row's events have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Channel {
    /// The same for all.
    Fixed(Name),
    /// Each its user's: the route names a user and no channel.
    OfUser,
}

/// Where the organisation of a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Home {
    /// This column.
    Column(usize),
    /// Always this one.
    Constant(String),
    /// It has none: the row is its user's alone.
    None,
}

/// A column that leaves.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Its place in the table.
    pub(crate) index: usize,
    /// Its name in the event, as a JSON string.
    pub(crate) label: Vec<u8>,
    /// Whether it is part of the replica identity.
    pub(crate) key: bool,
    pub(crate) shape: Shape,
}

/// To whom one version of a row belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination<'a> {
    pub(crate) organisation: Option<Cow<'a, str>>,
    pub(crate) user: Option<Cow<'a, str>>,
}

impl Table {
    /// Applies the rules to a table. `shape` says how a type's values are written.
    pub(crate) fn new(relation: &Relation, rules: &Rules, shape: impl Fn(u32) -> Shape) -> Self {
        let schema = relation.namespace.as_str();
        let schema = if schema.is_empty() {
            "pg_catalog"
        } else {
            schema
        };
        let route = rules
            .routes
            .iter()
            .find(|route| route.concerns(schema, &relation.name));
        let named = route.and_then(|route| route.columns.as_deref());
        let mut outputs = Vec::new();
        let mut withheld = Vec::new();
        for (index, column) in relation.columns.iter().enumerate() {
            let entry = named.map(|named| named.iter().find(|entry| entry.name == column.name));
            let label = match entry {
                Some(Some(entry)) => entry.renamed.as_ref().unwrap_or(&entry.name),
                None if !rules.is_withheld(&column.name) => &column.name,
                _ if rules.is_withheld(&column.name) => {
                    withheld.push(column.name.clone());
                    continue;
                }
                _ => continue,
            };
            outputs.push(Output {
                index,
                label: json_string(label),
                key: column.key,
                shape: shape(column.type_oid),
            });
        }
        let is_ours = (schema, relation.name.as_str()) == REVOCATION_TABLE;
        let road = if is_ours || (named.is_none() && rules.is_identity(&relation.name)) {
            withheld = vec![EVERY_COLUMN.to_owned()];
            Road::Withheld
        } else {
            let plan = Plan::new(relation, rules, route);
            plan.map_or(Road::Unroutable, |plan| Road::Open(Box::new(plan)))
        };
        let knows_home = match &road {
            Road::Open(plan) => plan.columns().all(|index| relation.columns[index].key),
            Road::Withheld | Road::Unroutable => false,
        };
        Self {
            name: relation.name.clone(),
            columns_count: relation.columns.len(),
            outputs,
            withheld_json: (!withheld.is_empty()).then(|| json_array(&withheld)),
            withheld,
            identity_full: relation.replica_identity == b'f',
            knows_home,
            concerns: Concerns::new(relation, &rules.identity),
            counted: 0,
            road,
        }
    }

    /// To whom the new version of a row belongs; `None` where that cannot be told.
    pub(crate) fn destination_of_new<'a>(
        &self,
        plan: &'a Plan,
        new: Tuple<'a>,
        old: Option<Old<'a>>,
    ) -> Option<Destination<'a>> {
        plan.destination(|index| match new.value(index) {
            // What did not change is what it was.
            Value::Unchanged => old_text(old?, index),
            value => text(value),
        })
    }

    /// To whom the old version of a row belonged; `None` where that cannot be told.
    pub(crate) fn destination_of_old<'a>(
        &self,
        plan: &'a Plan,
        old: Old<'a>,
    ) -> Option<Destination<'a>> {
        plan.destination(|index| old_text(old, index))
    }
}

impl Plan {
    /// `None` where the table has neither an organisation nor a user, or lacks a column that its
    /// route names, or its name makes no event.
    fn new(relation: &Relation, rules: &Rules, route: Option<&Route>) -> Option<Self> {
        let index = |name: &String| {
            relation
                .columns
                .iter()
                .position(|column| column.name == *name)
        };
        let user = match route.and_then(|route| route.user.as_ref()) {
            Some(column) => Some(index(column)?),
            None => None,
        };
        let organisation = match route.and_then(|route| route.organisation.as_ref()) {
            Some(Organisation::Column(column)) => Home::Column(index(column)?),
            Some(Organisation::Constant(name)) => Home::Constant(name.clone()),
            None => match rules.organisation_columns.iter().find_map(index) {
                Some(index) => Home::Column(index),
                None => Home::None,
            },
        };
        if organisation == Home::None && user.is_none() {
            return None;
        }
        let table = relation.name.to_lowercase();
        let named = route.and_then(|route| route.channel.clone());
        let is_of_user = user.is_some() && named.is_none();
        // In a type, `{channel}` is the table where the channels are the users'.
        let channel = match named {
            Some(channel) => channel,
            None => Name::new(&table).ok()?,
        };
        let default = EventTypes::default();
        let types = route.map_or(&default, |route| &route.types);
        let name = |action| {
            types
                .of(action)
                .render(&table, channel.as_str(), action)
                .ok()
        };
        let types = [
            name(Action::Insert)?,
            name(Action::Update)?,
            name(Action::Delete)?,
            name(Action::Truncate)?,
        ];
        let roles = route
            .and_then(|route| route.roles.as_deref())
            .map(Arc::from);
        Some(Self {
            types,
            channel: if is_of_user {
                Channel::OfUser
            } else {
                Channel::Fixed(channel)
            },
            organisation,
            user,
            roles,
        })
    }

    /// The channel of the events of a destination.
    pub(crate) fn channel(&self, destination: &Destination<'_>) -> Cow<'_, Name> {
        match &self.channel {
            Channel::Fixed(channel) => Cow::Borrowed(channel),
            // A table that is emptied has no one user: the name stands for the channels of all.
            Channel::OfUser => Cow::Owned(Name::channel_of_user(
                destination.user.as_deref().unwrap_or_default(),
            )),
        }
    }

    /// The type of an event.
    pub(crate) fn event_type(&self, action: Action) -> &Name {
        &self.types[action as usize]
    }

    /// Who receives the events of a destination.
    pub(crate) fn audience(&self, destination: &Destination<'_>, keys: &Keys) -> Audience {
        let organisation = destination
            .organisation
            .as_ref()
            .map(|name| keys.organisation(name));
        let user = destination.user.as_ref().map(|name| keys.user(name));
        let (topic, within) = match (user, organisation) {
            (Some(user), within) => (Topic::User(user), within),
            (None, Some(organisation)) => (Topic::Organisation(organisation), None),
            (None, None) => unreachable!("a destination has an organisation or a user"),
        };
        Audience {
            topic,
            within,
            roles: self.roles.clone(),
        }
    }

    /// Who hears that the table was emptied, which says nothing of anybody's rows: everybody who hears
    /// of its channel, since nobody can tell whose they were.
    pub(crate) fn audience_of_all(&self, keys: &Keys) -> Audience {
        let topic = match &self.organisation {
            Home::Constant(name) => Topic::Organisation(keys.organisation(name)),
            Home::Column(_) | Home::None => Topic::Global,
        };
        Audience {
            roles: self.roles.clone(),
            ..Audience::of(topic)
        }
    }

    /// To whom the whole table belongs, where it is one organisation.
    pub(crate) fn constant(&self) -> Destination<'_> {
        let organisation = match &self.organisation {
            Home::Constant(name) => Some(Cow::Borrowed(name.as_str())),
            Home::Column(_) | Home::None => None,
        };
        Destination {
            organisation,
            user: None,
        }
    }

    /// The columns that say to whom a row belongs.
    fn columns(&self) -> impl Iterator<Item = usize> {
        let organisation = match self.organisation {
            Home::Column(index) => Some(index),
            Home::Constant(_) | Home::None => None,
        };
        organisation.into_iter().chain(self.user)
    }

    fn destination<'a>(
        &'a self,
        column: impl Fn(usize) -> Option<Cow<'a, str>>,
    ) -> Option<Destination<'a>> {
        let organisation = match &self.organisation {
            Home::Column(index) => Some(column(*index)?),
            Home::Constant(name) => Some(Cow::Borrowed(name.as_str())),
            Home::None => None,
        };
        let user = match self.user {
            Some(index) => Some(column(index)?),
            None => None,
        };
        Some(Destination { organisation, user })
    }
}

/// A column of an old version. What is not part of the key was not sent, which looks like NULL: either
/// is nobody's.
fn old_text(old: Old<'_>, index: usize) -> Option<Cow<'_, str>> {
    text(old.tuple.value(index))
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        // An empty name is nobody's, nor is one that is too long to have been kept.
        Value::Null | Value::Unchanged | Value::Oversized | Value::Text(b"") => None,
        Value::Text(text) => Some(match std::str::from_utf8(text) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(text),
        }),
    }
}

fn json_array(texts: &[String]) -> Vec<u8> {
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| json_string(text)).collect();
    [b"[", texts.join(&b","[..]).as_slice(), b"]"].concat()
}

fn json_string(text: &str) -> Vec<u8> {
    let mut json = Vec::new();
    wire::json::escape_into(&mut json, text);
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::RelationColumn;

    fn relation(name: &str, columns: &[&str]) -> Relation {
        let column = |text: &&str| match text.strip_suffix('*') {
            Some(name) => RelationColumn {
                key: true,
                name: name.to_owned(),
                type_oid: 25,
            },
            None => RelationColumn {
                key: false,
                name: (*text).to_owned(),
                type_oid: 25,
            },
        };
        Relation {
            oid: 1,
            namespace: "public".to_owned(),
            name: name.to_owned(),
            replica_identity: b'd',
            columns: columns.iter().map(column).collect(),
        }
    }

    fn table(rules: &Rules, relation: &Relation) -> Table {
        Table::new(relation, rules, |oid| Shape::of_oid(oid, rules.style))
    }

    fn labels(table: &Table) -> Vec<String> {
        let label = |output: &Output| String::from_utf8(output.label.clone()).unwrap();
        table.outputs.iter().map(label).collect()
    }

    #[test]
    fn a_table_with_an_organisation_is_routed_by_it() {
        let table = table(
            &Rules::default(),
            &relation("Property", &["id*", "name", "tenant_id"]),
        );
        let Road::Open(plan) = &table.road else {
            panic!("a road")
        };
        assert_eq!(plan.organisation, Home::Column(2));
        assert_eq!(plan.channel, Channel::Fixed(Name::new("property").unwrap()));
        assert_eq!(plan.event_type(Action::Update).as_str(), "property.update");
    }

    #[test]
    fn nothing_leaves_a_table_of_identity_unless_a_route_names_the_columns() {
        let relation = relation("User", &["id*", "name", "passwordHash", "organizationId"]);
        assert!(matches!(
            table(&Rules::default(), &relation).road,
            Road::Withheld
        ));
        let mut rules = Rules::default();
        rules.routes.push(Route::new("User"));
        assert!(matches!(table(&rules, &relation).road, Road::Withheld));
        rules.routes[0].columns = Some(vec![
            crate::Column {
                name: "id".to_owned(),
                renamed: None,
            },
            crate::Column {
                name: "name".to_owned(),
                renamed: Some("called".to_owned()),
            },
        ]);
        let routed = table(&rules, &relation);
        assert!(matches!(routed.road, Road::Open(_)));
        assert_eq!(labels(&routed), ["\"id\"", "\"called\""]);
        assert_eq!(routed.withheld, ["passwordHash"]);
    }

    #[test]
    fn a_route_may_let_a_withheld_column_out_by_name() {
        let relation = relation("Link", &["id*", "token", "secret", "organizationId"]);
        assert_eq!(
            table(&Rules::default(), &relation).withheld,
            ["token", "secret"]
        );
        let mut rules = Rules::default();
        let columns = vec![crate::Column {
            name: "token".to_owned(),
            renamed: None,
        }];
        rules.routes.push(Route {
            columns: Some(columns),
            ..Route::new("Link")
        });
        let routed = table(&rules, &relation);
        assert_eq!(
            (labels(&routed), routed.withheld),
            (vec!["\"token\"".into()], vec!["secret".into()])
        );
    }

    #[test]
    fn what_is_one_users_has_that_users_channel_unless_the_route_names_one() {
        let relation = relation("Horse", &["id*", "userId*"]);
        let mut rules = Rules::default();
        rules.routes.push(Route {
            user: Some("userId".to_owned()),
            types: EventTypes::uniform("{channel}:{created|updated|deleted}".parse().unwrap()),
            ..Route::new("Horse")
        });
        let channel_and_type = |rules: &Rules, user: Option<&str>| {
            let Road::Open(plan) = table(rules, &relation).road else {
                panic!("a road")
            };
            let destination = Destination {
                organisation: None,
                user: user.map(Cow::Borrowed),
            };
            let channel = plan.channel(&destination).as_str().to_owned();
            (channel, plan.event_type(Action::Insert).as_str().to_owned())
        };
        let said = |channel: &str, ty: &str| (channel.to_owned(), ty.to_owned());
        let of_42 = channel_and_type(&rules, Some("42"));
        assert_eq!(of_42, said("user:42", "horse:created"));
        assert_eq!(channel_and_type(&rules, None).0, "user");
        rules.routes[0].channel = Some(Name::new("horses").unwrap());
        let named = channel_and_type(&rules, Some("42"));
        assert_eq!(named, said("horses", "horses:created"));
    }

    #[test]
    fn what_belongs_to_nobody_has_no_road() {
        let rules = Rules::default();
        assert!(matches!(
            table(&rules, &relation("Log", &["id*"])).road,
            Road::Unroutable
        ));
        let mut rules = Rules::default();
        let missing = Organisation::Column("team".to_owned());
        rules.routes.push(Route {
            organisation: Some(missing),
            ..Route::new("Log")
        });
        let relation = relation("Log", &["id*", "organizationId"]);
        assert!(matches!(table(&rules, &relation).road, Road::Unroutable));
    }

    #[test]
    fn a_row_for_a_user_stays_within_its_organisation() {
        let mut rules = Rules::default();
        rules.routes.push(Route {
            user: Some("userId".to_owned()),
            ..Route::new("Note")
        });
        let table = table(
            &rules,
            &relation("Note", &["id*", "userId", "organizationId"]),
        );
        let Road::Open(plan) = &table.road else {
            panic!("a road")
        };
        let destination = Destination {
            organisation: Some("acme".into()),
            user: Some("alice".into()),
        };
        let keys = Keys::new([7; 16]);
        let audience = plan.audience(&destination, &keys);
        assert_eq!(audience.topic, Topic::User(keys.user("alice")));
        assert_eq!(audience.within, Some(keys.organisation("acme")));
    }
}
