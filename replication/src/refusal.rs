//! What it means that a server does not let us in, or does not give us what we ask for, and how it is
//! mended: for the reader and for every other connection of a node.
//!
//! The SQLSTATE decides; where one stands for several things, the server's words do, of which the
//! names of settings are the same in every language.

use crate::provider::Provider;
use crate::sql::identifier;
use crate::{ConnectInfo, Host, Tls};

/// Why a server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The password is not the role's.
    WrongPassword,
    /// No line of `pg_hba.conf` admits the connection.
    NoEntry,
    /// There is no such role.
    NoRole,
    /// The role may not log in.
    NoLogin,
    /// The operating system's user is not the role.
    WrongPeer,
    /// It is not admitted, for a reason that is told in words alone.
    NotAdmitted,
    /// There is no such database.
    NoDatabase,
    /// The role may not replicate.
    NoReplication,
    /// All walsenders are taken.
    NoWalsender,
    /// All connections are taken.
    NoConnection,
    /// All replication slots are taken.
    NoSlot,
    /// The write-ahead log does not hold what decoding needs.
    WalLevel,
    /// The server is starting, stopping, or recovering.
    NotNow,
    /// It is a pooler.
    Pooler,
}

impl Refusal {
    /// Tells a refusal by its SQLSTATE and the server's words.
    pub fn of(code: &str, message: &str) -> Option<Self> {
        let says = |words: &str| message.contains(words);
        Some(match code {
            "28P01" => Self::WrongPassword,
            "28000" if says("pg_hba.conf") => Self::NoEntry,
            "28000" if says("does not exist") => Self::NoRole,
            "28000" if says("not permitted to log in") => Self::NoLogin,
            "28000" if says("Peer ") || says("Ident ") => Self::WrongPeer,
            "28000" => Self::NotAdmitted,
            "3D000" => Self::NoDatabase,
            "42501" => Self::NoReplication,
            "53300" if says("max_wal_senders") => Self::NoWalsender,
            "53300" => Self::NoConnection,
            "53400" => Self::NoSlot,
            "55000" if says("wal_level") => Self::WalLevel,
            "57P03" | "57P01" | "57P02" => Self::NotNow,
            "08P01" if says("startup parameter") => Self::Pooler,
            _ => return None,
        })
    }

    /// Whether the same may work later without anybody mending anything.
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::NoWalsender | Self::NoConnection | Self::NoSlot | Self::NotNow
        )
    }

    /// How it is mended. `message` is what the server said.
    pub fn mend(self, info: &ConnectInfo, message: &str) -> String {
        let role = identifier(&info.user);
        let provider = Provider::of(&info.host);
        match self {
            Self::WrongPassword => format!(
                "write the right one into database.url (or PGPASSWORD), or give the role another: \
                 ALTER ROLE {role} PASSWORD '…';"
            ),
            Self::NoEntry => no_entry(info, message),
            Self::NoRole => format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD '…';"),
            Self::NoLogin => format!("ALTER ROLE {role} LOGIN;"),
            Self::WrongPeer => format!(
                "over this socket the server admits the operating system's user of the same name \
                 alone: run as that user, or connect over TCP, or add this line at the top of \
                 pg_hba.conf: {}; then SELECT pg_reload_conf();",
                entry(info, None)
            ),
            Self::NotAdmitted => format!(
                "see the server's log; the line of pg_hba.conf that would admit it: {}",
                entry(info, None)
            ),
            Self::NoDatabase => {
                format!("name one that exists in database.url (it says {:?})", info.database)
            }
            Self::NoReplication => format!(
                "the role has no right to replicate: {}",
                provider.replication_right(&role)
            ),
            Self::NoWalsender => "each node takes a walsender, and all are taken: ALTER SYSTEM SET \
                max_wal_senders = 20; then restart PostgreSQL, or stop who else replicates (SELECT * \
                FROM pg_stat_replication)"
                .to_owned(),
            Self::NoConnection => "PostgreSQL has no connection left: raise max_connections, or let \
                the application use fewer"
                .to_owned(),
            Self::NoSlot => "all replication slots are in use: ALTER SYSTEM SET max_replication_slots \
                = 20; then restart PostgreSQL, or drop slots that nobody needs (SELECT slot_name, \
                active FROM pg_replication_slots)"
                .to_owned(),
            Self::WalLevel => provider.logical_decoding().to_owned(),
            Self::NotNow => "it is tried again".to_owned(),
            Self::Pooler => "this is a connection pooler, which carries no replication: connect to \
                PostgreSQL itself"
                .to_owned(),
        }
    }
}

