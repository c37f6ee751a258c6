//! What `dev` keeps in its data directory beside PostgreSQL's files: its secrets, and the
//! configuration of the node, which `token` and `tail` read as well.

use crate::config::{Config, ConfigError, Environment};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How much randomness is in a secret.
const SECRET_BYTES: usize = 32;

/// Where the environment's word does not count under `dev`: what is about its own database, its own
/// sessions and its own command line. The rest of the configuration can be tried out by it as usual.
const OWN_VARIABLES: [&str; 11] = [
    "DATABASE_URL",
    "DIRECT_URL",
    "TAILRACE_AUTH_",
    "TAILRACE_DATABASE_",
    "TAILRACE_ENGINE_DRIVER",
    "TAILRACE_HTTP_LISTEN",
    "TAILRACE_KEYS_",
    "TAILRACE_MEMBERSHIP",
    "TAILRACE_ORGANIZATION_",
    "TAILRACE_SESSION_",
    "TAILRACE_USER_",
];

/// Everything secret of a data directory: made once, so that a session token survives a restart.
/// Hexadecimal digits, so that no quoting of any language can change them.
#[derive(Deserialize, Serialize)]
pub(crate) struct Secrets {
    /// Signs sessions.
    pub(crate) session: String,
    /// The service key.
    pub(crate) service: String,
    /// The admin key.
    pub(crate) admin: String,
    /// The password of the application's role.
    pub(crate) application: String,
    /// The password of the node's role.
    pub(crate) node: String,
}

impl Secrets {
    /// Reads them, or makes them.
    pub(crate) fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("secrets.toml");
        if let Ok(text) = fs::read_to_string(&path) {
            let read = toml::from_str(&text).ok().filter(Self::is_ours);
            return read.ok_or_else(|| {
                let what = format!(
                    "{} is damaged: remove it, and new ones are made",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            });
        }
        let secrets = Self {
            session: random()?,
            service: random()?,
            admin: random()?,
            application: random()?,
            node: random()?,
        };
        let text = toml::to_string(&secrets).expect("five texts are TOML");
        write_private(&path, &text)?;
        Ok(secrets)
    }

