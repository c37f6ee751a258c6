//! The `tailrace.toml` of a plan, and the secrets that go into it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use replication::{ConnectInfo, Host};

use super::people::{Library, People};
use super::plan::Plan;
use crate::config::Identity;

/// What is drawn for a new node. Neither is printed: they go into a file that only its owner reads.
pub(super) struct Secrets {
    /// The password of the role.
    pub(super) password: String,
    /// The key of the application's own servers.
    pub(super) service: String,
}

impl Secrets {
    /// Draws them.
    ///
    /// # Errors
    ///
    /// Where the machine has no random numbers.
    pub(super) fn draw() -> Result<Self, String> {
        let draw = || {
            let mut bytes = [0_u8; 24];
            getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
            let mut text = String::new();
            for byte in bytes {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            Ok::<_, String>(text)
        };
        Ok(Self {
            password: draw()?,
            service: draw()?,
        })
    }
}

/// The file. With secrets, a node starts with it as it is; without, a person fills them in.
pub(super) fn text(plan: &Plan, secrets: Option<(&Secrets, Option<&str>)>) -> String {
    let url = secrets.and_then(|(_, url)| url);
    let url = match url {
        Some(url) => format!("url = {}", quoted(url)),
        None => "# The role's, not the owner's; or in TAILRACE_DATABASE_URL.\n\
                 # url = \"postgresql://tailrace:…@host:5432/database\""
            .to_owned(),
    };
    let service = match secrets {
        Some((secrets, _)) => format!("service = {}", quoted(&secrets.service)),
        None => "# service = \"…\"".to_owned(),
    };
    let mut text = format!(
        "# Written by `tailrace init`. Every key there is stands in the tailrace.toml that Tailrace\n\
         # comes with, with its default.\n\n[database]\n{url}\npublication = {}\n\n{}\n[keys]\n\
         # For your own servers: opens streams of any organisation, and publishes.\n{service}\n",
        quoted(&plan.publication_name),
        sessions(plan.people.library),
    );
    text.push_str(&people(&plan.people));
    text.push_str(
        "\n# One event for many changes of a transaction, where your pages understand batches:\n\
         # [batch]\n# over = 50\n",
    );
    text
}

/// `[auth]`: what a person still has to say.
fn sessions(library: Library) -> &'static str {
    match library {
        Library::BetterAuth => {
            "# The tables are Better Auth's: its secret, or BETTER_AUTH_SECRET in the environment.\n\
             # [auth.better_auth]\n# secret = \"…\"\n"
        }
        Library::AuthJs => {
            "# The tables are those of Auth.js. Sessions that are rows need nothing here; where they are\n\
             # tokens, its secret, or AUTH_SECRET (NEXTAUTH_SECRET in version 4) in the environment.\n\
             # [auth.authjs]    # or [auth.nextauth]\n# secret = \"…\"\n"
        }
        Library::Unknown => {
            "[auth]\n\
             # The secret that your application signs its sessions with; better in TAILRACE_AUTH_SECRET.\n\
             # docs/auth.md has the other ways: Auth.js, Better Auth, published keys, asking.\n\
             # secret = \"…\"\ncookie = \"session\"\n"
        }
    }
}

/// The tables of people. Where nothing says who belongs where, all of it is left to a person.
fn people(people: &People) -> String {
    let mut text = String::new();
    match people.membership() {
        Some(members) => section(
            &mut text,
            "membership",
            &[
                ("table", &members.name().text()),
                ("user", &members.user),
                ("organization", &members.organization),
                ("role", members.role.as_deref().unwrap_or("")),
            ],
        ),
        None => text.push_str(
            "\n# The table that says who belongs to which organisation: none looks like it. Where there are no\n\
             # organisations, `none = true`.\n\
             # [membership]\n# table = \"OrganizationMember\"\n# user = \"userId\"\n\
             # organization = \"organizationId\"\n# role = \"role\"\n",
        ),
    }
    let mut others = String::new();
    let Identity {
        session,
        user,
        organization,
        ..
    } = &people.identity;
    if let Some(session) = session {
        let active = session.active_organization.as_deref().unwrap_or("");
        let table = session.table.text();
        let keys = [
            ("table", table.as_str()),
            ("id", &session.id),
            ("token", &session.token),
            ("user", &session.user),
            ("expires", &session.expires),
            ("active_organization", active),
        ];
        section(&mut others, "session", &keys);
    }
    if let Some(user) = user {
        let (table, banned) = (user.table.text(), user.banned.as_deref().unwrap_or(""));
        let until = user.banned_until.as_deref().unwrap_or("");
        let keys = [
            ("table", table.as_str()),
            ("id", &user.id),
            ("banned", banned),
            ("banned_until", until),
        ];
        section(&mut others, "user", &keys);
    }
    if let Some(organization) = organization {
        let table = organization.table.text();
        let keys = [("table", table.as_str()), ("id", &organization.id)];
        section(&mut others, "organization", &keys);
    }
    match people.membership() {
        Some(_) => text.push_str(&others),
        None => {
            for line in others.lines() {
                let _ = match line {
                    "" => writeln!(text),
                    line => writeln!(text, "# {line}"),
                };
            }
        }
    }
    text
}

