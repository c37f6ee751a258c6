//! Asking others over HTTP: the application who a cookie belongs to, and an issuer for its keys. One
//! client, which keeps a few connections open.
//!
//! Nothing is followed and nothing is remembered: a redirect is an answer like any other, and what
//! comes back is read up to a bound. An error names the host and the reason, never what was sent.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::tls;

/// How many connections to one host stay open while nobody asks.
const IDLE_MAX: usize = 16;

/// How long they do.
const IDLE_MS: u64 = 30_000;

/// Who asks. The application sees it in its log.
const NAME: &str = concat!("tailrace/", env!("CARGO_PKG_VERSION"));

/// The client. Cloning it costs a reference count.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why nothing came back that can be used. For the log: it holds nothing of the request but its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// No connection, or one that broke.
    Unreachable { host: String, why: String },
    /// No whole answer in time.
    Silent { host: String, limit: Duration },
    /// An answer that has no end, or none in sight.
    TooLong { host: String, bytes_max: usize },
}

impl HttpClient {
    /// A client that trusts the authorities of the system. May read files.
    pub(crate) fn new() -> Self {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::system_client())
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_MS))
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { client }
    }

    /// `GET`, with these fields, in at most this time, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// Where there is no whole answer. Any status is an answer.
    pub(crate) async fn get(
        &self,
        url: &Uri,
        fields: HeaderMap,
        limit: Duration,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let host = url.authority().map_or("", |host| host.as_str()).to_owned();
        let silent = FetchError::Silent {
            host: host.clone(),
            limit,
        };
        let fetching = self.fetch(url, fields, host, bytes_max);
        tokio::time::timeout(limit, fetching)
            .await
            .unwrap_or(Err(silent))
    }

    async fn fetch(
        &self,
        url: &Uri,
        fields: HeaderMap,
        host: String,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = fields;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
        let unreachable = |why: &dyn std::error::Error| FetchError::Unreachable {
            host: host.clone(),
            why: root_cause(why),
        };
        let response = self.client.request(request).await;
        let (parts, body) = response.map_err(|error| unreachable(&error))?.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::TooLong {
                host: host.clone(),
                bytes_max,
            },
            false => unreachable(error.as_ref()),
        })?;
        Ok(Fetched {
            status: parts.status.as_u16(),
            body: body.to_bytes(),
        })
    }
}

/// The last error of a chain, which is the one that says something: `Connection refused`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { host, why } => write!(f, "{host}: {why}"),
            Self::Silent { host, limit } => write!(f, "{host}: no whole answer within {limit:?}"),
            Self::TooLong { host, bytes_max } => {
                write!(f, "{host}: an answer of more than {bytes_max} bytes")
            }
        }
    }
}

impl std::error::Error for FetchError {}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes, and gives what was asked.
    fn server(answer: &'static str) -> (Uri, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !asked.ends_with(b"\r\n\r\n") {
                let len = socket.read(&mut buffer).unwrap();
                asked.extend_from_slice(&buffer[..len]);
            }
            socket.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let url = format!("http://127.0.0.1:{port}/session?fresh=1");
        (url.parse().unwrap(), serving)
    }

    fn get(url: &Uri, fields: HeaderMap, limit_ms: u64) -> Result<Fetched, FetchError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = HttpClient::new();
        runtime.block_on(client.get(url, fields, Duration::from_millis(limit_ms), 64))
    }

    #[test]
    fn what_is_said_arrives_and_nothing_beside_it() {
        let (url, serving) = server("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull");
        let mut fields = HeaderMap::new();
        fields.insert("cookie", HeaderValue::from_static("a=b"));
        let fetched = get(&url, fields, 5_000).unwrap();
        assert_eq!((fetched.status, &fetched.body[..]), (200, &b"null"[..]));
        let asked = serving.join().unwrap();
        assert!(
            asked.starts_with("GET /session?fresh=1 HTTP/1.1\r\n"),
            "{asked}"
        );
        let mut names: Vec<&str> = asked
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "cookie", "host", "user-agent"]);
    }

    #[test]
    fn a_redirect_is_an_answer_and_nobody_goes_there() {
        let answer =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (url, serving) = server(answer);
        assert_eq!(get(&url, HeaderMap::new(), 5_000).unwrap().status, 302);
        serving.join().unwrap();
    }

    #[test]
    fn what_is_too_long_or_never_comes_is_an_error_that_names_the_host() {
        let long = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
                    0123456789012345678901234567890123456789012345678901234567890123456789";
        let (url, serving) = server(long);
        let error = get(&url, HeaderMap::new(), 5_000).unwrap_err();
        assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
        serving.join().unwrap();

        // It accepts, by its backlog, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let url: Uri = format!("http://{address}/").parse().unwrap();
        let error = get(&url, HeaderMap::new(), 50).unwrap_err();
        assert!(matches!(error, FetchError::Silent { .. }), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        drop(silent);
        let error = get(&url, HeaderMap::new(), 5_000).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
