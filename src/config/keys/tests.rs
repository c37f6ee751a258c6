//! What is a key, what is none, and how a value has to look.

use toml::Value;

use super::super::environment::variable;
use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read_text(text: &str) -> Result<Raw, ConfigError> {
    read(text, &Environment::default()).map(|(raw, _)| raw)
}

fn error(text: &str) -> String {
    match read_text(text) {
        Ok(_) => panic!("accepted {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_list_of_keys_is_what_the_tables_hold() {
    let Value::Table(root) = Value::try_from(Raw::default()).unwrap() else {
        unreachable!()
    };
    let mut held: Vec<(String, String)> = Vec::new();
    hold("", &root, &mut held);
    let mut listed: Vec<(String, String)> = KEYS
        .iter()
        .map(|(table, name, _)| ((*table).into(), (*name).into()))
        .collect();
    held.sort();
    listed.sort();
    assert_eq!(held, listed);
}

/// Gathers the keys of a table and of the tables in it.
fn hold(path: &str, table: &Table, held: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let full = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        match value {
            Value::Table(inside) => hold(&full, inside, held),
            _ if path.is_empty() => assert!(LISTS.contains(&name.as_str()), "{name}"),
            _ => held.push((path.to_owned(), name.clone())),
        }
    }
}

#[test]
fn nothing_said_is_the_defaults() {
    assert!(read_text("").unwrap() == Raw::default());
}

#[test]
fn every_key_has_an_environment_name_that_counts_more_than_the_file() {
    for (table, name, kind) in KEYS {
        let values: &[&str] = match kind {
            Kind::Number => &["7"],
            // One of them is the default.
            Kind::Flag => &["false", "true"],
            _ => &["text"],
        };
        let variable = variable(table, name);
        let changes = |value: &&str| {
            let (raw, warnings) = read("", &environment(&[(&variable, value)])).unwrap();
            assert_eq!(warnings, Vec::<String>::new());
            raw != Raw::default()
        };
        assert!(values.iter().any(changes), "{variable} changes nothing");
    }
    let file = "[limits]\nconnections_per_user = 4\n[http]\nallowed_origins = [\"a\"]";
    let over = environment(&[
        ("TAILRACE_LIMITS_CONNECTIONS_PER_USER", "5"),
        ("TAILRACE_HTTP_ALLOWED_ORIGINS", "b, c"),
        ("TAILRACE_STREAM", "[{path = \"/events\"}]"),
    ]);
    let (raw, _) = read(file, &over).unwrap();
    assert_eq!(raw.limits.connections_per_user, 5);
    assert_eq!(raw.http.allowed_origins, ["b", "c"]);
    assert_eq!(raw.stream[0].path, "/events");
}

#[test]
fn the_database_is_found_where_other_tools_name_it() {
    let url = |file: &str, pairs: &[(&str, &str)]| {
        read(file, &environment(pairs)).unwrap().0.database.url
    };
    let both = [("DATABASE_URL", "pooled"), ("DIRECT_URL", "direct")];
    assert_eq!(url("", &both), "direct");
    assert_eq!(url("", &both[..1]), "pooled");
    let file = "[database]\nurl = \"file\"";
    assert_eq!(url(file, &both), "file");
    assert_eq!(
        url(file, &[("TAILRACE_DATABASE_URL", "ours"), both[0]]),
        "ours"
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    assert_eq!(
        error("[http]\nheartbaet = \"25s\""),
        "http.heartbaet: there is no such key; did you mean heartbeat?"
    );
    assert_eq!(
        error("[htp]"),
        "[htp]: there is no such table; did you mean http?"
    );
    assert!(error("[slot]\nflavour = 1").contains("there are mode, generation"));
    assert!(error("[[stream]]\npath = \"/x\"\nformt = \"event\"").starts_with("[[stream]]: "));
    assert!(error("[[route]]\ntable = \"T\"\ncolour = 1").contains("colour"));
}

#[test]
fn a_wrong_shape_names_key_value_and_mend() {
    assert_eq!(
        error("[limits]\nconnections_per_user = \"3\""),
        "limits.connections_per_user = \"\\\"3\\\"\": write a whole number"
    );
    assert!(error("[limits]\nconnections_per_user = -1").contains("from 0 to 65535"));
    assert!(error("[http]\nallowed_origins = \"x\"").contains("write a list"));
    assert!(error("http = 1").contains("write [http] as a table"));
}

/// It would end up in a query or a head, whose ends it would be.
#[test]
fn no_text_holds_a_nul() {
    for (text, key) in [
        (
            "[database]\npublication = \"a\\u0000b\"",
            "database.publication: ",
        ),
        (
            "[auth]\nsecret = [\"a\", \"hidden\\u0000\"]",
            "auth.secret: ",
        ),
        (
            "[[route]]\ntable = \"a\"\ncolumns = [\"a\\u0000\"]",
            "route.columns: ",
        ),
        ("[database]\n\"a\\u0000\" = 1", "database.a"),
    ] {
        let said = error(text);
        assert!(said.starts_with(key) && !said.contains("hidden"), "{said}");
    }
}

#[test]
fn no_error_shows_a_secret() {
    let texts = [
        "[auth]\nsecret = 123456789",
        "[auth]\nsecret = \"123456789",
        "[auth]\nsecret = [123456789]",
        "[database]\nurl = 123456789",
        "[keys]\nservice = [\"123456789\"]",
        "[keys]\nservice = 123456789 x",
    ];
    for text in texts {
        let error = error(text);
        assert!(!error.contains("123456789"), "{error}");
    }
}

#[test]
fn a_stray_variable_is_warned_of() {
    let (_, warnings) = read("", &environment(&[("TAILRACE_HTTP_LISTN", "x")])).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("TAILRACE_HTTP_LISTEN"),
        "{}",
        warnings[0]
    );
}
