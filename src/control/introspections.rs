//! Asking the application whose cookies these are: once for all who present the same, a bounded number
//! at a time, in bounded time. What it answers is read by `auth`.
//!
//! One question that fails says little: a cookie may be at fault. Whether the application is away is
//! asked without any.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use auth::limits::ANSWER_BYTES_MAX;
use auth::{Fingerprint, Introspect};
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use tokio::task::JoinSet;

use super::petition::{Judged, Petition};
use crate::config::Introspection;
use crate::http_client::{FetchError, Fetched, HttpClient};

/// The most questions at a time: the application has its own work to do.
const ASKED_MAX: usize = 32;

/// How often the application is looked for while it is away.
const PROBE_MS: u64 = 1_000;

/// The questions that wait, and those that are under way.
pub(super) struct Introspections {
    client: HttpClient,
    settings: Option<Introspection>,
    flights: HashMap<Fingerprint, Flight>,
    queue: VecDeque<Fingerprint>,
    asking: JoinSet<(Option<Fingerprint>, Result<Fetched, FetchError>)>,
    is_probing: bool,
    probe_at_ms: Option<u64>,
    /// Questions that were asked.
    pub(super) asked: u64,
}

/// One question, and who waits for its answer.
struct Flight {
    question: Introspect,
    waiting: Vec<Petition>,
    /// The moment before it was asked, for all who wait.
    judged: Judged,
}

/// What came of a question.
pub(super) enum Landed {
    /// The application answered, or did not.
    Answered {
        question: Introspect,
        waiting: Vec<Petition>,
        judged: Judged,
        answer: Answer,
    },
    /// Whether the application is there; if not, why.
    Looked(Result<(), String>),
}

/// What the application said.
pub(super) enum Answer {
    /// A session, to be read.
    Session(bytes::Bytes),
    /// Nobody.
    Nobody,
    /// Nothing that says anything, for the log.
    Nothing(String),
}

impl Introspections {
    pub(super) fn new(client: HttpClient, settings: Option<Introspection>) -> Self {
        Self {
            client,
            settings,
            flights: HashMap::new(),
            queue: VecDeque::new(),
            asking: JoinSet::new(),
            is_probing: false,
            probe_at_ms: None,
            asked: 0,
        }
    }

    /// How long an answer is remembered, in milliseconds.
    pub(super) fn lasts_ms(&self) -> u64 {
        let ttl = self.settings.as_ref().map_or(Duration::ZERO, |it| it.ttl);
        u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the application is to be looked for, now or a moment later.
    pub(super) fn is_probe_wanted(&self) -> bool {
        self.probe_at_ms.is_some()
    }

    /// Lines up with a question, or waits for the one that is under way.
    pub(super) fn push(&mut self, question: Introspect, petition: Petition) {
        let credential = question.credential;
        let judged = petition.judged;
        let flight = self.flights.entry(credential).or_insert_with(|| {
            self.queue.push_back(credential);
            Flight {
                question,
                waiting: Vec::new(),
                judged,
            }
        });
        flight.waiting.push(petition);
        self.ask();
    }

    /// Whether the application is there is asked now and then, until it is.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if self.is_probing || self.probe_at_ms.is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        if let Some(settings) = &self.settings {
            self.is_probing = true;
            self.asking
                .spawn(get(self.client.clone(), settings, None, HeaderMap::new()));
        }
    }

    /// The next answer. Never, where nothing was asked.
    pub(super) async fn next(&mut self) -> Arrived {
        match self.asking.join_next().await {
            Some(arrived) => Arrived(arrived.expect("asking the application does not panic")),
            None => std::future::pending().await,
        }
    }

    /// An answer has come.
    pub(super) fn on_arrived(&mut self, arrived: Arrived, now_ms: u64) -> Landed {
        let Arrived((credential, fetched)) = arrived;
        let Some(credential) = credential else {
            self.is_probing = false;
            let seen = match &fetched {
                Ok(fetched) if fetched.status < 500 => Ok(()),
                Ok(fetched) => Err(format!("status {}", fetched.status)),
                Err(error) => Err(error.to_string()),
            };
            self.probe_at_ms = seen.is_err().then_some(now_ms + PROBE_MS);
            return Landed::Looked(seen);
        };
        let flight = self.flights.remove(&credential);
        let flight = flight.expect("what was asked is known until it is answered");
        self.ask();
        let answer = Answer::of(fetched);
        if let Answer::Nothing(_) = &answer {
            self.probe_at_ms.get_or_insert(now_ms);
        }
        Landed::Answered {
            question: flight.question,
            waiting: flight.waiting,
            judged: flight.judged,
            answer,
        }
    }

    fn ask(&mut self) {
        let Some(settings) = &self.settings else {
            return;
        };
        while self.asking.len() < ASKED_MAX
            && let Some(credential) = self.queue.pop_front()
        {
            let flight = &self.flights[&credential];
            let fields = fields(&flight.question);
            self.asked += 1;
            self.asking
                .spawn(get(self.client.clone(), settings, Some(credential), fields));
        }
    }
}

