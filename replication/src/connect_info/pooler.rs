//! Connection poolers, told by their address: replication cannot pass through them.

/// The port of the poolers in transaction mode that hosted databases have (Supavisor).
const POOLER_PORT: u16 = 6543;

/// The direct connection, as far as it can be told, where the address is a pooler's: the host and
/// the port in words.
pub(super) fn direct(host: &str, port: u16, user: &str) -> Option<String> {
    // Neon: `ep-name-pooler.region.aws.neon.tech`. Supabase: `aws-0-region.pooler.supabase.com`.
    let is_pooler = |label: &str| label == "pooler" || label.ends_with("-pooler");
    let labels: Vec<&str> = host.split('.').collect();
    if !labels.iter().any(|label| is_pooler(label)) {
        return (port == POOLER_PORT).then(|| format!("{host}, port 5432"));
    }
    if host.ends_with(".supabase.com") {
        // A user of the pooler is `role.project`.
        let project = user
            .rsplit_once('.')
            .map_or("<project>", |(_, project)| project);
        return Some(format!("db.{project}.supabase.co, port 5432"));
    }
    let labels: Vec<&str> = labels
        .into_iter()
        .filter(|label| *label != "pooler")
        .map(|label| label.strip_suffix("-pooler").unwrap_or(label))
        .collect();
    Some(format!("{}, port 5432", labels.join(".")))
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectInfo, ConnectInfoError};

    fn direct(url: &str) -> Option<String> {
        match url.parse::<ConnectInfo>() {
            Ok(_) => None,
            Err(ConnectInfoError::Pooled { direct, .. }) => Some(direct),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_pooler_is_refused_with_the_direct_host() {
        let cases = [
            (
                "postgres://a:b@ep-red-1-pooler.eu.aws.neon.tech/x?sslmode=require",
                "ep-red-1.eu.aws.neon.tech, port 5432",
            ),
            (
                "postgres://postgres.abcd:b@aws-0-eu.pooler.supabase.com:6543/x?pgbouncer=true",
                "db.abcd.supabase.co, port 5432",
            ),
            (
                "postgres://postgres.abcd:b@aws-0-eu.pooler.supabase.com:5432/x",
                "db.abcd.supabase.co, port 5432",
            ),
            (
                "postgres://postgres@db.abcd.supabase.co:6543/postgres",
                "db.abcd.supabase.co, port 5432",
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(direct(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn others_are_not() {
        for url in [
            "postgres://a@ep-red-1.eu.aws.neon.tech/x",
            "postgres://a@db.abcd.supabase.co/postgres",
            "postgres://a@poolers.example/x?pgbouncer=true",
            "postgres:///x?host=/run/pg&port=6543",
        ] {
            assert_eq!(direct(url), None, "{url}");
        }
    }
}
