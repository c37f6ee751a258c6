//! A plain SSE fan-out server on axum, as one writes it in that world: a broadcast channel for each
//! organisation, and for each connection a receiver of it that is the body of the response.
//!
//! The blocks come whole from the publisher, so that no connection builds its own `sse::Event` from
//! them. What is asked of it is written in `lib.rs`. The runtime has a thread for each core that the
//! process may run on.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use reference::Organisations;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let router = Router::new()
        .route("/stream", get(stream))
        .route("/publish", post(publish))
        .with_state(Arc::new(Organisations::default()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it an event may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

/// Whose stream, or to whom.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    organization_id: Option<String>,
}

async fn stream(
    State(organisations): State<Arc<Organisations>>,
    Query(parameters): Query<Parameters>,
) -> impl IntoResponse {
    let organisation = parameters.organization_id.unwrap_or_default();
    let events = BroadcastStream::new(organisations.subscribe(&organisation))
        // An error says how many events this stream was too slow for.
        .filter_map(Result::ok)
        .map(Ok::<_, Infallible>);
    let fields = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (fields, Body::from_stream(events))
}

async fn publish(
    State(organisations): State<Arc<Organisations>>,
    Query(parameters): Query<Parameters>,
    events: Bytes,
) -> StatusCode {
    organisations.publish(parameters.organization_id.as_deref(), &events);
    StatusCode::NO_CONTENT
}