/// The lines that mend a refusal as they are to be run, where it takes no choice of a person's: for
/// psql, but for the one of `pg_hba.conf`, which comes first.
pub fn mends(info: &ConnectInfo, code: &str, message: &str) -> Vec<String> {
    let role = identifier(&info.user);
    match Refusal::of(code, message) {
        Some(Refusal::NoEntry) => vec![
            entry(info, address(message)),
            "SELECT pg_reload_conf();".to_owned(),
        ],
        Some(Refusal::NoLogin) => vec![format!("ALTER ROLE {role} LOGIN;")],
        _ => Vec::new(),
    }
}

/// What the server said, with the mend where one is known.
pub fn explain(info: &ConnectInfo, code: &str, message: &str) -> String {
    let said = format!("{message} (SQLSTATE {code})");
    match Refusal::of(code, message) {
        Some(refusal) => format!("{said}: {}", refusal.mend(info, message)),
        None => said,
    }
}

fn no_entry(info: &ConnectInfo, message: &str) -> String {
    let mut mend = format!(
        "add this line to pg_hba.conf, above those that refuse: {}; then SELECT pg_reload_conf(); (a \
         line with the word replication for the database admits physical replication only)",
        entry(info, address(message))
    );
    if info.tls == Tls::Off && matches!(info.host, Host::Tcp(_)) {
        mend.push_str("; or connect with sslmode=verify-full, if the server admits hostssl only");
    }
    mend
}

/// `no pg_hba.conf entry for host "10.0.0.7", user …`: the address as the server sees it.
fn address(message: &str) -> Option<std::net::IpAddr> {
    let (_, rest) = message.split_once("host \"")?;
    let (address, _) = rest.split_once('"')?;
    address.parse().ok()
}

/// The line of `pg_hba.conf` that admits a connection like this one.
fn entry(info: &ConnectInfo, address: Option<std::net::IpAddr>) -> String {
    // In quotation marks a name is a name, even `replication` or `all`.
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (database, role) = (name(&info.database), name(&info.user));
    let kind = match (&info.host, &info.tls) {
        (Host::Unix(_), _) => return format!("local {database} {role} scram-sha-256"),
        (_, Tls::Off) => "host",
        (_, Tls::On { .. }) => "hostssl",
    };
    let address = match address {
        Some(address) if address.is_ipv4() => format!("{address}/32"),
        Some(address) => format!("{address}/128"),
        None => "<address of the node>".to_owned(),
    };
    format!("{kind} {database} {role} {address} scram-sha-256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str, code: &str, message: &str) -> String {
        explain(&url.parse().unwrap(), code, message)
    }

    #[test]
    fn the_line_of_pg_hba_is_printed_as_it_has_to_be() {
        let message = "no pg_hba.conf entry for host \"10.0.0.7\", user \"me\", database \"shop\", \
                       SSL encryption";
        let text = said("postgres://me@db.example/shop", "28000", message);
        let line = "hostssl \"shop\" \"me\" 10.0.0.7/32 scram-sha-256";
        assert!(text.contains(line) && text.contains("physical"), "{text}");
        let message = "no pg_hba.conf entry for host \"::1\", user \"me\", no encryption";
        let text = said("postgres://me@[::1]/a%22b", "28000", message);
        assert!(
            text.contains("host \"a\"\"b\" \"me\" ::1/128 scram-sha-256"),
            "{text}"
        );
        assert!(text.contains("hostssl"), "{text}");
        let message = "no pg_hba.conf entry for host \"[local]\", user \"me\"";
        let text = said("postgres://me@/shop?host=/run", "28000", message);
        assert!(
            text.contains("local \"shop\" \"me\" scram-sha-256"),
            "{text}"
        );
    }

    #[test]
    fn what_is_hosted_has_its_own_mend() {
        let words = "must be superuser or replication role to start walsender";
        let text = said("postgres://me@x.rds.amazonaws.com/shop", "42501", words);
        assert!(text.ends_with("GRANT rds_replication TO \"me\";"), "{text}");
        let text = said("postgres://me@db.example/shop", "42501", words);
        assert!(text.ends_with("ALTER ROLE \"me\" REPLICATION;"), "{text}");
    }

    #[test]
    fn one_code_can_stand_for_two_things() {
        let senders =
            "number of requested standby connections exceeds max_wal_senders (currently 1)";
        assert_eq!(Refusal::of("53300", senders), Some(Refusal::NoWalsender));
        let clients = Refusal::of("53300", "sorry, too many clients already");
        assert_eq!(clients, Some(Refusal::NoConnection));
        assert_eq!(
            Refusal::of("28000", "Rolle nicht zugelassen"),
            Some(Refusal::NotAdmitted)
        );
        assert_eq!(Refusal::of("XX000", "Tenant or user not found"), None);
    }

    #[test]
    fn no_mend_shows_the_password() {
        let url = "postgres://me:hunter2@db/shop";
        for code in [
            "28P01", "28000", "3D000", "42501", "53300", "53400", "55000", "57P03",
        ] {
            assert!(!said(url, code, "wal_level").contains("hunter2"));
        }
    }
}
