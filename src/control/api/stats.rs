//! `GET /api/realtime/stats`: figures of this node for its operators. With names of tenants, so it takes a
//! key with the right `admin`; `/metrics` has none, and is open.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use engine::Counters;
use wire::http::Query;

use super::{Api, Refused, json};
use crate::figures;

/// The parameters that name one organisation.
const ORGANISATION: [&str; 2] = ["organizationId", "tenantId"];

pub(super) async fn stats(
    State(api): State<Arc<Api>>,
    fields: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let said = api.stats(&fields, query.as_deref().unwrap_or_default());
    said.unwrap_or_else(Response::from)
}

impl Api {
    fn stats(&self, fields: &HeaderMap, query: &str) -> Result<Response, Refused> {
        self.authorize(fields, "admin", |rights| rights.admin)?;
        let all = figures::all();
        let listed = match organisation(query)? {
            Some(name) => {
                let streams = figures::of(self.keys.organisation(&name));
                vec![(name, streams)]
            }
            None => all.listed,
        };
        let listed: Vec<_> = listed
            .into_iter()
            .map(|(name, streams)| {
                serde_json::json!({ "organizationId": name, "connectedClients": streams })
            })
            .collect();
        let engines = self.shared.counters();
        let sum = |of: fn(&Counters) -> u64| engines.iter().map(of).sum::<u64>();
        // Every engine takes every event, so that the furthest has taken all there are.
        let max = |of: fn(&Counters) -> u64| engines.iter().map(of).max().unwrap_or_default();
        let feed = self.shared.feed.status();
        let answer = serde_json::json!({
            "connectedClients": sum(|engine| engine.streams),
            "channels": feed.channels,
            "eventHistorySize": max(|engine| engine.log_frames),
            "eventHistoryBytes": max(|engine| engine.log_bytes),
            "events": max(|engine| engine.events),
            "deliveries": sum(|engine| engine.deliveries),
            "behind": sum(|engine| engine.behind),
            "position": feed.applied.map(|position| position.to_string()),
            "ready": self.shared.readiness().is_ok(),
            "organizationCount": all.count,
            "organizations": listed,
        });
        Ok(json(200, Body::from(answer.to_string())))
    }
}

/// The organisation that is asked for alone.
fn organisation(query: &str) -> Result<Option<String>, Refused> {
    let query = Query::parse(query).map_err(|error| error.refusal())?;
    let [name, alias] = ORGANISATION;
    let named = query.text_or_alias(name, alias);
    let named = named.map_err(|error| error.refusal())?;
    Ok(named.map(str::to_owned))
}
