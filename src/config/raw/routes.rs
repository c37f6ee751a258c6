//! `[[route]]`, as it is written: how the rows of a table leave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[[route]]`: how the rows of a table leave.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) table: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<RouteType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<RouteColumns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<RouteOrganization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
}

/// The types of a route's events: one template, or one for each action.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteType {
    Uniform(String),
    PerAction(ActionTypes),
}

/// A template for each action; what is left out has the default.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionTypes {
    pub(crate) insert: Option<String>,
    pub(crate) update: Option<String>,
    pub(crate) delete: Option<String>,
    pub(crate) truncate: Option<String>,
}

/// The columns of a route: their names, or a table of name and name in the record.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteColumns {
    Plain(Vec<String>),
    Renamed(BTreeMap<String, String>),
}

/// The organisation of a route: a column, or one name for all rows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteOrganization {
    Column(String),
    Constant(ConstantOrganization),
}

/// `{ constant = "acme" }`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConstantOrganization {
    pub(crate) constant: String,
}
