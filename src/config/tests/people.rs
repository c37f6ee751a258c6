//! `[auth]`, `[session]`, `[user]`, `[membership]`, `[keys]`: who may come, and by what.

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Loads a configuration with a database and this, in an environment of these variables.
fn load_in(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let url = ("TAILRACE_DATABASE_URL", "postgresql://app@localhost/app");
    let pairs = variables.iter().chain([&url]);
    let environment: Environment = pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_text(text, &environment)
}

/// The names of the methods of this configuration, in their order.
fn modes(text: &str, variables: &[(&str, &str)]) -> Vec<&'static str> {
    let config = load_in(text, variables).unwrap();
    let settings = config.auth.settings.methods.len();
    assert_eq!(settings, config.auth.modes.len());
    config.auth.modes.iter().map(|mode| mode.name()).collect()
}

fn refused(text: &str) -> String {
    match load_in(text, &[]) {
        Ok(_) => panic!("accepted {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn auto_is_what_is_configured() {
    let all = format!(
        "membership = \"none\"\n[auth]\nsecret = \"{SECRET}\"\n\
         [auth.nextauth]\nsecret = \"{SECRET}\"\n[auth.authjs]\nsecret = \"{SECRET}\"\n\
         [auth.auth0]\nsecret = \"{SECRET}\"\n[auth.jwks]\nfile = \"keys.json\"\nissuer = \"i\"\n\
         [auth.introspection]\nurl = \"http://127.0.0.1:3000/me\"\n[session]\ntable = \"sessions\""
    );
    assert_eq!(
        modes(&all, &[]),
        [
            "nextauth",
            "authjs",
            "auth0",
            "session",
            "jwt",
            "jwks",
            "introspection"
        ]
    );
    let better_auth = format!("membership = \"none\"\n[auth.better_auth]\nsecret = \"{SECRET}\"");
    assert_eq!(modes(&better_auth, &[]), ["better-auth"]);
    // Its rows are those of the table that is named.
    let named = format!("{better_auth}\n[session]\ntable = \"sessions\"");
    assert_eq!(modes(&named, &[]), ["better-auth"]);
}

#[test]
fn the_applications_own_variables_count_where_nothing_else_is_said() {
    let said = "membership = \"none\"";
    let next = ("NEXTAUTH_SECRET", SECRET);
    let auth = ("AUTH_SECRET", SECRET);
    let better = ("BETTER_AUTH_SECRET", SECRET);
    assert_eq!(modes(said, &[next]), ["nextauth"]);
    assert_eq!(modes(said, &[auth]), ["authjs"]);
    assert_eq!(modes(said, &[better]), ["better-auth"]);
    assert_eq!(modes(said, &[("AUTH0_SECRET", SECRET)]), ["auth0"]);
    // What is configured is not widened by a variable that lies about.
    let jwt = format!("{said}\n[auth]\nsecret = \"{SECRET}\"");
    assert_eq!(modes(&jwt, &[auth, better]), ["jwt"]);
    let by_name = format!("{said}\n[auth]\nmode = \"authjs\"");
    assert_eq!(modes(&by_name, &[auth]), ["authjs"]);
    assert_eq!(modes(&by_name, &[next]), ["authjs"]);
    // The table that an adapter brings does not say how the application signs people in.
    let rows = format!("{said}\n[session]\ntable = \"Session\"");
    assert_eq!(modes(&rows, &[]), ["session"]);
    assert_eq!(modes(&rows, &[auth]), ["authjs", "session"]);
    assert_eq!(modes(&rows, &[better]), ["better-auth"]);
    // A node that only servers read from takes no sessions because of one.
    let keys = format!("[keys]\nservice = \"{SECRET}\"");
    assert_eq!(modes(&keys, &[next, auth]), [""; 0]);
}

#[test]
fn the_secrets_of_auth_js_come_in_its_order() {
    let secret = |digit: &str| digit.repeat(32);
    let (old, new) = (secret("1"), secret("2"));
    let variables = [("AUTH_SECRET", old.as_str()), ("AUTH_SECRET_2", &new)];
    let config = load_in("membership = \"none\"", &variables).unwrap();
    let [::auth::Method::AuthJs { secrets, .. }] = config.auth.settings.methods.as_slice() else {
        panic!("one method")
    };
    assert!(secrets[0].matches(&new) && secrets[1].matches(&old));
}

#[test]
fn a_method_without_what_it_needs_is_refused_with_the_key() {
    let none = "membership = \"none\"\n[auth]\n";
    for (mode, key) in [
        ("nextauth", "auth.nextauth.secret: "),
        ("authjs", "auth.authjs.secret: "),
        ("auth0", "auth.auth0.secret: "),
        ("better-auth", "auth.better_auth.secret: "),
        ("jwt", "auth.secret: "),
        ("jwks", "auth.jwks.url: "),
        ("introspection", "auth.introspection.url: "),
    ] {
        let error = refused(&format!("{none}mode = \"{mode}\""));
        assert!(error.starts_with(key) && error.contains(mode), "{error}");
    }
    let session = modes(&format!("{none}mode = \"session\""), &[]);
    assert_eq!(session, ["session"]);
}

#[test]
fn what_cannot_be_meant_of_sessions_is_refused() {
    let jwt = format!("[auth]\nsecret = \"{SECRET}\"\n");
    let none = "membership = \"none\"\n";
    let cases = [
        (
            format!("{none}[auth]\nmode = \"jwd\""),
            "auth.mode = \"jwd\": write \"auto\" alone",
        ),
        (
            format!("{none}[auth]\nmode = [\"auto\", \"jwt\"]"),
            "auth.mode = \"auto\": write",
        ),
        (
            format!("{none}[auth]\nmode = []"),
            "auth.mode: write \"auto\"",
        ),
        (
            format!(
                "{none}[auth]\nmode = [\"session\", \"better-auth\"]\n[auth.better_auth]\nsecret = \"{SECRET}\""
            ),
            "auth.mode = \"session, better-auth\": ",
        ),
        (
            format!("{none}[auth]\nsecret = \"short\""),
            "auth.secret: too short",
        ),
        (
            format!("{none}[auth]\nsecret = \"\""),
            "auth.secret: too short",
        ),
        (
            format!("{none}[auth.nextauth]\nsecret = \"short\""),
            "auth.nextauth.secret: too short",
        ),
        (
            format!("{none}{jwt}cookie = \"a b\""),
            "auth.cookie = \"a b\": write",
        ),
        (
            format!("{none}{jwt}[auth.authjs]\ncookie = \"a;b\""),
            "auth.authjs.cookie = \"a;b\": write",
        ),
        (
            format!("{none}{jwt}user_claim = []"),
            "auth.user_claim = \"\": write",
        ),
        (
            format!("{none}{jwt}grace = \"5\""),
            "auth.grace = \"5\": write",
        ),
        (
            format!("{none}[auth.jwks]\nurl = \"https://a.example/k\"\nfile = \"k\""),
            "auth.jwks.file = \"k\": the keys come from one place",
        ),
        (
            format!("{none}[auth.jwks]\nurl = \"ftp://a\""),
            "auth.jwks.url: write a URL",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://u:hunter2@a/\""),
            "auth.introspection.url: write a URL",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://a/\"\nuser = []"),
            "auth.introspection.user: write",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://a/\"\nexpires = [\"a..b\"]"),
            "auth.introspection.expires = \"a..b\": write",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://a/\"\nttl = \"1h\""),
            "auth.introspection.ttl = \"1h\": write at most",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://a/\"\ntimeout = \"0s\""),
            "auth.introspection.timeout = \"0s\": write",
        ),
        (
            format!("{none}[auth.introspection]\nurl = \"http://a/\"\ntimeout = \"1m\""),
            "auth.introspection.timeout = \"1m\": write at most",
        ),
    ];
    for (text, beginning) in cases {
        let error = refused(&text);
        assert!(error.starts_with(beginning), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_cannot_be_meant_of_tables_is_refused() {
    let jwt = format!("[auth]\nsecret = \"{SECRET}\"\n");
    let cases = [
        (
            "[membership]\ntable = \"M\"\nclaim = \"org\"",
            "membership = \"table, claim\": one thing says",
        ),
        (
            "[membership]\ntable = \"M\"\nnone = true",
            "membership = \"none, table\": one thing says",
        ),
        (
            "[membership]\ntable = \"M\"\nrole_claim = \"r\"",
            "membership.role_claim = \"r\": it stands beside",
        ),
        (
            "[membership]\ntable = \"M\"\nuser = \"\"",
            "membership.user = \"\": write",
        ),
        (
            "[membership]\ntable = \"M\"\n[session]\nid = \"sid\"",
            "session.id = \"sid\": it is a column of session.table",
        ),
        (
            "[membership]\ntable = \"M\"\n[user]\nbanned = \"b\"",
            "user.banned = \"b\": it is a column of user.table",
        ),
        (
            "[membership]\ntable = \"M\"\n[user]\ntable = \"u\"\nbanned_until = \"b\"",
            "user.banned_until = \"b\": it says how long",
        ),
        (
            "[membership]\ntable = \"M\"\n[organization]\ntable = \"o\"\nid = \"\"",
            "organization.id = \"\": write",
        ),
    ];
    for (text, beginning) in cases {
        let error = refused(&format!("{jwt}{text}"));
        assert!(error.starts_with(beginning), "{error}");
    }
    let text = refused(&format!("membership = \"nobody\"\n{jwt}"));
    assert!(
        text.starts_with("membership = \"nobody\": write \"none\", or a table"),
        "{text}"
    );
    let unsaid = refused(&jwt);
    assert!(
        unsaid.starts_with("membership.table: sessions need it"),
        "{unsaid}"
    );
}

#[test]
fn membership_is_a_table_a_claim_or_nothing() {
    let jwt = format!("[auth]\nsecret = \"{SECRET}\"\n");
    let of = |text: &str, variables: &[(&str, &str)]| {
        load_in(text, variables)
            .unwrap()
            .identity
            .membership
            .unwrap()
    };
    let inline =
        "membership = { table = \"auth.user\", user = \"id\", organization = \"tenantId\" }";
    let MembershipSource::Table(table) = of(&format!("{inline}\n{jwt}"), &[]) else {
        panic!("a table")
    };
    assert_eq!(
        (table.schema.as_deref(), table.table.as_str()),
        (Some("auth"), "user")
    );
    assert_eq!(
        (table.user.as_str(), table.organization.as_str()),
        ("id", "tenantId")
    );
    let claim = format!("{jwt}[membership]\nclaim = \"o.id\"\nrole_claim = \"o.rol\"");
    assert!(matches!(of(&claim, &[]), MembershipSource::Claim));
    let claims = load_in(&claim, &[]).unwrap().auth.settings.claims;
    assert_eq!(claims.organisations.as_deref(), Some("o.id"));
    assert_eq!(claims.role.as_deref(), Some("o.rol"));
    for (text, variables) in [
        (format!("membership = \"none\"\n{jwt}"), &[][..]),
        (jwt.clone(), &[("TAILRACE_MEMBERSHIP", "none")][..]),
        (format!("{jwt}[membership]\nnone = true"), &[][..]),
    ] {
        assert!(matches!(of(&text, variables), MembershipSource::None));
    }
}

#[test]
fn the_tables_have_the_names_of_their_library() {
    let session = |text: &str| load_in(text, &[]).unwrap().identity.session.unwrap();
    let auth_js = session("membership = \"none\"\n[auth]\nmode = \"session\"");
    assert_eq!(auth_js.table.sql(), "\"Session\"");
    assert_eq!(
        (auth_js.token.as_str(), auth_js.expires.as_str()),
        ("sessionToken", "expires")
    );
    assert_eq!(auth_js.active_organization, None);
    let secret = format!("[auth.better_auth]\nsecret = \"{SECRET}\"\n");
    let better_auth = session(&format!("membership = \"none\"\n{secret}"));
    assert_eq!(
        (better_auth.token.as_str(), better_auth.expires.as_str()),
        ("token", "expiresAt")
    );
    let active = better_auth.active_organization.as_deref();
    assert_eq!(
        (better_auth.table.sql().as_str(), active),
        ("\"session\"", Some("activeOrganizationId"))
    );
    let named = session(
        "membership = \"none\"\n[session]\ntable = \"auth.sessions\"\nid = \"sessionToken\"",
    );
    assert_eq!(named.table.sql(), "\"auth\".\"sessions\"");
    assert_eq!(
        (named.id.as_str(), named.user.as_str()),
        ("sessionToken", "userId")
    );
}

#[test]
fn the_reader_is_told_the_same_tables() {
    let text = format!(
        "[auth.better_auth]\nsecret = \"{SECRET}\"\n\
         [membership]\ntable = \"member\"\nactive = \"left\"\nmax = 0\n\
         [user]\ntable = \"user\"\nbanned = \"banned\"\nbanned_until = \"banExpires\"\n\
         [organization]\ntable = \"organization\""
    );
    let rules = load_in(&text, &[]).unwrap().rules;
    let replication::MembershipSource::Table(table) = &rules.identity.membership else {
        panic!("a table")
    };
    assert_eq!(
        (table.active.as_deref(), table.max),
        (Some("left"), usize::MAX)
    );
    assert_eq!(table.role.as_deref(), Some("role"));
    let user = rules.identity.user.as_ref().unwrap();
    assert_eq!(user.banned_until.as_deref(), Some("banExpires"));
    assert_eq!(rules.identity.session.as_ref().unwrap().id, "id");
    assert_eq!(
        rules.identity.organisation.as_ref().unwrap().table,
        "organization"
    );
    for table in ["member", "session", "user", "organization"] {
        assert!(rules.is_identity(table), "{table}");
    }
}

#[test]
fn keys_have_rights() {
    let (one, two, three) = ("1".repeat(16), "2".repeat(16), "3".repeat(16));
    let text = format!(
        "[keys]\nservice = \"{one}\"\nadmin = \"{two}\"\n\
         [[key]]\nsecret = \"{three}\"\nrights = [\"publish\", \"admin\"]"
    );
    let keys = load_in(&text, &[]).unwrap().keys;
    let rights = |key: &str| {
        let rights = keys.rights_of(key)?;
        Some((rights.read, rights.publish, rights.admin))
    };
    assert_eq!(rights(&one), Some((true, true, false)));
    assert_eq!(rights(&two), Some((false, false, true)));
    assert_eq!(rights(&three), Some((false, true, true)));
    assert_eq!(rights("1"), None);
    assert!(keys.reader().unwrap().matches(&one));
    let cases = [
        (
            format!("[keys]\nadmin = \"{one}\"\nservice = \"{one}\""),
            "keys.admin: the same as keys.service",
        ),
        (
            format!("[[key]]\nsecret = \"{one}\"\nrights = [\"write\"]"),
            "[[key]] 1 rights = \"write\": write",
        ),
        (
            format!("[[key]]\nsecret = \"{one}\"\nrights = []"),
            "[[key]] 1 rights: a key without rights",
        ),
        (
            "[[key]]\nsecret = \"hunter2\"\nrights = [\"read\"]".into(),
            "[[key]] 1: too short",
        ),
        (
            "[[key]]\nsecret = 123456789\nrights = [\"read\"]".into(),
            "[[key]]: an entry is",
        ),
        (
            format!("[[key]]\nsecret = \"{two}\"\nrights = [\"publish\"]"),
            "auth.secret: nobody could",
        ),
    ];
    for (text, beginning) in cases {
        let error = refused(&text);
        assert!(error.starts_with(beginning), "{error}");
        for secret in ["hunter2", "123456789", "1111", "2222"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn odd_sources_are_warned_of() {
    let warnings = |text: &str| load_in(text, &[]).unwrap().warnings;
    let jwks =
        warnings("membership = \"none\"\n[auth.jwks]\nurl = \"http://keys.example.com/jwks\"");
    assert_eq!(jwks.len(), 2, "{jwks:?}");
    assert!(
        jwks.iter().any(|line| line.contains("write https://")),
        "{jwks:?}"
    );
    assert!(jwks.iter().any(|line| line.contains("issuer")), "{jwks:?}");
    let near =
        "membership = \"none\"\n[auth.introspection]\nurl = \"http://app:3000/api/auth/session\"";
    assert_eq!(warnings(near), Vec::<String>::new());
}

#[test]
fn every_block_of_the_page_about_identity_is_a_configuration() {
    let page = include_str!("../../../docs/auth.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).collect();
    assert!(blocks.len() > 15, "{}", blocks.len());
    let secrets = [
        ("TAILRACE_AUTH_NEXTAUTH_SECRET", SECRET),
        ("TAILRACE_AUTH_AUTHJS_SECRET", SECRET),
        ("TAILRACE_AUTH_BETTER_AUTH_SECRET", SECRET),
        ("TAILRACE_AUTH_SECRET", SECRET),
    ];
    for block in blocks {
        let block = block.split("```").next().unwrap();
        let is_part = !block.contains("membership");
        let block = match is_part {
            true => format!("membership = \"none\"\n{block}"),
            false => block.to_owned(),
        };
        let config = load_in(&block, &secrets).unwrap_or_else(|error| panic!("{error}\n{block}"));
        assert_eq!(config.warnings, Vec::<String>::new(), "{block}");
        // A block that names a method has that one alone.
        assert_eq!(
            block.contains("mode = "),
            config.auth.modes.len() == 1,
            "{block}"
        );
    }
}
