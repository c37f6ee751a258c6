//! The published keys of an issuer: fetched at the start, now and then, and when a token names a key
//! that is not among them; once at a time, and never while somebody else waits for something. A set
//! that cannot be fetched anew stays in force.

use std::sync::Arc;
use std::time::Duration;

use auth::jwks::{Jwks, Refresh, UnknownKey};
use auth::limits::{JWKS_BYTES_MAX, JWKS_TIMEOUT_MS};
use hyper::header::HeaderMap;
use tokio::task::JoinSet;

use super::petition::Petition;
use crate::config::JwksSource;
use crate::http_client::HttpClient;

/// The sets, and who waits for them.
pub(super) struct Keysets {
    client: HttpClient,
    issuers: Vec<Issuer>,
    /// As the verifier takes them, by the issuers' numbers.
    sets: Vec<Jwks>,
    fetching: JoinSet<(usize, Result<Jwks, String>)>,
    /// Fetches that were begun.
    pub(super) fetches: u64,
}

struct Issuer {
    source: Arc<JwksSource>,
    refresh: Refresh,
    waiting: Vec<Petition>,
    /// Why the last fetch failed, if it did.
    trouble: Option<String>,
}

/// What becomes of a token whose key is not in its set.
pub(super) enum Unknown {
    /// It is looked at again when the fetch has ended.
    Waits,
    /// There is no such key.
    Refused(Petition),
    /// Nobody can tell: the set could not be fetched.
    Unavailable(Petition),
}

impl Keysets {
    pub(super) fn new(client: HttpClient, sources: impl IntoIterator<Item = JwksSource>) -> Self {
        let issuer = |source| Issuer {
            source: Arc::new(source),
            refresh: Refresh::default(),
            waiting: Vec::new(),
            trouble: None,
        };
        let issuers: Vec<Issuer> = sources.into_iter().map(issuer).collect();
        Self {
            client,
            sets: issuers.iter().map(|_| Jwks::default()).collect(),
            issuers,
            fetching: JoinSet::new(),
            fetches: 0,
        }
    }

    /// The sets, by the issuers' numbers.
    pub(super) fn sets(&self) -> &[Jwks] {
        &self.sets
    }

    /// Why a token cannot be judged, where no set was ever fetched.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut issuers = self.issuers.iter().zip(&self.sets);
        let (issuer, _) = issuers.find(|(_, set)| set.is_empty())?;
        let why = issuer.trouble.as_deref().unwrap_or("not fetched yet");
        Some(format!("the keys of auth.jwks: {why}"))
    }

    /// Fetches what is due though nobody waits for it.
    pub(super) fn tick(&mut self, now_ms: u64) {
        for number in 0..self.issuers.len() {
            if self.issuers[number].refresh.is_due(now_ms) {
                self.fetch(number, now_ms);
            }
        }
    }

    /// A token names a key that its issuer's set does not have.
    pub(super) fn on_unknown_key(
        &mut self,
        number: usize,
        petition: Petition,
        now_ms: u64,
    ) -> Unknown {
        let issuer = &mut self.issuers[number];
        match issuer.refresh.for_unknown_key(now_ms) {
            UnknownKey::Refuse => match issuer.trouble {
                None => return Unknown::Refused(petition),
                Some(_) => return Unknown::Unavailable(petition),
            },
            UnknownKey::Wait => issuer.waiting.push(petition),
            UnknownKey::Fetch => {
                issuer.waiting.push(petition);
                self.fetch(number, now_ms);
            }
        }
        Unknown::Waits
    }

    /// The next fetch that ends, with those who waited for it. Never, where none is under way.
    pub(super) async fn next(&mut self) -> Fetched {
        match self.fetching.join_next().await {
            Some(ended) => Fetched(ended.expect("reading a set of keys does not panic")),
            None => std::future::pending().await,
        }
    }

    /// A fetch has ended: those who waited for it are looked at again.
    pub(super) fn on_fetched(&mut self, fetched: Fetched, now_ms: u64) -> Vec<Petition> {
        let Fetched((number, set)) = fetched;
        let issuer = &mut self.issuers[number];
        issuer.refresh.end(now_ms, set.is_ok());
        match set {
            Ok(set) => {
                if issuer.trouble.take().is_some() || self.sets[number].is_empty() {
                    tracing::info!(keys = set.len(), "the keys of auth.jwks were fetched");
                }
                self.sets[number] = set;
            }
            Err(why) => {
                if issuer.trouble.is_none() {
                    tracing::warn!("the keys of auth.jwks cannot be fetched: {why}");
                }
                issuer.trouble = Some(why);
            }
        }
        std::mem::take(&mut issuer.waiting)
    }

    fn fetch(&mut self, number: usize, now_ms: u64) {
        let issuer = &mut self.issuers[number];
        issuer.refresh.begin(now_ms);
        self.fetches += 1;
        let (client, source) = (self.client.clone(), Arc::clone(&issuer.source));
        self.fetching
            .spawn(async move { (number, read(&client, &source).await) });
    }
}

/// A fetch that has ended.
pub(super) struct Fetched((usize, Result<Jwks, String>));

/// Reads a set from where it is published. The error is for the log.
async fn read(client: &HttpClient, source: &JwksSource) -> Result<Jwks, String> {
    let limit = Duration::from_millis(JWKS_TIMEOUT_MS);
    let text = match source {
        JwksSource::File(path) => {
            let read = tokio::time::timeout(
                limit,
                tokio::task::spawn_blocking({
                    let path = path.clone();
                    move || std::fs::read(path)
                }),
            );
            let path = path.display();
            let read = read
                .await
                .map_err(|_| format!("{path}: not read within {limit:?}"))?;
            let read = read.expect("reading a file does not panic");
            read.map_err(|error| format!("{path}: {error}"))?.into()
        }
        JwksSource::Url(url) => {
            // A byte more than is read, so that what is too long is known for it.
            let fetching = client.get(url, HeaderMap::new(), limit, JWKS_BYTES_MAX + 1);
            let fetched = fetching.await.map_err(|error| error.to_string())?;
            if fetched.status != 200 {
                let host = url.host().unwrap_or_default();
                return Err(format!("{host}: status {}", fetched.status));
            }
            fetched.body
        }
    };
    Jwks::parse(&text).map_err(|error| error.to_string())
}