/// An answer that has come.
pub(super) struct Arrived((Option<Fingerprint>, Result<Fetched, FetchError>));

impl Answer {
    fn of(fetched: Result<Fetched, FetchError>) -> Self {
        match fetched {
            Ok(Fetched { status: 200, body }) => Self::Session(body),
            Ok(Fetched {
                status: 204 | 401 | 403,
                ..
            }) => Self::Nobody,
            Ok(Fetched { status, .. }) => Self::Nothing(format!(
                "status {status}: auth.introspection.url must answer with the session itself"
            )),
            Err(error) => Self::Nothing(error.to_string()),
        }
    }
}

/// What the application is shown: the credential, and nothing else of the request.
fn fields(question: &Introspect) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let mut put = |name, value: String| {
        // What cannot stand in a field was never in one.
        if let Ok(mut value) = HeaderValue::try_from(value) {
            value.set_sensitive(true);
            fields.insert(name, value);
        }
    };
    if let Some(cookie) = &question.cookie {
        put(COOKIE, cookie.reveal().to_owned());
    }
    if let Some(bearer) = &question.bearer {
        put(AUTHORIZATION, format!("Bearer {}", bearer.reveal()));
    }
    fields
}

fn get(
    client: HttpClient,
    settings: &Introspection,
    credential: Option<Fingerprint>,
    fields: HeaderMap,
) -> impl Future<Output = (Option<Fingerprint>, Result<Fetched, FetchError>)> + Send + 'static {
    let (url, limit) = (settings.url.clone(), settings.timeout);
    async move {
        let fetched = client.get(&url, fields, limit, ANSWER_BYTES_MAX).await;
        (credential, fetched)
    }
}

#[cfg(test)]
mod tests {
    use auth::Secret;

    use super::*;

    fn fetched(status: u16) -> Result<Fetched, FetchError> {
        let body = bytes::Bytes::from_static(b"null");
        Ok(Fetched { status, body })
    }

    #[test]
    fn only_a_session_is_a_session() {
        assert!(matches!(Answer::of(fetched(200)), Answer::Session(_)));
        for status in [204, 401, 403] {
            assert!(matches!(Answer::of(fetched(status)), Answer::Nobody));
        }
        for status in [201, 302, 404, 429, 500, 503] {
            assert!(matches!(Answer::of(fetched(status)), Answer::Nothing(_)));
        }
    }

    #[test]
    fn the_application_is_shown_the_credential_and_nothing_else() {
        let question = |cookie: Option<&str>, bearer: Option<&str>| Introspect {
            cookie: cookie.map(Secret::new),
            bearer: bearer.map(Secret::new),
            credential: Fingerprint::of("x"),
        };
        let shown = fields(&question(Some("a=1; b=2"), None));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[COOKIE], "a=1; b=2");
        let shown = fields(&question(None, Some("t.o.k")));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[AUTHORIZATION], "Bearer t.o.k");
        assert!(!format!("{shown:?}").contains("t.o.k"));
        assert!(fields(&question(Some("a=\r\nb: c"), None)).is_empty());
    }
}
