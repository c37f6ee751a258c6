//! What a configuration must and must not say. Who may come is in `people`.

mod people;

use super::*;

/// The least that a node needs.
const LEAST: &str = r#"
[database]
url = "postgresql://app@localhost/app"
[auth]
secret = "0123456789abcdef0123456789abcdef"
[membership]
table = "OrganizationMember"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(text, &Environment::default())
}

/// The error of the least configuration with one more table.
fn error(more: &str) -> String {
    match load(&format!("{LEAST}{more}")) {
        Ok(_) => panic!("accepted {more:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_shipped_file_says_the_defaults_and_every_key() {
    let text = include_str!("../../../tailrace.toml");
    let (shipped, _) = keys::read(text, &Environment::default()).unwrap();
    assert!(
        shipped == Raw::default(),
        "a value in tailrace.toml is not the default"
    );
    for (table, name, _) in keys::KEYS {
        let section = text.split(&format!("\n[{table}]\n")).nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let says = |line: &str| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(" = "))
        };
        assert!(
            section.lines().any(says),
            "tailrace.toml does not document {table}.{name}"
        );
    }
    for list in keys::LISTS {
        assert!(text.contains(&format!("# [[{list}]]")));
    }
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_design() {
    let config = load(LEAST).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(config.http.heartbeat, Duration::from_secs(25));
    assert_eq!(config.limits.connections_per_user, 3);
    assert_eq!(config.history.max_bytes, 256 << 20);
    assert_eq!(config.history.window, Duration::from_secs(300));
    assert_eq!(config.drain.spread, Duration::from_secs(20));
    let said = |stream: &Stream| (stream.path.clone(), stream.format, stream.soft_refusal);
    let streams: Vec<_> = config.streams.iter().map(said).collect();
    let shipped = [
        ("/api/realtime/stream", wire::Format::Event, true),
        ("/api/stream", wire::Format::Event, true),
        ("/api/activity/stream", wire::Format::Data, false),
        ("/api/realtime/events", wire::Format::Named, true),
    ];
    let shipped = shipped.map(|(path, format, is_soft)| (path.to_owned(), format, is_soft));
    assert_eq!(streams, shipped);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn what_is_missing_is_said_with_the_mend() {
    let missing = |text: &str| load(text).map(|_| ()).unwrap_err().to_string();
    assert!(missing("").starts_with("auth.secret: nobody could open a stream"));
    let key = "[keys]\nservice = \"0123456789abcdef\"";
    assert!(missing(key).starts_with("database.url: missing"));
    let secret = "[auth]\nsecret = \"0123456789abcdef\"\n[database]\nurl = \"postgres://h/d\"";
    assert!(missing(secret).starts_with("membership.table: sessions need it"));
}

#[test]
fn what_cannot_be_meant_is_refused_by_key_value_and_mend() {
    let cases = [
        (
            "[http]\nlisten = \"4000\"",
            "http.listen = \"4000\": write an address and a port",
        ),
        (
            "[http]\nheartbeat = \"25\"",
            "http.heartbeat = \"25\": write a whole number and a unit",
        ),
        (
            "[http]\nheartbeat = \"0s\"",
            "http.heartbeat = \"0s\": write a time from",
        ),
        (
            "[http]\nallowed_origins = [\"app\"]",
            "http.allowed_origins, http.public_url: \"app\"",
        ),
        (
            "[http]\ntrusted_proxies = [\"10/8\"]",
            "http.trusted_proxies = \"10/8\": write an",
        ),
        (
            "[engine]\ndriver = \"kqueue\"",
            "engine.driver = \"kqueue\": write \"auto\"",
        ),
        (
            "[history]\nmax_bytes = \"1MiB\"",
            "history.max_bytes = \"1MiB\": write at least",
        ),
        (
            "[limits]\nidle_close = \"5ms\"",
            "limits.idle_close = \"5ms\": write at least",
        ),
        ("[keys]\nservice = \"short\"", "keys.service: too short"),
        (
            "[[stream]]\npath = \"x\"",
            "[[stream]] path = \"x\": write a path",
        ),
        (
            "[[stream]]\npath = \"/x\"\nformat = \"dat\"",
            "[[stream]] format = \"dat\": write",
        ),
        (
            "[[stream]]\npath = \"/x\"\nrefusal = \"no\"",
            "[[stream]] refusal = \"no\": write",
        ),
        (
            "[[route]]\ntable = \"T\"\ntype = \"{x}\"",
            "[[route]] T type = \"{x}\": a type may",
        ),
        (
            "[[route]]\ntable = \"User\"",
            "[[route]]: the table \"User\" holds identities",
        ),
        (
            "[[route]]\ntable = \"T\"\nchannel = \"a,b\"",
            "[[route]] T channel = \"a,b\": a name",
        ),
    ];
    for (more, beginning) in cases {
        let error = error(more);
        assert!(error.starts_with(beginning), "{error}");
    }
}

#[test]
fn a_database_that_is_no_url_is_never_shown() {
    let text = LEAST.replace("postgresql://app@localhost/app", "hunter2");
    let error = load(&text).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.starts_with("database.url: ") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn routes_are_read_in_every_spelling() {
    let more = r#"
[[route]]
table = "Property"
type = { insert = "property.new" }
columns = { name = "title", id = "id" }
organization = { constant = "acme" }
user = "ownerId"
roles = ["admin"]
[[route]]
table = "public.Client"
type = "client"
columns = ["id"]
organization = "teamId"
"#;
    let rules = load(&format!("{LEAST}{more}")).unwrap().rules;
    let [property, client] = rules.routes.as_slice() else {
        panic!("two routes")
    };
    let columns = property.columns.as_ref().unwrap();
    assert_eq!(
        (columns[0].name.as_str(), &columns[0].renamed),
        ("id", &None)
    );
    assert_eq!(columns[1].renamed.as_deref(), Some("title"));
    let constant = replication::Organisation::Constant("acme".to_owned());
    assert_eq!(property.organisation, Some(constant));
    assert_eq!(
        client.organisation,
        Some(replication::Organisation::Column("teamId".to_owned()))
    );
    assert!(rules.is_identity("OrganizationMember"));
}

#[test]
fn the_database_may_stand_in_the_variables_of_libpq() {
    let text = LEAST.replace("url = \"postgresql://app@localhost/app\"", "");
    let pairs = [
        ("PGHOST", "db.example"),
        ("PGUSER", "app"),
        ("PGSSLMODE", "require"),
    ];
    let environment = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let config = Config::from_text(&text, &environment).unwrap();
    assert_eq!(config.database.connect.place(), "db.example:5432");
    assert_eq!(config.database.connect.user, "app");
    assert!(
        config.warnings[0].contains("verify-full"),
        "{:?}",
        config.warnings
    );
    let Err(error) = load(&text) else {
        panic!("there is no database")
    };
    assert!(error.to_string().contains("PGHOST"), "{error}");
}

#[test]
fn a_pooler_is_refused_with_the_variable_for_the_direct_connection() {
    let pooler = "postgresql://app@ep-red-1-pooler.eu.aws.neon.tech/app";
    let text = LEAST.replace("postgresql://app@localhost/app", pooler);
    let error = load(&text).map(|_| ()).unwrap_err().to_string();
    for part in ["DIRECT_URL", "host ep-red-1.eu.aws.neon.tech, port 5432"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn odd_things_are_warned_of() {
    let text = LEAST
        .replace("/app\"", "/app?schema=public\"")
        .replace("0123456789abcdef0", "0");
    let warnings = load(&text).unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings.iter().any(|line| line.contains("schema")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|line| line.contains("shorter than 32")),
        "{warnings:?}"
    );
}

#[test]
fn payloads_and_batches_are_as_the_file_says() {
    let rules = load(LEAST).unwrap().rules;
    assert_eq!(rules.style, replication::Style::default());
    assert_eq!((rules.event_bytes_max, rules.batch_over), (1 << 20, 0));
    let replication::MembershipSource::Table(members) = rules.identity.membership else {
        panic!("a table of memberships");
    };
    assert_eq!(members.table, "OrganizationMember");
    let more = "[payload]\nnumbers = \"number\"\ntimestamps = \"local\"\nmax_event_bytes = \"8KiB\"\n\
                [batch]\nover = 50";
    let rules = load(&format!("{LEAST}{more}")).unwrap().rules;
    assert_eq!(rules.style.numbers, replication::Numbers::Number);
    assert_eq!(rules.style.timestamps, replication::Timestamps::Local);
    assert_eq!((rules.event_bytes_max, rules.batch_over), (8 << 10, 50));
    for (text, about) in [
        ("numbers = \"float\"", "payload.numbers"),
        ("timestamps = \"Z\"", "payload.timestamps"),
        ("max_event_bytes = \"1KiB\"", "payload.max_event_bytes"),
        (
            "max_event_bytes = \"17MiB\"",
            "a sixteenth of history.max_bytes",
        ),
    ] {
        let error = error(&format!("[payload]\n{text}"));
        assert!(error.contains(about), "{error}");
    }
}