    /// Whether all are as they were made: they are written into SQL, TOML and URLs as they are.
    fn is_ours(&self) -> bool {
        let all = [
            &self.session,
            &self.service,
            &self.admin,
            &self.application,
            &self.node,
        ];
        let is_ours = |text: &String| {
            text.len() == 2 * SECRET_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        all.into_iter().all(is_ours)
    }
}

/// What changes from one start to the next.
pub(crate) struct Setup {
    /// Where the node listens.
    pub(crate) listen: SocketAddr,
    /// Where PostgreSQL listens on 127.0.0.1.
    pub(crate) database_port: u16,
    /// `engine.driver`.
    pub(crate) driver: String,
}

/// Writes the node's configuration.
pub(crate) fn write_configuration(
    data_dir: &Path,
    secrets: &Secrets,
    setup: &Setup,
) -> io::Result<()> {
    write_private(
        &configuration_path(data_dir),
        &configuration(secrets, setup),
    )
}

/// Reads the node's configuration back, with what the environment may say under `dev`.
///
/// # Errors
///
/// Where `dev` never ran on this directory, or a variable of the environment is wrong.
pub(crate) fn read_configuration(data_dir: &Path) -> Result<Config, ConfigError> {
    let path = configuration_path(data_dir);
    if !path.exists() {
        let mend = "is not there: start `tailrace dev` with this --data-dir first";
        return Err(ConfigError::about(path.display().to_string(), mend));
    }
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment: Environment = variables
        .filter(|(name, _)| !OWN_VARIABLES.iter().any(|own| name.starts_with(own)))
        .collect();
    Config::load(Some(&path), &environment)
}

/// The URL of the sample database for `role`, over loopback TCP.
pub(crate) fn database_url(role: &str, password: &str, port: u16) -> String {
    format!(
        "postgresql://{role}:{password}@127.0.0.1:{port}/{}",
        super::sample::APPLICATION
    )
}

/// Where the configuration lies.
pub(crate) fn configuration_path(data_dir: &Path) -> PathBuf {
    data_dir.join("tailrace.toml")
}

fn configuration(secrets: &Secrets, setup: &Setup) -> String {
    let url = database_url(super::sample::NODE, &secrets.node, setup.database_port);
    let Setup { listen, driver, .. } = setup;
    let Secrets {
        session,
        service,
        admin,
        ..
    } = secrets;
    format!(
        "\
# Written by `tailrace dev` at every start. To try out another setting, say it in the environment,
# such as TAILRACE_HTTP_HEARTBEAT=5s.

[database]
url = \"{url}\"

[http]
listen = \"{listen}\"
# Pages of whatever runs on this machine, such as a Next.js application on port 3000.
allowed_origins = [\"http://localhost:*\"]

[engine]
driver = \"{driver}\"

[limits]
# Many windows of the same three people.
connections_per_user = 0

[auth]
secret = \"{session}\"

[keys]
service = \"{service}\"
admin = \"{admin}\"

[membership]
table = \"OrganizationMember\"
user = \"userId\"
organization = \"organizationId\"
role = \"role\"

# Whoever is deleted, or whose organisation is, has no streams from then on.
[user]
table = \"User\"

[organization]
table = \"Organization\"

[batch]
# The page understands them.
over = 50

# What the application calls its own, where that is not its table's name.
[[route]]
table = \"Property\"
type = \"property.update\"

[[route]]
table = \"Activity\"
channel = \"user\"
type = {{ insert = \"user.activity\" }}

# Tables that say who is who leave by the columns that are named, and no others.
[[route]]
table = \"OrganizationMember\"
channel = \"organization\"
type = {{ insert = \"member.join\", update = \"member.change\", delete = \"member.leave\" }}
columns = [\"organizationId\", \"userId\", \"role\"]

[[route]]
table = \"Organization\"
channel = \"organization\"
type = {{ update = \"organization.change\" }}
organization = \"id\"
columns = [\"id\", \"name\"]

# To one user alone.
[[route]]
table = \"Notification\"
channel = \"notifications\"
user = \"userId\"
type = {{ insert = \"notification.new\", update = \"notification.update\", delete = \"notification.delete\" }}
"
    )
}

fn random() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("no randomness from the kernel: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes beside the file and renames, so that nobody reads half of it or before it is private.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tailrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    #[test]
    fn secrets_are_made_once_and_are_private() {
        let directory = directory("secrets");
        let first = Secrets::of(&directory).expect("made");
        let again = Secrets::of(&directory).expect("read");
        let path = directory.join("secrets.toml");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        let edited = fs::read_to_string(&path)
            .expect("text")
            .replace(&first.node, "o'clock");
        fs::write(&path, edited).expect("edited");
        let damaged = Secrets::of(&directory).err().map(|error| error.kind());
        fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(first.session, again.session);
        assert_eq!(first.session.len(), 2 * SECRET_BYTES);
        assert_ne!(first.service, first.admin);
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(damaged, Some(io::ErrorKind::InvalidData));
    }

    #[test]
    fn the_configuration_written_is_one_that_a_node_takes() {
        let directory = directory("configuration");
        let secrets = Secrets::of(&directory).expect("made");
        let listen = "127.0.0.1:4123".parse().expect("an address");
        let setup = Setup {
            listen,
            database_port: 5433,
            driver: "epoll".to_owned(),
        };
        write_configuration(&directory, &secrets, &setup).expect("written");
        let read = read_configuration(&directory);
        fs::remove_dir_all(&directory).expect("removed");
        let config = read.map_err(|error| error.to_string()).expect("taken");
        assert_eq!(config.http.listen, listen);
        assert_eq!(config.database.connect.user, "tailrace");
        assert_eq!(config.database.connect.port, 5433);
        assert_eq!(config.rules.routes.len(), 5);
        assert_eq!(config.rules.batch_over, 50);
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}
