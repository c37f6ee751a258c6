//! An application beside the node: one of the servers in `tests/packages`, with the real libraries, and
//! a browser that keeps its cookies. Nothing here knows how a session is made.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::directory::Directory;
use crate::support::http::Response;
use crate::support::ports::free_port;
use crate::support::process::{Process, Program, Signal};
use crate::support::{Database, Request, becomes_true};

/// The secret of its sessions; without a comma, which separates secrets in a variable.
pub(crate) const SECRET: &str = "a secret of the application of 32 bytes and more";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages");

/// How long it may take to load its libraries and make its tables.
const READY_MAX: Duration = Duration::from_secs(60);

/// A running application.
pub(crate) struct Application {
    // Dropped in this order: the process ends before its directory goes.
    _process: Process,
    _directory: Directory,
    address: SocketAddr,
}

impl Application {
    /// Starts one of the servers, with its own additions to the environment.
    pub(crate) fn start<const N: usize>(
        script: &str,
        database: Option<&Database>,
        variables: [(&str, &str); N],
    ) -> Self {
        require_packages();
        let directory = Directory::new();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let program = Program::new("node")
            .args([&format!("{FOLDER}/{script}")])
            .env("PORT", address.port().to_string())
            .env("SECRET", SECRET)
            .env("TZ", "UTC")
            .output(directory.join("log"));
        let program = match database {
            Some(database) => program.env("DATABASE_URL", database.owner_url()),
            None => program,
        };
        let program = variables
            .iter()
            .fold(program, |program, (name, value)| program.env(name, *value));
        let mut process = Process::spawn(&program, Signal::KILL);
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        let is_ready = becomes_true(READY_MAX, || {
            assert!(
                process.is_running(),
                "{script} ended at its start:\n{}",
                log()
            );
            log().contains("listening on ")
        });
        assert!(is_ready, "{script} does not listen:\n{}", log());
        Self {
            _process: process,
            _directory: directory,
            address,
        }
    }

    /// The address under which browsers know it, without a slash at its end.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            application: self,
            cookies: Vec::new(),
        }
    }
}

/// Somebody at the application's pages.
pub(crate) struct Browser<'a> {
    application: &'a Application,
    cookies: Vec<(String, String)>,
}

impl Browser<'_> {
    /// Its `Cookie` field.
    pub(crate) fn cookie(&self) -> String {
        let pair = |(name, value): &(String, String)| format!("{name}={value}");
        self.cookies.iter().map(pair).collect::<Vec<_>>().join("; ")
    }

    /// The name and the value of the one cookie whose name ends like this.
    pub(crate) fn cookie_named(&self, end: &str) -> (&str, &str) {
        let mut found = self.cookies.iter().filter(|(name, _)| name.ends_with(end));
        let (name, value) = found
            .next()
            .unwrap_or_else(|| panic!("no cookie of that name: {}", self.cookie()));
        assert!(found.next().is_none(), "two of them: {}", self.cookie());
        (name, value)
    }

    /// Asks for a page.
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.send("GET", path, |request| request)
    }

    /// Sends JSON and returns the JSON that comes back.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Value {
        let answer = self.send("POST", path, |request| request.with_json(body));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    /// Sends a form.
    pub(crate) fn submit<const N: usize>(&mut self, path: &str, fields: [(&str, &str); N]) {
        let field = |(name, value): (&str, &str)| format!("{name}={}", escaped(value));
        let body = fields.map(field).join("&");
        let form = "application/x-www-form-urlencoded";
        self.send("POST", path, |request| {
            request.field("content-type", form).body(&body)
        });
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        complete: impl FnOnce(Request) -> Request,
    ) -> String {
        let address = self.application.address;
        let mut request = Request::line(&format!("{method} {path} HTTP/1.1"))
            .field("host", &address.to_string())
            .field("origin", &self.application.origin());
        if !self.cookies.is_empty() {
            request = request.field("cookie", &self.cookie());
        }
        let response = complete(request).send(address);
        assert!(response.head.status < 400, "{response:?}");
        self.keep_cookies(&response);
        response.body
    }

    /// Takes what the application sets, and forgets what it clears.
    fn keep_cookies(&mut self, response: &Response) {
        let fields = response.head.fields.iter();
        for (_, field) in fields.filter(|(name, _)| name == "set-cookie") {
            let pair = field.split(';').next().expect("a split has a first part");
            let (name, value) = pair.split_once('=').expect("a cookie has a value");
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.into(), value.into()));
            }
        }
    }
}

/// The session that next-auth 4 puts into its cookie for these claims.
pub(crate) fn next_auth_session(secret: &str, claims: &Value) -> String {
    require_packages();
    Program::new("node")
        .args([&format!("{FOLDER}/next-auth.cjs")])
        .env("SECRET", secret)
        .env("CLAIMS", claims.to_string())
        .run()
}

/// A token of the issuer in `jose.mjs`.
pub(crate) fn issued_token(issuer: &Application, algorithm: &str, claims: &Value) -> String {
    let asked = json!({ "algorithm": algorithm, "claims": claims });
    let request = Request::new("POST", "/token").with_json(&asked);
    let response = request.send(issuer.address);
    assert_eq!(response.head.status, 200, "{response:?}");
    response.body
}

fn require_packages() {
    assert!(
        std::fs::exists(format!("{FOLDER}/node_modules")).unwrap_or(false),
        "the session libraries are not installed: run `npm ci` in tests/packages, or script/test"
    );
}

/// A value as forms and queries carry it.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
