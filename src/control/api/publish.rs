//! `POST /api/realtime/publish`: events of the application's own, written to the log like those that its
//! transactions emit, and answered with their ids once the stream has shown them. Nothing is pretended:
//! the status says what is known.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use replication::{Entry, PublishError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wire::http::{Refusal, RefusalCode};
use wire::{EventId, Key};

use super::writer::{Failure, Job};
use super::{ANSWER_WITHIN, Api, Refused, check_content, json};

/// The field by which a call that is made again is known.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest of these, in bytes: with an event's place behind it, it is still an id.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;

pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    fields: HeaderMap,
    body: Bytes,
) -> Response {
    let published = api.publish(&fields, &body).await;
    published.unwrap_or_else(Response::from)
}

/// What is known of a publication when its time is over.
enum Known {
    /// It was committed, and the stream has shown it.
    Shown(Vec<EventId>),
    /// It was committed, and the stream has not come to it.
    Committed,
}

impl Api {
    async fn publish(&self, fields: &HeaderMap, body: &[u8]) -> Result<Response, Refused> {
        self.authorize(fields, "publish", |rights| rights.publish)?;
        check_content(fields)?;
        let id = id(fields)?;
        let entries = replication::entries(body, &id, &self.keys).map_err(refused)?;
        let _place = self.place()?;
        let flows = flows(&entries);
        self.take(&flows)?;
        let known = self.write_events(entries).await.inspect_err(|refused| {
            // Where it is unknown, it may have been written.
            if refused.refusal.code != RefusalCode::OutcomeUnknown {
                self.give_back(&flows);
            }
        })?;
        let answer = match known {
            Known::Shown(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                serde_json::json!({ "ids": ids })
            }
            Known::Committed => serde_json::json!({ "ids": [], "pending": true }),
        };
        Ok(json(202, Body::from(answer.to_string())))
    }

    async fn write_events(&self, entries: Vec<Entry>) -> Result<Known, Refused> {
        let until = Instant::now() + ANSWER_WITHIN;
        let (keys, contents) = entries
            .into_iter()
            .map(|entry| (entry.key, entry.content))
            .unzip();
        // Before they are written, so that they cannot be missed.
        let shown = self.shared.feed.await_messages(keys);
        let (reply, written) = oneshot::channel();
        self.write(Job::Emit { contents, reply })?;
        let written = match timeout_at(until, written).await {
            Ok(Ok(written)) => written,
            // It is still being written, or the node is about to stop.
            Ok(Err(_)) | Err(_) => Err(Failure::Unknown),
        };
        match written {
            Err(Failure::Before(error)) => {
                let message = format!("nothing was published: {error}");
                Err(Refusal::new(RefusalCode::Unavailable, message).into())
            }
            // The stream tells what the connection did not.
            written => match (timeout_at(until, shown).await, written) {
                (Ok(Ok(ids)), _) => Ok(Known::Shown(ids)),
                (_, Ok(())) => Ok(Known::Committed),
                (_, Err(_)) => {
                    let message = "PostgreSQL was lost while it wrote: the events may have been \
                                   published, or may be yet. Send them again with the same \
                                   Idempotency-Key: they are not shown twice";
                    Err(Refusal::new(RefusalCode::OutcomeUnknown, message).into())
                }
            },
        }
    }

    /// Takes from what may be published of each channel: all, or nothing where one has too little.
    fn take(&self, flows: &BTreeMap<Key, u32>) -> Result<(), Refused> {
        let now_ms = self.now_ms();
        let mut buckets = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = flows
            .iter()
            .map(|(flow, count)| (buckets.wait_ms(flow, *count, now_ms), *count));
        if let Some((wait_ms, count)) = waits.filter(|(wait_ms, _)| *wait_ms > 0).max() {
            let limit = buckets.tokens();
            let message = match count > limit {
                true => format!(
                    "{count} events for one channel of one organisation in one call: \
                     limits.publish_per_minute is {limit}"
                ),
                false => format!(
                    "as many events were published for this channel of this organisation as \
                     limits.publish_per_minute = {limit} allows"
                ),
            };
            return Err(Refused {
                refusal: Refusal::new(RefusalCode::RateLimited, message),
                retry_s: Some(wait_ms.div_ceil(1_000)),
            });
        }
        for (flow, count) in flows {
            buckets.take(*flow, *count, now_ms);
        }
        Ok(())
    }

    fn give_back(&self, flows: &BTreeMap<Key, u32>) {
        let mut buckets = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        for (flow, count) in flows {
            buckets.give_back(flow, *count);
        }
    }
}

/// How many events there are for each channel of each audience.
fn flows(entries: &[Entry]) -> BTreeMap<Key, u32> {
    let mut flows = BTreeMap::new();
    for entry in entries {
        *flows.entry(entry.flow).or_default() += 1;
    }
    flows
}

/// The id of the call: what the caller says, or one of our own.
fn id(fields: &HeaderMap) -> Result<String, Refused> {
    let mut said = fields.get_all(IDEMPOTENCY_KEY).iter();
    match (said.next(), said.next()) {
        (None, _) => {
            let random = [getrandom::u64(), getrandom::u64()];
            let [Ok(one), Ok(two)] = random else {
                let message = "the machine has no random numbers; send an Idempotency-Key";
                return Err(Refusal::new(RefusalCode::Unavailable, message).into());
            };
            Ok(format!("{one:016x}{two:016x}"))
        }
        (Some(key), None) => {
            let is_key = |text: &&str| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
            let key = key.to_str().ok().filter(is_key);
            key.map(str::to_owned).ok_or_else(|| {
                let message = format!(
                    "Idempotency-Key: write 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters"
                );
                Refusal::new(RefusalCode::InvalidParameter, message).into()
            })
        }
        (Some(_), Some(_)) => {
            let message = "Idempotency-Key stands there twice";
            Err(Refusal::new(RefusalCode::InvalidParameter, message).into())
        }
    }
}

fn refused(error: PublishError) -> Refused {
    let code = match &error {
        PublishError::Malformed(_) => RefusalCode::MalformedRequest,
        PublishError::Invalid(_) => RefusalCode::InvalidParameter,
        PublishError::TooLong(_) => RefusalCode::BodyTooLarge,
    };
    Refusal::new(code, error.to_string()).into()
}