/// A table of the file; what has no value is left out, but for what would then have its default.
fn section(text: &mut String, name: &str, keys: &[(&str, &str)]) {
    let _ = write!(text, "\n[{name}]\n");
    for (key, value) in keys {
        if !value.is_empty() || *key == "role" {
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
    }
}

/// The file as a comment of SQL, so that everything that is printed is a script for psql.
pub(super) fn in_comment(text: &str) -> String {
    // A name may hold the comment's end; TOML has another way to write it.
    let text = text.replace("*/", "*\\u002F").replace("/*", "/\\u002A");
    format!("\n/* A configuration, tailrace.toml:\n\n{text}\n*/\n")
}

/// Writes the file, which only its owner may read.
///
/// # Errors
///
/// Where it is there already, or cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("--output {}: {error}", path.display()))
}

/// An address that libpq's variables gave. What they say of TLS they go on saying.
pub(super) fn url_of(info: &ConnectInfo) -> String {
    let database = encoded(&info.database);
    match &info.host {
        Host::Tcp(name) if name.contains(':') => {
            format!("postgresql://[{name}]:{}/{database}", info.port)
        }
        Host::Tcp(name) => format!("postgresql://{name}:{}/{database}", info.port),
        Host::Unix(directory) => {
            let directory = encoded(&directory.to_string_lossy());
            format!(
                "postgresql:///{database}?host={directory}&port={}",
                info.port
            )
        }
    }
}

/// The same address for another role.
pub(super) fn url_as(url: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgresql", url));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let address = authority
        .rsplit_once('@')
        .map_or(authority, |(_, address)| address);
    let is_kept = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or("");
        !pair.is_empty() && !matches!(name, "user" | "password")
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    let query = match kept.is_empty() {
        true => String::new(),
        false => format!("?{}", kept.join("&")),
    };
    format!(
        "{scheme}://{}:{}@{address}{path}{query}",
        encoded(user),
        encoded(password)
    )
}

/// Percent-encoding (RFC 3986, 2.1) of everything that is not plainly allowed.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_kept_for_another_role() {
        let url = "postgres://owner:p@ss@db.example:6000/shop?user=x&sslmode=require&password=y";
        assert_eq!(
            url_as(url, "tail race", "s/1"),
            "postgres://tail%20race:s%2F1@db.example:6000/shop?sslmode=require"
        );
        let socket = "postgresql:///shop?host=/run/pg";
        let info: ConnectInfo = "postgresql://o@/a%20b?host=/run/pg&port=6000"
            .parse()
            .unwrap();
        assert_eq!(
            url_of(&info),
            "postgresql:///a%20b?host=%2Frun%2Fpg&port=6000"
        );
        let info: ConnectInfo = "postgresql://o@[::1]/x".parse().unwrap();
        assert_eq!(url_of(&info), "postgresql://[::1]:5432/x");
        assert_eq!(
            url_as(socket, "t", "p"),
            "postgresql://t:p@/shop?host=/run/pg"
        );
    }

    #[test]
    fn a_hostile_name_does_not_end_the_comment() {
        let text = format!("table = {}", quoted("x*/ DROP TABLE y; /*"));
        let comment = in_comment(&text);
        assert_eq!(comment.matches("*/").count(), 1, "{comment}");
        assert_eq!(comment.matches("/*").count(), 1, "{comment}");
        let line = comment
            .lines()
            .find(|line| line.starts_with("table"))
            .unwrap();
        let value: toml::Table = line.parse().unwrap();
        assert_eq!(value["table"].as_str(), Some("x*/ DROP TABLE y; /*"));
    }
}
