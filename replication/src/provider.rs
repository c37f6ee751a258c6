//! Hosted PostgreSQL, told by the name of its host: where its switches are that elsewhere are
//! statements.

use crate::Host;

/// The role whose members may replicate on Amazon's servers, where nobody has the right itself.
pub const RDS_REPLICATION: &str = "rds_replication";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Neon.
    Neon,
    /// Supabase.
    Supabase,
    /// Amazon's RDS and Aurora.
    Rds,
    /// Azure Database for PostgreSQL.
    Azure,
    /// One's own, or nobody's that is known.
    Other,
}

impl Provider {
    /// Tells it by the host's name.
    pub fn of(host: &Host) -> Self {
        const SUFFIXES: [(&str, Provider); 7] = [
            (".neon.tech", Provider::Neon),
            (".neon.build", Provider::Neon),
            (".supabase.co", Provider::Supabase),
            (".supabase.com", Provider::Supabase),
            (".rds.amazonaws.com", Provider::Rds),
            (".rds.amazonaws.com.cn", Provider::Rds),
            (".postgres.database.azure.com", Provider::Azure),
        ];
        let Host::Tcp(name) = host else {
            return Self::Other;
        };
        let name = name.to_ascii_lowercase();
        let found = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix));
        found.map_or(Self::Other, |(_, provider)| *provider)
    }

    /// How `wal_level` becomes `logical`.
    pub fn logical_decoding(self) -> &'static str {
        match self {
            Self::Neon => "turn on Logical Replication in the project's settings (it stays on)",
            Self::Supabase => "it is on by default; restore wal_level in the project's settings",
            Self::Rds => "set rds.logical_replication = 1 in the parameter group, then reboot",
            Self::Azure => "set the server parameter wal_level to LOGICAL, then restart the server",
            Self::Other => {
                "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL (Cloud SQL: the flag \
                 cloudsql.logical_decoding = on)"
            }
        }
    }

    /// How a role gets the right to replicate. `role` is quoted as in SQL.
    pub fn replication_right(self, role: &str) -> String {
        match self {
            Self::Rds => format!("GRANT {RDS_REPLICATION} TO {role};"),
            _ => format!("ALTER ROLE {role} REPLICATION;"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_the_end_of_their_name() {
        let of = |name: &str| Provider::of(&Host::Tcp(name.to_owned()));
        assert_eq!(of("ep-x.eu.aws.Neon.tech"), Provider::Neon);
        assert_eq!(of("a.b.eu-west-1.rds.amazonaws.com"), Provider::Rds);
        assert_eq!(of("neon.tech.example"), Provider::Other);
        assert_eq!(Provider::of(&Host::Unix("/run".into())), Provider::Other);
        let right = Provider::Rds.replication_right("\"a\"");
        assert_eq!(right, "GRANT rds_replication TO \"a\";");
    }
}
